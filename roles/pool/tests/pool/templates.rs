//! Templates from another process: a provider that comes, goes, lies and keeps silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use binary_sv2::B064KOwned;
use pool::templates::{Source, Sv2TpSection, TemplateStatus, Templates, TemplatesSection, Work, start};
use provider_test::{Client, Provider, setup_error, setup_success, template, tip};
use sv2_transport::{AuthorityKeypair, AuthorityPublicKey, Frame};
use template_distribution_sv2::{CoinbaseOutputConstraints, NewTemplateOwned, SubmitSolutionOwned};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const CONSTRAINTS: CoinbaseOutputConstraints = CoinbaseOutputConstraints {
    coinbase_output_max_additional_size: 31,
    coinbase_output_max_additional_sigops: 1,
};
/// A bound against hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// What dials, as a pool runs it.
struct Dialling {
    templates: Templates,
    work: watch::Receiver<Option<Arc<Work>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Dialling {
    fn to(provider: &Provider) -> Self {
        Self::with(provider, Some(provider.authority()), |_| ())
    }

    fn with(provider: &Provider, key: Option<AuthorityPublicKey>, change: impl FnOnce(&mut Sv2TpSection)) -> Self {
        let mut config = TemplatesSection {
            source: Source::Sv2Tp,
            ..TemplatesSection::default()
        };
        config.sv2_tp.address = provider.address().to_string();
        config.sv2_tp.authority_key = key;
        change(&mut config.sv2_tp);
        config.check().unwrap();
        let stop = CancellationToken::new();
        let (templates, task) = start(&config, CONSTRAINTS, stop.clone()).unwrap();
        let work = templates.work();
        Self {
            templates,
            work,
            stop,
            task,
        }
    }

    /// Waits for work that is as wanted.
    async fn work(&mut self, wanted: impl Fn(&Work) -> bool) -> Arc<Work> {
        let seen = self.work.wait_for(|work| work.as_deref().is_some_and(&wanted));
        timeout(PATIENCE, seen).await.unwrap().unwrap().clone().unwrap()
    }

    /// Waits for a status that is as wanted: nothing tells its changes, for nobody waits for them but a test.
    async fn status(&self, wanted: impl Fn(&TemplateStatus) -> bool) -> TemplateStatus {
        let begun = Instant::now();
        loop {
            let status = self.templates.status();
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn away(&self, reason: &str) -> TemplateStatus {
        let wanted = |status: &TemplateStatus| {
            !status.connected
                && status
                    .problem
                    .as_deref()
                    .is_some_and(|problem| problem.contains(reason))
        };
        self.status(wanted).await
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

fn paying(template: NewTemplateOwned, value: u64) -> NewTemplateOwned {
    NewTemplateOwned {
        coinbase_tx_value_remaining: value,
        ..template
    }
}

fn block(work: &Work, nonce: u32) -> SubmitSolutionOwned {
    SubmitSolutionOwned {
        template_id: work.current.template_id,
        version: 0x2000_0000,
        header_timestamp: work.tip.header_timestamp,
        header_nonce: nonce,
        coinbase_tx: B064KOwned::try_from(vec![7; 100]).unwrap(),
    }
}

async fn first_work(client: &mut Client, dialling: &mut Dialling) -> Arc<Work> {
    client.template(template(10, true)).await;
    client.tip(tip(10, 1)).await;
    dialling.work(|work| work.tip.prev_hash.to_array() == [1; 32]).await
}

#[tokio::test]
async fn a_template_is_mined_once_its_tip_has_come_and_a_joiner_gets_the_last_current_one() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    assert_eq!(
        dialling.templates.status().current(),
        Err("no template yet: not connected".to_owned())
    );
    let mut client = provider.accept().await;
    assert_eq!(client.constraints(), CONSTRAINTS);

    client.template(template(10, true)).await;
    dialling
        .status(|status| status.templates == 1 && status.connected)
        .await;
    assert!(dialling.templates.work().borrow().is_none(), "no tip, nothing to mine");
    assert_eq!(dialling.templates.status().current(), Err("no template yet".to_owned()));
    client.tip(tip(10, 1)).await;
    let first = dialling.work(|work| work.tip.prev_hash.to_array() == [1; 32]).await;
    assert_eq!(first.current.coinbase_tx_value_remaining, 312_500_000);
    assert_eq!(dialling.templates.status().current(), Ok(()));

    client.template(template(11, true)).await;
    dialling.work(|work| work.future.is_some()).await;
    let joiner = dialling.templates.work().borrow().clone().unwrap();
    assert_eq!(joiner.current.template_id, first.current.template_id);
    assert_eq!(joiner.opening().1.prev_hash, first.tip.prev_hash);

    client.template(paying(template(12, false), 5)).await;
    let refreshed = dialling
        .work(|work| work.current.coinbase_tx_value_remaining == 5)
        .await;
    assert_eq!(refreshed.tip.prev_hash, first.tip.prev_hash);
    assert!(refreshed.future.is_some());

    client.tip(tip(11, 2)).await;
    let second = dialling.work(|work| work.tip.prev_hash.to_array() == [2; 32]).await;
    assert_eq!(
        Some(second.current.template_id),
        joiner.future.as_ref().map(|future| future.template_id)
    );
    dialling.end().await;
}

#[tokio::test]
async fn a_block_goes_back_under_the_providers_number_and_not_after_its_tip() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;

    dialling.templates.submit(block(&first, 1));
    let sent = client.solution().await;
    assert_eq!((sent.template_id, sent.header_nonce), (10, 1));
    assert_eq!(sent.coinbase_tx, block(&first, 1).coinbase_tx);

    client.template(template(11, true)).await;
    client.tip(tip(11, 2)).await;
    let second = dialling.work(|work| work.tip.prev_hash.to_array() == [2; 32]).await;
    dialling.templates.submit(block(&first, 2));
    dialling.templates.submit(block(&second, 3));
    let sent = client.solution().await;
    assert_eq!((sent.template_id, sent.header_nonce), (11, 3));
    let counts = dialling
        .status(|status| status.solutions.submitted == 2)
        .await
        .solutions;
    assert_eq!((counts.refused, counts.lost), (1, 0));
    dialling.end().await;
}

#[tokio::test]
async fn a_provider_that_goes_is_dialled_again_and_its_work_served_on_meanwhile() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;
    // Sent, and perhaps lost with the connection: nothing says so.
    dialling.templates.submit(block(&first, 1));
    client.solution().await;

    let (address, keys) = (provider.address(), provider.keys());
    drop((client, provider));
    let status = dialling.away("").await;
    assert_eq!(status.current(), Ok(()), "for a minute");
    assert!(status.age.is_some());
    let served = dialling.templates.work().borrow().clone().unwrap();
    assert_eq!(served.current.template_id, first.current.template_id);
    dialling.templates.submit(block(&first, 2));

    // It comes back at the same tip, and numbers its templates anew.
    let provider = Provider::listen_at(address, keys).await;
    let mut client = provider.accept().await;
    client.template(template(1, true)).await;
    client.tip(tip(1, 1)).await;
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let sent = client.solution().await;
        assert_eq!(sent.template_id, 1);
        nonces.push(sent.header_nonce);
    }
    assert_eq!(nonces, [1, 2]);
    let work = dialling.templates.work().borrow().clone().unwrap();
    assert_eq!(
        work.current.template_id, first.current.template_id,
        "the miners' jobs are still good"
    );
    let status = dialling.status(|status| status.solutions.submitted == 2).await;
    assert!(status.connected);
    assert_eq!((status.reconnects, status.problem), (1, None));
    dialling.end().await;
}

#[tokio::test]
async fn a_block_found_while_the_provider_was_away_is_refused_if_the_chain_has_moved_on() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;
    drop(client);
    dialling.away("").await;
    dialling.templates.submit(block(&first, 1));

