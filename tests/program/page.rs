//! The live page in a real browser: what it shows of live events, and what it never does with hostile ones.
//!
//! Needs Chromium (`samples/servers install` brings it). Without it each test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure. Pictures of it all are in `target/tmp/page`; those in
//! `docs/pictures` come of `cargo test --test program page -- --ignored`.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mailtap::event::{Context, Event, Sink};
use mailtap::output::page::{ASSETS, PageState, Show};
use mailtap::output::serve::{BoundServer, Handle, Readiness, ServeSettings, ServedContent};
use mailtap::output::{EventFanout, InputKind, Policy, TopCollector, TopState};
use mailtap::secret::Secret;
use mailtap::time::Timestamp;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::traffic::{Talk, hello, message};

struct Page {
    handle: Handle,
    state: Arc<PageState>,
    top: Arc<TopState>,
    recorder: EventFanout,
}

/// What a thread of an input has, without a log.
fn recorder(state: &Arc<PageState>, top: &Arc<TopState>) -> EventFanout {
    let policy = Policy::default();
    let top = TopCollector::new(Arc::clone(top), &policy);
    EventFanout::new(Arc::new(policy), None).with_page(state.recorder()).with_top(top)
}

impl Page {
    fn new(token: Option<&str>) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), token)
    }

    fn at(listen: SocketAddr, token: Option<&str>) -> Self {
        let config = ServeSettings {
            listen,
            token: token.map(|token| Secret::from(token.to_owned())),
            tls: None,
            hosts: Vec::new(),
        };
        let show = Show { addresses: true, subjects: true };
        let top = Arc::new(TopState::new(InputKind::Proxy, true));
        let sources = vec!["mx".into(), "submission".into()];
        let state = Arc::new(PageState::new(InputKind::Proxy, sources, show, Arc::clone(&top)));
        let recorder = recorder(&state, &top);
        let page = Arc::clone(&state);
        let content = ServedContent { metrics: Box::new(Vec::new), page, readiness: Readiness::new() };
        Self { handle: BoundServer::bind(&config).unwrap().start(content).unwrap(), state, top, recorder }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.handle.address())
    }

    fn talk(&mut self, id: u64, client: &str, port: u16, ago: u64) -> Talk<'_> {
        Talk::new(&mut self.recorder, id, client, port, Duration::from_secs(ago))
    }

    /// Opens it in `browser` and waits until it is live.
    fn show(&self, browser: &mut Browser) {
        browser.look(1280, 900, "light");
        browser.open(&self.url());
        browser.wait("document.querySelector('#link').innerText === 'Live'");
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
    page.recorder.flush();
}

fn keep(name: &str, picture: &[u8]) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
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
        ("middle-light", 1100, "light"),
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

#[test]
fn what_strangers_write_is_shown_as_they_wrote_it() {
    let Some(mut browser) = browser("what_strangers_write_is_shown_as_they_wrote_it") else { return };
    let mut page = Page::new(None);
    let mut talk = page.talk(1, "203.0.113.5:4000", 25, 10);
    hello(&mut talk);
    let from = "\"<script>alert(1)</script>\"@evil.example";
    let to = "ann@example.org\u{202e}gro.elpmaxe\u{200b}";
    let subject = "<img src=x onerror=alert(document.domain)> &amp; </td></table><svg onload=alert(2)>";
    message(&mut talk, from, to, subject, 1000, ("250 2.0.0 <b>Ok</b>", 3.0));
    talk.octets(b"<style>*{display:none}</style> \xff\xfe\n").s("500 5.5.1 ErrorKind?", 1.0).reset();
    page.recorder.flush();
    page.show(&mut browser);
    browser.wait("document.querySelectorAll('#t-messages tbody tr').length === 1");
    let row = browser.text("#t-messages tbody");
    assert!(row.contains(from) && row.contains(subject), "{row}");
    assert!(row.contains("ann@example.org\\u{202e}gro.elpmaxe\\u{200b}"), "{row}");
    let strange =
        "document.querySelectorAll('main img, main script, main style, main td svg:not(.range svg), main b').length";
    assert_eq!(browser.eval(strange), 0);
    assert_eq!(browser.eval("document.querySelectorAll('#t-messages tbody td').length"), 9);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // The policy is in force: markup cannot be made even by the page itself.
    assert_eq!(
        browser.eval("try { document.body.innerHTML = '<p>'; 'made' } catch (error) { error.name }"),
        "TypeError"
    );
    page.stop();
}

