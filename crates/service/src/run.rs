//! The frame around a role's `main`: runtime, log, signals, exit code.
//!
//! Signals are waited for on a thread and a runtime of their own, so that a stop is heard, and a second signal obeyed,
//! even when every worker of the main runtime is blocked in a database, and when nobody reads the log any more.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Misconfigured, one_line};
use crate::{CommonArgs, logging, remark};

/// A service that has been told to stop and has not ended after this time is ended with exit code 1.
pub const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// How long blocking work that was left behind may hold up the exit.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// How long a last word may take: whoever reads stderr may have stopped, with the pipe full.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Databases block the workers they run on: a machine with few cores still gets this many.
const MIN_WORKERS: usize = 4;

const EXIT_FAILURE: u8 = 1;
const EXIT_MISCONFIGURED: u8 = 2;

/// One of our programs, about to run.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    name: &'static str,
    filter: &'static str,
}

impl Service {
    /// A program of this name, which starts the line that it may end with on stderr.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            // What CDK's storage logs of a failed query, for each query, it also returns.
            filter: "info,cdk=warn,cdk_sqlite=off,cdk_sql_common=off",
        }
    }

    /// What to log when neither `--log` nor `RUST_LOG` says anything.
    #[must_use]
    pub const fn default_filter(self, filter: &'static str) -> Self {
        Self { filter, ..self }
    }

    /// Runs `main` to its end. It gets the token that the first SIGINT or SIGTERM cancels, and then has
    /// [`STOP_DEADLINE`] to stop in order; a second signal ends the process at once.
    ///
    /// An error with [`Misconfigured`] at the end of its chain of sources exits with 2, any other with 1, both with one
    /// line on stderr.
    pub fn run<F, Fut>(self, common: &CommonArgs, main: F) -> ExitCode
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let outcome = logging::init(common.log.as_deref(), self.filter).and_then(|()| self.execute(main));
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let (line, code) = verdict(&error, common.config.as_deref());
                self.say(line);
                ExitCode::from(code)
            }
        }
    }

    fn execute<F, Fut>(self, main: F) -> anyhow::Result<()>
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let workers = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .max(MIN_WORKERS);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .context("the runtime can't be built")?;
        let stop = CancellationToken::new();
        self.watch_signals(stop.clone())
            .context("signals can't be waited for")?;
        let outcome = runtime.block_on(main(stop));
        runtime.shutdown_timeout(LEFTOVERS);
        outcome
    }

    /// Handlers are in place when this returns.
    fn watch_signals(self, stop: CancellationToken) -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || self.obey(&runtime, interrupt, terminate, &stop))?;
        Ok(())
    }

    fn obey(self, runtime: &Runtime, mut interrupt: Signal, mut terminate: Signal, stop: &CancellationToken) {
        runtime.block_on(async {
            let first = next(&mut interrupt, &mut terminate).await;
            // First of all: nothing that goes wrong with the log may keep the stop from being heard.
            stop.cancel();
            tell(move || tracing::info!(signal = name_of(first), "stopping; a second signal ends at once"));
            match tokio::time::timeout(STOP_DEADLINE, next(&mut interrupt, &mut terminate)).await {
                Ok(second) => std::process::exit(128 + second.as_raw_value()),
                Err(_) => {
                    self.say(format!(
                        "did not stop within {} s of {}: ended",
                        STOP_DEADLINE.as_secs(),
                        name_of(first)
                    ));
                    std::process::exit(i32::from(EXIT_FAILURE));
                }
            }
        });
    }

    fn say(self, line: String) {
        tell(move || remark(format_args!("{}: {line}", self.name)));
    }
}

/// Writes to stderr on a thread of its own, and waits a moment for that.
fn tell(write: impl FnOnce() + Send + 'static) {
    let (written, wait) = mpsc::channel();
    let writer = thread::Builder::new().name("last word".to_owned()).spawn(move || {
        write();
        // Nobody waits any more if it took too long.
        let _ = written.send(());
    });
    if writer.is_ok() {
        // An error means that the moment is over.
        let _ = wait.recv_timeout(LAST_WORD);
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    }
}

fn name_of(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() {
        "SIGINT"
    } else {
        "SIGTERM"
    }
}

/// The line that the process ends with, and its exit code.
fn verdict(error: &anyhow::Error, config: Option<&Path>) -> (String, u8) {
    let mut told = error.chain();
    let mut sources = error.chain().skip(1);
    while let (Some(told), Some(source)) = (told.next(), sources.next()) {
        let Some(mark) = source.downcast_ref::<Misconfigured>() else {
            continue;
        };
        let line = match config {
            Some(file) if !mark.located => format!("{}: {told}", file.display()),
            _ => told.to_string(),
        };
        return (one_line(&line), EXIT_MISCONFIGURED);
    }
    (one_line(&with_causes(error)), EXIT_FAILURE)
}

