//! Waiting for a thing.

use std::time::{Duration, Instant};

/// Looks again and again until there is something to see, and gives it back.
///
/// # Panics
/// With `what` once `patience` is over: a bound against hanging, far beyond what it takes.
pub async fn eventually<T, Fut>(what: &str, patience: Duration, mut look: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < patience, "after {patience:?} still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
