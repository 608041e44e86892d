//! The command line that all roles have in common.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::{ConfigError, config};

/// Arguments of every role; flatten them into the role's own with `#[command(flatten)]`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CommonArgs {
    /// Configuration file (TOML); the folder `config/` has one per role with every key and its default
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// What to log, such as `debug` or `info,pool=trace`; stronger than the environment's RUST_LOG
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
}

impl CommonArgs {
    /// The configuration in the file that `--config` names, or the defaults when it names none.
    ///
    /// # Errors
    /// As [`load`](crate::load).
    pub fn load<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        self.config.as_deref().map_or_else(|| Ok(T::default()), config::load)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(name = "role", version)]
    struct Args {
        #[command(flatten)]
        common: CommonArgs,
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let args = Args::try_parse_from(["role"]).unwrap();
        assert_eq!(args.common.load::<u32>().unwrap(), 0);
    }

    #[test]
    fn file_and_filter_are_taken() {
        let args = Args::try_parse_from(["role", "--config", "a.toml", "--log", "debug"]).unwrap();
        assert_eq!(args.common.config.as_deref(), Some("a.toml".as_ref()));
        assert_eq!(args.common.log.as_deref(), Some("debug"));
    }

    #[test]
    fn help_and_version_are_there_and_a_wrong_flag_is_a_usage_error() {
        let exit = |argument| {
            Args::try_parse_from(["role", argument])
                .err()
                .map(|error| error.exit_code())
        };
        assert_eq!(exit("--help"), Some(0));
        assert_eq!(exit("--version"), Some(0));
        assert_eq!(exit("--bogus"), Some(2));
    }
}
