//! Arbitrary frames to one session of the pool's mining server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool::mining::fuzz::FuzzTarget;
use tempfile::TempDir;

thread_local! {
    static TARGET: (TempDir, FuzzTarget) = {
        let dir = TempDir::new().expect("a temporary directory");
        let target = FuzzTarget::new(dir.path()).expect("a mining server");
        (dir, target)
    };
}

fuzz_target!(|input: &[u8]| {
    TARGET.with(|(_, target)| target.feed(input).expect("a session that ends"));
});
