//! mailtap beside the real thing: a Postfix and a Dovecot of `samples/servers`, stock clients, tcpdump, and then what
//! the log says against what server and client say.
//!
//! Needs root and the packages of `samples/servers install`. Without them each test says so and passes, unless
//! `MAILTAP_REQUIRE_SERVERS` is set: then that is a failure.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::scripts;

#[test]
fn a_delivery_has_the_queue_id_that_postfix_logs() {
    let Some(run) = Run::new(
        "queue-id",
        r#"
        capture tcp port 25
        $SERVERS client swaks --silent 2 --server 192.0.2.25 --from bob@example.net --to ann@example.org,bob@example.org
        ! $SERVERS client swaks --silent 3 --server 192.0.2.25 --from bob@example.net --to nobody@example.org
        "#,
    ) else {
        return;
    };
    let deliveries = run.transactions("delivery");
    assert_eq!(deliveries.len(), 2);
    let (taken, refused) = (&deliveries[0], &deliveries[1]);
    assert_eq!(taken["outcome"], "accepted");
    let queue_id = taken["queue_id"].as_str().expect("a queue id");
    let log = run.text("postfix.log");
    assert!(log.contains(&format!("{queue_id}: client=client.example.net[192.0.2.10]")), "{queue_id} in\n{log}");
    assert!(log.contains(&format!("{queue_id}: from=<bob@example.net>")) && log.contains("nrcpt=2"), "{log}");
    let message_id = taken["message"]["message_id"].as_str().expect("a message id");
    assert!(log.contains(&format!("{queue_id}: message-id=<{}>", message_id.trim_matches(['<', '>']))), "{log}");
    assert_eq!(refused["outcome"], "rejected_permanent");
    assert_eq!(refused["recipients"][0]["code"], 550);
    assert_eq!(refused["recipients"][0]["enhanced"], "5.1.1");
    assert!(log.contains("NOQUEUE: reject: RCPT from client.example.net[192.0.2.10]: 550 5.1.1"), "{log}");
}

#[test]
fn a_message_sent_has_the_hash_of_the_file() {
    let Some(run) = Run::new(
        "sent",
        r#"
        printf 'Subject: Dots\r\nFrom: bob@example.net\r\n\r\n.\r\n..\r\n.hidden\r\nGr\303\274\303\237e\r\n' >$OUT/message
        head -c 40000 /dev/urandom | base64 | sed 's/$/\r/' >>$OUT/message
        capture tcp port 25
        $SERVERS client curl --silent --show-error smtp://192.0.2.25/client.example.net --upload-file $OUT/message \
            --mail-from bob@example.net --mail-rcpt ann@example.org
        "#,
    ) else {
        return;
    };
    let deliveries = run.transactions("delivery");
    assert_eq!(deliveries.len(), 1);
    run.assert_message(&deliveries[0]["message"], "message");
}

#[test]
fn a_message_retrieved_has_the_hash_of_what_curl_printed() {
    let Some(run) = Run::new(
        "retrieved",
        r#"
        $SERVERS client $SAMPLES/client.py seed 192.0.2.25 24
        capture 'tcp port 110 or tcp port 143'
        fetch() { $SERVERS client curl --silent --show-error --user ann:secret-of-ann "$1"; }
        fetch pop3://192.0.2.25/1 >$OUT/pop3
        fetch 'imap://192.0.2.25/INBOX;MAILINDEX=2' >$OUT/imap
        "#,
    ) else {
        return;
    };
    let retrievals = run.transactions("retrieval");
    let of = |protocol: &str| {
        let found: Vec<_> = retrievals.iter().filter(|record| record["protocol"] == protocol).collect();
        assert_eq!(found.len(), 1, "one retrieval by {protocol}");
        assert_eq!(found[0]["identity"], "ann");
        assert_eq!(found[0]["outcome"], "complete");
        &found[0]["message"]
    };
    run.assert_message(of("pop3"), "pop3");
    run.assert_message(of("imap"), "imap");
}

