//! See `targets::webhook_urls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::webhook_urls(bytes));
