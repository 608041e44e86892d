//! Taking ehash out of the wallet.

use cdk::wallet::SendOptions;

use super::error::WalletError;
use super::redeemer::Redeemer;

impl Redeemer {
    /// Takes this much ehash out of the wallet and returns it as a Cashu token (NUT-00), which another wallet receives.
    /// Asks the mint for change where the pieces don't fit.
    ///
    /// # Errors
    /// There is not so much in it, or the mint can't be reached for the change.
    pub async fn send(&self, amount: u64) -> Result<String, WalletError> {
        let wallet = self.wallet();
        let prepared = wallet.prepare_send(amount.into(), SendOptions::default()).await?;
        Ok(prepared.confirm(None).await?.to_string())
    }
}
