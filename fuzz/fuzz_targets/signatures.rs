//! See `targets::signatures`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::signatures(bytes));