    let mut client = provider.accept().await;
    client.template(template(20, true)).await;
    client.tip(tip(20, 9)).await;
    let second = dialling.work(|work| work.tip.prev_hash.to_array() == [9; 32]).await;
    let status = dialling.status(|status| status.solutions.refused == 1).await;
    assert_eq!(status.solutions.submitted, 0);
    dialling.templates.submit(block(&second, 2));
    assert_eq!(client.solution().await.header_nonce, 2);
    dialling.end().await;
}

#[tokio::test]
async fn a_provider_that_is_silent_in_the_setup_is_left() {
    let provider = Provider::listen().await;
    let dialling = Dialling::with(&provider, Some(provider.authority()), |config| {
        config.step_timeout = Duration::from_millis(300);
    });
    // Says nothing at all.
    let silent = provider.accept_tcp().await;
    dialling.away("the handshake not done within 300ms").await;
    drop(silent);
    // Shakes hands, in time at last, and says nothing more.
    let mut shaken = loop {
        if let Some(shaken) = provider.accept_secured().await {
            break shaken;
        }
    };
    dialling.away("the setup not done within 300ms").await;
    shaken.ended().await;
    dialling.end().await;
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_dialled_again_and_its_work_served_on() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::with(&provider, Some(provider.authority()), |config| {
        config.silence_timeout = Duration::from_secs(2);
    });
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;
    dialling.away("it has said nothing for 2s").await;
    client.ended().await;
    let again = provider.accept().await;
    let served = dialling.templates.work().borrow().clone().unwrap();
    assert_eq!(served.current.template_id, first.current.template_id);
    drop(again);
    dialling.end().await;
}

