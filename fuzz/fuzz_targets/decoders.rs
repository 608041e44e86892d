//! Every decoder of what a peer sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_test::decoders(input));
