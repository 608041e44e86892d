use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, BlockHash, ScriptBuf, Target, TxOut};
use channels_sv2::extranonce_manager::ExtranonceAllocator;
use channels_sv2::server::{
    extended::ExtendedChannel,
    share_accounting::{ShareValidationError, ShareValidationResult},
    standard::StandardChannel,
};
use mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use tokio::sync::watch;

use super::chain::Unfit;
use super::*;
use crate::templates::config::{NetworkTarget, Source};
use crate::templates::status::Shared;
use crate::templates::{Templates, TemplatesSection, Work, start};

/// Every other hash is a block.
const EASY: u32 = 0x207f_ffff;
const CONSTRAINTS: template_distribution_sv2::CoinbaseOutputConstraints =
    template_distribution_sv2::CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 31,
        coinbase_output_max_additional_sigops: 0,
    };

fn started(n_bits: u32, stop: &CancellationToken) -> Templates {
    let config = TemplatesSection {
        embedded: EmbeddedSection {
            n_bits: NetworkTarget::try_from(n_bits).unwrap(),
            ..EmbeddedSection::default()
        },
        ..TemplatesSection::default()
    };
    start(&config, CONSTRAINTS, stop.clone()).unwrap().0
}

/// The next work for which `found` gives something.
async fn next<T>(work: &mut watch::Receiver<Option<Arc<Work>>>, mut found: impl FnMut(&Work) -> Option<T>) -> T {
    loop {
        if let Some(found) = work.borrow_and_update().as_deref().and_then(&mut found) {
            return found;
        }
        work.changed().await.unwrap();
    }
}

fn pays(work: &Work) -> Vec<TxOut> {
    vec![TxOut {
        value: Amount::from_sat(work.current.coinbase_tx_value_remaining),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
    }]
}

