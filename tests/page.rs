//! The live page in a real browser: what it shows of live events, and what it never does with hostile ones.
//!
//! Needs Chromium (`samples/servers install` brings it). Without it each test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure. With `MAILTAP_PICTURES=FOLDER` the pictures are kept there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/browser.rs"]
#[allow(dead_code, unreachable_pub)]
mod browser;
#[path = "common/traffic.rs"]
#[allow(dead_code, unreachable_pub)]
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use browser::Browser;
use mailtap::cli::Secret;
use mailtap::config::MetricsServer;
use mailtap::output::InputKind;
use mailtap::output::page::{Recorder, Show, State};
use mailtap::output::serve::{Content, Handle, Readiness, Server};
use traffic::{Talk, hello, message};

struct Page {
    handle: Handle,
    recorder: Recorder,
}

impl Page {
    fn new(token: Option<&str>) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = MetricsServer { listen, token: token.map(|token| Secret::from(token.to_owned())), tls: None };
        let show = Show { addresses: true, subjects: true };
        let page = Arc::new(State::new(InputKind::Proxy, vec!["mx".into(), "submission".into()], show));
        let recorder = page.recorder();
        let content = Content { metrics: Box::new(Vec::new), page, readiness: Readiness::new() };
        Self { handle: Server::bind(&config).unwrap().start(content).unwrap(), recorder }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.handle.address())
    }

    fn talk(&mut self, id: u64, client: &str, port: u16, ago: u64) -> Talk<'_> {
        Talk::new(&mut self.recorder, id, client, port, Duration::from_secs(ago))
    }

    fn stop(self) {
        self.handle.stop(Duration::from_secs(5));
    }
}

/// `None`, and why, where there is no browser.
fn browser(test: &str) -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(reason) => {
            assert!(std::env::var_os("MAILTAP_REQUIRE_SERVERS").is_none(), "{reason}");
            eprintln!("SKIPPED {test}: {reason}");
            None
        }
    }
}

/// Traffic of a small site: three protocols, some of it refused, some of it odd.
fn bustle(page: &mut Page) {
    for number in 0..60_u64 {
        let client = match number % 7 {
            0..3 => "203.0.113.5".to_owned(),
            3 => "198.51.100.77".to_owned(),
            4 => "2001:db8:7::25".to_owned(),
            _ => format!("198.51.100.{}", number + 3),
        };
        let client = if client.contains(':') { format!("[{client}]:40001") } else { format!("{client}:4{number:04}") };
        let ago = 290 - number * 4;
        match number % 6 {
            0 | 1 => {
                let mut talk = page.talk(number, &client, 25, ago);
                hello(&mut talk);
                let taken = ("250 2.0.0 Ok: queued as 4cXk2L0dRzz", 40.0 + (number * 37 % 200) as f64);
                message(&mut talk, "news@shop.example", "ann@example.org", "Your order has been sent", 4000, taken);
                talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close();
            }
            2 => {
                let mut talk = page.talk(number, &client, 25, ago);
                hello(&mut talk).c("MAIL FROM:<promo@bulk.example>").s("250 2.1.0 Ok", 1.0);
                for name in ["info", "sales", "admin"] {
                    let reply = "550 5.1.1 User unknown";
                    talk.c(&format!("RCPT TO:<{name}@example.org>")).s(reply, 6.0 + number as f64);
                }
                talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close();
            }
            3 => {
                let mut talk = page.talk(number, &client, 143, ago);
                talk.s("* OK Dovecot ready.", 4.0).c("a LOGIN ann secret").s("a OK Logged in", 22.0);
                talk.c("b SELECT INBOX").s("* 3 EXISTS\r\nb OK Selected", 3.0).c("c FETCH 1:3 (FLAGS)");
                talk.s("* 1 FETCH (FLAGS ())\r\nc OK Fetched", 2.0);
                if number % 4 != 3 {
                    talk.c("d LOGOUT").s("* BYE\r\nd OK Logged out", 1.0).close();
                }
            }
            4 => {
                let mut talk = page.talk(number, &client, 110, ago);
                talk.s("+OK ready", 3.0).c("USER bob").s("+OK", 0.5).c("PASS secret");
                talk.s("-ERR [AUTH] Authentication failed.", 2000.0).c("QUIT").s("+OK", 0.2).close();
            }
            _ => {
                let mut talk = page.talk(number, &client, 25, ago);
                hello(&mut talk).octets(b"NOOP\n").s("250 2.0.0 Ok", 0.2);
                let busy = ("451 4.3.2 Please try again later", 900.0);
                message(&mut talk, "bob@example.net", "carol@example.org", "Minutes of the meeting", 90_000, busy);
                if number % 5 == 0 {
                    talk.reset();
                } else {
                    talk.close();
                }
            }
        }
    }
    page.recorder.publish();
}

fn keep(name: &str, picture: &[u8]) {
    let folder = std::env::var_os("MAILTAP_PICTURES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), picture).unwrap();
}

#[test]
fn the_page_shows_what_is_going_on() {
    let Some(mut browser) = browser("the_page_shows_what_is_going_on") else { return };
    let mut page = Page::new(None);
    bustle(&mut page);
    browser.look(1280, 900, "light");
    browser.open(&page.url());
    browser.wait("document.querySelectorAll('#t-sessions tbody tr').length === 12");
    browser.wait("document.querySelectorAll('#t-latency tbody tr').length > 5");
    for (name, width, scheme) in [
        ("wide-light", 1280, "light"),
        ("wide-dark", 1280, "dark"),
        ("narrow-light", 390, "light"),
        ("narrow-dark", 390, "dark"),
        ("phone", 320, "light"),
    ] {
        browser.look(width, 900, scheme);
        browser.wait("true");
        for part in 0..4 {
            keep(&format!("{name}-{part}.png"), &browser.picture(part * 900));
        }
        let over = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(over, 0, "wider than {width} pixels");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    page.stop();
}