/// The error and its causes, without those that an error further out has already told.
fn with_causes(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |told, cause| {
            if told.is_empty() {
                cause
            } else if told.contains(&cause) {
                told
            } else {
                format!("{told}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::{BindError, ConfigError};

    #[derive(Debug, thiserror::Error)]
    enum StartError {
        #[error(transparent)]
        Config(#[from] ConfigError),
        #[error("no start: {0}")]
        Wrapped(#[source] ConfigError),
        #[error("the database is gone")]
        Database(#[source] std::io::Error),
    }

    fn bad_key() -> ConfigError {
        ConfigError::invalid("push.interval_ms", 5, "expected 100 to 3600000")
    }

    #[test]
    fn a_bad_configuration_is_found_however_it_is_wrapped() {
        let line = "pool.toml: push.interval_ms = 5: expected 100 to 3600000";
        let file = Some(Path::new("pool.toml"));
        let errors = [
            anyhow::Error::new(bad_key()),
            StartError::Config(bad_key()).into(),
            StartError::Wrapped(bad_key()).into(),
            anyhow::Error::new(StartError::Config(bad_key())).context("the pool can't start"),
        ];
        for error in errors {
            assert_eq!(verdict(&error, file), (line.to_owned(), 2), "{error:?}");
        }
    }

    #[test]
    fn the_file_is_named_only_where_the_value_comes_from_it() {
        assert_eq!(
            verdict(&bad_key().into(), None).0,
            "push.interval_ms = 5: expected 100 to 3600000"
        );
        let flag = ConfigError::invalid_outside_file("--log", "x", "expected a level");
        assert_eq!(
            verdict(&flag.into(), Some(Path::new("pool.toml"))).0,
            "--log = x: expected a level"
        );
        let text = crate::parse::<u8>(Path::new("pool.toml"), "a = [").unwrap_err();
        assert!(
            verdict(&text.into(), Some(Path::new("pool.toml")))
                .0
                .starts_with("pool.toml: line 1 is not TOML")
        );
    }

    #[test]
    fn every_other_failure_is_one_line_with_its_causes() {
        let error = StartError::Database(std::io::Error::other("disk\nfull")).into();
        assert_eq!(verdict(&error, None), ("the database is gone: disk full".to_owned(), 1));
        let twice = anyhow::anyhow!("disk full").context("no start: disk full");
        assert_eq!(verdict(&twice, None).0, "no start: disk full");
    }

    /// Not a test by itself: the process that the tests below start, by this test's name and the variable `ACT`.
    #[test]
    fn acts_as_a_service() {
        let Ok(act) = std::env::var("ACT") else { return };
        let main = async |stop: CancellationToken| {
            println!("ready");
            match &*act {
                "orderly" => stop.cancelled().await,
                "deaf" => std::future::pending().await,
                "told" => {
                    stop.cancelled().await;
                    println!("told");
                    std::future::pending().await
                }
                "blocked" => std::thread::sleep(Duration::from_secs(600)),
                "misconfigured" => return Err(StartError::Config(bad_key()).into()),
                "port" => {
                    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
                    let _: Result<_, BindError> = Ok(crate::bind("mining.listen", taken.local_addr()?).await?);
                }
                _ => anyhow::bail!("broken"),
            }
            Ok(())
        };
        let code = Service::new("role").run(&CommonArgs::default(), main);
        std::process::exit(if code == ExitCode::SUCCESS {
            0
        } else if code == ExitCode::from(2) {
            2
        } else {
            1
        });
    }

    /// Starts this test binary as a service and waits until its `main` runs.
    fn service(act: &str) -> Child {
        started(act, Stdio::piped()).0
    }

    /// The same with this stderr, and what it goes on to say on stdout.
    fn started(act: &str, stderr: Stdio) -> (Child, impl Iterator<Item = String>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::tests::acts_as_a_service", "--nocapture"])
            .env("ACT", act)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("ready")), "the service did not start");
        (child, lines)
    }

    fn send(child: &Child, signal: &str) {
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the first line on stderr, which tells that the first signal was heard.
    fn heard(child: &mut Child) -> String {
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line
    }

    fn end(mut child: Child) -> (Option<i32>, String) {
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (child.wait().unwrap().code(), text)
    }

    #[test]
    fn either_signal_stops_in_order_with_exit_code_0() {
        for signal in ["INT", "TERM"] {
            let child = service("orderly");
            send(&child, signal);
            let (code, text) = end(child);
            assert_eq!(code, Some(0), "{text}");
            assert!(!text.contains('\u{1b}'), "colours outside a terminal: {text}");
        }
    }

    #[test]
    fn a_second_signal_ends_at_once_even_when_the_service_is_blocked() {
        for act in ["deaf", "blocked"] {
            let mut child = service(act);
            send(&child, "TERM");
            assert!(heard(&mut child).contains("stopping"));
            send(&child, "INT");
            assert_eq!(child.wait().unwrap().code(), Some(130));
        }
    }

    #[test]
    fn nobody_needs_to_read_the_log_for_signals_to_be_heard() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let stderr = writer.try_clone().unwrap();
        // Fills the pipe, and then waits for somebody to read it.
        thread::spawn(move || while writer.write_all(&[b'x'; 1 << 16]).is_ok() {});
        let (mut child, mut lines) = started("told", stderr.into());
        send(&child, "TERM");
        assert!(lines.any(|line| line == "told"));
        send(&child, "INT");
        assert_eq!(child.wait().unwrap().code(), Some(130));
        drop(reader);
    }

    #[test]
    fn bad_configuration_and_a_port_in_use_exit_with_2_and_one_line() {
        assert_eq!(
            end(service("misconfigured")),
            (
                Some(2),
                "role: push.interval_ms = 5: expected 100 to 3600000\n".to_owned()
            )
        );
        let (code, text) = end(service("port"));
        assert_eq!(code, Some(2));
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with("role: mining.listen = \"127.0.0.1:"), "{text}");
    }

    #[test]
    fn any_other_failure_exits_with_1() {
        assert_eq!(end(service("broken")), (Some(1), "role: broken\n".to_owned()));
    }
}
