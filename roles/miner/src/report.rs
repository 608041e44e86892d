//! How the miner is doing, in a line.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::running::Running;
use crate::stratum::{PoolStatus, Stage};
use crate::wallet::{Progress, WalletError};

/// A pool that takes longer to answer a share is trouble, or answers many at once; either is worth a word.
const LONG: Duration = Duration::from_secs(30);

/// What a miner is doing and has done so far.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Hashes a second since the last look.
    pub hashrate: f64,
    /// The connection with the pool, and the shares.
    pub pool: PoolStatus,
    /// The quotes.
    pub wallet: Progress,
    /// Unspent ehash in the wallet.
    pub balance: u64,
}

/// Looks at a miner now and then.
#[derive(Debug)]
pub struct Observer<'a> {
    miner: &'a Running,
    hashes: u64,
    at: Instant,
}

impl<'a> Observer<'a> {
    /// Its first look is to come.
    #[must_use]
    pub fn new(miner: &'a Running) -> Self {
        Self {
            hashes: miner.hashes(),
            at: Instant::now(),
            miner,
        }
    }

    /// Looks.
    ///
    /// # Errors
    /// The wallet's database fails.
    pub async fn look(&mut self) -> Result<Figures, WalletError> {
        let (hashes, now) = (self.miner.hashes(), Instant::now());
        let elapsed = now.duration_since(self.at).max(Duration::from_millis(1));
        // Far below 2^53, where f64 begins to round.
        let hashrate = hashes.saturating_sub(self.hashes) as f64 / elapsed.as_secs_f64();
        (self.hashes, self.at) = (hashes, now);
        Ok(Figures {
            hashrate,
            pool: self.miner.pool().borrow().clone(),
            wallet: self.miner.redeemer().progress().borrow().clone(),
            balance: self.miner.redeemer().balance().await?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pool, wallet, balance, ..
        } = self;
        let shares = &pool.shares;
        write!(
            f,
            "{}, shares {} accepted {} rejected, quotes {} waiting {} redeemed, balance {balance}",
            Hashrate(self.hashrate),
            shares.accepted,
            shares.rejected,
            wallet.waiting,
            wallet.redeemed_quotes,
        )?;
        if wallet.refused > 0 {
            write!(f, ", {} quotes refused by the mint", wallet.refused)?;
        }
        match (&pool.last_error, pool.stage) {
            (Some(error), Stage::Dialling) => write!(f, "; no pool: {error}")?,
            (None, Stage::Dialling) => write!(f, "; connecting")?,
            _ => {}
        }
        let silence = pool.unanswered_since.map(|since| since.elapsed()).unwrap_or_default();
        if silence >= LONG {
            let (waiting, seconds) = (shares.unanswered, silence.as_secs());
            write!(
                f,
                "; no answer from the pool for {seconds} s, shares {waiting} waiting for one"
            )?;
        }
        match &wallet.last_error {
            Some(error) => write!(f, "; mint: {error}"),
            None => Ok(()),
        }
    }
}

/// A hashrate for people.
struct Hashrate(f64);

impl fmt::Display for Hashrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            rate if rate >= 1e9 => (rate / 1e9, "GH/s"),
            rate if rate >= 1e6 => (rate / 1e6, "MH/s"),
            rate if rate >= 1e3 => (rate / 1e3, "kH/s"),
            rate => (rate, "H/s"),
        };
        write!(f, "{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::ShareCounts;

    #[test]
    fn a_line_tells_what_matters_and_trouble_only_where_there_is_some() {
        let mut figures = Figures {
            hashrate: 1_234_567.0,
            pool: PoolStatus {
                stage: Stage::Open,
                shares: ShareCounts {
                    accepted: 12,
                    rejected: 1,
                    ..ShareCounts::default()
                },
                ..PoolStatus::default()
            },
            wallet: Progress {
                waiting: 2,
                redeemed_quotes: 10,
                ..Progress::default()
            },
            balance: 320,
        };
        let line = "1.2 MH/s, shares 12 accepted 1 rejected, quotes 2 waiting 10 redeemed, balance 320";
        assert_eq!(figures.to_string(), line);
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        (figures.pool.shares.unanswered, figures.pool.unanswered_since) = (3, ago(20));
        assert_eq!(figures.to_string(), line);
        figures.pool.unanswered_since = ago(45);
        assert_eq!(
            figures.to_string(),
            format!("{line}; no answer from the pool for 45 s, shares 3 waiting for one")
        );
        figures.pool.unanswered_since = None;
        figures.pool.stage = Stage::Dialling;
        assert_eq!(figures.to_string(), format!("{line}; connecting"));
        figures.pool.last_error = Some("gone".into());
        figures.wallet.last_error = Some("away".into());
        figures.wallet.refused = 3;
        assert_eq!(
            figures.to_string(),
            format!("{line}, 3 quotes refused by the mint; no pool: gone; mint: away")
        );
    }

    #[test]
    fn hashrates_have_a_unit_that_fits() {
        let shown = [0.0, 999.0, 20_000.0, 1e6, 2.5e9].map(|rate| Hashrate(rate).to_string());
        assert_eq!(shown, ["0.0 H/s", "999.0 H/s", "20.0 kH/s", "1.0 MH/s", "2.5 GH/s"]);
    }
}
