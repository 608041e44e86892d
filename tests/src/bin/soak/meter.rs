//! The costs of both sides and the traffic between them, in the hands of whoever starts, kills and reads processes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Client;

use crate::{
    cost::{Cost, Counters},
    readers::get,
    system::Role,
};

/// A pool that does not answer by then is not read this time.
const SCRAPE: Duration = Duration::from_secs(1);

/// Clones share the readings.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    http: Client,
    dashboard: SocketAddr,
    readings: Arc<Mutex<Readings>>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    measuring: bool,
    mint: Side,
    pool: Side,
    /// The pool's counters.
    pub(crate) counters: Counters,
}

/// One side of the link.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pids: Vec<u32>,
    pub(crate) cost: Cost,
}

impl Meter {
    pub(crate) fn new(dashboard: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            http: Client::builder().timeout(SCRAPE).build()?,
            dashboard,
            readings: Arc::default(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The measuring begins: what was used before does not count.
    pub(crate) async fn begin(&self) {
        {
            let readings = &mut *self.lock();
            readings.measuring = true;
            readings.counters = Counters::default();
            for side in [&mut readings.mint, &mut readings.pool] {
                side.cost = Cost::default();
            }
        }
        self.read().await;
    }

    /// Reads everything that runs.
    pub(crate) async fn read(&self) {
        for side in [Role::Mint, Role::Pool] {
            self.lock().side(side).read();
        }
        // No answer: its counters are read the next time.
        let text = get(&self.http, &format!("http://{}/metrics", self.dashboard)).await;
        if let Some(text) = text.ok().and_then(|text| String::from_utf8(text.to_vec()).ok()) {
            self.lock().counters.read(&text);
        }
    }

    /// A process was started.
    pub(crate) fn started(&self, role: Role, pid: u32) {
        let mut readings = self.lock();
        let measuring = readings.measuring;
        let side = readings.side(role);
        side.pids.push(pid);
        if measuring {
            side.cost.born(&[pid]);
        }
    }

    /// A process is about to be killed.
    pub(crate) async fn ends(&self, role: Role, pid: u32) {
        self.read().await;
        self.lock().side(role).pids.retain(|other| *other != pid);
    }
}

impl Readings {
    pub(crate) fn side(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Mint => &mut self.mint,
            Role::Pool => &mut self.pool,
        }
    }
}

impl Side {
    fn read(&mut self) {
        self.cost.read(&self.pids);
    }

    /// Its memory now, in MiB.
    pub(crate) fn mebibytes(&self) -> f64 {
        self.cost.now(&self.pids) / 1024.0
    }
}
