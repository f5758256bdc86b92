//! The time to verify a request, compared to the hash alone: `cargo bench -p aias-domain`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has failed"
)]

#[path = "../tests/requests/mod.rs"]
mod requests;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aias_domain::verification::{Algorithm, digest};
use requests::{KEY, SCHEMES, Signed};

/// Microseconds of a call, the median of nine rounds.
fn micros(mut work: impl FnMut()) -> f64 {
    let mut rounds = [0.0; 9];
    for round in &mut rounds {
        let (started, mut count) = (Instant::now(), 0_u32);
        while started.elapsed() < Duration::from_millis(50) {
            work();
            count += 1;
        }
        *round = started.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    }
    rounds.sort_by(f64::total_cmp);
    rounds[4]
}

fn main() {
    let keys = [KEY.to_vec()];
    for name in SCHEMES {
        let mut columns = String::new();
        for bytes in [1_024, 65_536] {
            let request = Signed::new(name, bytes);
            assert!(request.is_verified(&keys), "{name}");
            let whole = micros(|| assert!(black_box(&request).is_verified(black_box(&keys))));
            let body = vec![b'x'; bytes];
            let hash = micros(|| drop(digest(Algorithm::Sha256, KEY, &[black_box(&body)])));
            columns.push_str(&format!(" | {whole:.1} | {hash:.1}"));
        }
        println!("verifier | {name}{columns} |");
    }
}
