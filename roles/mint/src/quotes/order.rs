//! A quote request, checked: what is left to decide needs the database.

use cdk::nuts::{CurrencyUnit, PublicKey};
use mint_link::{HeaderHash, MintQuoteRequest, RefusalCode};

/// The largest amount of a quote, 2^62: SQLite stores 63 bits, and two of these still add up in 64.
pub(crate) const MAX_AMOUNT: u64 = 1 << 62;

/// A request that the mint can serve.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) header_hash: HeaderHash,
    /// 1 to [`MAX_AMOUNT`].
    pub(crate) amount: u64,
    pub(crate) unit: CurrencyUnit,
    /// Who may mint the quote (NUT-20).
    pub(crate) locking_key: PublicKey,
    pub(crate) description: Option<String>,
}

impl Order {
    /// Checks what the request itself tells: its amount, its locking key, and that its unit is one of `units`, in
    /// whatever case.
    pub(crate) fn check(request: MintQuoteRequest, units: &[String]) -> Result<Self, (RefusalCode, String)> {
        let unit = CurrencyUnit::custom(request.unit.as_str());
        let name = unit.to_string();
        if !units.contains(&name) {
            return Err((RefusalCode::Other, format!("the mint has no unit {name:?}")));
        }
        if !(1..=MAX_AMOUNT).contains(&request.amount) {
            let message = format!("amount {}: allowed are 1 to {MAX_AMOUNT}", request.amount);
            return Err((RefusalCode::Amount, message));
        }
        // Quotes that anybody could mint are not made: the key is what a share is paid to. Compressed keys only.
        let locking_key = match request.locking_key.first() {
            Some(2 | 3) if request.locking_key.len() == 33 => PublicKey::from_slice(&request.locking_key).ok(),
            _ => None,
        };
        let Some(locking_key) = locking_key else {
            let message = "the locking key is not a compressed secp256k1 public key";
            return Err((RefusalCode::LockingKey, message.to_owned()));
        };
        Ok(Self {
            header_hash: request.header_hash,
            amount: request.amount,
            unit,
            locking_key,
            description: request.description,
        })
    }
}