#[test]
fn sessions_are_filtered_by_keyboard_alone() {
    let Some(mut browser) = browser("sessions_are_filtered_by_keyboard_alone") else { return };
    let mut page = Page::new(None);
    bustle(&mut page);
    page.show(&mut browser);
    let shown = "[...document.querySelectorAll('#t-sessions tbody tr')]";
    browser.wait(&format!("{shown}.length === 12"));
    browser.key("Tab");
    assert_eq!(browser.text(":focus"), "Skip to the sessions");
    browser.key("Enter");
    browser.key("Tab");
    assert_eq!(browser.eval("document.activeElement.id"), "f-protocol");
    let outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus can be seen");
    browser.key("p");
    browser.wait(&format!("{shown}.length === 10 && {shown}.every((row) => row.cells[1].innerText === 'POP3 mx')"));
    assert_eq!(browser.text("#sessions-n"), "10 of 60 match");
    (0..3).for_each(|_| browser.key("Tab"));
    assert_eq!(browser.eval("document.activeElement.id"), "f-text");
    browser.write("203.0.113");
    browser.wait(&format!(
        "{shown}.length > 0 && {shown}.every((row) => row.cells[2].innerText.startsWith('203.0.113.'))"
    ));
    browser.write("x");
    browser.wait(&format!("{shown}.length === 0"));
    assert_eq!(browser.text("#e-sessions"), "No session matches the filter.");
    browser.key("Tab");
    assert_eq!(browser.text(":focus"), "Clear");
    browser.key("Enter");
    browser.wait(&format!("{shown}.length === 12"));
    assert_eq!(browser.text("#sessions-n"), "");
    page.stop();
}

/// 250 clients of as many networks at two listeners, and one that is busier; one server is silent.
fn crowd(page: &mut Page) {
    for number in 0..250_u64 {
        let client = format!("203.{}.{}.7:4000", number / 100, number % 100);
        let port = if number % 3 == 0 { 587 } else { 25 };
        let mut talk = page.talk(1000 + number, &client, port, 250 - number);
        hello(&mut talk);
        match number % 4 {
            0 => {
                talk.c("AUTH PLAIN AGFubgBzM2NyZXQ=").s("235 2.7.0 ok", 20.0);
                let reply = ("250 2.0.0 Ok: queued as 4cXk2L0dRzz", 40.0);
                message(&mut talk, "ann@shop.example", &format!("u@d{}.example", number % 7), "Order", 4000, reply);
                talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close();
            }
            1 => {
                talk.c("MAIL FROM:<a@b.example>").s("250 2.1.0 Ok", 1.0).c("RCPT TO:<no@example.org>");
                talk.s("550 5.1.1 User unknown", 3.0).c("QUIT").s("221 2.0.0 Bye", 0.3).close();
            }
            2 => talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close(),
            _ => {}
        }
    }
    for number in 0..30 {
        let mut talk = page.talk(2000 + number, "[2001:db8:7::25]:4000", 587, 20);
        hello(&mut talk)
            .c("AUTH PLAIN AGJvYgBzM2NyZXQ=")
            .s("535 5.7.8 Wrong", 2000.0)
            .c("QUIT")
            .s("221 Bye", 1.0)
            .close();
    }
    let mut talk = page.talk(3000, "198.51.100.1:4000", 25, 60);
    hello(&mut talk).c("MAIL FROM:<slow@b.example>");
    page.recorder.flush();
}

