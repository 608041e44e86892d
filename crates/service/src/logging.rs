//! The log: lines on stderr, filtered by `--log`, else by `RUST_LOG`, else by the service's own default.

use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::ConfigError;

const VARIABLE: &str = "RUST_LOG";

/// Installs the log for the whole process.
pub(crate) fn init(flag: Option<&str>, default: &str) -> anyhow::Result<()> {
    let variable = std::env::var(VARIABLE).ok();
    let filter = choose(flag, variable.as_deref(), default)?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        // A log that can't be written, because whoever read stderr is gone, must not end what it tells of: the default is
        // to print the failure to that same stderr, which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| anyhow!("the log can't be set up: {error}"))
}

fn choose(flag: Option<&str>, variable: Option<&str>, default: &str) -> Result<EnvFilter, ConfigError> {
    let (origin, text) = match (flag, variable.filter(|text| !text.trim().is_empty())) {
        (Some(text), _) => ("--log", text),
        (None, Some(text)) => (VARIABLE, text),
        (None, None) => ("default", default),
    };
    EnvFilter::builder().parse(text).map_err(|_| {
        ConfigError::invalid_outside_file(
            origin,
            format_args!("{text:?}"),
            "expected a level (error, warn, info, debug, trace) or a filter such as \"info,pool=debug\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_stronger_than_the_variable_and_that_than_the_default() {
        assert_eq!(
            choose(Some("debug"), Some("warn"), "info").unwrap().to_string(),
            "debug"
        );
        assert_eq!(choose(None, Some("warn"), "info").unwrap().to_string(), "warn");
        assert_eq!(choose(None, Some(" "), "info").unwrap().to_string(), "info");
        assert_eq!(choose(None, None, "info").unwrap().to_string(), "info");
    }

    #[test]
    fn a_filter_that_is_none_is_told_with_its_origin() {
        let error = choose(Some("pool=loud"), None, "info").unwrap_err().to_string();
        assert!(error.starts_with("--log = \"pool=loud\": expected a level"), "{error}");
        let error = choose(None, Some("a=b=c"), "info").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG = \"a=b=c\": "), "{error}");
    }
}
