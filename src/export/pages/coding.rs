//! Which coding a client gets: gzip, or none.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io;
use std::io::Write;

/// Compressed much, and for little: a rendering repeats itself, so higher levels gain a few percent and cost several times the time.
const LEVEL: u32 = 1;

/// Compresses a body.
pub(super) fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::new(LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

/// Whether a client's `Accept-Encoding` asks for gzip, by its weights (RFC 9110, 12.5.3).
///
/// Named with a weight, gzip is taken unless no coding at all is weighed higher. A header that is not there asks for nothing.
pub(super) fn wants_gzip(accepted: &str) -> bool {
    let (mut gzip, mut any, mut plain) = (None, None, None);
    for range in accepted.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
        });
        let weight = weight.unwrap_or(FULL);
        let place = match coding {
            "*" => &mut any,
            coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                &mut gzip
            }
            coding if coding.eq_ignore_ascii_case("identity") => &mut plain,
            _ => continue,
        };
        // The higher one, should it be named twice.
        *place = (*place).max(Some(weight));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= plain.unwrap_or(0)
}

/// Weights in thousandths, as RFC 9110 limits them.
const FULL: u16 = 1_000;

/// A weight between 0 and 1 with three decimals at most; nothing, if it cannot be read.
fn weight(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let decimals = format!("{decimals:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => decimals,
        "1" if decimals == 0 => FULL,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    #[test]
    fn gzip_is_taken_when_it_is_asked_for() {
        for (accepted, expected) in [
            ("", false),
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("deflate, br", false),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0, *", false),
            ("*", true),
            ("*;q=0", false),
            ("identity", false),
            ("identity, gzip;q=0.5", false),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("identity;q=0, gzip;q=0.001", true),
            ("gzip;q=high", false),
            ("gzip;q=2", false),
            ("gzip ; Q = 0.8", true),
            ("gzipped", false),
            (",,;;,gzip", true),
        ] {
            assert_eq!(wants_gzip(accepted), expected, "{accepted}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(accepted in "\\PC{0,80}") {
            let _any = wants_gzip(&accepted);
        }

        #[test]
        fn what_is_compressed_reads_back(body in proptest::collection::vec(any::<u8>(), 0..4_000)) {
            let packed = gzip(&body).unwrap();
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            prop_assert_eq!(unpacked, body);
        }
    }
}