#[test]
fn a_row_opens_to_what_the_session_did() {
    let Some(mut browser) = browser("a_row_opens_to_what_the_session_did") else { return };
    let mut page = Page::new(None);
    let mut talk = page.talk(0xab, "203.0.113.5:4000", 25, 10);
    hello(&mut talk).c("AUTH PLAIN AGFubgBzM2NyZXQ=").s("235 2.7.0 ok ann", 20.0);
    talk.c("MAIL FROM:<ann@example.org>").s("250 2.1.0 Ok", 1.0).c("RCPT TO:<no@example.org>");
    talk.s("550 5.1.1 User unknown", 300.0).c("RSET").s("250 Ok", 1.0);
    message(&mut talk, "ann@example.org", "bob@example.org", "Lunch", 500, ("250 2.0.0 Ok: queued as 4cX", 40.0));
    page.recorder.flush();
    page.show(&mut browser);
    browser.wait("document.querySelectorAll('#t-sessions > tbody > tr').length === 1");
    // By keyboard: the button says whether it is open, and what it opens.
    browser.eval("document.querySelector('#t-sessions .open').focus()");
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-expanded')"), "false");
    let label = browser.eval("document.activeElement.getAttribute('aria-label')");
    assert_eq!(label, "open: what the session of 203.0.113.5:4000 did");
    browser.key("Enter");
    browser.wait("document.querySelector('.details table')");
    let controls = "document.activeElement.getAttribute('aria-controls') === document.querySelector('.details').id";
    assert_eq!(browser.eval(controls), true);
    let said = browser.text(".details");
    for part in ["server 192.0.2.25:25 · listener mx · session 00000000000000ab", "greeting", "RCPT", "550 5.1.1"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    for part in ["no such mailbox", "end of data", "bob@example.org", "Lunch", "301 ms"] {
        assert!(said.contains(part) || part == "301 ms" && said.contains("300 ms"), "{part} is missing in {said}");
    }
    for secret in ["s3cret", "AGFubg", "235 2.7.0 ok ann"] {
        assert!(!browser.text("body").contains(secret));
    }
    // What it does from now on comes by itself, and the focus stays.
    talk_more(&mut page);
    browser.wait("document.querySelector('.details').innerText.includes('NOOP')");
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-expanded')"), "true");
    browser.key(" ");
    browser.wait("!document.querySelector('.details')");
    // By mouse, anywhere in the row; from a message, its session.
    browser.eval("document.querySelector('#t-sessions > tbody > tr').cells[3].click()");
    browser.wait("document.querySelector('.details table')");
    browser.eval("document.querySelector('#t-sessions > tbody > tr').cells[3].click()");
    browser.wait("!document.querySelector('.details')");
    browser.eval("document.querySelector('#t-messages button').click()");
    browser.wait("document.querySelector('.details table')");
    assert_eq!(browser.eval("document.querySelector('#f-text').value"), "00000000000000ab");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    page.stop();
}

/// Another command of the session that is open, as its own thread would tell of it.
fn talk_more(page: &mut Page) {
    let mut talk = page.talk(0xab, "203.0.113.5:4000", 25, 1);
    hello(&mut talk).c("NOOP").s("250 Ok", 1.0);
    page.recorder.flush();
}

#[test]
fn a_crowd_is_filtered_and_ranked() {
    let Some(mut browser) = browser("a_crowd_is_filtered_and_ranked") else { return };
    let mut page = Page::new(None);
    crowd(&mut page);
    page.show(&mut browser);
    let shown = "[...document.querySelectorAll('#t-sessions > tbody > tr')]";
    let choose = |browser: &mut Browser, id: &str, value: &str| {
        let set = format!("(() => {{ const one = document.querySelector('#{id}'); one.value = '{value}'; ");
        browser.eval(&format!("{set} one.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"));
    };
    choose(&mut browser, "f-source", "submission");
    browser.wait(&format!("{shown}.every((row) => row.cells[1].innerText.includes('submission'))"));
    choose(&mut browser, "f-text", "203.0.9");
    browser
        .wait(&format!("{shown}.length === 4 && {shown}.every((row) => row.cells[2].innerText.startsWith('203.0.9'))"));
    browser.eval("document.querySelector('#f-clear').click()");
    // By what a message says, and by a network.
    choose(&mut browser, "f-text", "u@d5.example");
    browser.wait(&format!("{shown}.length > 0 && {shown}.every((row) => row.innerText.includes('203.'))"));
    // A server that does not answer is named, with the time.
    browser.eval("document.querySelector('#f-clear').click()");
    choose(&mut browser, "f-outcome", "silent");
    browser.wait(&format!("{shown}.length === 1 && {shown}[0].innerText.includes('server silent since ')"));
    assert_eq!(browser.eval("location.hash"), "#outcome=silent");
    browser.eval("document.querySelector('#f-clear').click()");
    // One network has more than the others, of which each has one: nothing is ranked by chance.
    browser.wait("document.querySelector('#t-top tbody tr')?.innerText.includes('2001:db8:7::/64')");
    let counts = "[...document.querySelectorAll('#t-top tbody tr')].map((row) => row.cells[1].innerText).join()";
    assert_eq!(browser.eval(counts), "30,1,1,1,1,1,1,1,1,1,1,1");
    assert_eq!(browser.text("#bound"), "281 in all; nobody else has more than 1.");
    let pick = |browser: &mut Browser, value: &str| {
        browser.eval(&format!("document.querySelector('#top input[value={value}]').click()"));
    };
    for (of, by, first) in [
        ("client_network", "failed_logins", "2001:db8:7::/64 30"),
        ("server", "sessions", "192.0.2.25:25 "),
        ("recipient_domain", "refused_recipients", "example.org 63"),
        ("user", "logins", "ann 63"),
    ] {
        pick(&mut browser, of);
        pick(&mut browser, by);
        let row = "document.querySelector('#t-top tbody tr').innerText.replaceAll(/\\s+/g, ' ')";
        browser.wait(&format!("{row}.startsWith('{first}')"));
    }
    pick(&mut browser, "client_network");
    browser.wait("document.querySelector('#t-top button')");
    browser.eval("document.querySelector('#t-top button').click()");
    browser.wait("document.querySelector('#f-text').value === '2001:db8:7::/64'");
    browser.wait(&format!("{shown}.length === 12 && {shown}.every((row) => row.innerText.includes('2001:db8:7::25'))"));
    browser.eval("document.querySelector('#t-sessions .open').click()");
    browser.wait("document.querySelector('.details table')");
    for (name, width, scheme) in [
        ("wide-light", 1280, "light"),
        ("wide-dark", 1280, "dark"),
        ("narrow-light", 390, "light"),
        ("narrow-dark", 390, "dark"),
    ] {
        browser.look(width, 900, scheme);
        browser.wait("true");
        for part in 0..5 {
            keep(&format!("crowd-{name}-{part}.png"), &browser.picture(part * 900));
        }
        let over = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(over, 0, "wider than {width} pixels");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    page.stop();
}

/// The page with one event, which is written here: of a crowd too large for the lists, and a server that has become slow.
fn canned(event: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let event = format!("data: {event}\n\n");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            if BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).is_err() {
                continue;
            }
            let path = line.split(' ').nth(1).unwrap_or_default();
            let asset = ASSETS.iter().find(|asset| asset.path == path);
            let (kind, body) =
                asset.map_or(("text/event-stream", event.as_bytes()), |asset| (asset.kind, asset.octets));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n");
            let length = asset.map(|_| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
            let _ = stream.write_all(&[head.as_bytes(), length.as_bytes(), b"\r\n", body].concat());
            if asset.is_none() {
                // The stream goes on.
                std::mem::forget(stream);
            }
        }
    });
    address
}

