//! One clock for all: nanoseconds of `CLOCK_MONOTONIC`, which all processes of a machine share, and which
//! [`std::time::Instant`] reads on Linux. So what a child stamps can be compared with what another stamps.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use stats_push::UnixMillis;

/// A reading of the monotonic clock in nanoseconds.
pub type Nanos = u64;

/// Now.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u64::try_from(time.tv_nsec).unwrap_or(0),
    );
    seconds * 1_000_000_000 + nanos
}

/// What this clock showed at `instant`. Should this thread be preempted between the two readings that it takes, it reads
/// again; what error remains is below 10 us, and late rather than early.
pub fn of(instant: Instant) -> Nanos {
    let mut late = u64::MAX;
    for _ in 0..8 {
        let before = now();
        let elapsed = instant.elapsed();
        let after = now();
        late = late.min(after.saturating_sub(nanos(elapsed)));
        if after - before < 10_000 {
            break;
        }
    }
    late
}

/// What this clock showed when the wall clock of this machine showed `wall`: to a millisecond, as far as the wall clock
/// was not set in between. The millisecond is cut off, so the result is up to one too early.
pub fn of_wall(wall: UnixMillis) -> Nanos {
    let ago = u64::try_from(UnixMillis::now().millis_since(wall)).unwrap_or(0);
    now().saturating_sub(ago * 1_000_000)
}

/// A duration in this clock's unit.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
