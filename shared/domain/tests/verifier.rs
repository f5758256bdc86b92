//! The memory that the verifier takes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod requests;

use requests::{KEY, SCHEMES, Signed};

#[test]
fn verifier_allocates_the_same_whatever_the_size_of_the_body() {
    let keys = [KEY.to_vec()];
    for name in SCHEMES {
        let [small, large] = [1_024, 1_048_576].map(|bytes| {
            let request = Signed::new(name, bytes);
            // The catalogue is read once.
            assert!(request.is_verified(&keys), "{name}");
            let measured = allocation_counter::measure(|| assert!(request.is_verified(&keys)));
            (measured.count_total, measured.bytes_total)
        });
        assert_eq!(small, large, "{name}");
        assert!(small.1 < 4_096, "{name}: {small:?}");
    }
}
