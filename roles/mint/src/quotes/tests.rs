//! The engine on a real database with the ledger in between.

use std::path::PathBuf;

use cdk_common::database::MintQuotesDatabase;
use cdk_sqlite::mint::MintSqliteDatabase;
use mint_ledger::{Ledger, LedgerOptions};
use mint_link::{HeaderHash, MintQuoteRequest};

use super::{order::MAX_AMOUNT, *};

/// Generator point and its double: two valid compressed keys.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER_KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

struct Engine {
    _folder: tempfile::TempDir,
    path: PathBuf,
    ledger: Ledger,
    batcher: Option<QuoteBatcher>,
    desk: QuoteDesk,
    stop: CancellationToken,
}

impl Engine {
    /// An engine whose batcher does not run yet.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mint.sqlite");
        let database = Arc::new(MintSqliteDatabase::new(&path).await.unwrap());
        let ledger = Ledger::open(database, &path, LedgerOptions::default()).await.unwrap();
        let batching = Batching {
            max_batch: 100,
            linger: Duration::from_millis(2),
            queue: 1000,
        };
        let units = ["hash".to_owned(), "hash_7".to_owned()];
        let (batcher, desk) = QuoteBatcher::new(Arc::new(ledger.clone()), &units, batching);
        Self {
            _folder: folder,
            path,
            ledger,
            batcher: Some(batcher),
            desk,
            stop: CancellationToken::new(),
        }
    }

    fn run(&mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.batcher.take().unwrap().run(self.stop.clone()))
    }

    /// Hands all in before the batcher runs, and returns the answers in their order.
    async fn answers(&mut self, requests: Vec<MintQuoteRequest>) -> Vec<QuoteAnswer> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let count = requests.len();
        for (position, request) in requests.into_iter().enumerate() {
            let sender = sender.clone();
            self.desk
                .hand_in(request, move |answer| sender.send((position, answer)).unwrap())
                .await;
        }
        if self.batcher.is_some() {
            self.run();
        }
        let mut answers = vec![None; count];
        for _ in 0..count {
            let (position, answer) = receiver.recv().await.unwrap();
            assert!(answers[position].replace(answer).is_none(), "answered twice");
        }
        answers.into_iter().flatten().collect()
    }

    fn by_hand(&self, sql: &str) {
        rusqlite::Connection::open(&self.path)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

fn request(hash: u8, amount: u64) -> MintQuoteRequest {
    MintQuoteRequest {
        amount,
        unit: "HASH".to_owned(),
        header_hash: HeaderHash([hash; 32]),
        description: None,
        locking_key: hex::decode(KEY).unwrap(),
    }
}

fn quote_id(answer: &QuoteAnswer) -> &str {
    match answer {
        QuoteAnswer::Created { quote_id, .. } => quote_id,
        QuoteAnswer::Refused { .. } => panic!("{answer:?}"),
    }
}

fn code(answer: &QuoteAnswer) -> RefusalCode {
    match answer {
        QuoteAnswer::Refused { code, .. } => *code,
        QuoteAnswer::Created { .. } => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn what_waits_is_made_and_paid_in_one_transaction() {
    let mut engine = Engine::new().await;
    let version = engine.ledger.subscribe().borrow().version;
    let answers = engine
        .answers((0..100).map(|n| request(n, 1 << (n % 60))).collect())
        .await;
    assert_eq!(engine.desk.counters().batches(), 1);
    let totals = engine.ledger.subscribe().borrow().clone();
    assert_eq!(
        (totals.version, totals.ehash.quotes.paid, totals.ehash.quotes.unpaid),
        (version + 1, 100, 0)
    );
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.header_hash(), Some(HeaderHash([n as u8; 32])));
        let quote = engine
            .ledger
            .get_mint_quote(&quote_id(answer).parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(quote.request, HeaderHash([n as u8; 32]).to_string());
        assert_eq!(quote.pubkey.unwrap().to_hex(), KEY);
        assert_eq!(
            (quote.amount_paid().value(), quote.amount.unwrap().value()),
            (1 << (n % 60), 1 << (n % 60))
        );
        assert_eq!(quote.unit.to_string(), "hash");
    }
    assert!(engine.ledger.audit().await.unwrap().is_consistent());
}

#[tokio::test]
async fn more_than_a_batch_goes_on_in_the_next() {
    let mut engine = Engine::new().await;
    engine.answers((0..250).map(|n| request(n, 1)).collect()).await;
    assert_eq!(engine.desk.counters().batches(), 3);
    assert_eq!(engine.desk.counters().created(), 250);
}

#[tokio::test]
async fn a_repeated_request_gets_the_quote_that_it_has() {
    let mut engine = Engine::new().await;
    let in_one_batch = engine.answers(vec![request(1, 8), request(2, 8), request(1, 8)]).await;
    assert_eq!(quote_id(&in_one_batch[0]), quote_id(&in_one_batch[2]));
    assert_ne!(quote_id(&in_one_batch[0]), quote_id(&in_one_batch[1]));
    let later = engine.answers(vec![request(1, 8)]).await;
    assert_eq!(quote_id(&later[0]), quote_id(&in_one_batch[0]));
    let counters = engine.desk.counters();
    assert_eq!((counters.created(), counters.repeated()), (2, 2));
    assert_eq!(engine.ledger.subscribe().borrow().ehash.amounts.paid, 16);
}

#[tokio::test]
async fn a_conflicting_repetition_is_refused_with_code_2_and_changes_nothing() {
    let mut engine = Engine::new().await;
    let other_key = MintQuoteRequest {
        locking_key: hex::decode(OTHER_KEY).unwrap(),
        ..request(1, 8)
    };
    let answers = engine
        .answers(vec![request(1, 8), request(1, 16), other_key, request(2, 8)])
        .await;
    for answer in &answers[1..3] {
        assert_eq!(code(answer), RefusalCode::Conflict);
        assert_eq!(answer.header_hash(), Some(HeaderHash([1; 32])));
    }
    quote_id(&answers[3]);
    assert_eq!(engine.ledger.subscribe().borrow().ehash.amounts.paid, 16);
}

#[tokio::test]
async fn a_request_that_is_repeated_in_the_next_epoch_gets_the_quote_that_it_has_in_its_own() {
    let mut engine = Engine::new().await;
    let next_epoch = MintQuoteRequest {
        unit: "hash_7".to_owned(),
        ..request(1, 8)
    };
    let answers = engine.answers(vec![request(1, 8), next_epoch]).await;
    assert_eq!(quote_id(&answers[0]), quote_id(&answers[1]));
    let totals = engine.ledger.subscribe().borrow().clone();
    assert_eq!((totals.ehash.quotes.paid, totals.units.len()), (1, 1));
    assert_eq!(&*totals.units[0].unit, "hash");
}

#[tokio::test]
async fn what_can_never_be_a_quote_is_refused_with_its_code() {
    let mut engine = Engine::new().await;
    let with_key = |key: &[u8]| MintQuoteRequest {
        locking_key: key.to_vec(),
        ..request(1, 8)
    };
    let with_unit = |unit: &str| MintQuoteRequest {
        unit: unit.to_owned(),
        ..request(1, 8)
    };
    let uncompressed = [&[4; 1][..], &[7; 64]].concat();
    let off_the_curve = [&[2; 1][..], &[0xff; 32]].concat();
    for (request, expected) in [
        (request(1, 0), RefusalCode::Amount),
        (request(1, MAX_AMOUNT + 1), RefusalCode::Amount),
        (with_key(&[]), RefusalCode::LockingKey),
        (with_key(&uncompressed), RefusalCode::LockingKey),
        (with_key(&off_the_curve), RefusalCode::LockingKey),
        (with_unit("sat"), RefusalCode::Other),
        (with_unit(""), RefusalCode::Other),
    ] {
        assert_eq!(code(&engine.desk.request(request).await), expected);
        assert!(engine.desk.counters().refused(expected) > 0);
    }
    let answers = engine
        .answers(vec![request(1, 1), request(2, MAX_AMOUNT), request(3, MAX_AMOUNT)])
        .await;
    answers.iter().for_each(|answer| drop(quote_id(answer).to_owned()));
    assert!(engine.ledger.audit().await.unwrap().is_consistent());
}

#[tokio::test]
async fn one_that_cannot_be_stored_does_not_take_the_batch_with_it() {
    let mut engine = Engine::new().await;
    let bad = HeaderHash([3; 32]);
    engine.by_hand(&format!(
        "CREATE TRIGGER broken BEFORE INSERT ON mint_quote WHEN NEW.request = '{bad}'
         BEGIN SELECT RAISE(ABORT, 'broken'); END"
    ));
    let answers = engine.answers((0..6).map(|n| request(n, 8)).collect()).await;
    for (n, answer) in answers.iter().enumerate() {
        if n == 3 {
            // Not final: a share must not be lost to a database that is in trouble now.
            assert_eq!(code(answer), RefusalCode::Busy);
        } else {
            quote_id(answer);
        }
    }
    assert_eq!(engine.ledger.subscribe().borrow().ehash.quotes.paid, 5);
    engine.by_hand("DROP TRIGGER broken");
    quote_id(&engine.answers(vec![request(3, 8)]).await[0]);
    assert!(engine.desk.counters().healthy());
    assert!(engine.ledger.audit().await.unwrap().is_consistent());
}

#[tokio::test]
async fn while_the_database_refuses_commits_all_are_told_to_try_again() {
    let mut engine = Engine::new().await;
    // Fails at COMMIT: a deferred foreign key.
    engine.by_hand(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER broken AFTER INSERT ON mint_quote BEGIN INSERT INTO child VALUES (9); END",
    );
    let answers = engine.answers((0..10).map(|n| request(n, 8)).collect()).await;
    assert!(answers.iter().all(|answer| code(answer) == RefusalCode::Busy));
    assert!(!engine.desk.counters().healthy());
    // All together, three by themselves, and the others not at all.
    assert_eq!(engine.desk.counters().batches(), 4);
    assert_eq!(engine.ledger.subscribe().borrow().ehash.quotes.paid, 0);
    engine.by_hand("DROP TRIGGER broken");
    let answers = engine.answers((0..4).map(|n| request(n, 8)).collect()).await;
    answers.iter().for_each(|answer| drop(quote_id(answer).to_owned()));
    assert_eq!(engine.ledger.subscribe().borrow().ehash.quotes.paid, 4);
}

#[tokio::test]
async fn a_quote_that_was_made_and_not_paid_is_paid_when_it_is_asked_for_again() {
    let mut engine = Engine::new().await;
    let answers = engine.answers(vec![request(1, 8)]).await;
    engine.by_hand("DELETE FROM mint_quote_payments; UPDATE mint_quote SET amount_paid = 0");
    engine.ledger.rebase().await.unwrap();
    let again = engine.answers(vec![request(1, 8)]).await;
    assert_eq!(quote_id(&again[0]), quote_id(&answers[0]));
    assert_eq!(engine.ledger.subscribe().borrow().ehash.amounts.paid, 8);
}

#[tokio::test]
async fn on_stop_what_was_taken_in_is_finished_and_nothing_more_is() {
    let mut engine = Engine::new().await;
    let waiting = (0..150).map(|n| {
        let desk = engine.desk.clone();
        tokio::spawn(async move { desk.request(request(n, 1)).await })
    });
    let waiting: Vec<_> = waiting.collect();
    tokio::task::yield_now().await;
    engine.stop.cancel();
    engine.run().await.unwrap();
    for answer in waiting {
        quote_id(&answer.await.unwrap());
    }
    assert_eq!(code(&engine.desk.request(request(200, 1)).await), RefusalCode::Busy);
}
