//! One round: some quotes are looked at together, and those that can be minted are minted together.
//!
//! A round settles quotes as it goes. What it has not settled when it ends, for whatever reason, still waits.

use std::time::{SystemTime, UNIX_EPOCH};

use cdk::amount::SplitTarget;
use cdk::wallet::Wallet;
use cdk::{Amount, Error};
use cdk_common::wallet::MintQuote;

use super::error::WalletError;
use super::queue::QuoteId;
use super::recovery;
use super::shared::Shared;
use super::store::{METHOD, is_issued};
use super::verdict::Verdict;

/// Each quote becomes as few pieces as its amount allows. CDK's default would look through the whole wallet to keep
/// some of each size.
fn split() -> SplitTarget {
    SplitTarget::Value(Amount::from(u64::MAX))
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error("{0}")]
    Mint(#[from] Error),
    #[error("{0}")]
    Wallet(#[from] WalletError),
    #[error(
        "the mint has signed secrets before that are new here: wallet.sqlite is an older copy, or another machine uses this \
         seed, which only one may; the mint is asked for what is missing"
    )]
    Behind,
}

/// A round at work.
pub(super) struct Round<'a> {
    shared: &'a Shared,
    /// Whether an operation may be unfinished, in the wallet's own database.
    unsettled: &'a mut bool,
}

impl<'a> Round<'a> {
    pub(super) fn new(shared: &'a Shared, unsettled: &'a mut bool) -> Self {
        Self { shared, unsettled }
    }

    fn wallet(&self) -> &Wallet {
        &self.shared.store.wallet
    }

    /// Finishes what earlier rounds, or earlier runs, left unfinished.
    pub(super) async fn recover(&mut self) -> Result<(), RoundError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let settled = recovery::recover(&self.shared.store, now).await;
        let unfinished: Vec<_> = self
            .shared
            .store
            .unfinished()
            .await?
            .iter()
            .map(|saga| saga.id.to_string())
            .collect();
        for quote in self.shared.store.quotes().await? {
            let in_use = quote
                .used_by_operation
                .as_ref()
                .is_some_and(|id| unfinished.contains(id));
            if is_issued(&quote) && !in_use {
                self.shared.redeemed(&quote.id, quote.amount_issued.to_u64()).await?;
            }
        }
        *self.unsettled = !settled?;
        Ok(())
    }

    /// Mints what can be minted of these; they are no more than the [`Self::batch_limit`].
    pub(super) async fn mint(&mut self, ids: &[QuoteId]) -> Result<(), RoundError> {
        let free = self.free(ids).await?;
        let quotes = self.refresh(&free).await?;
        let mut mintable = Vec::with_capacity(quotes.len());
        for quote in quotes {
            if is_issued(&quote) {
                self.shared.already_issued(&quote.id).await?;
            } else if quote.amount_mintable() > Amount::ZERO {
                mintable.push(quote);
            }
        }
        if mintable.len() > 1 {
            self.mint_together(&mintable).await
        } else {
            self.mint_each(&mintable).await
        }
    }

    /// How many quotes the mint takes in one request; 1 where it does not offer NUT-29.
    pub(super) async fn batch_limit(&self) -> Result<usize, RoundError> {
        let settings = self.wallet().load_mint_info().await?.nuts.nut29;
        let offered = !settings.is_empty()
            && settings
                .methods
                .is_none_or(|methods| methods.iter().any(|method| method == METHOD));
        if !offered {
            return Ok(1);
        }
        Ok(settings
            .max_batch_size
            .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX).max(1)))
    }

    /// Those that no operation has taken. What one has is for the recovery.
    async fn free(&mut self, ids: &[QuoteId]) -> Result<Vec<QuoteId>, RoundError> {
        let mut free = Vec::with_capacity(ids.len());
        for id in ids {
            match self.shared.store.quote(id).await? {
                Some(quote) if quote.used_by_operation.is_none() => free.push(QuoteId::clone(id)),
                Some(_) => *self.unsettled = true,
                None => self.shared.forget(id).await?,
            }
        }
        Ok(free)
    }

    /// Asks the mint about the quotes, together unless one of them is bad.
    async fn refresh(&self, ids: &[QuoteId]) -> Result<Vec<MintQuote>, RoundError> {
        if ids.len() > 1 {
            let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
            match self.wallet().batch_check_mint_quote_status(&ids).await {
                Ok(quotes) => return Ok(quotes),
                Err(error) if Verdict::of(&error) == Verdict::Trouble => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "one of the quotes is bad: asking one by one"),
            }
        }
        let mut quotes = Vec::with_capacity(ids.len());
        for id in ids {
            match self.wallet().check_mint_quote_status(id).await {
                Ok(quote) => quotes.push(quote),
                Err(error) => self.blame(id, error)?,
            }
        }
        Ok(quotes)
    }

    async fn mint_together(&mut self, quotes: &[MintQuote]) -> Result<(), RoundError> {
        let ids: Vec<&str> = quotes.iter().map(|quote| &*quote.id).collect();
        let before = std::mem::replace(self.unsettled, true);
        match self.wallet().batch_mint(&ids, split(), None, None).await {
            Ok(_) => {
                *self.unsettled = before;
                for quote in quotes {
                    self.shared
                        .redeemed(&quote.id, quote.amount_mintable().to_u64())
                        .await?;
                }
                Ok(())
            }
            Err(error) if error.is_definitive_failure() && !matches!(error, Error::MintingDisabled) => {
                tracing::warn!(%error, quotes = quotes.len(), "a batch was refused: minting one by one");
                self.recover().await?;
                self.mint_each(quotes).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn mint_each(&mut self, quotes: &[MintQuote]) -> Result<(), RoundError> {
        for quote in quotes {
            let before = std::mem::replace(self.unsettled, true);
            let mut kept = false;
            match self.wallet().mint(&quote.id, split(), None).await {
                Ok(_) => {
                    self.shared
                        .redeemed(&quote.id, quote.amount_mintable().to_u64())
                        .await?
                }
                Err(error) => {
                    // CDK keeps an operation that the mint may have signed.
                    kept = !error.is_definitive_failure();
                    self.blame(&quote.id, error)?;
                }
            }
            *self.unsettled = before || kept;
        }
        Ok(())
    }

    /// Sorts out whether the error is this quote's fault, and goes on if it is.
    fn blame(&self, id: &str, error: Error) -> Result<(), RoundError> {
        match Verdict::of(&error) {
            Verdict::Refused => {
                tracing::warn!(quote = id, %error, "the mint refuses this quote; it is tried again after a restart");
                self.shared.refused(id, &error.to_string());
                Ok(())
            }
            Verdict::Later => Ok(()),
            Verdict::Trouble => Err(error.into()),
        }
    }
}
