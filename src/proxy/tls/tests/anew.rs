//! Sessions whose server is dialled anew when TLS begins: nothing of what was said in clear counts under it.

use super::stage::{NAME, play_with, run, stage};
use crate::event::{Dir, Refusal, TlsMode};
use crate::proxy::settings::{TlsListen, TlsUpstream};
use crate::proxy::tls::TlsEnd;

/// Of each protocol: greeting, an attacker's login and its reply, STARTTLS and its answer, what the victim asks for and gets.
const LOGINS: [[&str; 7]; 2] = [
    [
        "220 mx\r\n",
        "AUTH PLAIN AGF0dGFja2VyAHB3\r\n",
        "235 in\r\n",
        "STARTTLS\r\n",
        "220 2.0.0 Ready to start TLS\r\n",
        "EHLO victim\r\n",
        "250 mx\r\n",
    ],
    ["+OK hi\r\n", "USER attacker\r\n", "+OK\r\n", "STLS\r\n", "+OK Begin TLS\r\n", "USER victim\r\n", "+OK\r\n"],
];

#[test]
fn a_session_that_an_attacker_began_is_not_the_victims() {
    run(async {
        for upstream in [TlsUpstream::None, TlsUpstream::Implicit] {
            for [greeting, login, reply, starttls, begin, asked, got] in LOGINS {
                let stage = stage(TlsListen::StartTls, upstream, None);
                let (ending, seen) = play_with(
                    &stage,
                    false,
                    async |client| {
                        client.hear(greeting).await;
                        client.say(&[login, starttls].concat()).await;
                        client.hear(&[reply, begin].concat()).await;
                        client.connect(&stage.authority.own(), NAME).await;
                        client.say(asked).await;
                        client.hear(got).await;
                        client.close().await;
                        client.hear_end().await;
                    },
                    async |[old, new]| {
                        if upstream == TlsUpstream::Implicit {
                            assert!(old.accept(&stage.server_files).await);
                        }
                        old.say(greeting).await;
                        old.hear(login).await;
                        old.say(reply).await;
                        if upstream == TlsUpstream::Implicit {
                            assert!(new.accept(&stage.server_files).await);
                        }
                        new.say(greeting).await;
                        old.hear_end().await;
                        new.hear(asked).await;
                        new.say(got).await;
                        new.hear_end().await;
                        new.close().await;
                    },
                )
                .await;
                assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
                assert_eq!(seen.told.len(), 2);
                assert!(!seen.octets.to_client.ends_with(greeting), "the second greeting is not the client's");
            }
        }
    });
}

#[test]
fn a_client_that_only_greets_keeps_its_connection() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (_, seen) = play_with(
            &stage,
            false,
            async |client| {
                client.hear("* OK hi\r\n").await;
                client.say("a ID NIL\r\nb STARTTLS\r\n").await;
                client.hear("a OK\r\nb OK Begin TLS\r\n").await;
                client.connect(&stage.authority.own(), NAME).await;
                client.say("c LOGIN ann pw\r\n").await;
                client.hear("c OK\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |[only, _]| {
                only.say("* OK hi\r\n").await;
                only.hear("a ID NIL\r\n").await;
                only.say("a OK\r\n").await;
                only.hear("c LOGIN ann pw\r\n").await;
                only.say("c OK\r\n").await;
                only.hear_end().await;
            },
        )
        .await;
        assert_eq!(seen.told.len(), 1);
    });
}

#[test]
fn imap_behind_a_login_in_the_same_segment_has_no_starttls() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (_, seen) = play_with(
            &stage,
            false,
            async |client| {
                client.hear("* OK hi\r\n").await;
                client.say("a LOGIN evil pw\r\nb STARTTLS\r\nc NOOP\r\n").await;
                client.hear("a OK in\r\nb BAD STARTTLS is out of place now\r\nc OK\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |[only, _]| {
                only.say("* OK hi\r\n").await;
                only.hear("a LOGIN evil pw\r\n").await;
                only.say("a OK in\r\n").await;
                only.hear("c NOOP\r\n").await;
                only.say("c OK\r\n").await;
                only.hear_end().await;
            },
        )
        .await;
        assert!(seen.secured.is_empty());
    });
}

#[test]
fn mail_in_clear_without_starttls_goes_on() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let said = "EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
        let (ending, seen) = play_with(
            &stage,
            false,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say(said).await;
                client.hear("250-mx\r\n250 STARTTLS\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
                client.say("STARTTLS\r\n.\r\nQUIT\r\n").await;
                client.hear("250 queued\r\n221 bye\r\n").await;
                client.hear_end().await;
            },
            async |[only, _]| {
                only.say("220 mx\r\n").await;
                only.hear(said).await;
                only.say("250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
                only.hear("STARTTLS\r\n.\r\nQUIT\r\n").await;
                only.say("250 queued\r\n221 bye\r\n").await;
                only.close().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert_eq!(seen.told.len(), 1);
    });
}

#[test]
fn a_server_that_is_told_of_tls_is_dialled_when_there_is_tls() {
    run(async {
        let stage = stage(TlsListen::Implicit, TlsUpstream::None, None);
        let (_, seen) = play_with(
            &stage,
            true,
            async |client| {
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("220 mx\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |[only, _]| {
                only.say("220 mx\r\n").await;
                only.hear_end().await;
            },
        )
        .await;
        let [Some(told)] = &*seen.told else { panic!("{:?}", seen.told) };
        assert_eq!((told.version, told.sni.as_deref(), told.certified), (Some("TLSv1.3"), Some(NAME), false));
    });
}

#[test]
fn a_server_that_is_told_of_tls_is_told_anew_behind_starttls() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (_, seen) = play_with(
            &stage,
            true,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say("EHLO c\r\nSTARTTLS\r\n").await;
                client.hear("250-mx\r\n250 STARTTLS\r\n220 2.0.0 Ready to start TLS\r\n").await;
                client.connect(&stage.authority.own(), NAME).await;
                client.say("EHLO c\r\n").await;
                client.hear("250 mx\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |[old, new]| {
                old.say("220 mx\r\n").await;
                old.hear("EHLO c\r\n").await;
                old.say("250 mx\r\n").await;
                new.say("220-mx\r\n220 again\r\n").await;
                old.hear_end().await;
                new.hear("EHLO c\r\n").await;
                new.say("250 mx\r\n").await;
                new.hear_end().await;
            },
        )
        .await;
        assert!(seen.told[0].is_none() && seen.told[1].is_some(), "{:?}", seen.told);
        assert_eq!(seen.secured.len(), 1);
        assert_eq!(seen.secured[0].0, TlsMode::StartTls);
    });
}

#[test]
fn a_second_greeting_that_refuses_ends_the_session() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (ending, seen) = play_with(
            &stage,
            false,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say("RSET\r\nSTARTTLS\r\n").await;
                client.hear("250 ok\r\n220 2.0.0 Ready to start TLS\r\n").await;
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("421 4.3.2 later\r\n").await;
                client.hear_end().await;
            },
            async |[old, new]| {
                old.say("220 mx\r\n").await;
                old.hear("RSET\r\n").await;
                old.say("250 ok\r\n").await;
                new.say("421 too many\r\n").await;
                new.hear_end().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Unreachable(Refusal::Refused)), "{ending:?}");
        assert!(!seen.octets[Dir::ToClient].contains("too many"));
    });
}
