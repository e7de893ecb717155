//! Real clients and real servers: what works directly works through the proxy, and so does what goes wrong.
//!
//! nftables leads the clients of `tests/servers/clients/all` through the proxy without their knowing. Needs root and the packages of
//! `samples/servers install`; without them the tests say so and pass, unless `MAILTAP_REQUIRE_SERVERS` is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scripts;

/// The proxy, and the rules that lead clients to it.
const THROUGH: &str = r#"
    "$MAILTAP" proxy --transparent redirect --listen :9025 --log "$OUT/log" 2>"$OUT/err" & proxy=$!
    until grep -qs 'note: listener' "$OUT/err"; do kill -0 $proxy; sleep 0.05; done
    nft -f - <<'NFT'
table inet mailtap {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "mx0" tcp dport { 24, 25, 110, 143, 465, 587, 993, 995 } redirect to :9025
  }
}
NFT
"#;

#[test]
fn what_works_directly_works_through_it() {
    let Some(run) = Run::new(
        "all",
        &[
            r#"
            for subject in one two three; do
                $SERVERS client swaks --silent 2 --server mx.example.org --from bob@example.net --to ann@example.org \
                    --header "Subject: $subject" --attach "$subject: an attachment"
            done
            until [ "$(ls $MAIL_ROOT/mail/ann/Maildir/new 2>/dev/null | wc -l)" = 3 ]; do sleep 0.05; done
            # Once, so that no message is new in the first run alone.
            "$SAMPLES/../tests/servers/clients/all" "$OUT/before"
            "$SAMPLES/../tests/servers/clients/all" "$OUT/directly"
            "#,
            THROUGH,
            r#"
            "$SAMPLES/../tests/servers/clients/all" "$OUT/through"
            kill $proxy
            wait $proxy
            "#,
        ]
        .concat(),
    ) else {
        return;
    };
    let [directly, through] = ["directly", "through"].map(|name| told(&run.folder.join(name)));
    assert!(directly.len() >= 11 && directly.values().all(|text| !text.is_empty()), "{:?}", directly.keys());
    for (name, text) in &directly {
        assert_eq!(through.get(name), Some(text), "{name}");
    }
    let sessions = run.of("session");
    for (protocol, tls) in
        [("smtp", "none"), ("smtp", "starttls"), ("imap", "none"), ("imap", "implicit"), ("pop3", "implicit")]
    {
        let found = sessions.iter().any(|s| s["protocol"] == protocol && (s["tls"]["mode"] == tls || tls == "none"));
        assert!(found, "no session of {protocol} with {tls}");
    }
    let lost = sessions.iter().filter(|session| !["ok", "encrypted"].contains(&session["outcome"].as_str().unwrap()));
    let lost: Vec<_> = lost.map(|session| (&session["protocol"], &session["outcome"], &session["close"])).collect();
    assert!(lost.is_empty(), "of {}: {lost:?}", sessions.len());
}

#[test]
fn a_server_killed_amid_the_message_is_told_as_it_was() {
    let Some(run) = Run::new(
        "killed",
        &[
            THROUGH,
            r#"
            cat >"$OUT/send" <<'SEND'
exec 3<>/dev/tcp/192.0.2.25/25
say() { printf "$1\r\n" >&3; read -r -t 20 answer <&3; }
read -r greeting <&3
say 'HELO client.example.net'
say 'MAIL FROM:<alice@example.net>'
say 'RCPT TO:<bob@example.org>'
say 'DATA'
printf 'Subject: half\r\n\r\nhalf of it\r\n' >&3
echo "$answer"
# ErrorKind comes now is the end of the connection.
if read -r -t 20 more <&3; then echo "more: $more"; else echo "over: $?"; fi
SEND
            $SERVERS client timeout 60 bash "$OUT/send" >"$OUT/said" 2>&1 & client=$!
            until grep -qs '^354' "$OUT/said"; do kill -0 $client; sleep 0.05; done
            pkill -KILL -x smtpd
            wait $client
            kill $proxy
            wait $proxy
            "#,
        ]
        .concat(),
    ) else {
        return;
    };
    let said = fs::read_to_string(run.folder.join("said")).unwrap();
    assert!(said.contains("over: 1"), "an end at once, no wait for one: {said}");
    let session = run.of("session")[0];
    assert!(["server_gone", "reset"].contains(&session["outcome"].as_str().unwrap()), "{session}");
    assert_eq!((&session["close"]["by"], &session["close"]["phase"]), (&"server".into(), &"data".into()), "{session}");
    let delivery = run.of("transaction")[0];
    assert_eq!((&delivery["outcome"], &delivery["stage"]), (&"connection_lost".into(), &"data".into()), "{delivery}");
}

/// What was left in a folder, by file.
fn told(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())).collect()
}

/// A scenario that has been run: its files, and the records of the proxy.
struct Run {
    folder: PathBuf,
    records: Vec<Value>,
}

impl Run {
    /// Runs `scenario` beside the servers; `None` where that cannot be.
    fn new(name: &str, scenario: &str) -> Option<Self> {
        if !scripts::available(name) {
            return None;
        }
        let folder = scripts::folder("clients", name);
        let output = scripts::run(&folder, 240, scenario);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let log = fs::read_to_string(folder.join("log")).unwrap();
        assert!(!log.contains("secret-of-"), "a secret in the log:\n{log}");
        Some(Self { folder, records: log.lines().map(|line| serde_json::from_str(line).unwrap()).collect() })
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == kind).collect()
    }
}
