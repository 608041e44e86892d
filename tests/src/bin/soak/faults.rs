//! What goes wrong, in turn. Each fault is over, and what it broke runs again, when [`Fault::inject`] returns.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use peer_test::proxy::Weather;
use rustix::process::Signal;
use tokio::{sync::Mutex, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::system::{Role, System};

/// How long a process is stopped, and how long the link is slow.
const LASTS: Duration = Duration::from_secs(3);
/// How long the slow link takes in each direction.
const DELAY: Duration = Duration::from_millis(300);
/// How long a process that was killed is away.
const AWAY: Duration = Duration::from_millis(500);

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The mint is killed with SIGKILL.
    KillMint,
    /// The pool stops for a while, as a machine that swaps.
    StopPool,
    /// The link is reset.
    Cut,
    /// The pool is killed with SIGKILL.
    KillPool,
    /// The link is slow for a while.
    Delay,
    /// The mint stops for a while.
    StopMint,
    /// The link is dead and no end is told.
    HalfOpen,
}

impl Fault {
    /// The order in which they come.
    pub(crate) const ALL: [Self; 7] = [
        Self::Cut,
        Self::KillMint,
        Self::StopPool,
        Self::Delay,
        Self::KillPool,
        Self::HalfOpen,
        Self::StopMint,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::KillMint => "kill_mint",
            Self::KillPool => "kill_pool",
            Self::StopMint => "stop_mint",
            Self::StopPool => "stop_pool",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::HalfOpen => "half_open",
        }
    }

    /// Breaks it and mends it.
    pub(crate) async fn inject(self, system: &mut System) -> anyhow::Result<()> {
        match self {
            Self::KillMint => kill(system, Role::Mint).await,
            Self::KillPool => kill(system, Role::Pool).await,
            Self::StopMint => stop(system, Role::Mint).await,
            Self::StopPool => stop(system, Role::Pool).await,
            Self::Cut => {
                system.proxy()?.cut();
                Ok(())
            }
            Self::Delay => {
                system.proxy()?.set(Weather::Delayed(DELAY));
                sleep(LASTS).await;
                system.proxy()?.set(Weather::Clear);
                Ok(())
            }
            Self::HalfOpen => {
                // Whoever dials again gets through.
                system.proxy()?.set_open(Weather::Swallowing);
                Ok(())
            }
        }
    }
}

async fn kill(system: &mut System, role: Role) -> anyhow::Result<()> {
    system.kill(role).await?;
    sleep(AWAY).await;
    system.restart(role).await
}

async fn stop(system: &System, role: Role) -> anyhow::Result<()> {
    system.signal(role, Signal::STOP)?;
    sleep(LASTS).await;
    system.signal(role, Signal::CONT)
}

/// How often each was injected.
pub(crate) type Count = BTreeMap<&'static str, u64>;

/// Injects a fault at each interval.
pub(crate) struct Breaker {
    stop: CancellationToken,
    now: Arc<StdMutex<Option<Fault>>>,
    task: Option<JoinHandle<anyhow::Result<Count>>>,
}

impl Breaker {
    pub(crate) fn start(every: Option<Duration>, system: Arc<Mutex<System>>) -> Self {
        let (stop, now) = (CancellationToken::new(), Arc::<StdMutex<Option<Fault>>>::default());
        let task = every.map(|every| {
            let (stop, now) = (stop.clone(), Arc::clone(&now));
            tokio::spawn(async move {
                let mut count = Count::new();
                for fault in Fault::ALL.into_iter().cycle() {
                    tokio::select! {
                        () = sleep(every) => {}
                        () = stop.cancelled() => break,
                    }
                    *now.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                    fault
                        .inject(&mut *system.lock().await)
                        .await
                        .with_context(|| fault.as_str())?;
                    *count.entry(fault.as_str()).or_default() += 1;
                }
                Ok(count)
            })
        });
        Self { stop, now, task }
    }

    /// The last fault.
    pub(crate) fn now(&self) -> Option<Fault> {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Injects no more; what is broken is mended when this returns.
    pub(crate) async fn stop(self) -> anyhow::Result<Count> {
        self.stop.cancel();
        match self.task {
            Some(task) => task.await?,
            None => Ok(Count::new()),
        }
    }
}
