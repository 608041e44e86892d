//! The pool's end of the link, and a mint that says anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_test::pool_end(input));
