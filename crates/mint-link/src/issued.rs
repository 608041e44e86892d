//! Message 0x86, mint to pool (extension 0x4D51): quotes that have been issued whole, so that the pool need not list them
//! any longer. Best effort: it is told once, to whoever is connected, after everything else.

use std::sync::Arc;

use binary_sv2::{Deserialize, Seq0255, Serialize, U256, from_bytes, to_bytes};
use sv2_transport::Frame;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{error::Malformed, extensions::ExtensionIds, messages::HeaderHash, metrics::LinkMetrics};

/// Message type of [`MintQuotesIssued`].
pub const MINT_QUOTES_ISSUED: u8 = 0x86;

/// Message 0x86, mint to pool: these quotes have been issued whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MintQuotesIssued {
    /// The hashes of the shares that the quotes are for, at most [`Self::MAX_HASHES`].
    pub header_hashes: Vec<HeaderHash>,
}

#[derive(Serialize, Deserialize)]
struct IssuedFields<'decoder> {
    header_hashes: Seq0255<'decoder, U256<'decoder>>,
}

impl MintQuotesIssued {
    /// Hashes in one message at most.
    pub const MAX_HASHES: usize = 255;

    /// The frame that carries it.
    ///
    /// # Errors
    /// [`Malformed`]: more than [`Self::MAX_HASHES`].
    pub fn to_frame(&self, extensions: &ExtensionIds) -> Result<Frame, Malformed> {
        let hashes = self.header_hashes.iter().map(|HeaderHash(hash)| hash.into());
        let payload = to_bytes(IssuedFields {
            header_hashes: Seq0255::new(hashes.collect())?,
        })?;
        Ok(Frame::new(extensions.quotes, MINT_QUOTES_ISSUED, payload))
    }

    /// Reads a payload; ignores what follows the fields known here.
    ///
    /// # Errors
    /// [`Malformed`]: cut short.
    pub fn decode(mut payload: Vec<u8>) -> Result<Self, Malformed> {
        let fields: IssuedFields<'_> = from_bytes(&mut payload)?;
        let hashes = fields.header_hashes.into_inner();
        Ok(Self {
            header_hashes: hashes.iter().map(|hash| HeaderHash(*hash.as_array())).collect(),
        })
    }
}

/// A session's place in what the mint tells of issued quotes.
pub(crate) struct Issuances {
    told: broadcast::Receiver<Arc<[HeaderHash]>>,
    /// Heard and not written yet, at most what one transaction of the mint has issued.
    pending: Vec<HeaderHash>,
}

impl Issuances {
    pub(crate) fn new(told: broadcast::Receiver<Arc<[HeaderHash]>>) -> Self {
        Self {
            told,
            pending: Vec::new(),
        }
    }

    /// What fits one message. Waits while there is nothing. Cancel-safe.
    pub(crate) async fn next(&mut self, metrics: &LinkMetrics) -> MintQuotesIssued {
        while self.pending.is_empty() {
            match self.told.recv().await {
                Ok(hashes) => self.pending.extend_from_slice(&hashes),
                Err(RecvError::Lagged(missed)) => metrics.issued_missed(missed),
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
        // What else is there: many wallets that mint at the same time need not make many frames.
        while self.pending.len() < MintQuotesIssued::MAX_HASHES
            && let Ok(hashes) = self.told.try_recv()
        {
            self.pending.extend_from_slice(&hashes);
        }
        let rest = self.pending.len().saturating_sub(MintQuotesIssued::MAX_HASHES);
        MintQuotesIssued {
            header_hashes: self.pending.split_off(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::vector;

    fn issued() -> MintQuotesIssued {
        MintQuotesIssued {
            header_hashes: vec![HeaderHash(std::array::from_fn(|i| i as u8)), HeaderHash([0xff; 32])],
        }
    }

    fn hashes(count: usize) -> Arc<[HeaderHash]> {
        (0..count).map(|n| HeaderHash([n as u8; 32])).collect()
    }

    #[test]
    fn vector_of_issued_quotes() {
        assert_eq!(
            issued().to_frame(&ExtensionIds::default()).unwrap(),
            vector("quotes-issued")
        );
        assert_eq!(
            MintQuotesIssued::decode(vector("quotes-issued").payload).unwrap(),
            issued()
        );
    }

    #[test]
    fn issued_quotes_cut_short_are_malformed_and_longer_ones_are_read() {
        let payload = vector("quotes-issued").payload;
        for end in 0..payload.len() {
            assert!(MintQuotesIssued::decode(payload[..end].to_vec()).is_err(), "{end}");
        }
        let longer = [payload, vec![1, 2, 3]].concat();
        assert_eq!(MintQuotesIssued::decode(longer).unwrap(), issued());
        let none = MintQuotesIssued::default();
        let frame = none.to_frame(&ExtensionIds::default()).unwrap();
        assert_eq!(MintQuotesIssued::decode(frame.payload).unwrap(), none);
        let many = MintQuotesIssued {
            header_hashes: hashes(256).to_vec(),
        };
        assert!(many.to_frame(&ExtensionIds::default()).is_err());
    }

    #[tokio::test]
    async fn what_is_heard_goes_out_whole_in_as_few_messages_as_it_needs() {
        let (told, receiver) = broadcast::channel(8);
        let (mut issuances, metrics) = (Issuances::new(receiver), LinkMetrics::default());
        for count in [1, 2, 600] {
            told.send(hashes(count)).unwrap();
        }
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 603 {
            sizes.push(issuances.next(&metrics).await.header_hashes.len());
        }
        assert_eq!(sizes, [255, 255, 93]);
    }

    #[tokio::test]
    async fn who_is_too_slow_misses_the_oldest_and_it_is_counted() {
        let (told, receiver) = broadcast::channel(2);
        let (mut issuances, metrics) = (Issuances::new(receiver), LinkMetrics::default());
        for count in 1..=5 {
            told.send(hashes(count)).unwrap();
        }
        assert_eq!(issuances.next(&metrics).await.header_hashes.len(), 4 + 5);
        assert_eq!(metrics.read().issued_missed, 3);
    }
}
