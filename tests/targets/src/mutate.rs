//! Small deterministic changes of bytes, for the short runs of the fuzz targets in tests.

/// A pseudo-random number generator (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap_or(1);
        usize::try_from(self.next() % n).unwrap_or_default()
    }
}

/// Strings that are special to parsers.
const PIECES: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\"",
    b"\\u0000",
    b"{",
    b"[[[[[[[[",
    b"}",
    b"1e999",
    b"-0",
    b"\n",
    b"%00",
    b"${",
    b"\xe2\x80\xae",
    b"9999999999999999999999",
    b"=,;:",
];

/// The longest input, in bytes.
const MAX_LENGTH: usize = 4_096;

/// An input with a few changes. Parts of `other` may be inserted.
#[must_use]
pub fn mutated(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, part);
            }
            3 => {
                let from = random.below(other.len());
                let to = (from + random.below(32)).min(other.len());
                let part = other.get(from..to).unwrap_or_default().to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let piece = PIECES.get(random.below(PIECES.len())).copied();
                bytes.splice(at..at, piece.unwrap_or_default().iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).unwrap_or_default();
                }
            }
        }
    }
    bytes.truncate(MAX_LENGTH);
    bytes
}
