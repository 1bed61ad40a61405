#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fal_protocol::__fuzz::webhook(bytes));
