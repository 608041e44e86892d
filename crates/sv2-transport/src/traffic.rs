//! What went over connections, for metrics: written with relaxed atomics by the codecs, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the connections that share this have carried. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    frames_read: AtomicU64,
    frames_written: AtomicU64,
}

/// [`Traffic`] at one moment. The counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounters {
    /// Encrypted bytes of frames read; handshakes are not counted.
    pub bytes_read: u64,
    /// Encrypted bytes of frames handed to the connection.
    pub bytes_written: u64,
    /// Frames read.
    pub frames_read: u64,
    /// Frames handed to the connection.
    pub frames_written: u64,
}

impl Traffic {
    /// The counters now.
    #[must_use]
    pub fn read(&self) -> TrafficCounters {
        TrafficCounters {
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            frames_read: self.frames_read.load(Relaxed),
            frames_written: self.frames_written.load(Relaxed),
        }
    }

    pub(crate) fn read_bytes(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn read_frame(&self) {
        self.frames_read.fetch_add(1, Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes_written.fetch_add(bytes as u64, Relaxed);
        self.frames_written.fetch_add(1, Relaxed);
    }
}
