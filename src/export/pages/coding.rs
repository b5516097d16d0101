//! Which coding a client gets.

use crate::export::compression;
use std::io;

/// How a page is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Identity,
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Coding {
    /// The coding that a client's `Accept-Encoding` weighs highest (RFC 9110, 12.5.3); of equals the one that makes least of a page.
    ///
    /// Named with a weight, gzip is taken unless another coding is weighed higher; zstd, which is younger, is not meant by a `*`. A header that is not there asks
    /// for nothing.
    pub(super) fn negotiate(accepted: &str) -> Self {
        let weights = Weights::read(accepted);
        let mut best = (weights.identity.unwrap_or(0), Self::Identity);
        let mut offer = |weight: Option<u16>, coding| {
            let weight = weight.unwrap_or(0);
            if weight > 0 && weight >= best.0 {
                best = (weight, coding);
            }
        };
        offer(weights.gzip.or(weights.any), Self::Gzip);
        #[cfg(feature = "zstd")]
        offer(weights.zstd, Self::Zstd);
        best.1
    }

    /// Its name in `Content-Encoding`; `None` where there is none.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            #[cfg(feature = "zstd")]
            Self::Zstd => Some("zstd"),
        }
    }

    pub(super) fn pack(self, body: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => compression::gzip(Vec::new(), &body),
            #[cfg(feature = "zstd")]
            Self::Zstd => compression::zstd(Vec::new(), &body),
        }
    }
}

/// What a header says of each coding.
#[derive(Default)]
struct Weights {
    identity: Option<u16>,
    gzip: Option<u16>,
    #[cfg(feature = "zstd")]
    zstd: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn read(accepted: &str) -> Self {
        let mut all = Self::default();
        for range in accepted.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let Some(place) = all.of(parts.next().unwrap_or_default()) else { continue };
            let weight = parts.find_map(|part| {
                let (name, value) = part.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
            });
            // The higher one, should it be named twice.
            *place = (*place).max(Some(weight.unwrap_or(FULL)));
        }
        all
    }

    fn of(&mut self, coding: &str) -> Option<&mut Option<u16>> {
        let is = |name: &str| coding.eq_ignore_ascii_case(name);
        if is("gzip") || is("x-gzip") {
            return Some(&mut self.gzip);
        }
        #[cfg(feature = "zstd")]
        if is("zstd") {
            return Some(&mut self.zstd);
        }
        if is("identity") {
            return Some(&mut self.identity);
        }
        (coding == "*").then_some(&mut self.any)
    }
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
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            let expected = if expected { Coding::Gzip } else { Coding::Identity };
            assert_eq!(Coding::negotiate(accepted), expected, "{accepted}");
        }
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_is_taken_when_it_is_named_and_nothing_is_weighed_higher() {
        use Coding::Gzip;
        use Coding::Identity;
        use Coding::Zstd;
        for (accepted, expected) in [
            ("zstd", Zstd),
            ("ZStd", Zstd),
            ("gzip, deflate, br, zstd", Zstd),
            ("zstd, gzip", Zstd),
            ("zstd;q=0.9, gzip", Gzip),
            ("zstd;q=0.9, gzip;q=0.899", Zstd),
            ("zstd;q=0.001, gzip;q=0", Zstd),
            ("zstd;q=0, gzip", Gzip),
            ("zstd;q=0", Identity),
            ("zstd;q=0, *", Gzip),
            ("zstd;q=0.5, *;q=0.6", Gzip),
            ("zstd;q=0.5, *;q=0.4", Zstd),
            ("*", Gzip),
            ("gzip;q=0, *", Identity),
            ("identity, zstd;q=0.5", Identity),
            ("identity;q=0.5, zstd;q=0.5", Zstd),
            ("zstd;q=high", Identity),
            ("zstd;q=1.001, gzip;q=0.1", Gzip),
            ("zstd;q=-1", Identity),
            ("zstd;q=", Identity),
            ("zstd;q=0.1234, gzip;q=0.001", Gzip),
            ("zstd;q=0.1, zstd;q=0.3, gzip;q=0.2", Zstd),
            ("zstd;q=0.3, zstd;q=0.1, gzip;q=0.2", Zstd),
            ("zstd;level=3", Zstd),
            ("zstandard, zst", Identity),
            ("\"zstd\"", Identity),
        ] {
            assert_eq!(Coding::negotiate(accepted), expected, "{accepted}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(accepted in "\\PC{0,80}") {
            let _any = Coding::negotiate(&accepted);
        }
    }
}
