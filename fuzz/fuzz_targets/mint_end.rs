//! The mint's end of the link, and a pool that says anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_test::mint_end(input));
