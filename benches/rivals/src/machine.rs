//! What the figures were measured on, as far as the machine says.

use crate::clocks;
use serde_json::Value;
use serde_json::json;
use std::fs;

pub fn describe() -> Value {
    json!({
        "cpu": cpu(),
        "cores": clocks::cores(),
        "os": line_of("/proc/sys/kernel/ostype"),
        "kernel": line_of("/proc/sys/kernel/osrelease"),
        "arch": std::env::consts::ARCH,
        "load_average": line_of("/proc/loadavg"),
        "debug_assertions": cfg!(debug_assertions),
    })
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
