//! Configuration files: TOML in, a role's own struct out, and errors that fit on one line.
//!
//! The struct says what is allowed (`#[serde(deny_unknown_fields, default)]`); this module finds where in the file a
//! rejected value stands and shows it. Checks that span several keys are the role's: they use [`in_range`] or
//! [`ConfigError::invalid`], and [`Service::run`](crate::Service::run) puts the file's name in front.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

/// Values longer than this are cut in messages.
const SHOWN_CHARS: usize = 80;

/// Parts of a key's name that mean its value must never be shown.
const HIDDEN: [&str; 6] = ["secret", "mnemonic", "seed", "password", "private", "token"];

/// What the standard library says of a text that is no socket address.
const NO_SOCKET_ADDRESS: &str = "invalid socket address syntax";

/// Marks an error that ends a process with exit code 2: what was asked for does not allow a start.
///
/// It sits at the end of such an error's `source()` chain, where it is found however the error was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configuration does not allow a start")]
pub struct Misconfigured {
    /// Whether the error's text already says where the value comes from; if not, the configuration file is named.
    pub located: bool,
}

/// A configuration that can't be used. Its text is one line: file, key, value, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: Option<PathBuf>,
    key: String,
    value: Option<String>,
    problem: String,
    mark: Misconfigured,
}

impl ConfigError {
    /// The value of `key` (such as `push.interval_ms`) is not one of those that are `allowed`
    /// (such as `expected 100 to 3600000`). A value whose key speaks of a secret is not kept.
    pub fn invalid(key: impl Into<String>, value: impl Display, allowed: impl Display) -> Self {
        let key = key.into();
        let value = if hides(&key) {
            "<hidden>".to_owned()
        } else {
            shorten(&value.to_string())
        };
        Self {
            file: None,
            key,
            value: Some(value),
            problem: one_line(&allowed.to_string()),
            mark: Misconfigured { located: false },
        }
    }

    /// As [`invalid`](Self::invalid) for a value that did not come from the configuration file: `origin` names the flag
    /// or the environment variable.
    pub fn invalid_outside_file(origin: &str, value: impl Display, allowed: impl Display) -> Self {
        Self {
            mark: Misconfigured { located: true },
            ..Self::invalid(origin, value, allowed)
        }
    }

    fn in_file(file: &Path, key: String, value: Option<String>, problem: &str) -> Self {
        Self {
            file: Some(file.to_owned()),
            key,
            value,
            problem: one_line(problem),
            mark: Misconfigured { located: true },
        }
    }

    /// The key's path, such as `push.interval_ms`; empty when the file as a whole can't be read.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", one_line(&file.display().to_string()))?;
        }
        match (&*self.key, &self.value) {
            ("", _) => {}
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
            (key, None) => write!(f, "{key}: ")?,
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.mark)
    }
}

/// Reads a configuration file.
///
/// # Errors
/// The file can't be read, is not TOML, or holds a key or value that `T` does not take.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::in_file(path, String::new(), None, &format!("can't be read: {error}")))?;
    parse(path, &text)
}

/// Reads a configuration from its text; `file` only serves the error messages.
///
/// # Errors
/// The text is not TOML, or holds a key or value that `T` does not take.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    let table: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
        });
        ConfigError::in_file(
            file,
            String::new(),
            None,
            &format!("line {line} is not TOML: {}", error.message()),
        )
    })?;
    serde_path_to_error::deserialize(table.clone()).map_err(|error| rejected(file, &table, &error))
}

/// Checks that the value of `key` lies in `range`, both ends included.
///
/// # Errors
/// It does not; the error names the range.
pub fn in_range<T: PartialOrd + Display>(key: &str, value: &T, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    if range.contains(value) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        key,
        value,
        format_args!("expected {} to {}", range.start(), range.end()),
    ))
}

/// Checks that the value of `key` says where to dial a peer that speaks Stratum V2: `host:port`, with a name, an IPv4
/// address, or an IPv6 address in brackets, and a port from 1.
///
/// # Errors
/// It is something else, such as a URL; the error says what is allowed.
pub fn host_and_port(key: &str, value: &str) -> Result<(), ConfigError> {
    let named = value.rsplit_once(':').is_some_and(|(host, port)| {
        let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        !host.is_empty() && host.chars().all(good) && digits && port.parse().is_ok_and(|port: u16| port > 0)
    });
    if named || value.parse().is_ok_and(|address: SocketAddr| address.port() > 0) {
        return Ok(());
    }
    let shown = format_args!("{value:?}");
    Err(if value.contains("://") {
        let allowed = "expected host:port without http:// or a path, such as pool.example:34254: Stratum V2 is no HTTP";
        ConfigError::invalid(key, shown, allowed)
    } else {
        ConfigError::invalid(key, shown, "expected host:port, such as pool.example:34254")
    })
}

