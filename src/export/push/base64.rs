//! Base64 (RFC 4648), for credentials and for addresses.

/// With padding, by the usual alphabet (section 4).
pub(in crate::export) fn padded(bytes: &[u8]) -> String {
    let mut out = encoded(bytes, b"+/");
    while out.len() % 4 > 0 {
        out.push('=');
    }
    out
}

/// Without padding, by the alphabet that addresses take (section 5).
#[cfg(feature = "pushgateway")]
pub(in crate::export) fn for_addresses(bytes: &[u8]) -> String {
    encoded(bytes, b"-_")
}

fn encoded(bytes: &[u8], last: &[u8; 2]) -> String {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let missing = 3 - chunk.len();
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * missing);
        for at in 0..4 - missing {
            let digit = (word >> (18 - 6 * at) & 63) as usize;
            out.push(char::from(if digit < 62 { DIGITS[digit] } else { last[digit - 62] }));
        }
    }
    out
}

/// The bytes of the usual alphabet, with padding or without; nothing if it is broken.
#[cfg(feature = "otlp-grpc")]
pub(in crate::export) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    if text.len() - end > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(end / 4 * 3);
    for chunk in text[..end].chunks(4) {
        let mut word = 0;
        for byte in chunk {
            word = word << 6 | u32::from(digit(*byte)?);
        }
        // Three bytes of four digits, two of three, one of two.
        let bytes = (word << (6 * (4 - chunk.len()))).to_be_bytes();
        out.extend_from_slice(bytes.get(1..chunk.len())?);
    }
    (end % 4 != 1).then_some(out)
}

#[cfg(feature = "otlp-grpc")]
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, 10.
    #[test]
    fn it_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, expected) in vectors {
            assert_eq!(padded(plain.as_bytes()), expected);
            #[cfg(feature = "otlp-grpc")]
            for text in [expected, expected.trim_end_matches('=')] {
                assert_eq!(decoded(text.as_bytes()).as_deref(), Some(plain.as_bytes()), "{text}");
            }
        }
        assert_eq!(
            (padded(&[0xfb, 0xff]), encoded(&[0xfb, 0xff], b"-_")),
            ("+/8=".to_owned(), "-_8".to_owned())
        );
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn what_is_broken_is_nothing() {
        for text in ["A", "AAAAA", "Zg===", "Z g=", "Zg=A", "Zm9-"] {
            assert_eq!(decoded(text.as_bytes()), None, "{text}");
        }
    }
}
