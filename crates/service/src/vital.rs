//! Parts that a service can't do without.

use tokio_util::sync::CancellationToken;

/// Runs a part to its end. If it panics, or is dropped before, `whole` is cancelled: what relies on the part would wait in
/// vain, and nobody would see why.
pub async fn vital(whole: CancellationToken, part: impl Future<Output = ()>) {
    let crashed = whole.drop_guard();
    part.await;
    crashed.disarm();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_crashes_stops_the_whole_and_one_that_ends_does_not() {
        let whole = CancellationToken::new();
        tokio::spawn(vital(whole.clone(), async {})).await.unwrap();
        assert!(!whole.is_cancelled());
        let crash = async { panic!("as any could") };
        assert!(tokio::spawn(vital(whole.clone(), crash)).await.is_err());
        assert!(whole.is_cancelled());
    }
}