/// Mines a block on a standard channel as `channels_sv2` sees it.
fn mined(work: &Work) -> SubmitSolutionOwned {
    let mut extranonces = ExtranonceAllocator::new(Vec::new(), 16, 8).unwrap();
    let prefix = extranonces.allocate_standard().unwrap();
    let mut channel = StandardChannel::new_for_pool(
        1,
        "m".to_owned(),
        prefix,
        Target::MAX,
        1e6,
        1,
        6.0,
        "pool".to_owned(),
        None,
    )
    .unwrap();
    let (template, tip) = work.opening();
    channel.on_new_template(template.clone(), pays(work)).unwrap();
    channel.on_set_new_prev_hash(tip.clone()).unwrap();
    let job_id = channel.get_active_job().unwrap().get_job_id();
    for nonce in 0.. {
        let share = SubmitSharesStandardOwned {
            channel_id: 1,
            sequence_number: nonce,
            job_id,
            nonce,
            ntime: tip.header_timestamp,
            version: template.version | 0x2000,
        };
        match channel.validate_share(share) {
            Ok(ShareValidationResult::BlockFound(_, Some(template_id), coinbase)) => {
                return SubmitSolutionOwned {
                    template_id,
                    version: template.version | 0x2000,
                    header_timestamp: tip.header_timestamp,
                    header_nonce: nonce,
                    coinbase_tx: coinbase.try_into().unwrap(),
                };
            }
            Ok(_) | Err(ShareValidationError::DoesNotMeetTarget(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_block_that_a_channel_finds_becomes_the_tip() {
    let stop = CancellationToken::new();
    let templates = started(EASY, &stop);
    let mut work = templates.work();
    let first = next(&mut work, |work| Some(work.clone())).await;
    templates.submit(mined(&first));
    let second = next(&mut work, |work| {
        (work.tip.prev_hash != first.tip.prev_hash).then(|| work.clone())
    })
    .await;
    assert!(second.current.template_id > first.current.template_id);
    let hash = BlockHash::from_byte_array(second.tip.prev_hash.to_array());
    assert!(Target::from_le_bytes(second.tip.target.to_array()).is_met_by(hash));
    assert_eq!(templates.status().solutions.submitted, 1);

    // Once more, for a tip that has gone.
    templates.submit(mined(&first));
    // And one whose coinbase pays too much.
    let mut greedy = second.clone();
    greedy.current = Arc::new(template_distribution_sv2::NewTemplateOwned {
        coinbase_tx_value_remaining: second.current.coinbase_tx_value_remaining + 1,
        ..second.current.as_ref().clone()
    });
    templates.submit(mined(&greedy));
    templates.submit(mined(&second));
    next(&mut work, |work| {
        (work.tip.prev_hash != second.tip.prev_hash).then_some(())
    })
    .await;
    let counts = templates.status().solutions;
    assert_eq!((counts.submitted, counts.refused, counts.lost), (2, 2, 0));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn extended_channels_take_the_templates_too() {
    let stop = CancellationToken::new();
    let templates = started(EASY, &stop);
    let work = next(&mut templates.work(), |work| Some(work.clone())).await;
    let mut extranonces = ExtranonceAllocator::new(Vec::new(), 16, 8).unwrap();
    let prefix = extranonces.allocate_extended(8).unwrap();
    let rollable = extranonces.rollable_extranonce_size();
    let mut channel = ExtendedChannel::new_for_pool(
        1,
        "m".to_owned(),
        prefix,
        Target::MAX,
        1e6,
        true,
        u16::from(rollable),
        1,
        6.0,
        "pool".to_owned(),
        None,
    )
    .unwrap();
    let (template, tip) = work.opening();
    channel.on_new_template(template.clone(), pays(&work)).unwrap();
    channel.on_set_new_prev_hash(tip.clone()).unwrap();
    let job_id = channel.get_active_job().unwrap().get_job_id();
    let block = (0..).find_map(|nonce| {
        let share = SubmitSharesExtendedOwned {
            channel_id: 1,
            sequence_number: nonce,
            job_id,
            nonce,
            ntime: tip.header_timestamp,
            version: template.version,
            extranonce: vec![7; usize::from(rollable)].try_into().unwrap(),
        };
        match channel.validate_share(share) {
            Ok(ShareValidationResult::BlockFound(_, Some(template_id), coinbase)) => Some(SubmitSolutionOwned {
                template_id,
                version: template.version,
                header_timestamp: tip.header_timestamp,
                header_nonce: nonce,
                coinbase_tx: coinbase.try_into().unwrap(),
            }),
            _ => None,
        }
    });
    templates.submit(block.unwrap());
    let mut news = templates.work();
    next(&mut news, |work| (work.tip.prev_hash != tip.prev_hash).then_some(())).await;
    assert_eq!(templates.status().solutions.submitted, 1);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn the_chain_moves_on_by_itself_and_tells_what_comes_ahead() {
    let stop = CancellationToken::new();
    let templates = started(0x1b00_ffff, &stop);
    let mut work = templates.work();
    let first = next(&mut work, |work| Some(work.clone())).await;
    let begun = Instant::now();

    let refreshed = next(&mut work, |work| {
        (work.current.template_id != first.current.template_id).then(|| work.clone())
    });
    let refreshed = refreshed.await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(refreshed.tip.prev_hash, first.tip.prev_hash);
    assert_ne!(
        refreshed.current.coinbase_prefix, first.current.coinbase_prefix,
        "equal jobs would give equal shares"
    );

    let future = next(&mut work, |work| work.future.clone()).await;
    assert_eq!(begun.elapsed().as_secs(), 29);
    let second = next(&mut work, |work| {
        (work.tip.prev_hash != first.tip.prev_hash).then(|| work.clone())
    })
    .await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(second.current.template_id, future.template_id);
    assert_eq!(
        second.current.coinbase_tx_locktime,
        first.current.coinbase_tx_locktime + 1
    );
    assert!(second.tip.header_timestamp >= first.tip.header_timestamp);
    assert_eq!(templates.status().tips, 2);
    assert_eq!(templates.status().current(), Ok(()));
    stop.cancel();
}

#[test]
fn no_two_chains_begin_alike() {
    let mut first = chain(1);
    let mut second = chain(2);
    assert_ne!(opening(&mut first).0, opening(&mut second).0);
}

fn chain(seed: u64) -> Chain {
    Chain::new(
        NetworkTarget::try_from(EASY).unwrap(),
        StdRng::seed_from_u64(seed),
        1_700_000_000,
    )
}

fn opening(chain: &mut Chain) -> ([u8; 32], Work) {
    let template = chain.future().unwrap();
    let tip = chain.extend(None, 1_700_000_000).unwrap();
    let prev_hash = tip.prev_hash.to_array();
    let work = Work {
        tip,
        current: Arc::new(template),
        future: None,
        since: Instant::now(),
    };
    (prev_hash, work)
}

#[test]
fn a_block_that_is_not_one_is_refused_with_the_reason() {
    let mut chain = chain(3);
    let (_, work) = opening(&mut chain);
    let good = mined(&work);
    let now = 1_700_000_010;
    let judge = |solution: &SubmitSolutionOwned| chain.judge(solution, now);
    assert!(judge(&good).is_ok());
    let with = |change: fn(&mut SubmitSolutionOwned)| {
        let mut changed = good.clone();
        change(&mut changed);
        judge(&changed)
    };
    assert_eq!(with(|s| s.template_id += 1), Err(Unfit::Template));
    assert_eq!(
        with(|s| s.coinbase_tx = vec![1, 2, 3].try_into().unwrap()),
        Err(Unfit::Encoding)
    );
    assert_eq!(with(|s| s.version ^= 1), Err(Unfit::Version));
    assert_eq!(with(|s| s.header_timestamp -= 1), Err(Unfit::Time));
    assert_eq!(with(|s| s.header_timestamp += 3 * 60 * 60), Err(Unfit::Time));
    let mut other_nonces = (0..200).map(|nonce| {
        let other = SubmitSolutionOwned {
            header_nonce: good.header_nonce + 1 + nonce,
            ..good.clone()
        };
        judge(&other)
    });
    assert!(other_nonces.any(|judged| judged == Err(Unfit::Work)));
    // The lock time is the last four bytes.
    let mut coinbase = good.coinbase_tx.to_owned_bytes();
    *coinbase.last_mut().unwrap() ^= 1;
    let other_lock_time = SubmitSolutionOwned {
        coinbase_tx: coinbase.try_into().unwrap(),
        ..good.clone()
    };
    assert_eq!(judge(&other_lock_time), Err(Unfit::Coinbase));
}

#[tokio::test]
async fn solutions_that_nobody_takes_are_bounded_and_counted() {
    let shared = Arc::new(Shared::new(Source::Embedded));
    let (solutions, _inbox) = mpsc::channel(1);
    let templates = Templates { shared, solutions };
    let mut chain = chain(4);
    let (_, work) = opening(&mut chain);
    templates.submit(mined(&work));
    templates.submit(mined(&work));
    assert_eq!(templates.status().solutions.lost, 1);
}
