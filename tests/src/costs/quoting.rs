//! Quotes made of a pool's requests: what the batcher does, from the desk to the answers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bitcoin::hashes::{Hash as _, sha256};
use mint::{Batching, QuoteBatcher, QuoteDesk};
use mint_link::{HeaderHash, MintQuoteRequest, QuoteAnswer};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{Operation, Statistics, open, runtime};
use crate::stored::LOCKING_KEY;

/// One batch: its requests are handed in, their quotes are committed and paid, and the answers are given.
pub struct Quoting {
    runtime: Runtime,
    desk: QuoteDesk,
    locking_key: Vec<u8>,
    batch: u64,
    made: u64,
    answering: mpsc::Sender<QuoteAnswer>,
    answers: mpsc::Receiver<QuoteAnswer>,
    database: PathBuf,
    _folder: TempDir,
}

impl Quoting {
    /// Batches of so many requests, to an empty database that is made in `folder` and does not outlive this.
    pub fn new(folder: &Path, batch: u16, statistics: Statistics) -> Self {
        let runtime = runtime();
        let folder = tempfile::tempdir_in(folder).unwrap();
        let database = folder.path().join("mint.sqlite");
        let store = runtime.block_on(open(&database, statistics));
        let batching = Batching {
            max_batch: batch.into(),
            // However slow this is made by whoever counts: a batch is complete when all its requests are there.
            linger: Duration::from_secs(600),
            queue: batch.into(),
        };
        let (batcher, desk) = QuoteBatcher::new(store, &["hash".to_owned()], batching);
        runtime.spawn(batcher.run(CancellationToken::new()));
        let (answering, answers) = mpsc::channel(batch.into());
        Self {
            runtime,
            desk,
            locking_key: hex::decode(LOCKING_KEY).unwrap(),
            batch: batch.into(),
            made: 0,
            answering,
            answers,
            database,
            _folder: folder,
        }
    }

    /// The database.
    pub fn database(&self) -> &Path {
        &self.database
    }

    fn request(&self, n: u64) -> MintQuoteRequest {
        MintQuoteRequest {
            amount: 32,
            unit: "HASH".to_owned(),
            // Scattered, as hashes are.
            header_hash: HeaderHash(sha256::Hash::hash(&n.to_le_bytes()).to_byte_array()),
            description: None,
            locking_key: self.locking_key.clone(),
        }
    }
}

impl Operation for Quoting {
    fn once(&mut self) {
        let first = self.made;
        self.made += self.batch;
        let requests: Vec<_> = (first..self.made).map(|n| self.request(n)).collect();
        self.runtime.block_on(async {
            for request in requests {
                let answering = self.answering.clone();
                let answer = move |answer| answering.try_send(answer).unwrap();
                self.desk.hand_in(request, answer).await;
            }
            for _ in first..self.made {
                let answer = self.answers.recv().await.unwrap();
                assert!(matches!(answer, QuoteAnswer::Created { .. }), "{answer:?}");
            }
        });
    }
}
