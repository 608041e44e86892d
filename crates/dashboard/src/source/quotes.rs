//! Quotes of one locking key: what is asked of a pool, and what it answers.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::Serialize;
use utoipa::ToSchema;

use super::as_decimal;

/// A compressed secp256k1 public key that locks quotes (NUT-20), as 66 hex digits. Its form is checked, not whether it
/// is a point of the curve: a key that nobody can have owns no quotes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockingKey([u8; 33]);

impl LockingKey {
    pub(crate) const FORM: &str = "key must be a compressed public key: 66 hex digits that begin with 02 or 03";

    /// The 33 bytes, the first of which is 2 or 3.
    pub fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

/// A text that is not a [`LockingKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", LockingKey::FORM)]
pub struct InvalidLockingKey;

impl FromStr for LockingKey {
    type Err = InvalidLockingKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 33];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidLockingKey)?;
        matches!(bytes, [2 | 3, ..])
            .then_some(Self(bytes))
            .ok_or(InvalidLockingKey)
    }
}

impl fmt::Display for LockingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LockingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockingKey({self})")
    }
}

/// Which quotes are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteQuery {
    /// The key that locks them.
    pub key: LockingKey,
    /// Only those after this position, which an earlier page ended at; 0 from the first.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// Quotes of one locking key, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotePage {
    /// The quotes, at most [`QuoteQuery::limit`].
    pub quotes: Vec<QuoteRef>,
    /// The position to go on after, if there may be more.
    pub next: Option<u64>,
}

/// A quote that a wallet can mint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuoteRef {
    /// The mint's id of it, a UUID.
    pub quote_id: String,
    /// Its amount in the unit's smallest denomination. In JSON a decimal string.
    #[serde(serialize_with = "as_decimal")]
    #[schema(value_type = String)]
    pub amount: u64,
    /// Its currency unit.
    #[schema(value_type = String)]
    pub unit: Cow<'static, str>,
}

/// The quotes can't be read right now. The reason is for the log; clients learn only the fact.
#[derive(Debug, thiserror::Error)]
#[error("the quotes can't be read: {0}")]
pub struct QuotesUnavailable(pub Box<dyn std::error::Error + Send + Sync>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locking_key_is_66_hex_digits_beginning_with_02_or_03() {
        let key = format!("02{}", "Ab".repeat(32));
        assert_eq!(key.parse::<LockingKey>().unwrap().to_string(), key.to_lowercase());
        for bad in [
            "",
            "02",
            &key[2..],
            &format!("04{}", &key[2..]),
            &format!("0é{}", &key[3..]),
            &format!("{key}00"),
        ] {
            assert_eq!(bad.parse::<LockingKey>(), Err(InvalidLockingKey), "{bad:?}");
        }
    }
}
