//! A headless Chromium, driven over the DevTools protocol through a pair of pipes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

/// Beyond what any machine needs for one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    /// What came while something else was waited for.
    events: VecDeque<Value>,
    session: String,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one; `Err` says why there is none.
    pub(crate) fn start() -> Result<Self, String> {
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        // The shell puts the pipes where the browser looks for them: commands at 3, answers at 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "browser"])
            .args([
                "chromium",
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
            ])
            .args(["--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let pipe = child.stdin.take().ok_or("no pipe")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let parsed = serde_json::from_slice(&message).expect("JSON from the browser");
                if sender.send(parsed).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let session = String::new();
        let mut browser = Self { child, pipe, messages, events: VecDeque::new(), session, next: 0, _profile: profile };
        let target = browser.try_call("Target.createTarget", json!({"url": "about:blank"}))?;
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.try_call("Target.attachToTarget", target)?;
        browser.session = attached["sessionId"].as_str().ok_or("no session")?.to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.try_call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut octets = message.to_string().into_bytes();
        octets.push(0);
        self.pipe.write_all(&octets).map_err(|_| "chromium does not run (apt-get install chromium)".to_owned())?;
        loop {
            let answer =
                self.messages.recv_timeout(PATIENCE).map_err(|error| format!("chromium gives no answer: {error}"))?;
            if answer["id"] == id {
                let error = &answer["error"];
                return if error.is_null() { Ok(answer["result"].clone()) } else { Err(format!("{method}: {error}")) };
            }
            self.events.push_back(answer);
        }
    }

    /// A method of the protocol.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Width and height in CSS pixels, and the scheme `light` or `dark`.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// Goes to `url`.
    pub(crate) fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{gone}");
    }

    /// The value of a JavaScript expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let result = self
            .call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until `expression` is true.
    pub(crate) fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        // Asked in the page, which looks whenever it has drawn: nothing sleeps here.
        let asked = format!(
            "new Promise((done) => {{ const end = performance.now() + 20000; const look = () => {{ \
             let is; try {{ is = Boolean({expression}); }} catch {{ is = false; }} \
             if (is || performance.now() > end) done(is); else setTimeout(look, 30); }}; look(); }})"
        );
        let came = self.eval(&asked);
        assert_eq!(
            came,
            true,
            "{expression} is not true after {:?}; the page:\n{}",
            began.elapsed(),
            self.text("body")
        );
    }

    /// What a person sees of an element.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        self.eval(&format!("document.querySelector({})?.innerText ?? ''", json!(selector))).as_str().unwrap().to_owned()
    }

    /// Presses a key: a name such as `Tab`, or a character.
    pub(crate) fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "ArrowDown" => (40, ""),
            "ArrowRight" => (39, ""),
            _ => (0, key),
        };
        let press = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", press);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// Types text, key by key.
    pub(crate) fn write(&mut self, text: &str) {
        text.chars().for_each(|character| self.key(&character.to_string()));
    }

    /// What is in view, as PNG; `from`: pixels above it.
    pub(crate) fn picture(&mut self, from: u32) -> Vec<u8> {
        self.eval(&format!("scrollTo({{top: {from}, behavior: 'instant'}})"));
        let shot = self.call("Page.captureScreenshot", json!({}));
        BASE64.decode(shot["data"].as_str().unwrap().as_bytes()).unwrap()
    }

    /// What the browser had to complain of so far: refused by policy, failed to load, thrown.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.eval("0");
        self.events.extend(self.messages.try_iter());
        let complaint = |event: Value| match event["method"].as_str()? {
            "Log.entryAdded" => Some(event["params"]["entry"].to_string()),
            "Runtime.exceptionThrown" => Some(event["params"].to_string()),
            "Runtime.consoleAPICalled" => Some(event["params"]["args"].to_string()),
            "Network.loadingFailed" => Some(event["params"].to_string()),
            _ => None,
        };
        self.events.drain(..).filter_map(complaint).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session.clear();
        let _ = self.try_call("Browser.close", json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
