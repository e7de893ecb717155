//! TLS answered by the proxy, in front of real servers and before real clients.
//!
//! Needs root and the packages of `samples/servers install`; without them the tests say so and pass, unless
//! `MAILTAP_REQUIRE_SERVERS` is set.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::scripts;

/// Name, port, server's port, protocol, TLS of the client, TLS to the server.
const LISTENERS: [(&str, u16, u16, &str, &str, &str); 17] = [
    ("mta", 1025, 25, "smtp", "starttls", "none"),
    ("smtp-s-n", 1587, 587, "smtp", "starttls", "none"),
    ("smtp-s-s", 1588, 587, "smtp", "starttls", "starttls"),
    ("smtp-s-i", 1589, 465, "smtp", "starttls", "implicit"),
    ("smtp-i-n", 1465, 587, "smtp", "implicit", "none"),
    ("smtp-i-s", 1466, 587, "smtp", "implicit", "starttls"),
    ("smtp-i-i", 1467, 465, "smtp", "implicit", "implicit"),
    ("imap-s-n", 1143, 143, "imap", "starttls", "none"),
    ("imap-s-s", 1144, 143, "imap", "starttls", "starttls"),
    ("imap-s-i", 1145, 993, "imap", "starttls", "implicit"),
    ("imap-i-n", 1993, 143, "imap", "implicit", "none"),
    ("imap-i-s", 1994, 143, "imap", "implicit", "starttls"),
    ("imap-i-i", 1995, 993, "imap", "implicit", "implicit"),
    ("pop3-s-n", 1110, 110, "pop3", "starttls", "none"),
    ("pop3-s-s", 1111, 110, "pop3", "starttls", "starttls"),
    ("pop3-i-n", 1996, 110, "pop3", "implicit", "none"),
    ("pop3-i-s", 1997, 110, "pop3", "implicit", "starttls"),
];

/// What every scenario begins and ends with.
const BEFORE: &str = r#"
    tls=$MAIL_ROOT/tls
    $SERVERS certify first DNS:first.example.org
    $SERVERS certify second DNS:*.example.org
    "$MAILTAP" proxy --config "$OUT/proxy.toml" --log "$OUT/log" 2>"$OUT/proxy.err" & proxy=$!
    until [ "$(grep -c 'note: listener' "$OUT/proxy.err")" = $(grep -c '^\[\[' "$OUT/proxy.toml") ]; do
      kill -0 $proxy || { cat "$OUT/proxy.err" >&2; exit 1; }
      sleep 0.05
    done
    ca=$tls/ca.pem
    seed() { swaks --silent 2 --server 127.0.0.1 --from bob@example.net --to ann@example.org --body 'STARTTLS'
      until [ -n "$(ls $MAIL_ROOT/mail/ann/Maildir/new 2>/dev/null)" ]; do sleep 0.1; done; }
