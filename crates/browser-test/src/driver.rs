//! The driver process, and the commands that the WebDriver standard lacks.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
    time,
};
use url::Url;

use crate::BrowserError;

const TRIES: u32 = 5;
const START: Duration = Duration::from_secs(30);
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The program that a variable of the environment names, or the usual one.
pub(crate) fn program(variable: &str, usual: &str) -> String {
    env::var(variable).unwrap_or_else(|_| usual.to_owned())
}

/// A running driver with the profile directory of its browser.
#[derive(Debug)]
pub(crate) struct Driver {
    port: u16,
    /// Killed when it is dropped.
    _process: Child,
    /// Kept open: the driver goes on writing to it.
    _output: BufReader<ChildStdout>,
    profile: TempDir,
}

impl Driver {
    /// Starts the driver on a port of its own choice.
    ///
    /// It takes one that is free on IPv6 and gives up where IPv4 has given the same number to another socket, as may
    /// well be beside many connections: another start then finds another port.
    pub(crate) async fn start() -> Result<Self, BrowserError> {
        let mut tries = 1;
        loop {
            match Self::start_once().await {
                Err(BrowserError::Driver { reason, .. }) if tries < TRIES => {
                    eprintln!("the browser's driver did not start (try {tries} of {TRIES}): {reason}");
                    tries += 1;
                }
                started => return started,
            }
        }
    }

    async fn start_once() -> Result<Self, BrowserError> {
        let program = program("CHROMEDRIVER", "/usr/bin/chromedriver");
        let failed = |reason: String| BrowserError::Driver {
            program: program.clone(),
            reason,
        };
        let profile = TempDir::with_prefix("browser-test-").map_err(|error| failed(error.to_string()))?;
        let mut process = tokio::process::Command::new(&program)
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let output = process
            .stdout
            .take()
            .ok_or_else(|| failed("it has no output".to_owned()))?;
        let mut output = BufReader::new(output);
        let port = time::timeout(START, port(&mut output))
            .await
            .unwrap_or_else(|_| Err(format!("it does not listen within {} s", START.as_secs())))
            .map_err(failed)?;
        Ok(Self {
            port,
            _process: process,
            _output: output,
            profile,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn profile(&self) -> &Path {
        self.profile.path()
    }

    /// Ends the driver and its browser, which a killed driver would leave behind.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut driver = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, self.port).into(), SHUTDOWN)?;
        driver.set_read_timeout(Some(SHUTDOWN))?;
        driver.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        driver.read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            eprintln!("the browser's driver does not shut down: {error}");
        }
    }
}

/// Reads `… started successfully on port 41235.`, or tells what was said instead.
async fn port(output: &mut BufReader<ChildStdout>) -> Result<u16, String> {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        match output.read_line(&mut line).await {
            Ok(0) => {
                return Err(format!(
                    "it ended without saying which port it listens on: {}",
                    said.trim()
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(format!("its output: {error}")),
        }
        let told = line
            .trim_end()
            .trim_end_matches('.')
            .rsplit_once(" started successfully on port ");
        if let Some(port) = told.and_then(|(_, port)| port.parse().ok()) {
            return Ok(port);
        }
        said.push_str(&line);
    }
}

/// A `POST` to a path below the session.
#[derive(Debug)]
pub(crate) struct Command {
    path: &'static str,
    body: Value,
}

impl Command {
    pub(crate) fn new(path: &'static str, body: Value) -> Self {
        Self { path, body }
    }
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
