//! A receiver of StatsD, written from the protocols' descriptions: it takes datagrams apart, and refuses what is no line.

use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::ExportError;
use mvx_metrics::export::Exporter;
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub value: String,
    pub kind: String,
    pub tags: Vec<(String, String)>,
}

impl Line {
    pub fn number(&self) -> f64 {
        self.value.parse().unwrap()
    }
}

/// The lines of a datagram; what does not parse fails with the text.
pub fn parse(datagram: &str) -> Result<Vec<Line>, String> {
    datagram
        .split('\n')
        .map(|line| parse_line(line).ok_or_else(|| format!("{line:?} of {datagram:?}")))
        .collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let (name, rest) = line.split_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut fields = rest.split('|');
    let (value, kind) = (fields.next()?, fields.next()?);
    let tags = match fields.next() {
        Some(tags) => tags.strip_prefix('#')?.split(',').map(parse_tag).collect::<Option<_>>()?,
        None => Vec::new(),
    };
    let is_line = !name.is_empty()
        && name.chars().all(is_name)
        && value.parse::<f64>().is_ok_and(f64::is_finite)
        && value.chars().all(|c| c.is_ascii_digit() || "-.".contains(c))
        && ["c", "g"].contains(&kind)
        && fields.next().is_none();
    is_line.then(|| Line { name: name.into(), value: value.into(), kind: kind.into(), tags })
}

fn parse_tag(tag: &str) -> Option<(String, String)> {
    let (key, value) = tag.split_once(':')?;
    let is_tag = !key.is_empty() && !value.is_empty() && !value.contains([':', '#', '@']);
    let is_seen = !value.chars().any(|c| c.is_control() || c.is_whitespace());
    (is_tag && is_seen).then(|| (key.into(), value.into()))
}

/// A unix socket in a directory of its own.
pub struct Receiver {
    pub path: PathBuf,
    socket: UnixDatagram,
    /// For one datagram, kept from one to the next.
    buffer: Mutex<Vec<u8>>,
    _directory: tempfile::TempDir,
}

impl Receiver {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("statsd.sock");
        Self { socket: bound(&path), path, buffer: Mutex::new(vec![0; 70_000]), _directory: directory }
    }

    /// Takes nothing more, and comes back in the same place; what had come until then.
    pub fn restart(&mut self) -> Vec<String> {
        std::fs::remove_file(&self.path).unwrap();
        self.socket.shutdown(Shutdown::Read).unwrap();
        let rest = self.datagrams();
        self.socket = bound(&self.path);
        rest
    }

    /// What has come, datagram by datagram.
    pub fn datagrams(&self) -> Vec<String> {
        let mut buffer = self.buffer.lock().unwrap();
        let mut all = Vec::new();
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(0) | Err(_) => return all,
                Ok(bytes) => all.push(String::from_utf8(buffer[..bytes].to_vec()).unwrap()),
            }
        }
    }

    pub fn lines(&self) -> Vec<Line> {
        self.datagrams().iter().flat_map(|datagram| parse(datagram).unwrap()).collect()
    }
}

/// Adds up what has come of each counter, by name and tags.
pub fn add_to(sums: &mut BTreeMap<String, f64>, datagrams: &[String]) {
    let lines = datagrams.iter().flat_map(|datagram| parse(datagram).unwrap());
    for line in lines.filter(|line| line.kind == "c") {
        *sums.entry(format!("{} {:?}", line.name, line.tags)).or_default() += line.number();
    }
}

fn bound(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// One call of an exporter, on this thread.
pub fn deliver(exporter: &mut impl Exporter, snapshot: &RuntimeSnapshot) -> Result<(), ExportError> {
    thread_local! {
        static TOKIO: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    }
    let within = Duration::from_millis(200);
    TOKIO.with(|tokio| {
        tokio.block_on(async {
            let called = tokio::time::timeout(within, exporter.export(snapshot, within)).await;
            called.unwrap_or_else(|_| Err(ExportError::retryable("cut")))
        })
    })
}
