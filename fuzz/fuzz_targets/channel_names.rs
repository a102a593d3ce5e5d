//! See `targets::channel_names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::channel_names(bytes));
