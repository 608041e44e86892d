//! Bitcoin Core's interface as far as it can be tried without a node: sockets where nobody is, where somebody is silent,
//! and where somebody speaks something else.

use std::path::Path;
use std::time::{Duration, Instant};

use pool::templates::{Source, Templates, TemplatesSection, start};
use template_distribution_sv2::CoinbaseOutputConstraints;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn dialling(socket: &Path, stop: &CancellationToken) -> (Templates, JoinHandle<()>) {
    let mut config = TemplatesSection {
        source: Source::BitcoinCore,
        ..TemplatesSection::default()
    };
    config.bitcoin_core.socket = socket.to_owned();
    config.check().unwrap();
    let constraints = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 31,
        coinbase_output_max_additional_sigops: 1,
    };
    start(&config, constraints, stop.clone()).unwrap()
}

async fn away(templates: &Templates, reason: &str) {
    let begun = Instant::now();
    loop {
        let status = templates.status();
        if status
            .problem
            .as_deref()
            .is_some_and(|problem| problem.contains(reason))
        {
            assert!(!status.connected);
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_dialled_again_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("node.sock");
    let stop = CancellationToken::new();
    let (templates, task) = dialling(&socket, &stop);
    away(&templates, "CannotConnectToUnixSocket").await;
    assert!(templates.status().current().is_err());

    // Somebody listens now, and it is no node.
    let listener = UnixListener::bind(&socket).unwrap();
    for _ in 0..2 {
        let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    }
    away(&templates, "failed to initialize").await;
    stop.cancel();
    timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_silent_node_holds_up_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("node.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let stop = CancellationToken::new();
    let (templates, task) = dialling(&socket, &stop);
    let (_silent, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert!(!templates.status().connected);
    let begun = Instant::now();
    stop.cancel();
    timeout(PATIENCE, task).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