#[tokio::test]
async fn what_no_provider_may_say_ends_the_session_and_changes_no_work() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;
    // What it may say: extensions nobody here knows, and messages that nobody has asked for.
    client.send(Frame::new(0x4d53, 0x71, vec![1])).await;
    client.send(Frame::new(0, 0x74, vec![1])).await;
    let bad_outputs = NewTemplateOwned {
        coinbase_tx_outputs_count: 3,
        ..template(11, false)
    };
    client.template(bad_outputs).await;
    dialling.away("it broke the protocol").await;
    client.ended().await;

    let mut client = provider.accept().await;
    client.send(Frame::new(0, 0x71, vec![0xff; 7])).await;
    dialling.away("a message whose fields don't fit").await;
    client.ended().await;

    let mut client = provider.accept().await;
    client.template(template(11, true)).await;
    client.tip(tip(12, 2)).await;
    dialling.away("a tip that makes template 12 current").await;
    client.ended().await;

    let mut client = provider.accept().await;
    client.template(template(11, false)).await;
    dialling.away("before there was a tip").await;
    client.ended().await;

    // Bytes that are no frames, at once.
    let mut stream = provider.accept_tcp().await;
    stream.write_all(&[0x42; 1000]).await.unwrap();
    dialling.away("does not decrypt").await;

    let served = dialling.templates.work().borrow().clone().unwrap();
    assert_eq!(served.current.template_id, first.current.template_id);
    let mut client = provider.accept().await;
    client.template(template(30, true)).await;
    client.tip(tip(30, 3)).await;
    dialling.work(|work| work.tip.prev_hash.to_array() == [3; 32]).await;
    dialling.end().await;
}

#[tokio::test]
async fn a_provider_with_another_key_gives_no_template() {
    let provider = Provider::listen().await;
    let pinned = AuthorityKeypair::generate().public();
    let dialling = Dialling::with(&provider, Some(pinned), |_| ());
    // The provider's end takes the handshake for done: it is the client that breaks it off.
    let mut client = provider.accept_secured().await.unwrap();
    client.ended().await;
    dialling.away("the peer does not hold the pinned authority key").await;
    dialling.end().await;

    // On this machine a provider may do without a key.
    let mut dialling = Dialling::with(&provider, None, |_| ());
    let mut client = provider.accept().await;
    first_work(&mut client, &mut dialling).await;
    dialling.end().await;
}

#[tokio::test]
async fn a_refusal_of_the_setup_is_told_and_tried_again() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept_secured().await.unwrap();
    client.expect_setup().await;
    client.send(setup_error("unsupported-protocol")).await;
    dialling.away("it refused the setup: unsupported-protocol").await;

    let mut client = provider.accept_secured().await.unwrap();
    client.expect_setup().await;
    client.send(Frame::new(0, 0x71, vec![])).await;
    dialling.away("it answered the setup with message 0x71").await;

    let mut client = provider.accept_secured().await.unwrap();
    client.expect_setup().await;
    let mut version_3 = setup_success();
    version_3.payload[0] = 3;
    client.send(version_3).await;
    dialling.away("it chose version 3").await;

    let mut client = provider.accept().await;
    first_work(&mut client, &mut dialling).await;
    dialling.end().await;
}

#[tokio::test]
async fn a_stop_sends_the_blocks_that_wait_and_closes_the_connection() {
    let provider = Provider::listen().await;
    let mut dialling = Dialling::to(&provider);
    let mut client = provider.accept().await;
    let first = first_work(&mut client, &mut dialling).await;
    dialling.templates.submit(block(&first, 1));
    dialling.stop.cancel();
    assert_eq!(client.solution().await.header_nonce, 1);
    client.ended().await;
    dialling.end().await;
}

#[tokio::test]
async fn a_pool_is_ready_once_it_has_a_template_and_shows_where_it_comes_from() {
    let provider = Provider::listen().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = pool::PoolConfig {
        data_dir: dir.path().join("pool"),
        ..pool::PoolConfig::default()
    };
    config.mint_link.listen = "127.0.0.1:0".parse().unwrap();
    config.mining.listen = "127.0.0.1:0".parse().unwrap();
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned();
    config.mining.reward_address = Some(address.try_into().unwrap());
    config.dashboard.listen = "127.0.0.1:0".parse().unwrap();
    config.templates.source = Source::Sv2Tp;
    config.templates.sv2_tp.address = provider.address().to_string();
    config.templates.sv2_tp.authority_key = Some(provider.authority());
    let pool = pool::start(config, CancellationToken::new()).await.unwrap();
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{}{path}", pool.dashboard_address())).await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let mut client = provider.accept().await;
    let (status, why) = get("/readyz").await;
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("no template yet"), "{why}");
    let (_, shown) = get("/api/v1/pool").await;
    assert!(
        shown.contains(r#""template":{"source":"sv2-tp""#) && shown.contains(r#""age_ms":null"#),
        "{shown}"
    );

    client.template(template(10, true)).await;
    client.tip(tip(10, 1)).await;
    let mut work = pool.templates().work();
    timeout(PATIENCE, work.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(get("/readyz").await.0, 200);
    let (_, metrics) = get("/metrics").await;
    for line in [
        r#"ehash_pool_template_source_connected{source="sv2-tp"} 1"#,
        "ehash_pool_templates_total 1",
        "ehash_pool_tips_total 1",
        "ehash_pool_blocks_lost_total 0",
        "ehash_pool_template_age_seconds",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    pool.stop().await;
    client.ended().await;
}