#[test]
fn what_lmtp_delivers_is_what_dovecot_stores() {
    let Some(run) = Run::new(
        "stored",
        r#"
        interface=lo
        capture tcp port 24
        $SERVERS client swaks --silent 2 --server 192.0.2.25 --from bob@example.net --to ann@example.org
        until grep -q 'status=sent' $MAIL_ROOT/log/postfix.log; do sleep 0.1; done
        # Dovecot puts its own trace first; it ends with the Received line it wrote.
        sed '1,/^\tfor <ann@example.org>; .*$/d' $MAIL_ROOT/mail/ann/Maildir/new/* | sed 's/$/\r/' >$OUT/stored
        "#,
    ) else {
        return;
    };
    let deliveries = run.transactions("delivery");
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["protocol"], "lmtp");
    assert_eq!(deliveries[0]["recipients"][0]["final"]["code"], 250);
    run.assert_message(&deliveries[0]["message"], "stored");
}

#[test]
fn the_log_counts_what_the_servers_count() {
    let Some(run) = Run::new(
        "counts",
        r#"
        capture tcp port 25
        $SERVERS client $SAMPLES/client.py smtp_pipelined 192.0.2.25 25
        "#,
    ) else {
        return;
    };
    let log = run.text("postfix.log");
    let accepted = run.transactions("delivery").iter().filter(|record| !record["queue_id"].is_null()).count();
    assert_eq!(accepted, log.matches(": client=client.example.net").count(), "{log}");
    let refused: usize = run
        .transactions("delivery")
        .iter()
        .flat_map(|record| record["recipients"].as_array().cloned().unwrap_or_default())
        .filter(|recipient| recipient["code"].as_u64() >= Some(400))
        .count();
    assert_eq!(refused, log.matches(": reject: RCPT").count(), "{log}");
}

/// One scenario: its files, and the records of its capture.
struct Run {
    folder: PathBuf,
    records: Vec<Value>,
}

/// What every scenario begins and ends with: tcpdump has taken in what the kernel has for it once the connections are over.
const BEFORE: &str = r#"
    interface=mx0
    capture() {
        tcpdump -i $interface -s 262144 --immediate-mode -Z root -U -w $OUT/capture.pcap "$@" 2>$OUT/tcpdump.err & sniffer=$!
        until grep -qs 'listening on' $OUT/tcpdump.err; do kill -0 $sniffer; sleep 0.05; done
    }
"#;
const AFTER: &str = r#"
    "$SAMPLES/record" await_quiet
    "$SAMPLES/record" await_captured $sniffer $OUT/tcpdump.err
    kill -INT $sniffer
    wait $sniffer || true
    cp $MAIL_ROOT/log/*.log $OUT
"#;

impl Run {
    /// Runs `scenario` beside the servers and `mailtap analyze` over its capture; `None` where that cannot be.
    fn new(name: &str, scenario: &str) -> Option<Self> {
        if !scripts::available(name) {
            return None;
        }
        let folder = scripts::folder("servers", name);
        let output = scripts::run(&folder, 240, &[BEFORE, scenario, AFTER].concat());
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let output = Command::new(env!("CARGO_BIN_EXE_mailtap"))
            .args(["analyze", "--quiet", "--log", "-", "capture.pcap"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let log = String::from_utf8(output.stdout).unwrap();
        assert!(!log.contains("secret-of-ann"), "a secret in the log:\n{log}");
        let records = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Some(Self { folder, records })
    }

    fn transactions(&self, kind: &str) -> Vec<Value> {
        let is_wanted = |record: &&Value| record["record"] == "transaction" && record["kind"] == kind;
        self.records.iter().filter(is_wanted).cloned().collect()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// `message` is, octet by octet, the file `name`.
    fn assert_message(&self, message: &Value, name: &str) {
        let octets = fs::read(self.folder.join(name)).unwrap();
        assert_eq!(message["size"], octets.len(), "size of {name}");
        assert_eq!(message["complete"], true);
        assert_eq!(message["sha256"], HEXLOWER.encode(&Sha256::digest(&octets)), "hash of {name}");
    }
}