/// Turns serde's complaint into ours: where it is, what stands there, what may stand there.
fn rejected(file: &Path, table: &Table, error: &serde_path_to_error::Error<toml::de::Error>) -> ConfigError {
    let message = error.inner().message();
    let (mut key, value) = locate(table, error.path());
    if let Some(name) = message.strip_prefix("missing field ") {
        if !key.is_empty() {
            key.push('.');
        }
        key.push_str(name.trim_matches('`'));
        return ConfigError::in_file(file, key, None, "this key is missing");
    }
    if message.starts_with("unknown field ") {
        let known = expected(message).map_or_else(|| "no key is".to_owned(), str::to_owned);
        return ConfigError::in_file(file, key, None, &format!("unknown key, known here: {known}"));
    }
    let generic = ["invalid type:", "invalid value:", "invalid length", "unknown variant"];
    let problem = match expected(message) {
        Some(wanted) if generic.iter().any(|start| message.starts_with(start)) => {
            format!("expected {}", in_plain_words(wanted))
        }
        _ if message == NO_SOCKET_ADDRESS => format!("expected {}", in_plain_words(message)),
        _ => message.to_owned(),
    };
    let shown = value.and_then(show);
    if hides(&key) {
        let problem = value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map_or(problem.clone(), |text| problem.replace(text, "<hidden>"));
        return ConfigError::in_file(file, key, shown.map(|_| "<hidden>".to_owned()), &problem);
    }
    ConfigError::in_file(file, key, shown, &problem)
}

/// The dotted key of serde's path, and the value that stands there.
fn locate<'t>(table: &'t Table, path: &serde_path_to_error::Path) -> (String, Option<&'t Value>) {
    let mut key = String::new();
    let mut entries = Some(table);
    let mut value: Option<&Value> = None;
    for segment in path {
        match segment {
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !key.is_empty() {
                    key.push('.');
                }
                key.push_str(name);
                value = entries.and_then(|table| table.get(name));
            }
            Segment::Seq { index } => {
                key.push_str(&format!("[{index}]"));
                value = value.and_then(Value::as_array).and_then(|array| array.get(*index));
            }
            Segment::Unknown => value = None,
        }
        entries = value.and_then(Value::as_table);
    }
    (key, value)
}

/// What serde's message says after `expected`.
fn expected(message: &str) -> Option<&str> {
    message.rsplit_once(", expected ").map(|(_, wanted)| wanted)
}

/// A value as it stands in the file; whole tables and arrays are left out.
fn show(value: &Value) -> Option<String> {
    match value {
        Value::Table(_) | Value::Array(_) => None,
        scalar => Some(shorten(&scalar.to_string())),
    }
}

/// Rust's type names in words that an operator knows.
fn in_plain_words(wanted: &str) -> String {
    let whole = |range: &dyn Display| format!("a whole number, {range}");
    match wanted {
        "u8" => whole(&"0 to 255"),
        "u16" => whole(&"0 to 65535"),
        "u32" => whole(&"0 to 4294967295"),
        "u64" | "usize" => whole(&"0 or more"),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "a sequence" => "a list in square brackets".to_owned(),
        "path string" => "a path in quotes".to_owned(),
        "socket address" | NO_SOCKET_ADDRESS => "an IP address and a port, such as \"127.0.0.1:8081\"".to_owned(),
        other if other.starts_with("struct ") => "a table of keys".to_owned(),
        other => other.to_owned(),
    }
}

fn hides(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    HIDDEN.iter().any(|word| key.contains(word))
}

fn shorten(value: &str) -> String {
    let value = one_line(value);
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value,
    }
}

