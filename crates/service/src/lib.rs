//! What the `main` of every role shares, so that `mint`, `pool`, `miner` and `devnet` start, complain and stop alike.
//!
//! A role's `main` is three lines of its own: parse the arguments ([`CommonArgs`] flattened into them), load its
//! configuration ([`CommonArgs::load`]) and hand its future to [`Service::run`], which owns the runtime, the log, the
//! signals and the exit code. Listeners are opened by [`bind`], the [`data_dir`] is made and locked, secrets in it are kept
//! by [`secret_file`].
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use service::{CommonArgs, Service};
//!
//! #[derive(serde::Deserialize, Default)]
//! #[serde(deny_unknown_fields, default)]
//! struct Config {}
//!
//! /// The pool.
//! #[derive(clap::Parser)]
//! #[command(version)]
//! struct Args {
//!     #[command(flatten)]
//!     common: CommonArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     let args = Args::parse();
//!     Service::new("pool").run(&args.common, async |stop| {
//!         let _config: Config = args.common.load()?;
//!         stop.cancelled().await;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! Exit codes: 0 after an in-order stop, 2 for a configuration that does not allow a start (also a port in use), 1 for
//! every other failure, 128 + signal number when a second signal cuts the stop short.

mod args;
mod config;
pub mod data_dir;
pub mod duration;
mod listen;
mod logging;
mod run;
pub mod secret_file;
mod terminal;
mod vital;

pub use args::CommonArgs;
pub use config::{ConfigError, Misconfigured, host_and_port, in_range, load, parse};
pub use listen::{BindError, bind};
pub use run::{STOP_DEADLINE, Service};
pub use terminal::{remark, say};
pub use vital::vital;