"#;
const AFTER: &str = r#"
    kill $proxy
    wait $proxy
    cp $MAIL_ROOT/log/*.log "$OUT"
"#;

#[test]
fn every_way_through_with_what_is_said_of_starttls() {
    let mut scenario = String::from("seed\n");
    for (name, port, _, protocol, how, _) in LISTENERS {
        scenario += &format!(
            "python3 $SAMPLES/terminated.py {protocol} {how} {port} $ca || {{ echo {name} failed >&2; cat \"$OUT/proxy.err\" >&2; exit 1; }}\n"
        );
    }
    let Some(run) = Run::new("every", &scenario) else { return };
    assert_eq!(run.of("session").len(), LISTENERS.len());
    for (name, _, _, protocol, how, _) in LISTENERS {
        let session = run.session(name);
        assert_eq!(session["protocol"], protocol, "{name}");
        assert_eq!(session["outcome"], "ok", "{name}: {session:#}");
        let tls = &session["tls"];
        assert_eq!((&tls["mode"], &tls["handshake"]), (&how.into(), &"ok".into()), "{name}: {tls}");
        assert_eq!((&tls["version"], &tls["decrypted"]), (&"TLSv1.3".into(), &true.into()), "{name}: {tls}");
        assert_eq!(tls["sni"], "mx.example.org", "{name}");
        assert!(tls["cipher"].as_str().unwrap().starts_with("TLS_"), "{tls}");
        if how == "starttls" {
            assert_eq!((&tls["offered"], &tls["accepted"]), (&true.into(), &true.into()), "{name}: {tls}");
        }
        let id = &session["session"];
        let transactions: Vec<_> = run.of("transaction").into_iter().filter(|t| t["session"] == *id).collect();
        assert_eq!(transactions.len(), 1, "{name}: {transactions:#?}");
        let transaction = &transactions[0];
        assert_eq!(transaction["tls"], how, "{name}");
        let outcome = if protocol == "smtp" { "accepted" } else { "complete" };
        assert_eq!(transaction["outcome"], outcome, "{name}: {transaction:#}");
        assert_eq!(transaction["message"]["complete"], true, "{name}");
        if name != "mta" {
            assert_eq!(session["auth"]["outcome"], "success", "{name}");
            assert_eq!(session["auth"]["identity"], "ann", "{name}");
        }
    }
}

#[test]
fn openssl_swaks_curl_and_mbsync_are_at_home() {
    let Some(run) = Run::new(
        "clients",
        r#"
        seed
        verify="-brief -CAfile $ca -verify_return_error -verify_hostname mx.example.org -servername mx.example.org"
        for way in "smtp 1025" "smtp 1588" "imap 1143" "pop3 1111"; do
          set -- $way
          { sleep 1; printf 'QUIT\r\n'; } | openssl s_client $verify -starttls $1 -connect mx.example.org:$2 >"$OUT/s_client.$2" 2>&1 || true
          grep -q 'Verification: OK' "$OUT/s_client.$2"
        done
        for port in 1466 1993 1997; do
          { sleep 1; printf 'QUIT\r\n'; } | openssl s_client $verify -tls1_2 -connect mx.example.org:$port >"$OUT/s_client.$port" 2>&1 || true
          grep -q 'Verification: OK' "$OUT/s_client.$port"
        done
        ann="--auth PLAIN --auth-user ann --auth-password secret-of-ann"
        send="swaks --silent 2 --server mx.example.org --from bob@example.net --to ann@example.org"
        for port in 1587 1588 1589; do $send -p $port --tls --tls-verify --tls-ca-path $ca $ann; done
        for port in 1465 1466 1467; do $send -p $port --tlsc --tls-verify --tls-ca-path $ca $ann; done
        for port in 1143 1144 1145; do
          curl -sS --cacert $ca --ssl-reqd --user ann:secret-of-ann "imap://mx.example.org:$port/INBOX;MAILINDEX=1" | grep -q STARTTLS
        done
        for port in 1993 1994 1995; do
          curl -sS --cacert $ca --user ann:secret-of-ann "imaps://mx.example.org:$port/INBOX;MAILINDEX=1" | grep -q STARTTLS
        done
        for port in 1110 1111; do
          curl -sS --cacert $ca --ssl-reqd --user ann:secret-of-ann "pop3://mx.example.org:$port/1" | grep -q STARTTLS
        done
        printf 'Subject: curl\r\n\r\nhello\r\n' >"$OUT/mail"
        curl -sS --cacert $ca --ssl-reqd --user ann:secret-of-ann --mail-from bob@example.net --mail-rcpt ann@example.org \
          --upload-file "$OUT/mail" smtp://mx.example.org:1588
        for way in "STARTTLS 1144" "IMAPS 1994"; do
          set -- $way
          mkdir -p "$OUT/mirror.$2"
          cat >"$OUT/mbsyncrc" <<RC
IMAPAccount ann
Host mx.example.org
Port $2
User ann
Pass secret-of-ann
SSLType $1
CertificateFile $ca
SystemCertificates no

IMAPStore far
Account ann

MaildirStore near
Path $OUT/mirror.$2/
Inbox $OUT/mirror.$2/INBOX

Channel all
Far :far:
Near :near:
Create Near
SyncState *
Patterns INBOX
RC
          mbsync -q -c "$OUT/mbsyncrc" -a
          [ "$(find "$OUT/mirror.$2/INBOX" -type f -path '*/new/*' -o -type f -path '*/cur/*' | wc -l)" -ge 1 ]
        done
        # A name that is not in the certificate, and a client that trusts nobody.
        if curl -sS --cacert $ca --ssl-reqd --user ann:x "imap://127.0.0.1:1143/" 2>/dev/null; then exit 1; fi
        if curl -sS --cacert /dev/null --user ann:x "imaps://mx.example.org:1993/" 2>/dev/null; then exit 1; fi
        "#,
    ) else {
        return;
    };
    let sessions = run.of("session");
    let decrypted = sessions.iter().filter(|session| session["tls"]["decrypted"] == true).count();
    assert!(decrypted >= 24, "{decrypted} of {}", sessions.len());
    assert!(sessions.iter().any(|session| session["tls"]["version"] == "TLSv1.2"));
    let accepted = run.of("transaction").iter().filter(|t| t["outcome"] == "accepted").count();
    assert_eq!(accepted, 7);
}

/// The clients of Python's library, with and without something said before TLS begins.
#[test]
fn sessions_begin_anew_when_tls_begins_behind_commands() {
    let Some(run) = Run::new(
        "anew",
        r#"
        seed
        python3 - $ca <<'PY'
import imaplib, poplib, smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
host = "mx.example.org"
for port in [1587, 1588, 1589]:
    for before in [[], ["RSET"], ["MAIL FROM:<evil@example.net>", "RCPT TO:<bob@example.org>"]]:
        client = smtplib.SMTP(host, port)
        client.ehlo()
        for command in before:
            client.docmd(command)
        assert client.starttls(context=context)[0] == 220
        client.login("ann", "secret-of-ann")
        client.sendmail("ann@example.org", ["ann@example.org"], "Subject: %d\r\n\r\nhello\r\n" % port)
        client.quit()
for port in [1110, 1111]:
    for before in [[], ["attacker"]]:
        client = poplib.POP3(host, port)
        for user in before:
            client.user(user)
        client.stls(context)
        client.user("ann")
        client.pass_("secret-of-ann")
        assert client.stat()[0] >= 1
        client.quit()
for port in [1143, 1144, 1145]:
    client = imaplib.IMAP4(host, port)
    client.noop()
    client.starttls(context)
    client.login("ann", "secret-of-ann")
    assert client.select()[0] == "OK"
    client.logout()
    # Behind a login there is none.
    client = imaplib.IMAP4(host, port)
    client.send(b"a LOGIN ann secret-of-ann\r\nb STARTTLS\r\n")
    replies = b""
    while b"\nb " not in replies:
        replies += client.readline()
    assert replies.splitlines()[-1].startswith(b"b BAD"), replies
    client.logout()
PY
        "#,
    ) else {
        return;
    };
    let accepted =
        run.of("transaction").iter().filter(|t| t["outcome"] == "accepted" && t["tls"] == "starttls").count();
    assert_eq!(accepted, 9);
    assert!(run.of("transaction").iter().all(|t| t["tls"] == "none" || t["reverse_path"] != "evil@example.net"));
}

#[test]
fn certificates_are_read_again_and_sessions_keep_theirs() {
    let Some(run) = Run::new(
        "reload",
        r#"
        serial() { openssl s_client -connect mx.example.org:1993 -servername "$1" </dev/null 2>/dev/null | openssl x509 -noout -serial -subject; }
        [ "$(serial mx.example.org)" != "$(serial nobody.invalid)" ]
        [ "$(serial first.example.org)" = "$(serial nobody.invalid)" ]
        before=$(serial mx.example.org)
        mkfifo "$OUT/talk"
        openssl s_client -quiet -connect mx.example.org:1993 -servername mx.example.org <"$OUT/talk" >"$OUT/said" 2>/dev/null & talker=$!
        exec 3>"$OUT/talk"
        printf 'a NOOP\r\n' >&3
        until grep -q '^a OK' "$OUT/said"; do sleep 0.05; done
        cp $tls/second.key $tls/kept.key
        echo nonsense >$tls/second.key
        kill -HUP $proxy
        until grep -q 'second.key' "$OUT/proxy.err"; do sleep 0.05; done
        [ "$(serial mx.example.org)" = "$before" ]
        $SERVERS certify second DNS:*.example.org
        kill -HUP $proxy
        until [ "$(serial mx.example.org)" != "$before" ]; do sleep 0.05; done
        printf 'b NOOP\r\nc LOGOUT\r\n' >&3
        until grep -q '^c OK' "$OUT/said"; do sleep 0.05; done
        exec 3>&-
        wait $talker || true
        grep -q 'the configuration stays as it was' "$OUT/proxy.err"
        "#,
    ) else {
        return;
    };
    assert!(run.of("session").iter().any(|session| session["counts"]["commands"] == 3));
}

#[test]
fn a_server_that_is_not_who_it_should_be_gets_nothing() {
    let Some(run) = Run::new(
        "wrong",
        r#"
        sed -i 's/^upstream-name.*/upstream-name = "other.example.org"/' "$OUT/proxy.toml"
        kill -HUP $proxy
        said() { { printf 'EHLO c\r\nSTARTTLS\r\n'; sleep 2; } | openssl s_client -quiet -connect mx.example.org:1467 2>/dev/null || true; }
        until [ -z "$(said)" ]; do sleep 0.1; done
        python3 - >"$OUT/said" <<'PY'
