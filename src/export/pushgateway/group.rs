//! A group of the Pushgateway, as the path of its address:
//! <https://github.com/prometheus/pushgateway#url>.

use crate::export::push::base64;
use std::fmt::Write;

/// The path below `/metrics` of a group: the job, then the other labels in the order given.
pub(super) fn path(job: &str, labels: &[(String, String)]) -> String {
    let mut path = String::from("/metrics");
    part(&mut path, "job", job);
    for (key, value) in labels {
        part(&mut path, key, value);
    }
    path
}

/// As it is where it is plain; otherwise in base64, which takes any value, also none.
fn part(path: &mut String, key: &str, value: &str) {
    // Dots alone would be taken for steps in the path.
    let dots = value.bytes().all(|byte| byte == b'.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !dots && value.bytes().all(plain) {
        let _ = write!(path, "/{key}/{value}");
    } else if value.is_empty() {
        let _ = write!(path, "/{key}@base64/=");
    } else {
        let _ = write!(path, "/{key}@base64/{}", base64::for_addresses(value.as_bytes()));
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn plain_values_stand_as_they_are_and_every_other_in_base64() {
        let labels =
            [("instance", "host-1"), ("path", "/var/tmp"), ("none", ""), ("up", ".."), ("text", "ü ?")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        // Those of the Pushgateway's own documentation among them.
        assert_eq!(
            path("some_job", &labels),
            "/metrics/job/some_job/instance/host-1/path@base64/L3Zhci90bXA/none@base64/=/up@base64/Li4/text@base64/w7wgPw"
        );
        assert_eq!(path("Π", &[]), "/metrics/job@base64/zqA");
    }
}
