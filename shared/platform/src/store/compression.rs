//! Compression of item attributes: raw DEFLATE (RFC 1951) with a preset dictionary, after a byte
//! that identifies the dictionary.
//!
//! The dictionary contains strings that are common in runs, logs and webhooks. It makes a webhook
//! of 1 KiB a third smaller, and each KiB of an item costs a write unit (`docs/decisions/0021`).

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Error;

/// The id of [`DICTIONARY`]. Another dictionary needs another id; this one must be kept as long as
/// stored items use it.
const FORMAT: u8 = 1;

/// The most frequent strings are at the end, since DEFLATE encodes short distances in fewer bits.
const DICTIONARY: &[u8] = include_bytes!("compression/dictionary_1.txt");

thread_local! {
    /// Reused, since each allocates a quarter of a MiB.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static DECOMPRESSOR: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Broken(Box::new(error))
}

pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    // Incompressible data grows by five bytes per block.
    let mut compressed = Vec::with_capacity(bytes.len() + bytes.len() / 64 + 64);
    compressed.push(FORMAT);
    let status = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        compressor.set_dictionary(DICTIONARY).map_err(broken)?;
        compressor
            .compress_vec(bytes, &mut compressed, FlushCompress::Finish)
            .map_err(broken)
    })?;
    match status {
        Status::StreamEnd => Ok(compressed),
        Status::Ok | Status::BufError => Err(Error::broken(
            "the output buffer of the compressor is too small",
        )),
    }
}

/// Decompresses at most `max` bytes.
pub(super) fn decompress(bytes: &[u8], max: usize) -> Result<Vec<u8>, Error> {
    let Some((&FORMAT, compressed)) = bytes.split_first() else {
        return Err(Error::broken("a compressed value has an unknown format"));
    };
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        decompressor.reset(false);
        decompressor.set_dictionary(DICTIONARY).map_err(broken)?;
        let mut decompressed = Vec::new();
        let mut rest = compressed;
        // Each iteration adds capacity, up to one byte more than allowed.
        while decompressed.len() <= max {
            let room = decompressed.len() + 4 * compressed.len() + 64;
            decompressed.reserve_exact(room.min(max + 1 - decompressed.len()));
            let before = decompressor.total_in();
            let status = decompressor
                .decompress_vec(rest, &mut decompressed, FlushDecompress::None)
                .map_err(broken)?;
            let taken = usize::try_from(decompressor.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            match status {
                Status::StreamEnd if decompressed.len() <= max => return Ok(decompressed),
                Status::StreamEnd => break,
                Status::Ok | Status::BufError if decompressed.len() == decompressed.capacity() => {}
                Status::Ok | Status::BufError => {
                    return Err(Error::broken("a compressed value is truncated"));
                }
            }
        }
        Err(Error::broken("a compressed value is larger than allowed"))
    })
}

#[cfg(test)]
mod tests {
    use aias_domain::canonical;

    use super::*;

    #[test]
    fn compression_is_independent_of_previous_input() {
        let (a, b) = (b"{\"order\": 1}".repeat(50), b"something else".repeat(3));
        let first = compress(&a).unwrap();
        let other = compress(&b).unwrap();
        assert_eq!(compress(&a).unwrap(), first);
        assert_eq!(compress(&[]).unwrap(), compress(&[]).unwrap());
        assert_eq!(decompress(&first, 10_000).unwrap(), a);
        assert_eq!(decompress(&other, 42).unwrap(), b);
        assert_eq!(decompress(&compress(&[]).unwrap(), 0).unwrap(), b"");
        assert!(decompress(&other, 41).is_err());
        assert_eq!(decompress(&other, 42).unwrap(), b);
    }

    #[test]
    fn extreme_inputs_round_trip() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(300_000)
        .collect();
        let zeros = vec![0; 4_000_000];
        for bytes in [noise, zeros] {
            let compressed = compress(&bytes).unwrap();
            assert!(compressed.len() < bytes.len() + 200);
            assert_eq!(decompress(&compressed, bytes.len()).unwrap(), bytes);
            assert!(decompress(&compressed, bytes.len() - 1).is_err());
            let half = compressed.get(..compressed.len() / 2).unwrap();
            assert!(decompress(half, bytes.len()).is_err());
        }
    }

    #[test]
    fn unknown_format_is_an_error() {
        let mut compressed = compress(b"{}").unwrap();
        compressed[0] = FORMAT + 1;
        for unknown in [compressed.as_slice(), &[]] {
            let error = decompress(unknown, 10).unwrap_err();
            assert!(
                matches!(error, Error::Broken(why) if why.to_string().contains("unknown format"))
            );
        }
    }

    /// With another dictionary under this id, stored items could not be read.
    #[test]
    fn dictionary_is_unchanged() {
        assert_eq!(
            canonical::digest(DICTIONARY),
            "sha256:58bfc9d7813acc2b00c6dd942e00c362dc902f4b3240c9f15770e55ba6d33294"
        );
    }
}
