//! Who may read: by a token, or by a name and a password.

use http::HeaderMap;
use http::HeaderValue;
use http::header;
use std::fmt;

/// What a request must bring along; nothing, if nothing was set.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    bearer: Option<Secret>,
    /// As it stands in the header.
    basic: Option<Secret>,
}

/// Never shown.
#[derive(Clone)]
struct Secret(Box<[u8]>);

impl Access {
    pub(super) fn set_bearer(&mut self, token: &str) {
        self.bearer = Some(Secret(token.as_bytes().into()));
    }

    pub(super) fn set_basic(&mut self, user: &str, password: &str) {
        let pair = format!("{user}:{password}");
        self.basic = Some(Secret(base64(pair.as_bytes()).into_bytes().into()));
    }

    /// Whether a request with these headers may be answered.
    ///
    /// What it brings is compared in a time that depends on its length and the secret's, and not on where they differ.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        if self.bearer.is_none() && self.basic.is_none() {
            return true;
        }
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        // Two of them are nobody's.
        let (Some(given), None) = (given.next(), given.next()) else { return false };
        let given = given.as_bytes();
        let Some(space) = given.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, rest) = given.split_at(space);
        let rest = rest.trim_ascii();
        let is = |name: &str, secret: &Option<Secret>| {
            scheme.eq_ignore_ascii_case(name.as_bytes())
                && secret.as_ref().is_some_and(|secret| secret.equals(rest))
        };
        is("bearer", &self.bearer) || is("basic", &self.basic)
    }

    /// What a client without the right one is told to bring.
    pub(super) fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let bearer = self.bearer.as_ref().map(|_| HeaderValue::from_static("Bearer realm=\"metrics\""));
        let basic = self
            .basic
            .as_ref()
            .map(|_| HeaderValue::from_static("Basic realm=\"metrics\", charset=\"UTF-8\""));
        bearer.into_iter().chain(basic)
    }
}

impl Secret {
    /// Looks at every byte, whatever the first ones say.
    fn equals(&self, given: &[u8]) -> bool {
        let mut different = usize::from(given.len() != self.0.len());
        for (at, byte) in self.0.iter().enumerate() {
            // What lies past the end of what was given differs by its length already.
            different |= usize::from(byte ^ given.get(at).copied().unwrap_or(0));
            different = std::hint::black_box(different);
        }
        different == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let padded = digit as usize > chunk.len();
            let digit =
                DIGITS.get(value as usize).filter(|_| !padded).map_or('=', |digit| char::from(*digit));
            out.push(digit);
        }
    }
    out
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("user:\u{fc}~\u{7f}\u{ff}", "dXNlcjrDvH5/w78="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn only_the_right_secret_opens() {
        let mut access = Access::default();
        assert!(access.allows(&headers(&[])));
        access.set_bearer("s3cret");
        access.set_basic("user", "pass:word");
        for right in ["Bearer s3cret", "bearer  s3cret ", "BASIC dXNlcjpwYXNzOndvcmQ="] {
            assert!(access.allows(&headers(&[right])), "{right}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer S3cret",
            "Basic s3cret",
            "s3cret",
            "Basic dXNlcjpwYXNzOndvcmQ",
            "Basic dXNlcjpwYXNzOndvcmR=",
            "Bearer dXNlcjpwYXNzOndvcmQ=",
            "Digest s3cret",
        ] {
            assert!(!access.allows(&headers(&[wrong])), "{wrong}");
        }
        assert!(!access.allows(&headers(&[])));
        assert!(!access.allows(&headers(&["Bearer s3cret", "Bearer s3cret"])), "two of them");
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut access = Access::default();
        access.set_bearer("canary");
        access.set_basic("bird", "canary");
        let shown = format!("{access:?}");
        assert!(!shown.contains("canary") && !shown.contains(&base64(b"bird:canary")), "{shown}");
    }
}
