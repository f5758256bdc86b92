#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| aias_targets::frames(bytes));
