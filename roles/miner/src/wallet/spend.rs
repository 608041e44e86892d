//! Taking ehash out of the wallet as Cashu tokens (NUT-00), and back in.
//!
//! CDK keeps the pieces that a token was made of until somebody is known to have received them. So a token that got lost
//! on its way to whoever it was for is not lost: [`Redeemer::reclaim`] takes it back.

use std::collections::HashSet;
use std::io;

use cdk::amount::SplitTarget;
use cdk::nuts::{ProofsMethods as _, State, Token};
use cdk::wallet::{ReceiveOptions, SendOptions};

use super::error::WalletError;
use super::redeemer::Redeemer;

/// Pieces that the mint is asked about in one request.
const PIECES: usize = 100;

impl Redeemer {
    /// Takes this much ehash out of the wallet and hands it over as a Cashu token, which another wallet receives. Asks
    /// the mint for change where the pieces don't fit. A token that can't be handed over is taken back.
    ///
    /// # Errors
    /// There is not so much in it, the mint can't be reached for the change, or the token can't be handed over.
    pub async fn send<H>(&self, amount: u64, hand_over: H) -> Result<(), WalletError>
    where
        H: FnOnce(&str) -> io::Result<()>,
    {
        let wallet = self.wallet();
        let prepared = wallet.prepare_send(amount.into(), SendOptions::default()).await?;
        let operation = prepared.operation_id();
        let token = prepared.confirm(None).await?;
        match hand_over(&token.to_string()) {
            Ok(()) => Ok(()),
            Err(lost) => match wallet.revoke_send(operation).await {
                Ok(_) => Err(WalletError::NotHandedOver(lost)),
                Err(source) => Err(WalletError::NotTakenBack { lost, source }),
            },
        }
    }

    /// Receives a Cashu token of this wallet's mint and unit; returns its amount.
    ///
    /// # Errors
    /// It is no token, one of another mint or unit, or was received before; or the mint can't be reached.
    pub async fn receive(&self, token: &str) -> Result<u64, WalletError> {
        token.parse::<Token>().map_err(|_| WalletError::NoToken)?;
        Ok(self.wallet().receive(token, ReceiveOptions::default()).await?.to_u64())
    }

    /// Takes back every token that was sent and that nobody has received, and finishes what was interrupted. Returns how
    /// much it was.
    ///
    /// # Errors
    /// The mint can't be reached, or refuses. What was taken back until then is in the wallet.
    pub async fn reclaim(&self) -> Result<u64, WalletError> {
        let wallet = self.wallet();
        wallet.recover_incomplete_sagas().await?;
        let before = self.balance().await?;
        // By the pieces, not by CDK's operations: its recovery forgets the operation, and leaves the pieces as they are.
        let sent = wallet.get_pending_spent_proofs().await?;
        for pieces in sent.chunks(PIECES) {
            let states = wallet.check_proofs_spent(pieces.to_vec()).await?;
            let spent = states.iter().filter(|piece| piece.state == State::Spent);
            let spent: HashSet<_> = spent.map(|piece| piece.y).collect();
            let mut left = pieces.to_vec();
            left.retain(|piece| piece.y().is_ok_and(|y| !spent.contains(&y)));
            if left.is_empty() {
                continue;
            }
            // The mint changes them for new ones, so that nobody else can any more.
            wallet.unreserve_proofs(left.ys().map_err(cdk::Error::from)?).await?;
            wallet
                .swap(None, SplitTarget::default(), left, None, false, false)
                .await?;
        }
        Ok(self.balance().await?.saturating_sub(before))
    }
}
