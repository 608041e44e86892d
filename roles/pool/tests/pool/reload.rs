//! The program reads its list of mints anew on SIGHUP.

use std::net::{SocketAddr, TcpListener};

use mint_link::{LinkStatus, MintPublicKey};
use pool::outbox::{Outbox, OutboxConfig};
use tempfile::TempDir;

use crate::mint::{Identity, Mint};
use crate::process::{run, send, serve, share, terminate, write_config};

#[tokio::test]
async fn mints_that_are_listed_anew_get_in_and_those_that_are_not_any_more_go() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (Identity::new(), Identity::new());
    let link: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = |key: &str| {
        let more = format!("[mint_link]\nlisten = \"{link}\"\nmint_public_keys = [{key}]");
        write_config(dir.path(), &more)
    };
    let text = |key: MintPublicKey| format!("\"{key}\"");
    let config = list(&text(first.public_key()));
    let authority = String::from_utf8(run(&["--config", &config, "--print-authority-key"]).stdout).unwrap();
    let authority = authority.trim().parse().unwrap();
    let (child, _) = serve(&config).await;
    let shares = Outbox::open(dir.path().join("data/outbox.sqlite"), &OutboxConfig::default()).unwrap();
    let mut view = shares.watch();

    let mut first_link = first.dial(link, authority);
    let mut second_link = second.dial(link, authority);
    let ended = |status: &LinkStatus| status.last_error.is_some();
    second_link.status.wait_for(ended).await.unwrap();
    shares.enqueue(share(1)).await.unwrap();
    view.wait_for(|view| view.tally.acknowledged == 1).await.unwrap();
    assert_eq!(made(&first_link, &second_link), (1, 0));
    assert!(first_link.status.borrow_and_update().last_error.is_none());

    list(&text(second.public_key()));
    send(&child, "HUP");
    first_link.status.wait_for(ended).await.unwrap();
    shares.enqueue(share(2)).await.unwrap();
    view.wait_for(|view| view.tally.acknowledged == 2).await.unwrap();
    assert_eq!(made(&first_link, &second_link), (1, 1));
    assert_eq!(terminate(child).await.code(), Some(0));
}

/// How many quotes each has made.
fn made(first: &Mint, second: &Mint) -> (usize, usize) {
    let count = |mint: &Mint| mint.quotes.lock().unwrap().len();
    (count(first), count(second))
}