/// Whatever went wrong, an operator gets one line of it.
pub(crate) fn one_line(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        listen: Option<SocketAddr>,
        folder: Option<PathBuf>,
        wallet_seed: Option<u32>,
        push: Push,
        pools: Vec<Pool>,
        mode: Mode,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Push {
        #[serde(rename = "interval_ms", with = "crate::duration::millis")]
        interval: Duration,
        batch: u16,
    }

    impl Default for Push {
        fn default() -> Self {
            Self {
                interval: Duration::from_secs(5),
                batch: 1,
            }
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Pool {
        address: String,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Fast,
        Safe,
    }

    fn complaint(text: &str) -> String {
        let error = parse::<Config>(Path::new("pool.toml"), text).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn a_good_file_is_read_and_what_it_omits_is_the_default() {
        let config: Config = parse(Path::new("pool.toml"), "[push]\ninterval_ms = 250\n").unwrap();
        assert_eq!(config.push.interval, Duration::from_millis(250));
        assert_eq!(config.push.batch, 1);
        assert_eq!(parse::<Config>(Path::new("pool.toml"), "").unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_are_named_with_those_that_are_known() {
        assert_eq!(
            complaint("[push]\nintervall_ms = 5"),
            "pool.toml: push.intervall_ms: unknown key, known here: `interval_ms` or `batch`"
        );
        assert!(complaint("x = 1").starts_with("pool.toml: x: unknown key, known here: one of `listen`"));
        assert_eq!(
            complaint("[[pools]]\naddress = \"a\"\n[[pools]]\naddress = \"b\"\nport = 1"),
            "pool.toml: pools[1].port: unknown key, known here: `address`"
        );
    }

    #[test]
    fn wrong_values_are_shown_with_what_is_allowed() {
        assert_eq!(
            complaint("[push]\ninterval_ms = \"5s\""),
            "pool.toml: push.interval_ms = \"5s\": expected a whole number of milliseconds"
        );
        assert_eq!(
            complaint("[push]\nbatch = 70000"),
            "pool.toml: push.batch = 70000: expected a whole number, 0 to 65535"
        );
        assert_eq!(
            complaint("mode = \"slow\""),
            "pool.toml: mode = \"slow\": expected `fast` or `safe`"
        );
        assert_eq!(complaint("push = 3"), "pool.toml: push = 3: expected a table of keys");
        for listen in ["\"nowhere\"", "\"127.0.0.1\"", "8081"] {
            assert_eq!(
                complaint(&format!("listen = {listen}")),
                format!("pool.toml: listen = {listen}: expected an IP address and a port, such as \"127.0.0.1:8081\"")
            );
        }
        assert_eq!(
            complaint("folder = 3"),
            "pool.toml: folder = 3: expected a path in quotes"
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        assert_eq!(
            complaint("[[pools]]\n"),
            "pool.toml: pools[0].address: this key is missing"
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        let line = complaint("wallet_seed = \"abandon ability\"");
        assert_eq!(
            line,
            "pool.toml: wallet_seed = <hidden>: expected a whole number, 0 to 4294967295"
        );
        assert_eq!(
            ConfigError::invalid("wallet.mnemonic", "abandon ability", "expected 24 words").to_string(),
            "wallet.mnemonic = <hidden>: expected 24 words"
        );
    }

    #[test]
    fn a_file_that_is_no_toml_or_is_not_there_is_one_line_too() {
        assert!(complaint("a = 1\nb = [").starts_with("pool.toml: line 2 is not TOML: "));
        let error = load::<Config>(Path::new("/nowhere/pool.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/pool.toml: can't be read: "), "{error}");
    }

    #[test]
    fn what_is_dialled_over_stratum_v2_is_a_host_and_a_port_and_no_url() {
        for good in ["pool.example:34254", "127.0.0.1:1", "[::1]:34254", "a-b_c:65535"] {
            host_and_port("pool.address", good).unwrap();
        }
        let bad = [
            "",
            "pool",
            ":1",
            "pool:0",
            "pool:65536",
            "pool:+1",
            "pool:x",
            "::1:34254",
            "[::1]",
            "a b:1",
            "a@b:1",
            "pool:1/",
        ];
        for bad in bad {
            let error = host_and_port("pool.address", bad).unwrap_err().to_string();
            let said = format!("pool.address = {bad:?}: expected host:port, such as pool.example:34254");
            assert_eq!(error, said);
        }
        let error = host_and_port("pool.address", "http://pool:8081")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("pool.address = \"http://pool:8081\": expected host:port without http://"),
            "{error}"
        );
    }

    #[test]
    fn ranges_are_checked_and_long_or_broken_values_stay_on_the_line() {
        assert_eq!(in_range("push.interval_ms", &5_u64, 5..=7), Ok(()));
        assert_eq!(in_range("push.interval_ms", &7_u64, 5..=7), Ok(()));
        assert_eq!(
            in_range("push.interval_ms", &8_u64, 5..=7).unwrap_err().to_string(),
            "push.interval_ms = 8: expected 5 to 7"
        );
        let long = ConfigError::invalid("name", "é\n".repeat(300), "expected at most 32 characters").to_string();
        assert_eq!(long.lines().count(), 1);
        assert!(long.chars().count() < 150);
    }
}
