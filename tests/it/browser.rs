//! A minimal WebDriver client (W3C WebDriver §6) for headless Chromium.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::harness::{PATIENCE, is_installed, skip, wait_until};

/// A browser with one window; closed when dropped.
pub struct Browser {
    driver: Child,
    /// Kept open so that the driver can write to it.
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts a browser, if Chromium and its driver are installed.
    pub fn start() -> Option<Browser> {
        if !is_installed("chromium") || !is_installed("chromedriver") {
            skip("chromium and chromedriver are not installed");
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let port = said
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let words = line.split("successfully on port ").nth(1)?;
                words.trim_end_matches('.').parse::<u16>().ok()
            });
        let mut browser = Browser {
            driver,
            _said: said,
            port: port.expect("the driver says its port"),
            session: String::new(),
        };
        let options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// Navigates to an address and waits until it is loaded.
    pub fn go(&self, address: &str) {
        self.of_session("POST", "/url", &json!({"url": address}));
    }

    /// Runs a function body in the page and returns its result.
    pub fn run(&self, script: &str) -> Value {
        self.of_session(
            "POST",
            "/execute/sync",
            &json!({"script": script, "args": []}),
        )
    }

    /// Sends a command of the DevTools protocol.
    pub fn command(&self, name: &str, parameters: &Value) {
        let command = json!({"cmd": name, "params": parameters});
        self.of_session("POST", "/goog/cdp/execute", &command);
    }

    /// Waits until a script returns true.
    pub fn wait_until(&self, what: &str, script: &str) {
        wait_until(what, || self.run(script) == Value::Bool(true));
    }

    /// Console messages since the last call.
    pub fn console(&self) -> Vec<Value> {
        let entries = self.of_session("POST", "/se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().clone()
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = BufReader::new(stream);
        let mut head = String::new();
        // The driver keeps the connection open even if asked to close it.
        while !head.ends_with("\r\n\r\n") {
            assert!(answer.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.trim().parse().ok());
        let mut content = vec![0; length.expect("a length")];
        answer.read_exact(&mut content).unwrap();
        let mut value: Value = serde_json::from_slice(&content).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {value}");
        value["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.of_session("DELETE", "", &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
