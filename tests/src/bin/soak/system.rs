//! The mint, the pool and the network between them: started, broken and mended.
//!
//! All ports stay the same over restarts. Where the link is to be cut, slowed down and made half-open, the mint dials the
//! pool through a proxy in this process: that needs no root, and costs each push two wake-ups more. More pools than one are
//! dialled directly and left in peace.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use mint::MintConfig;
use peer_test::proxy::Proxy;
use pool::PoolConfig;
use rustix::process::Signal;
use stats_push::PushConfig;
use sv2_transport::AuthorityPublicKey;
use system_tests::free_port;

use crate::{
    clock,
    judge::Judge,
    meter::Meter,
    process::{Hear, Process},
};

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Mint,
    Pool,
}

/// What changes the totals.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A mint, for wallets.
    Mint,
    /// A ledger that changes by itself.
    Ledger { rate: f64, units: u64 },
}

/// How the two are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) source: Source,
    pub(crate) push: PushConfig,
    /// Whether the pool takes statistics over the link.
    pub(crate) pushed: bool,
    /// Who else gets to know on the pool's side.
    pub(crate) consumer: Option<Consumer>,
    /// Where the mint's own page is; on any port by default.
    pub(crate) mint_dashboard: Option<SocketAddr>,
    /// How many pools the mint has.
    pub(crate) pools: u64,
    /// Whether the link to the first is to be broken.
    pub(crate) breakable: bool,
}

/// What shows the mint's figures instead of the pool's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Consumer {
    /// A second pool, which asks for a snapshot this often.
    Asker(Duration),
    /// Somebody who asks over HTTP.
    Poller {
        whom: &'static str,
        address: SocketAddr,
        period: Duration,
    },
}

/// The running system.
pub(crate) struct System {
    setup: Setup,
    judge: Judge,
    meter: Meter,
    addresses: Addresses,
    proxy: Option<Proxy>,
    targets: Vec<Target>,
    mint: Option<Process>,
    pool: Option<Process>,
    others: Vec<Process>,
    consumer: Option<Process>,
}

/// Where the mint finds a pool.
type Target = (SocketAddr, AuthorityPublicKey);

/// Where everything is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) mint_http: SocketAddr,
    pub(crate) mint_dashboard: SocketAddr,
    pub(crate) dashboard: SocketAddr,
    link: SocketAddr,
    asker: SocketAddr,
}

impl System {
    /// Writes the configurations and starts both, the pool first.
    pub(crate) async fn start(setup: Setup, judge: Judge) -> anyhow::Result<Self> {
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let addresses = Addresses {
            mint_http: port(),
            mint_dashboard: setup.mint_dashboard.unwrap_or_else(port),
            dashboard: port(),
            link: port(),
            asker: port(),
        };
        let (_, authority) = setup.write_pool("pool", addresses.link, addresses.dashboard)?;
        let proxy = match setup.breakable {
            true => Some(Proxy::start(addresses.link).await),
            false => None,
        };
        let dialled = proxy.as_ref().map_or(addresses.link, Proxy::address);
        let mut targets = vec![(dialled, authority)];
        for other in setup.others() {
            targets.push(setup.write_pool(&other, port(), ([127, 0, 0, 1], 0).into())?);
        }
        if let Some(Consumer::Asker(_)) = setup.consumer {
            targets.push(setup.write_pool("asker", addresses.asker, addresses.dashboard)?);
        }
        setup.write_mint(&addresses, &targets)?;
        let meter = Meter::new(addresses.dashboard)?;
        let mut system = Self {
            setup,
            judge,
            meter,
            addresses,
            proxy,
            targets,
            mint: None,
            pool: None,
            others: Vec::new(),
            consumer: None,
        };
        system.start_pool().await?;
        system.start_others().await?;
        system.start_mint().await?;
        system.start_consumer().await?;
        Ok(system)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What breaks the link to the first pool.
    ///
    /// # Errors
    /// If that is not to be broken.
    pub(crate) fn proxy(&self) -> anyhow::Result<&Proxy> {
        self.proxy.as_ref().context("the link is not to be broken")
    }

    /// The mint's database.
    pub(crate) fn mint_database(&self) -> PathBuf {
        self.setup.dir.join("mint").join(mint::DATABASE)
    }

    /// The pool's outbox, to put shares into.
    pub(crate) fn outbox(&self) -> PathBuf {
        self.setup.dir.join("pool").join("outbox.sqlite")
    }

    /// What it all costs.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// # Errors
    /// If a process has ended that nobody has told to.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let first = [&mut self.mint, &mut self.pool, &mut self.consumer];
        for process in first.into_iter().flatten().chain(&mut self.others) {
            let name = process.name().to_owned();
            anyhow::ensure!(
                !process.has_ended()?,
                "the {name} has ended by itself: see {}",
                self.setup.log(&name).display()
            );
        }
        Ok(())
    }

    /// Kills one with SIGKILL.
    pub(crate) async fn kill(&mut self, role: Role) -> anyhow::Result<()> {
        let process = match role {
            Role::Mint => &mut self.mint,
            Role::Pool => &mut self.pool,
        };
        let mut process = process.take().context("it does not run")?;
        self.meter.ends(role, process.pid()).await;
        process.kill().await?;
        let at = clock::now();
        let mut judge = self.judge.lock();
        match role {
            Role::Mint => judge.truth.killed(at),
            Role::Pool if self.setup.pushed => judge.cache.gone(at),
            Role::Pool => {}
        }
        Ok(())
    }

    /// Starts one that was killed.
    pub(crate) async fn restart(&mut self, role: Role) -> anyhow::Result<()> {
        match role {
            Role::Mint => self.start_mint().await,
            Role::Pool => self.start_pool().await,
        }
    }

