//! A child as its parent has it: started, heard, stopped in order or killed, and gone when this is dropped.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::record::Record;

/// Far beyond what a start takes on a busy machine, after a crash, too.
const START: Duration = Duration::from_secs(60);
/// A role ends within five seconds of its stop.
const STOP: Duration = Duration::from_secs(15);

/// What is done with the records of a child, on a thread of its own.
pub(crate) type Hear = Arc<dyn Fn(Record) + Send + Sync>;

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: u32,
    /// Closing it stops the child.
    input: Option<ChildStdin>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts `soak child ARGS…` and waits until it serves. Its log goes to the end of `log`.
    ///
    /// # Errors
    /// If it can't be started, or ends or says nothing instead of serving: then with the end of its log.
    pub(crate) async fn start(name: &str, args: Vec<String>, log: &Path, hear: Hear) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is")?;
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| log.display().to_string())?;
        let mut child = Command::new(program)
            .arg("child")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // Ctrl-C in a terminal is for soak, which then ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {name} can't be started"))?;
        let pid = child.id().context("a process id")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("its output")?.into_owned_fd()?;
        let (ready, serves) = oneshot::channel();
        let reader = tokio::task::spawn_blocking(move || read(output, ready, &hear));
        let mut process = Self {
            name: name.to_owned(),
            child,
            pid,
            input,
            reader,
        };
        match timeout(START, serves).await {
            Ok(Ok(())) => Ok(process),
            outcome => {
                process.kill().await?;
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("nothing").to_owned();
                let what = if outcome.is_ok() {
                    "ended"
                } else {
                    "did not serve in time"
                };
                bail!("the {name} {what}; the last it said: {last}");
            }
        }
    }

    /// Which one it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to the {}", self.name))
    }

    /// Kills it with SIGKILL; all that it said is heard when this returns.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("killing the {}", self.name))?;
        (&mut self.reader).await.context("what it said")
    }

    /// Has it end in order; kills it if it does not.
    ///
    /// # Errors
    /// If it did not end in order.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.input = None;
        let Ok(status) = timeout(STOP, self.child.wait()).await else {
            self.kill().await?;
            bail!("the {} did not stop within {STOP:?} and was killed", self.name);
        };
        (&mut self.reader).await.context("what it said")?;
        let status = status?;
        anyhow::ensure!(status.success(), "the {} ended with {status}", self.name);
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

fn read(output: OwnedFd, ready: oneshot::Sender<()>, hear: &Hear) {
    let mut output = BufReader::with_capacity(256 * 1024, File::from(output));
    let (mut line, mut ready) = (String::new(), Some(ready));
    // An error, as the end, says that there is nobody any more.
    while output.read_line(&mut line).is_ok_and(|read| read > 0) {
        match Record::parse(line.trim_end()) {
            Some(Record::Ready) => {
                if let Some(ready) = ready.take() {
                    // Nobody waits any more: it took too long, and is being killed.
                    let _ = ready.send(());
                }
            }
            Some(record) => hear(record),
            // The rest of a line that a kill cut short.
            None => {}
        }
        line.clear();
    }
}
