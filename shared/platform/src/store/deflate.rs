//! Deflating what items hold.

use std::{
    cell::RefCell,
    io::{Read as _, Write as _},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::Error;

thread_local! {
    /// Kept: a new one has 300 KiB to fill with zeros, which was a sixth of a webhook's computing.
    static ENCODER: RefCell<DeflateEncoder<Vec<u8>>> =
        RefCell::new(DeflateEncoder::new(Vec::new(), Compression::fast()));
}

/// Bytes, deflated.
pub(super) fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    ENCODER
        .with_borrow_mut(|encoder| {
            encoder.write_all(bytes)?;
            encoder.reset(Vec::new())
        })
        .map_err(|e| Error::Broken(Box::new(e)))
}

/// Bytes, inflated; at most `max`.
pub(super) fn inflate(bytes: &[u8], max: u64) -> Result<Vec<u8>, Error> {
    let mut inflated = Vec::with_capacity(bytes.len() * 2);
    DeflateDecoder::new(bytes)
        .take(max + 1)
        .read_to_end(&mut inflated)
        .map_err(|e| Error::Broken(Box::new(e)))?;
    if inflated.len() as u64 > max {
        return Err(Error::broken("a deflated value is larger than it can be"));
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deflated_does_not_depend_on_what_was_before() {
        let (a, b) = (b"{\"order\": 1}".repeat(50), b"something else".repeat(3));
        let first = deflate(&a).unwrap();
        let other = deflate(&b).unwrap();
        assert_eq!(deflate(&a).unwrap(), first);
        assert_eq!(deflate(&[]).unwrap(), deflate(&[]).unwrap());
        assert_eq!(inflate(&first, 10_000).unwrap(), a);
        assert_eq!(inflate(&other, 42).unwrap(), b);
        assert!(inflate(&other, 41).is_err());
    }
}