#[test]
fn what_is_slow_and_what_is_not_exact_is_said() {
    let Some(mut browser) = browser("what_is_slow_and_what_is_not_exact_is_said") else { return };
    let latency = |step: &str, since: Value, usual: Value| {
        json!({"protocol": "smtp", "step": step, "count": 9, "p50": 900.0, "p95": 1500.0, "p99": 1500.0,
            "slow_since": since, "usual": usual})
    };
    let entry = json!({"name": "203.0.113.0/24", "at_least": 960, "at_most": 966});
    let list = |by: &str, entries: Value| json!({"of": "client_network", "by": by, "total": 9000, "others_at_most": 6, "entries": entries});
    let event = json!({
        "hello": {"version": "0.1.0", "input": "proxy", "sources": ["mx"], "addresses": false, "subjects": false,
            "listed": 500, "recent": 200, "seconds": 300, "protocols": ["smtp"], "outcomes": ["ok"]},
        "now": 1_780_000_600_000_u64, "uptime": 600, "unlisted": 0, "skipped": 0,
        "digest": {"open": [], "refusals": [], "tops": [list("sessions", json!([entry])), list("bytes", json!([]))],
            "latencies": [latency("RCPT", 510.into(), 12.0.into()), latency("MAIL", Value::Null, Value::Null)]},
    });
    browser.look(1280, 900, "light");
    browser.open(&format!("http://{}/", canned(&event.to_string())));
    browser.wait("document.querySelectorAll('#t-latency tbody tr').length === 2");
    let slow = browser.text("#t-latency tbody tr");
    let since = browser.eval("new Date(1780000510000).toLocaleTimeString('en-GB')");
    assert!(slow.contains(&format!("slow since {}, was 12 ms", since.as_str().unwrap())), "{slow}");
    assert_eq!(browser.text("#t-latency tbody").matches("slow since").count(), 1);
    let fits = "(() => { const { scrollWidth, clientWidth } = document.querySelector('#latency .scroll'); return scrollWidth <= clientWidth; })()";
    assert_eq!(browser.eval(fits), true, "all of the row is seen");
    assert_eq!(browser.eval("document.querySelector('#f-source').offsetParent"), Value::Null, "with one listener only");
    assert_eq!(browser.text("#t-top tbody td:nth-child(2)"), "≥ 960");
    assert_eq!(browser.text("#bound"), "9,000 in all; nobody else has more than 6.");
    browser.eval("document.querySelector('#top input[value=bytes]').click()");
    browser.wait("document.querySelectorAll('#t-top tbody tr').length === 0");
    assert_eq!(browser.text("#e-top"), "Nobody stands out: of 9.00 kB in all, nobody has more than 6 B.");
    keep("slow.png", &browser.picture(0));
}

