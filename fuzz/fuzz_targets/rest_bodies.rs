//! See `targets::rest_bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::rest_bodies(bytes));
