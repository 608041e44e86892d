//! Drives a real Chromium in tests: Debian's `chromium` through its `chromedriver`, headless, with an empty profile of
//! its own, and with everything switched off that would talk to another host.
//!
//! For tests only; no product crate depends on it. `CHROMIUM` and `CHROMEDRIVER` name other programs than
//! `/usr/bin/chromium` and `/usr/bin/chromedriver`.

mod driver;

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use driver::{Command, Driver};
use fantoccini::{Client, ClientBuilder, wd::WindowHandle};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{self, Instant};

/// How long [`Browser::until`] waits: far more than a page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// Finds what keeps people from using a page: <https://github.com/dequelabs/axe-core>, licence beside it.
const AXE: &str = include_str!("../assets/axe/axe.min.js");

/// Answers with a line for each thing found: the rule, what it asks for, and where.
const RUN_AXE: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(
        ({ violations }) => done(violations.flatMap(({ id, help, nodes }) =>
            nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target}: ${failureSummary}`))),
        (error) => done([`axe failed: ${error}`]),
    );
";

/// The system setting that a page sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `prefers-color-scheme: light`
    Light,
    /// `prefers-color-scheme: dark`
    Dark,
}

/// What went wrong with the browser, or what a page did not become in time.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The driver does not start.
    #[error("{program} does not start: {reason}")]
    Driver {
        /// The program tried.
        program: String,
        /// Why not.
        reason: String,
    },
    /// No session with a browser.
    #[error("no browser session: {0}")]
    Session(#[from] fantoccini::error::NewSessionError),
    /// A command failed.
    #[error("the browser refuses a command: {0}")]
    Command(#[from] fantoccini::error::CmdError),
    /// The answer to a command has another form than it should.
    #[error("the browser answers {0} with something else")]
    Answer(&'static str),
    /// A file can't be written.
    #[error("a screenshot can't be written: {0}")]
    Screenshot(#[from] std::io::Error),
    /// A condition did not come true.
    #[error("not after {PATIENCE:?}: {condition}; it was {last}; the page says: {page}")]
    Never {
        /// The condition in JavaScript.
        condition: String,
        /// What it was last.
        last: Value,
        /// The page's text then.
        page: String,
    },
}

/// A page that another tab hides.
#[derive(Debug)]
pub struct Covered(WindowHandle);

/// A browser with one tab. Dropping it ends the browser.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    _driver: Driver,
}

impl Browser {
    /// Starts a browser with an empty profile.
    pub async fn start() -> Result<Self, BrowserError> {
        let driver = Driver::start().await?;
        let profile = format!("--user-data-dir={}", driver.profile().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let capabilities = json!({
            "goog:chromeOptions": {"args": flags, "binary": driver::program("CHROMIUM", "/usr/bin/chromium")},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else {
            return Err(BrowserError::Answer("capabilities"));
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver.url())
            .await?;
        let browser = Self {
            client,
            _driver: driver,
        };
        // The browser's own start page is none of the tests' business, nor what it asked for.
        browser.open("about:blank").await?;
        browser.console().await?;
        browser.requests().await?;
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) -> Result<(), BrowserError> {
        Ok(self.client.goto(url).await?)
    }

    /// Makes the tab this large, in CSS pixels, and sets the colour scheme. Asks pages to keep still, so that pictures
    /// don't catch them halfway.
    pub async fn emulate(&self, width: u32, height: u32, scheme: Scheme) -> Result<(), BrowserError> {
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.devtools("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// Switches scripts off or on, for pages opened from now on.
    pub async fn scripts(&self, on: bool) -> Result<(), BrowserError> {
        let off = json!({"value": !on});
        self.devtools("Emulation.setScriptExecutionDisabled", off).await?;
        Ok(())
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value, BrowserError> {
        let command = Command::new("goog/cdp/execute", json!({"cmd": command, "params": parameters}));
        Ok(self.client.issue_cmd(command).await?)
    }

    /// Evaluates a JavaScript expression in the page.
    pub async fn eval(&self, expression: &str) -> Result<Value, BrowserError> {
        Ok(self
            .client
            .execute(&format!("return ({expression});"), Vec::new())
            .await?)
    }

    /// Evaluates a JavaScript expression that is a promise, and waits for it.
    pub async fn eval_async(&self, expression: &str) -> Result<Value, BrowserError> {
        let script = format!("const done = arguments[arguments.length - 1]; ({expression}).then(done);");
        Ok(self.client.execute_async(&script, Vec::new()).await?)
    }

    /// The text of the element with this id, as it is in the document.
    pub async fn text(&self, id: &str) -> Result<String, BrowserError> {
        let text = self
            .eval(&format!("document.getElementById({})?.textContent", json!(id)))
            .await?;
        text.as_str().map(str::to_owned).ok_or(BrowserError::Answer("text"))
    }

    /// Waits until the element with this id has this text.
    pub async fn until_text(&self, id: &str, text: &str) -> Result<(), BrowserError> {
        let condition = format!(
            "document.getElementById({})?.textContent === {}",
            json!(id),
            json!(text)
        );
        self.until(&condition).await
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, condition: &str) -> Result<(), BrowserError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = self.eval(condition).await?;
            if last == Value::Bool(true) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let page = self.eval("document.body.innerText").await?;
                return Err(BrowserError::Never {
                    condition: condition.to_owned(),
                    last,
                    page: page.as_str().unwrap_or_default().to_owned(),
                });
            }
            time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What axe-core finds on the page as it is.
    pub async fn axe(&self) -> Result<Vec<String>, BrowserError> {
        if self.eval("typeof axe").await? == "undefined" {
            self.client.execute(AXE, Vec::new()).await?;
        }
        let found = self.client.execute_async(RUN_AXE, Vec::new()).await?;
        let found = found.as_array().ok_or(BrowserError::Answer("axe"))?;
        Ok(found.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Opens another tab in front: the page is hidden until [`uncover`](Self::uncover). Meanwhile everything asked of
    /// this browser concerns the other tab.
    pub async fn cover(&self) -> Result<Covered, BrowserError> {
        let page = self.client.window().await?;
        let front = self.client.new_window(true).await?;
        self.client.switch_to_window(front.handle).await?;
        Ok(Covered(page))
    }

    /// Closes the tab in front.
    pub async fn uncover(&self, Covered(page): Covered) -> Result<(), BrowserError> {
        self.client.close_window().await?;
        Ok(self.client.switch_to_window(page).await?)
    }

    /// Writes the whole page, as far as it scrolls, to a PNG file.
    pub async fn screenshot(&self, file: &Path) -> Result<(), BrowserError> {
        let metrics = self.devtools("Page.getLayoutMetrics", json!({})).await?;
        let side = |name| metrics.pointer(&format!("/cssContentSize/{name}"));
        let clip = json!({"x": 0, "y": 0, "width": side("width"), "height": side("height"), "scale": 1});
        let shot = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.devtools("Page.captureScreenshot", shot).await?;
        let unexpected = || BrowserError::Answer("captureScreenshot");
        let data = shot.get("data").and_then(Value::as_str).ok_or_else(unexpected)?;
        let data = BASE64.decode(data).map_err(|_| unexpected())?;
        Ok(tokio::fs::write(file, data).await?)
    }

    /// What the console got since the last call: errors, warnings, violations of the content security policy.
    pub async fn console(&self) -> Result<Vec<String>, BrowserError> {
        self.log("browser").await
    }

    /// The addresses that the tab asked for since the last call.
    pub async fn requests(&self) -> Result<Vec<String>, BrowserError> {
        let events = self.log("performance").await?;
        let request = |event: &String| {
            let event: Value = serde_json::from_str(event).ok()?;
            let method = event.pointer("/message/method")?;
            let url = event.pointer("/message/params/request/url")?.as_str()?;
            (method == "Network.requestWillBeSent").then(|| url.to_owned())
        };
        Ok(events.iter().filter_map(request).collect())
    }

    /// The messages of one of the driver's logs since the last call.
    async fn log(&self, kind: &str) -> Result<Vec<String>, BrowserError> {
        let log = self
            .client
            .issue_cmd(Command::new("se/log", json!({"type": kind})))
            .await?;
        let lines = log.as_array().ok_or(BrowserError::Answer("se/log"))?;
        let message = |line: &Value| Some(line.get("message")?.as_str()?.to_owned());
        Ok(lines.iter().filter_map(message).collect())
    }
}
