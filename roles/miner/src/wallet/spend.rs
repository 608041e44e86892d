//! Taking ehash out of the wallet as Cashu tokens (NUT-00), and back in.
//!
//! CDK keeps the pieces that a token was made of until somebody is known to have received them. So a token that got lost
//! on its way to whoever it was for is not lost: [`Redeemer::reclaim`] takes it back.

use std::collections::HashMap;
use std::io;

use cdk::amount::SplitTarget;
use cdk::nuts::{CheckStateRequest, Proof, Proofs, PublicKey, State, Token};
use cdk::wallet::{ReceiveOptions, SendOptions};

use super::error::WalletError;
use super::redeemer::Redeemer;
use super::round::RoundError;
use super::store::PIECES;
use super::{recovery, restore};

/// More pieces than this are made fewer before a token is made of them: mints take no more than 1,000 in one request.
const MANY: usize = 200;

/// As many are swapped for fewer at once.
const SWAPPED: usize = 500;

/// Where in the database's key-value store the pieces of tokens are that are being taken back.
const RECLAIMING: (&str, &str) = ("miner", "reclaim");

impl Redeemer {
    /// Takes this much ehash out of the wallet and hands it over as a Cashu token, which another wallet receives. Asks
    /// the mint whether the pieces are worth something, and for change where they don't fit or are many. A token that
    /// can't be handed over is taken back.
    ///
    /// # Errors
    /// There is not so much in it, the mint can't be reached, or the token can't be handed over.
    pub async fn send<H>(&self, amount: u64, hand_over: H) -> Result<(), WalletError>
    where
        H: FnOnce(&str) -> io::Result<()>,
    {
        let sent = self.store().while_it_answers(self.take_out(amount, hand_over)).await;
        sent.map_err(|error| self.explain(error))
    }

