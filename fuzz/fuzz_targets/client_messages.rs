//! See `targets::client_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::client_messages(bytes));
