//! Bodies, compressed.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io;
use std::io::Write;

/// Of both: names and labels repeat themselves, so higher levels gain little and cost much.
const LEVEL: u32 = 1;

/// A body by gzip, behind what is there already.
pub(super) fn gzip(mut before: Vec<u8>, body: &[u8]) -> io::Result<Vec<u8>> {
    before.reserve(body.len() / 8);
    let mut encoder = GzEncoder::new(before, Compression::new(LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}

/// The same by zstd. Its window is far below what every reader has to have (RFC 9659), and its length stands in its head.
#[cfg(feature = "zstd")]
pub(super) fn zstd(mut before: Vec<u8>, body: &[u8]) -> io::Result<Vec<u8>> {
    before.reserve(body.len() / 8);
    let mut encoder = zstd::stream::write::Encoder::new(before, LEVEL as i32)?;
    encoder.set_pledged_src_size(Some(body.len() as u64))?;
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn by_gzip(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    }

    /// By a decoder that is not its encoder's other half.
    #[cfg(feature = "zstd")]
    fn by_zstd(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut plain).unwrap();
        plain
    }

    proptest! {
        #[test]
        fn what_is_compressed_reads_back(body in proptest::collection::vec(any::<u8>(), 0..4_000)) {
            let packed = gzip(vec![7], &body).unwrap();
            prop_assert_eq!((packed[0], by_gzip(&packed[1..])), (7, body.clone()));
            #[cfg(feature = "zstd")]
            {
                let packed = zstd(vec![7], &body).unwrap();
                prop_assert_eq!((packed[0], by_zstd(&packed[1..])), (7, body));
            }
        }
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_long_body_by_zstd_asks_its_reader_for_little_memory_and_says_how_long_it_is() {
        let body: Vec<u8> =
            (0..400_000_u32).flat_map(|n| format!("name_{n} {}\n", n % 97).into_bytes()).collect();
        assert!(body.len() > 4 << 20);
        let packed = zstd(Vec::new(), &body).unwrap();
        assert!(packed.len() < body.len() / 2);
        assert_eq!(by_zstd(&packed), body);
        let mut decoder = ::zstd::stream::read::Decoder::new(&packed[..]).unwrap();
        decoder.window_log_max(20).unwrap();
        let mut plain = Vec::new();
        decoder.read_to_end(&mut plain).unwrap();
        assert_eq!(plain, body);
        // RFC 8878, 3.1.1.1: a frame that tells its length has a flag for it.
        assert_ne!(packed[4] >> 6, 0);
    }
}