#[test]
fn what_happens_shows_up_by_itself() {
    let Some(mut browser) = browser("what_happens_shows_up_by_itself") else { return };
    let page = Page::new(None);
    page.show(&mut browser);
    assert!(browser.text("#e-sessions").starts_with("No session yet."));
    assert_eq!(browser.text("#e-anomalies"), "Nothing out of the ordinary.");
    let (mut ends, mut stays) = (page.state.recorder(), page.state.recorder());
    hello(&mut Talk::new(&mut stays, 7, "203.0.113.5:4000", 25, Duration::from_secs(3)));
    let mut talk = Talk::new(&mut ends, 8, "203.0.113.6:4000", 110, Duration::from_secs(2));
    talk.s("+OK ready", 1.0).c("CAPA").s("+OK\r\nUSER\r\n.", 1.0);
    stays.publish();
    ends.publish();
    browser.wait("document.querySelectorAll('#t-sessions tbody .tone-open').length === 2");
    browser.wait("document.querySelectorAll('#tiles dd')[0].innerText === '2'");
    // Whose thread ends has no open sessions any more.
    drop(ends);
    browser.wait("document.querySelectorAll('#tiles dd')[0].innerText === '1'");
    browser.wait("document.querySelectorAll('#t-sessions tbody .tone-open').length === 1");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    page.stop();
}

#[test]
fn a_lost_connection_is_said_and_found_again() {
    let Some(mut browser) = browser("a_lost_connection_is_said_and_found_again") else { return };
    let page = Page::new(None);
    let address = page.handle.address();
    page.show(&mut browser);
    page.stop();
    browser.wait("document.querySelector('#link').innerText.includes('Connection lost')");
    browser.wait("document.querySelector('#link').innerText.includes('Retrying in')");
    let again = Page::at(address, None);
    browser.wait("document.querySelector('#link').innerText === 'Live'");
    again.stop();
}

#[test]
fn a_person_signs_in_with_the_token_as_password() {
    let Some(mut browser) = browser("a_person_signs_in_with_the_token_as_password") else { return };
    let mut page = Page::new(Some("t0ken"));
    hello(&mut page.talk(1, "203.0.113.5:4000", 25, 10));
    page.recorder.flush();
    browser.open(&page.url().replace("http://", "http://me:t0ken@"));
    browser.wait("document.querySelector('#link').innerText === 'Live'");
    // What the page asks for later needs the token too.
    browser.wait("document.querySelector('#t-sessions .open')");
    browser.eval("document.querySelector('#t-sessions .open').click()");
    browser.wait("document.querySelector('.details').innerText.includes('EHLO')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    page.stop();
}

/// A mail server of few words, until the test is over.
fn mail_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve_mail(stream.unwrap()));
        }
    });
    address
}