    /// Sends a signal to one.
    pub(crate) fn signal(&self, role: Role, signal: Signal) -> anyhow::Result<()> {
        let process = match role {
            Role::Mint => &self.mint,
            Role::Pool => &self.pool,
        };
        process.as_ref().context("it does not run")?.signal(signal)
    }

    /// Stops the mint in order; its last push is on the pool's side then.
    pub(crate) async fn stop_mint(&mut self) -> anyhow::Result<()> {
        match self.mint.take() {
            Some(mut mint) => mint.stop().await,
            None => Ok(()),
        }
    }

    /// Stops all in order, the mint first.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let in_order = [self.mint.take(), self.consumer.take(), self.pool.take()];
        for mut process in in_order.into_iter().flatten().chain(self.others) {
            outcome = outcome.and(process.stop().await);
        }
        outcome
    }

    async fn start_mint(&mut self) -> anyhow::Result<()> {
        let args = match self.setup.source {
            Source::Mint => vec!["mint".into(), self.setup.config("mint")],
            Source::Ledger { rate, units } => {
                // Beyond all that the last one can have made without a word.
                let version = self
                    .judge
                    .lock()
                    .truth
                    .newest()
                    .map_or(0, |newest| newest + 1 + (rate / 10.0) as u64);
                let push = &self.setup.push;
                let mut args = vec![
                    "ledger".into(),
                    rate.to_string(),
                    units.to_string(),
                    version.to_string(),
                ];
                args.extend([push.interval(), push.min_gap()].map(|time| time.as_millis().to_string()));
                args.extend(self.targets.iter().map(|(address, key)| format!("{address}={key}")));
                args
            }
        };
        self.mint = Some(self.spawn(Role::Mint, "mint", args, self.judge.hear_mint()).await?);
        Ok(())
    }

    async fn start_pool(&mut self) -> anyhow::Result<()> {
        let args = vec!["pool".into(), self.setup.config("pool")];
        let hear: Hear = if self.setup.pushed {
            self.judge.hear()
        } else {
            self.judge.hear_mint()
        };
        self.pool = Some(self.spawn(Role::Pool, "pool", args, hear).await?);
        Ok(())
    }

    async fn start_others(&mut self) -> anyhow::Result<()> {
        for (index, name) in self.setup.others().enumerate() {
            let args = vec!["pool".into(), self.setup.config(&name)];
            let hear = self.judge.hear_other(index);
            let other = Process::start(&name, args, &self.setup.log(&name), hear).await?;
            self.others.push(other);
        }
        Ok(())
    }

    async fn start_consumer(&mut self) -> anyhow::Result<()> {
        let (args, hear) = match self.setup.consumer {
            None => return Ok(()),
            Some(Consumer::Asker(period)) => {
                let args = vec![
                    "asker".into(),
                    self.setup.config("asker"),
                    period.as_millis().to_string(),
                ];
                (args, self.judge.hear_answers())
            }
            Some(Consumer::Poller { whom, address, period }) => {
                let args = [
                    "poller".into(),
                    whom.into(),
                    address.to_string(),
                    period.as_millis().to_string(),
                ];
                (args.into(), self.judge.hear())
            }
        };
        self.consumer = Some(self.spawn(Role::Pool, "consumer", args, hear).await?);
        Ok(())
    }

    async fn spawn(&self, role: Role, name: &str, args: Vec<String>, hear: Hear) -> anyhow::Result<Process> {
        let process = Process::start(name, args, &self.setup.log(name), hear).await?;
        self.meter.started(role, process.pid());
        Ok(process)
    }
}

impl Setup {
    fn config(&self, name: &str) -> String {
        self.dir.join(name).with_extension("toml").display().to_string()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("log")
    }

    /// The names of all pools but the first.
    fn others(&self) -> impl Iterator<Item = String> + use<> {
        (2..=self.pools).map(|pool| format!("pool-{pool}"))
    }

    /// Where the mint finds it.
    fn write_pool(&self, name: &str, link: SocketAddr, dashboard: SocketAddr) -> anyhow::Result<Target> {
        // With another number for them, statistics are not negotiated.
        let extensions = if self.pushed || name == "asker" {
            ""
        } else {
            "[mint_link.extensions]\nstats = 0x4D5E\n"
        };
        let text = format!(
            "data_dir = {:?}\n[mint_link]\nlisten = \"{link}\"\n{extensions}[mining]\nlisten = \"127.0.0.1:0\"\n\
             [dashboard]\nlisten = \"{dashboard}\"\n",
            self.dir.join(name),
        );
        let config: PoolConfig = self.write(name, &text)?;
        Ok((link, pool::authority(&config)?.public()))
    }

    fn write_mint(&self, addresses: &Addresses, pools: &[Target]) -> anyhow::Result<MintConfig> {
        let mut text = format!(
            "data_dir = {:?}\n[http]\nlisten = \"{}\"\n[dashboard]\nlisten = \"{}\"\n\
             [push]\ninterval_ms = {}\nmin_gap_ms = {}\n",
            self.dir.join("mint"),
            addresses.mint_http,
            addresses.mint_dashboard,
            self.push.interval().as_millis(),
            self.push.min_gap().as_millis(),
        );
        for (address, key) in pools {
            text += &format!("[[pools]]\naddress = \"{address}\"\nauthority_key = \"{key}\"\n");
        }
        self.write("mint", &text)
    }

    fn write<T: serde::de::DeserializeOwned>(&self, name: &str, text: &str) -> anyhow::Result<T> {
        let path = self.config(name);
        std::fs::write(&path, text).with_context(|| path.clone())?;
        Ok(service::parse(Path::new(&path), text)?)
    }
}
