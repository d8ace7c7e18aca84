//! A headless Chromium, driven over WebDriver: JSON over HTTP, of which the tests need a handful of requests.
//!
//! No client crate: thirtyfour and fantoccini switch on features of serde_json, syn and time that the programs do not
//! have, so that cargo would compile most dependencies twice, once for the tests and once for the programs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::harness::until;
use sandbox::process::{Launch, Process};
use serde_json::{Value, json};

use crate::SOON;

/// True if there is one on PATH; where not, says so, and fails where all tests must run.
pub(crate) fn is_there() -> bool {
    let there = ["chromedriver", "chromium"]
        .iter()
        .all(|name| Command::new(name).arg("--version").output().is_ok());
    if !there {
        eprintln!(
            "skipped: no chromium and chromedriver on PATH (Debian: apt install chromium chromium-driver)"
        );
        let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "CI needs chromium and chromedriver on PATH");
    }
    there
}

/// A browser with one window.
pub(crate) struct Browser {
    driver: Process,
    address: String,
    session: String,
}

impl Browser {
    /// Starts one that keeps what it writes in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Browser> {
        let profile = folder.join("browser");
        fs::create_dir(&profile)?;
        let mut driver = Process::spawn(Launch {
            name: "chromedriver".into(),
            program: "chromedriver".into(),
            // A free port, which it prints.
            arguments: vec!["--port=0".into()],
            environment: Vec::new(),
            folder: folder.to_owned(),
            detached: false,
        })?;
        let log = folder.join("chromedriver.log");
        let mut port = String::new();
        driver.wait_until(SOON, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let said = text.split("started successfully on port ").nth(1);
            let found = said.and_then(|said| said.split_once('.'));
            port = found.map_or_else(String::new, |(port, _)| port.to_owned());
            !port.is_empty()
        })?;
        let mut browser = Browser {
            driver,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
        };
        // As root, as in a container, it starts only without its sandbox; it sees nothing but our pages.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            // Over a pipe, so that it ends with the driver, however that ends.
            "--remote-debugging-pipe",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.request("POST", "/session", &wanted)?;
        let id = session["sessionId"].as_str().context("no session")?;
        browser.session = format!("/session/{id}");
        // The browser's own first page has made requests.
        browser.open("about:blank")?;
        browser.requests()?;
        Ok(browser)
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) -> Result<()> {
        self.ask("/url", &json!({"url": url})).map(drop)
    }

    /// The value of a JavaScript expression.
    pub(crate) fn value(&self, expression: &str) -> Result<Value> {
        let script = format!("return {expression};");
        self.ask("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the element that a selector finds; empty where there is none.
    pub(crate) fn text(&self, selector: &str) -> Result<String> {
        let value = self.value(&format!(
            "document.querySelector({selector:?})?.innerText ?? ''"
        ))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the text of an element has this part.
    pub(crate) fn wait_for(&self, selector: &str, part: &str, limit: Duration) -> Result<()> {
        let mut last = String::new();
        let found = until(part, limit, || {
            last = self.text(selector)?;
            Ok(last.contains(part).then_some(()))
        });
        found.with_context(|| format!("{selector} says {last:?}"))
    }

    /// A command of Chrome's own protocol.
    pub(crate) fn chrome(&self, command: &str, parameters: &Value) -> Result<Value> {
        let body = json!({"cmd": command, "params": parameters});
        self.ask("/goog/cdp/execute", &body)
    }

    /// Presses a key that writes nothing, such as `ArrowLeft`.
    pub(crate) fn press(&self, key: &str) -> Result<()> {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key});
            self.chrome("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// Shows pages in a window of this width, in the light or the dark scheme.
    pub(crate) fn look(&self, width: u32, scheme: &str) -> Result<()> {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.chrome("Emulation.setDeviceMetricsOverride", &size)?;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.chrome("Emulation.setEmulatedMedia", &features)
            .map(drop)
    }

    /// Writes the whole page as a PNG.
    pub(crate) fn picture(&self, file: &Path) -> Result<()> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.chrome("Page.captureScreenshot", &whole)?;
        let data = answer["data"].as_str().context("no picture")?;
        fs::write(file, STANDARD.decode(data)?).context("writing a picture")
    }

    /// What was written to the console since the last call, from warnings on.
    pub(crate) fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.ask("/se/log", &json!({"type": "browser"}))?;
        let entries = entries.as_array().context("no log")?;
        let serious = entries
            .iter()
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        Ok(serious.map(|entry| entry["message"].to_string()).collect())
    }

    /// The addresses that the pages have asked for since the last call.
    pub(crate) fn requests(&self) -> Result<Vec<String>> {
        let entries = self.ask("/se/log", &json!({"type": "performance"}))?;
        let mut urls = Vec::new();
        for entry in entries.as_array().context("no log")? {
            let text = entry["message"].as_str().context("no message")?;
            let event: Value = serde_json::from_str(text)?;
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                let url = event["params"]["request"]["url"].as_str();
                urls.push(url.context("no address")?.to_owned());
            }
        }
        Ok(urls)
    }

    fn ask(&self, path: &str, body: &Value) -> Result<Value> {
        self.request("POST", &format!("{}{path}", self.session), body)
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(SOON))?;
        let (address, body) = (&self.address, body.to_string());
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        // The driver keeps the connection open: its answer is as long as it says.
        let mut answer = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            ensure!(answer.read_line(&mut line)? > 0, "no HTTP answer");
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
            if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        let said = &answer["value"];
        ensure!(head.contains(" 200 "), "{path}: {said}");
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    /// Ends the browser; the driver alone would leave it behind.
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _gone = self.request("DELETE", &self.session, &json!({}));
        }
        let _gone = self.driver.kill();
    }
}
