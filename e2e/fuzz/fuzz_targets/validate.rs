#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mizzen_e2e::fuzz::validate(bytes));
