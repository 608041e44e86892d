//! What a page shows of the link to one pool.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use stats_push::UnixMillis;
use tokio::{sync::watch, time::sleep};

use super::negotiation::Negotiated;
use crate::error::LinkError;

/// The link to one pool, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// The pool's address, as configured.
    pub pool: Arc<str>,
    /// What goes on.
    pub state: LinkState,
    /// Why the last session or dial ended; kept while the next one works.
    pub last_error: Option<String>,
    /// Sessions set up since the start.
    pub sessions: u64,
    /// Dials and sessions that have failed since the last session was set up.
    pub failures_in_a_row: u64,
}

/// A link's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Being connected, or shaking hands.
    Dialling,
    /// Between two dials.
    Waiting {
        /// How long altogether.
        wait: Duration,
    },
    /// Set up: quotes are served.
    Connected {
        /// The address that the pool's name led to; `None` if the transport has none.
        peer: Option<SocketAddr>,
        /// Since when, by the wall clock.
        since: UnixMillis,
        /// Which extensions are on.
        negotiated: Negotiated,
    },
    /// Ended in order.
    Stopped,
}

impl LinkStatus {
    /// Whether quotes are served to this pool now.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, LinkState::Connected { .. })
    }
}

/// Writes one link's status.
#[derive(Debug)]
pub(crate) struct StatusCell(watch::Sender<LinkStatus>);

impl StatusCell {
    pub(crate) fn new(pool: Arc<str>) -> Self {
        Self(watch::Sender::new(LinkStatus {
            pool,
            state: LinkState::Dialling,
            last_error: None,
            sessions: 0,
            failures_in_a_row: 0,
        }))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<LinkStatus> {
        self.0.subscribe()
    }

    /// Waits until a session has worked for this long.
    pub(crate) async fn works_for(&self, time: Duration) {
        let mut status = self.0.subscribe();
        // The sender is this cell: it does not go away while it is waited on.
        if status.wait_for(LinkStatus::is_connected).await.is_ok() {
            sleep(time).await;
        }
    }

    pub(crate) fn dialling(&self) {
        self.0.send_modify(|status| status.state = LinkState::Dialling);
    }

    pub(crate) fn waiting(&self, wait: Duration) {
        self.0.send_modify(|status| status.state = LinkState::Waiting { wait });
    }

    pub(crate) fn connected(&self, peer: Option<SocketAddr>, negotiated: Negotiated) {
        let since = UnixMillis::now();
        self.0.send_modify(|status| {
            status.state = LinkState::Connected {
                peer,
                since,
                negotiated,
            };
            status.sessions += 1;
            status.failures_in_a_row = 0;
        });
    }

    pub(crate) fn negotiated(&self, now: Negotiated) {
        self.0.send_if_modified(|status| match &mut status.state {
            LinkState::Connected { negotiated, .. } if *negotiated != now => {
                *negotiated = now;
                true
            }
            _ => false,
        });
    }

    pub(crate) fn failed(&self, error: &LinkError) {
        self.0.send_modify(|status| {
            status.last_error = Some(error.to_string());
            status.failures_in_a_row += 1;
        });
    }

    pub(crate) fn stopped(&self) {
        self.0.send_modify(|status| status.state = LinkState::Stopped);
    }
}
