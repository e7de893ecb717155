//! `--identity hmac|none`: no text of a record shows who the client is, whoever says it.

use std::sync::Arc;

use mailtap::output::{FailedIdentity, IdentityPolicy, Policy, RecordWriter};
use serde_json::Value;

use crate::dialogue;
use crate::dialogue::play::{self, Cut};

const DIALOGUES: &str = r#"
dialogue smtp
server smtp
S: 220 mx
C: EHLO a
S: 250-mx
+S: 250 AUTH PLAIN
C: AUTH PLAIN AGFubi5sZWVAeC5vcmcAczNjcmV0cHc=
S: 235 2.7.0 Welcome Ann.Lee@x.org
C: MAIL FROM:<b@y.org> AUTH=ann.lee@x.org
S: 250 2.1.0 ann.lee@x.org ok
C: RCPT TO:<c@y.org>
S: 250 ok for ann.lee
C: RSET
S: 250 ann.lee reset
C: XFORWARD NAME=foo LOGIN=ann.lee@x.org
S: 500 unknown LOGIN=ann.lee@x.org
S: 421 4.4.2 ann.lee@x.org timeout
close S fin

dialogue pop3
server pop3
S: +OK hi
C: USER ann.lee@x.org
S: +OK ann.lee@x.org is welcome here
C: PASS s3cretpw
S: +OK maildrop of ann.lee has 2 messages
C: QUIT
S: +OK bye ANN.LEE@x.org

dialogue imap
server imap
S: * OK hi
C: a LOGIN ann.lee@x.org s3cretpw
S: * CAPABILITY IMAP4rev1 X-USER=ann.lee@x.org
+S: a OK [CAPABILITY IMAP4rev1] ann.lee@x.org authenticated
C: b SELECT user/ann.lee@x.org/INBOX
S: b OK Selected user/ann.lee@x.org/INBOX
C: c FETCH 1 BODY[]
S: * 1 FETCH (BODY[] {4}
+S: ab
+S: )
+S: c OK
C: d ID ("name" "x" "user" "ann.lee@x.org")
S: * ID ("name" "srv ann.lee@x.org")
+S: d OK
S: * NO ann.lee@x.org is over quota
S: * BYE ann.lee idle
close S fin

dialogue preauth
server imap
S: * PREAUTH Dovecot ready, mailbox of ann.lee
C: b SELECT ann.lee/INBOX
S: b OK Selected
C: a LOGOUT
S: * BYE bye ann.lee
+S: a OK
"#;

fn records(policy: Policy, title: &str) -> String {
    let dialogues = dialogue::parse(DIALOGUES, "smtp");
    let dialogue = dialogues.iter().find(|dialogue| dialogue.title == title).unwrap();
    let mut writer = RecordWriter::new(Arc::new(policy));
    play::session_to(dialogue, Cut::Listed, &mut writer);
    String::from_utf8(writer.bytes().to_vec()).unwrap()
}

#[test]
fn no_text_shows_a_name_that_is_withheld() {
    for identity in [IdentityPolicy::None, IdentityPolicy::Hmac] {
        for title in ["smtp", "pop3", "imap", "preauth"] {
            let key = (identity == IdentityPolicy::Hmac).then(|| b"key".to_vec());
            let policy = Policy { identity, identity_failed: FailedIdentity::Full, key, ..Policy::default() };
            let log = records(policy, title);
            assert!(!log.to_ascii_lowercase().contains("ann.lee"), "{identity:?} {title}: {log}");
            assert!(log.contains("[redacted]") || log.contains("hmac:"), "{identity:?} {title}: {log}");
        }
    }
}

#[test]
fn the_name_in_a_mailbox_is_an_identity() {
    let log = |identity| records(Policy { identity, key: Some(b"key".to_vec()), ..Policy::default() }, "imap");
    let mailboxes = |log: &str| {
        let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let named = records.filter_map(|record| record["mailbox"].as_str().map(str::to_owned));
        named.collect::<Vec<_>>()
    };
    let hidden = mailboxes(&log(IdentityPolicy::None));
    // SELECT's, the retrieval's and the session's.
    assert_eq!(hidden, vec!["user/[redacted]/INBOX"; 3]);
    let keyed = mailboxes(&log(IdentityPolicy::Hmac));
    assert!(keyed.len() == 3 && keyed.iter().all(|name| name.starts_with("user/hmac:") && name.ends_with("/INBOX")));
    assert!(keyed.windows(2).all(|two| two[0] == two[1]), "equal names stay equal");
    assert_eq!(mailboxes(&log(IdentityPolicy::Full)), vec!["user/ann.lee@x.org/INBOX"; 3]);
}