    async fn take_out<H>(&self, amount: u64, hand_over: H) -> Result<(), WalletError>
    where
        H: FnOnce(&str) -> io::Result<()>,
    {
        self.recover().await?;
        self.merge().await?;
        let wallet = self.wallet();
        let prepared = match wallet.prepare_send(amount.into(), SendOptions::default()).await {
            Err(cdk::Error::InsufficientFunds) => {
                let balance = self.balance().await?;
                return Err(WalletError::Funds { balance });
            }
            prepared => prepared?,
        };
        // An older copy of the database has pieces that are spent: without change nobody would notice.
        let states = self.states(&prepared.proofs()).await;
        if !matches!(&states, Ok(states) if states.values().all(|state| *state == State::Unspent)) {
            prepared.cancel().await?;
            states?;
            restore::mark(&self.store().data_dir)?;
            return Err(WalletError::Behind);
        }
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

    /// Swaps the smallest pieces for larger ones while there are many: each quote that was redeemed by itself has left some.
    async fn merge(&self) -> Result<(), WalletError> {
        let mut pieces = self.wallet().get_unspent_proofs().await?;
        while pieces.len() > MANY {
            let before = pieces.len();
            pieces.sort_by_key(|piece| piece.amount);
            pieces.truncate(SWAPPED);
            let merging = self
                .wallet()
                .swap(None, SplitTarget::default(), pieces, None, false, false);
            merging.await?;
            pieces = self.wallet().get_unspent_proofs().await?;
            if pieces.len() >= before {
                break;
            }
        }
        Ok(())
    }

    /// Receives a Cashu token of this wallet's mint and unit; returns its amount.
    ///
    /// # Errors
    /// It is no token, one of another mint or unit, or has been received already; or the mint can't be reached.
    pub async fn receive(&self, token: &str) -> Result<u64, WalletError> {
        let received = self.store().while_it_answers(self.take_in(token)).await;
        received.map_err(|error| self.explain(error))
    }

    async fn take_in(&self, token: &str) -> Result<u64, WalletError> {
        let parsed: Token = token.parse().map_err(|_| WalletError::NoToken)?;
        self.recover().await?;
        let wallet = self.wallet();
        let keysets = wallet.mint_connector().get_mint_keysets().await?.keysets;
        // CDK would begin, and never be done with, what the mint refuses.
        let pieces = parsed.proofs(&keysets).map_err(|error| match parsed.mint_url() {
            Ok(theirs) if theirs != wallet.mint_url => WalletError::TokenOfOtherMint {
                theirs,
                ours: wallet.mint_url.clone(),
            },
            _ => cdk::Error::from(error).into(),
        })?;
        let states = self.states(&pieces).await?;
        match states.into_values().find(|state| *state != State::Unspent) {
            None => {
                let received = wallet.receive(token, ReceiveOptions::default()).await;
                Ok(received.map_err(outrun)?.to_u64())
            }
            Some(State::Pending) => Err(WalletError::TokenPending),
            Some(_) => Err(WalletError::TokenSpent),
        }
    }

    /// Finishes what was interrupted: a token half received, a change half made. What the mint can't be asked about now
    /// stays for the next call. To be done before anything is begun anew: CDK would begin it twice, and finish neither.
    ///
    /// # Errors
    /// The wallet's database fails, or turns out to be an older copy and the mint can't be asked for what is missing.
    pub async fn recover(&self) -> Result<(), WalletError> {
        match recovery::give_up_foreign(self.store()).await {
            Ok(true) | Err(RoundError::Behind) => {
                tracing::warn!("{}", RoundError::Behind);
                self.restore().await?;
            }
            Ok(false) | Err(RoundError::Mint(_)) => {}
            Err(RoundError::Wallet(error)) => return Err(error),
        }
        let recovered = self.wallet().recover_incomplete_sagas().await;
        recovered.map_err(|error| self.explain(error.into()))?;
        Ok(())
    }

    /// What an error of CDK means to whoever uses the wallet, and what to do.
    fn explain(&self, error: WalletError) -> WalletError {
        use cdk::Error;
        let WalletError::Wallet(error) = error else {
            return error;
        };
        match error {
            // What CDK mints, and others, say of secrets that were signed before, and of pieces of this wallet.
            Error::DuplicateOutputs
            | Error::RequestAlreadyPaid
            | Error::BlindedMessageAlreadySigned
            | Error::TokenAlreadySpent => {
                let marked = restore::mark(&self.store().data_dir);
                marked.err().unwrap_or(WalletError::Behind)
            }
            Error::HttpError(..) | Error::Timeout | Error::CouldNotGetMintInfo => WalletError::Unreachable {
                mint: self.wallet().mint_url.clone(),
                source: Box::new(error),
            },
            Error::Database(error) => error.into(),
            other => other.into(),
        }
    }

    /// Takes back every token that was sent and that nobody has received, as its receiver would. Returns how much it was.
    ///
    /// # Errors
    /// The mint can't be reached, or refuses. What was taken back until then is in the wallet.
    pub async fn reclaim(&self) -> Result<u64, WalletError> {
        let reclaimed = self.store().while_it_answers(self.take_back()).await;
        reclaimed.map_err(|error| self.explain(error))
    }

    async fn take_back(&self) -> Result<u64, WalletError> {
        let before = self.balance().await?;
        self.recover().await?;
        self.keep_sent().await?;
        let (wallet, (primary, secondary)) = (self.wallet(), RECLAIMING);
        for key in wallet.localstore.kv_list(primary, secondary).await? {
            let kept = wallet.localstore.kv_read(primary, secondary, &key).await?;
            let mut pieces: Proofs = serde_json::from_slice(&kept.unwrap_or_default()).map_err(cdk::Error::from)?;
            let states = self.states(&pieces).await?;
            let are = |piece: &Proof, wanted| piece.y().is_ok_and(|y| states.get(&y) == Some(&wanted));
            let unspent: Proofs = pieces
                .iter()
                .filter(|piece| are(piece, State::Unspent))
                .cloned()
                .collect();
            if !unspent.is_empty() {
                let received = wallet
                    .receive_proofs(unspent, ReceiveOptions::default(), None, None)
                    .await;
                received.map_err(outrun)?;
            }
            // Somebody receives these at this moment, or tries to.
            pieces.retain(|piece| are(piece, State::Pending));
            if pieces.is_empty() {
                wallet.localstore.kv_remove(primary, secondary, &key).await?;
            } else {
                self.keep(&key, &pieces).await?;
            }
        }
        Ok(self.balance().await?.saturating_sub(before))
    }

    /// Notes the pieces of all tokens that are out, for CDK forgets them if it is interrupted while it receives them.
    /// By the pieces, not by CDK's operations: its recovery forgets the operation, and leaves the pieces as they are.
    async fn keep_sent(&self) -> Result<(), WalletError> {
        let sent = self.wallet().get_pending_spent_proofs().await?;
        for pieces in sent.chunks(PIECES) {
            if let Some(first) = pieces.first() {
                let key = first.y().map_err(cdk::Error::from)?.to_hex();
                self.keep(&key, pieces).await?;
            }
        }
        Ok(())
    }

    async fn keep(&self, key: &str, pieces: &[Proof]) -> Result<(), WalletError> {
        let kept = serde_json::to_vec(pieces).map_err(cdk::Error::from)?;
        let (primary, secondary) = RECLAIMING;
        Ok(self
            .wallet()
            .localstore
            .kv_write(primary, secondary, key, &kept)
            .await?)
    }

    /// What the mint says of these pieces (NUT-07).
    async fn states(&self, pieces: &[Proof]) -> Result<HashMap<PublicKey, State>, WalletError> {
        let mut states = HashMap::with_capacity(pieces.len());
        for pieces in pieces.chunks(PIECES) {
            let ys: Result<Vec<_>, _> = pieces.iter().map(Proof::y).collect();
            let request = CheckStateRequest {
                ys: ys.map_err(cdk::Error::from)?,
            };
            let answer = self.wallet().mint_connector().post_check_state(request).await?;
            states.extend(answer.states.into_iter().map(|piece| (piece.y, piece.state)));
        }
        Ok(states)
    }
}

/// Why the mint does not take in what was unspent a moment ago: somebody else was faster, or it is too much at once.
fn outrun(error: cdk::Error) -> WalletError {
    match error {
        cdk::Error::TokenAlreadySpent => WalletError::TokenSpent,
        error @ cdk::Error::MaxInputsExceeded { .. } => WalletError::TokenTooLong(error),
        other => other.into(),
    }
}