import socket
with socket.create_connection(("mx.example.org", 1588), timeout=20) as client:
    client.sendall(b"EHLO c\r\nSTARTTLS\r\n")
    while octets := client.recv(4096):
        print(octets.decode(), end="")
PY
        grep -q '^454 4.7.0 TLS not available' "$OUT/said"
        "#,
    ) else {
        return;
    };
    let told = fs::read_to_string(run.folder.join("postfix.log")).unwrap();
    assert!(!told.contains("sasl_username"), "{told}");
}

/// A scenario that has been run: its files, and the records of the proxy.
struct Run {
    folder: PathBuf,
    records: Vec<Value>,
}

impl Run {
    /// Runs `scenario` beside the servers and a proxy with all listeners; `None` where that cannot be.
    fn new(name: &str, scenario: &str) -> Option<Self> {
        if !scripts::available(name) {
            return None;
        }
        let folder = scripts::folder("terminate", name);
        fs::write(folder.join("proxy.toml"), configuration()).unwrap();
        let output = scripts::run(&folder, 240, &[BEFORE, scenario, AFTER].concat());
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let log = fs::read_to_string(folder.join("log")).unwrap();
        assert!(!log.contains("secret-of-ann"), "a secret in the log:\n{log}");
        let records = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Some(Self { folder, records })
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == kind).collect()
    }

    /// The session that came in at that listener.
    fn session(&self, listener: &str) -> &Value {
        let mut found = self.of("session").into_iter().filter(|session| session["source"] == listener);
        found.next().unwrap_or_else(|| panic!("no session of {listener}"))
    }
}

fn configuration() -> String {
    let mut text = String::new();
    for (name, port, server, protocol, tls, upstream) in LISTENERS {
        text += &format!(
            "[[listener]]\nname = '{name}'\nlisten = ':{port}'\nupstream = '127.0.0.1:{server}'\nprotocol = '{protocol}'\n\
             tls = '{tls}'\ntls-cert = ['/run/mail/tls/first.pem', '/run/mail/tls/second.pem']\n\
             tls-key = ['/run/mail/tls/first.key', '/run/mail/tls/second.key']\n"
        );
        if upstream != "none" {
            text += &format!(
                "upstream-tls = '{upstream}'\nupstream-ca = '/run/mail/tls/ca.pem'\nupstream-name = 'mx.example.org'\n"
            );
        }
    }
    text
}
