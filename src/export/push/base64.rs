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

#[cfg(test)]
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
        }
        assert_eq!(
            (padded(&[0xfb, 0xff]), encoded(&[0xfb, 0xff], b"-_")),
            ("+/8=".to_owned(), "-_8".to_owned())
        );
    }
}