fn serve_mail(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    stream.write_all(b"220 mx.example.org ESMTP\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let reply: &[u8] = match line.get(..4)? {
            "DATA" => b"354 Go ahead\r\n",
            "RCPT" if line.contains("nobody") => b"550 5.1.1 Unknown\r\n",
            "QUIT" => b"221 Bye\r\n",
            _ => b"250 Ok\r\n",
        };
        stream.write_all(reply).ok()?;
        if line == "DATA" {
            lines.by_ref().find(|line| line.as_ref().is_ok_and(|line| line == "."))?.ok()?;
            stream.write_all(b"250 2.0.0 Ok: queued as 4cXk2L0dRz\r\n").ok()?;
        }
    }
    Some(())
}

/// Says each line when the server has answered the one before.
fn converse(server: SocketAddr, lines: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in lines {
        replies.next().unwrap().unwrap();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }
    replies.next().unwrap().unwrap();
    stream
}

#[test]
fn the_proxy_shows_its_live_traffic() {
    let Some(mut browser) = browser("the_proxy_shows_its_live_traffic") else { return };
    // Free a moment ago; nothing else here takes ports by number.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listener, shown) = (free(), free());
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_mailtap"))
        .args(["proxy", "--listen", &listener.to_string(), "--upstream", &mail_server().to_string()])
        .args(["--metrics-listen", &shown.to_string(), "--metrics-token", "t0ken", "--log", "/dev/null"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(proxy.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("listener ")), "the proxy does not start");
    browser.look(1280, 900, "light");
    browser.open(&format!("http://me:t0ken@{shown}/"));
    browser.wait("document.querySelector('#link').innerText === 'Live'");
    let hello = "EHLO client.example.net";
    let held = converse(listener, &[hello, "MAIL FROM:<ann@example.org>"]);
    let (refused, taken) = ("RCPT TO:<nobody@example.org>", "RCPT TO:<bob@example.org>");
    let message = "Subject: Lunch\r\n\r\nAt one?\r\n.";
    drop(converse(listener, &[hello, "MAIL FROM:<ann@example.org>", refused, taken, "DATA", message, "QUIT"]));
    browser.wait("document.querySelectorAll('#t-sessions tbody tr').length === 2");
    browser.wait("document.querySelector('#t-sessions').innerText.includes('MAIL 250')");
    browser.wait("document.querySelectorAll('#t-sessions .tone-open').length === 1");
    browser.wait("document.querySelector('#t-messages').innerText.includes('ann@example.org')");
    browser.wait("document.querySelector('#t-refusals').innerText.includes('550 5.1.1')");
    // What the log leaves out by default, the page leaves out.
    assert!(!browser.text("body").contains("Lunch"));
    drop(held);
    browser.wait("document.querySelectorAll('#t-sessions .tone-open').length === 0");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    proxy.kill().unwrap();
    proxy.wait().unwrap();
}

/// One recorder for many conversations that are all open.
#[derive(Clone)]
struct Shared(Rc<RefCell<EventFanout>>);

impl Sink for Shared {
    fn event(&mut self, context: &Context, at: Timestamp, event: &Event<'_>) {
        self.0.borrow_mut().event(context, at, event);
    }
}

#[test]
#[ignore = "takes five minutes, in which traffic goes on: makes the pictures of docs/pictures"]
fn pictures() {
    let mut browser = browser("pictures").expect("a browser");
    let page = Page::new(None);
    let recorder = Shared(Rc::new(RefCell::new(recorder(&page.state, &page.top))));
    let (mut open, mut number) = (Vec::new(), 0_u64);
    let (_never, wait) = std::sync::mpsc::channel::<()>();
    let mut dice = 1_u64;
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for second in 0..302_u64 {
        let wave = 3.0 + 2.0 * (second as f64 / 40.0).sin() + if second / 20 == 9 { 4.0 } else { 0.0 };
        for _ in 0..(wave as u64 + roll(3)) {
            number += 1;
            let client = match roll(10) {
                0..3 => format!("203.0.113.5:4{:04}", roll(9999)),
                3 => format!("[2001:db8:7::25]:4{:04}", roll(9999)),
                4 | 5 => format!("198.51.100.77:4{:04}", roll(9999)),
                _ => format!("198.51.100.{}:4{:04}", 1 + roll(250), roll(9999)),
            };
            let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let out = Box::leak(Box::new(recorder.clone()));
            let port = [25, 25, 25, 143, 143, 110][roll(6) as usize];
            let mut talk = Talk::new(out, id, &client, port, Duration::from_secs(1));
            let slow = |most: u64, roll: &mut dyn FnMut(u64) -> u64| roll(most) as f64 * (1.0 + roll(4) as f64) / 2.0;
            match port {
                25 if roll(4) == 0 => {
                    hello(&mut talk).c("MAIL FROM:<promo@bulk.example>").s("250 2.1.0 Ok", 1.0);
                    for name in ["info", "sales", "admin"] {
                        talk.c(&format!("RCPT TO:<{name}@example.org>"));
                        let no = ["550 5.1.1 User unknown", "554 5.7.1 Not here", "450 4.7.1 Greylisted"];
                        talk.s(no[roll(3) as usize], 2.0 + slow(20, &mut roll));
                    }
                    talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close();
                }
                25 => {
                    hello(&mut talk);
                    if roll(30) == 0 {
                        talk.octets(b"NOOP\n").s("250 2.0.0 Ok", 0.2);
                    }
                    let (from, subject) = [
                        ("news@shop.example", "Your order has been sent"),
                        ("bob@example.net", "Minutes of the meeting"),
                        ("alerts@status.example", "All systems are back to normal"),
                        ("zoë@example.net", "Grüße aus Köln"),
                    ][roll(4) as usize];
                    let to = ["ann@example.org", "carol@example.org", "team@example.org"][roll(3) as usize];
                    let reply =
                        if roll(15) == 0 { "451 4.3.2 Try again later" } else { "250 2.0.0 Ok: queued as 4cXk2L0dRz" };
                    let octets = 900 + roll(40_000) as usize;
                    message(&mut talk, from, to, subject, octets, (reply, 20.0 + slow(300, &mut roll)));
                    if roll(25) == 0 { talk.reset() } else { talk.c("QUIT").s("221 2.0.0 Bye", 0.3).close() }
                }
                143 => {
                    talk.s("* OK ready.", 3.0).c("a LOGIN ann secret").s("a OK Logged in", 15.0 + slow(20, &mut roll));
                    talk.c("b SELECT INBOX").s("* 3 EXISTS\r\nb OK Selected", 1.0 + slow(5, &mut roll));
                    talk.c("c FETCH 1:3 (FLAGS)").s("* 1 FETCH (FLAGS ())\r\nc OK", 1.0 + slow(30, &mut roll));
                    if roll(3) == 0 { open.push(talk) } else { talk.c("d LOGOUT").s("* BYE\r\nd OK", 1.0).close() }
                }
                _ => {
                    talk.s("+OK ready", 3.0).c("USER bob").s("+OK", 0.5).c("PASS secret");
                    let reply = if roll(5) == 0 { "-ERR [AUTH] No" } else { "+OK Logged in" };
                    talk.s(reply, 8.0 + slow(30, &mut roll)).c("QUIT").s("+OK", 0.2).close();
                }
            }
        }
        while open.len() > 14 {
            open.remove(roll(14) as usize).c("d LOGOUT").s("* BYE\r\nd OK", 1.0).close();
        }
        recorder.0.borrow_mut().flush();
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }
    page.show(&mut browser);
    browser.wait("document.querySelectorAll('#t-latency tbody tr').length > 5");
    let looks = [("page", 1280, 860, "light"), ("page-dark", 1280, 860, "dark"), ("page-phone", 390, 844, "dark")];
    for (name, width, height, scheme) in looks {
        browser.look(width, height, scheme);
        browser.wait("true");
        keep(&format!("{name}.png"), &browser.picture(0));
    }
    page.stop();
}
