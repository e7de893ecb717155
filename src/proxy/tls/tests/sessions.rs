//! Whole sessions, in every combination of TLS on both sides.

use super::stage::{NAME, SERVER, play, run, stage};
use crate::event::{Dir, Handshake, TlsMode};
use crate::proxy::settings::{TlsListen, TlsUpstream};
use crate::proxy::tls::TlsEnd;
use tokio::io::AsyncReadExt as _;

#[test]
fn implicit_tls_in_front_of_clear_text() {
    run(async {
        let stage = stage(TlsListen::Implicit, TlsUpstream::None, None);
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("220 mx\r\n").await;
                client.say("EHLO c\r\n").await;
                client.hear("250-mx\r\n250 HELP\r\n").await;
                client.say("STARTTLS\r\nQUIT\r\n").await;
                client.hear("503 5.5.1 TLS already active\r\n").await;
                client.close().await;
                client.hear("221 bye\r\n").await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear("EHLO c\r\n").await;
                server.say("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n").await;
                server.hear("QUIT\r\n").await;
                server.hear_end().await;
                server.say("221 bye\r\n").await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert_eq!(seen.secured, [(TlsMode::Implicit, Handshake::Ok)]);
        assert_eq!(seen.sni, NAME);
        assert_eq!(seen.octets.to_server, "<TLS>EHLO c\r\nSTARTTLS\r\nQUIT\r\n");
        let shown = "<TLS>220 mx\r\n250-mx\r\n250 HELP\r\n503 5.5.1 TLS already active\r\n221 bye\r\n";
        assert_eq!(seen.octets.to_client, shown);
        assert_eq!(seen.fins, [Dir::ToServer, Dir::ToClient]);
    });
}

#[test]
fn starttls_in_front_of_clear_text_drops_what_was_injected() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say("EHLO c\r\n").await;
                client.hear("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n").await;
                // CVE-2011-0411: what follows in clear must not be carried out under TLS.
                client.say("STARTTLS\r\nMAIL FROM:<evil@example>\r\n").await;
                client.hear("220 2.0.0 Ready to start TLS\r\n").await;
                client.connect(&stage.authority.own(), NAME).await;
                client.say("EHLO c\r\n").await;
                client.hear("250-mx\r\n250 HELP\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                for _ in 0..2 {
                    server.hear("EHLO c\r\n").await;
                    server.say("250-mx\r\n250 HELP\r\n").await;
                }
                server.hear_end().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert_eq!(seen.secured, [(TlsMode::StartTls, Handshake::Ok)]);
        assert_eq!(seen.octets.to_server, "EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@example>\r\n<TLS>EHLO c\r\n");
    });
}

#[test]
fn starttls_on_both_sides_keeps_step() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::StartTls, Some(SERVER));
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.hear("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n").await;
                client.say("a STARTTLS\r\nb LOGIN evil evil\r\n").await;
                client.hear("a OK Begin TLS\r\n").await;
                client.connect(&stage.authority.own(), NAME).await;
                client.say("b CAPABILITY\r\n").await;
                client.hear("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nb OK\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                server.say("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n").await;
                server.hear("a STARTTLS\r\n").await;
                // Injected by whoever sits before the server: must not reach the client as if under TLS.
                server.say("a OK go\r\n* CAPABILITY EVIL\r\n").await;
                assert!(server.accept(&stage.server_files).await);
                server.hear("b CAPABILITY\r\n").await;
                server.say("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nb OK\r\n").await;
                server.hear_end().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert!(!seen.octets.to_client.contains("EVIL"));
    });
}

#[test]
fn a_server_that_refuses_starttls_is_quoted() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::StartTls, Some(SERVER));
        let (_, seen) = play(
            &stage,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say("STARTTLS\r\nNOOP\r\n").await;
                client.hear("454-4.7.0 no\r\n454 4.7.0 keys\r\n250 ok\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear("STARTTLS\r\n").await;
                server.say("454-4.7.0 no\r\n454 4.7.0 keys\r\n").await;
                server.hear("NOOP\r\n").await;
                server.say("250 ok\r\n").await;
                server.hear_end().await;
            },
        )
        .await;
        assert!(seen.secured.is_empty());
    });
}

#[test]
fn a_server_with_the_wrong_name_gets_nothing() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::StartTls, Some("other.example"));
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.hear("+OK hi\r\n").await;
                client.say("STLS\r\n").await;
                client.hear("-ERR [SYS/TEMP] TLS is not available for now\r\n").await;
                client.hear_end().await;
            },
            async |server| {
                server.say("+OK hi\r\n").await;
                server.hear("STLS\r\n").await;
                server.say("+OK go\r\n").await;
                assert!(!server.accept(&stage.server_files).await);
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Server(_)), "{ending:?}");
        assert!(seen.secured.is_empty());
    });
}

#[test]
fn implicit_tls_on_both_sides() {
    run(async {
        // No name given: that of the target, here an address.
        let stage = stage(TlsListen::Implicit, TlsUpstream::Implicit, None);
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("* OK hi\r\n").await;
                client.say(&"x".repeat(1 << 20)).await;
                client.hear(&"y".repeat(1 << 20)).await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                assert!(server.accept(&stage.server_files).await);
                server.say("* OK hi\r\n").await;
                server.hear(&"x".repeat(1 << 20)).await;
                server.say(&"y".repeat(1 << 20)).await;
                server.hear_end().await;
                server.close().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert_eq!(seen.octets.to_server.len(), 5 + (1 << 20));
    });
}

#[test]
fn implicit_tls_upstream_is_verified_before_a_word_is_said() {
    run(async {
        for listen in [TlsListen::Implicit, TlsListen::StartTls] {
            let stage = stage(listen, TlsUpstream::Implicit, Some("other.example"));
            let (ending, _) = play(
                &stage,
                async |client| {
                    if listen == TlsListen::Implicit {
                        client.connect(&stage.authority.own(), NAME).await;
                    }
                    client.hear("421 4.3.2 later\r\n").await;
                    client.hear_end().await;
                },
                async |server| assert!(!server.accept(&stage.server_files).await),
            )
            .await;
            assert!(matches!(ending, TlsEnd::Server(_)), "{ending:?}");
        }
    });
}

#[test]
fn the_clients_ehlo_leads_to_starttls() {
    run(async {
        let stage = stage(TlsListen::Implicit, TlsUpstream::StartTls, Some(SERVER));
        let (ending, seen) = play(
            &stage,
            async |client| {
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("220 mx\r\n").await;
                client.say("EHLO client.example\r\n").await;
                client.hear("250-mx\r\n250 AUTH PLAIN\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear("EHLO client.example\r\n").await;
                server.say("250-mx\r\n250 STARTTLS\r\n").await;
                server.hear("STARTTLS\r\n").await;
                server.say("220 go\r\n250 EVIL\r\n").await;
                assert!(server.accept(&stage.server_files).await);
                server.hear("EHLO client.example\r\n").await;
                server.say("250-mx\r\n250 AUTH PLAIN\r\n").await;
                server.hear_end().await;
                server.close().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        assert_eq!(seen.octets.to_server, "<TLS>EHLO client.example\r\n");
        assert_eq!(seen.octets.to_client, "<TLS>220 mx\r\n250-mx\r\n250 AUTH PLAIN\r\n");
    });
}

#[test]
fn a_client_without_ehlo_is_spoken_for() {
    run(async {
        let stage = stage(TlsListen::Implicit, TlsUpstream::StartTls, Some(SERVER));
        play(
            &stage,
            async |client| {
                client.connect(&stage.authority.own(), NAME).await;
                client.hear("220 mx\r\n").await;
                client.say("HELO c\r\nQUIT\r\n").await;
                client.hear("250 mx\r\n221 bye\r\n").await;
                client.close().await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear("EHLO [127.0.0.1]\r\n").await;
                server.say("250 mx\r\n").await;
                server.hear("STARTTLS\r\n").await;
                server.say("220 go\r\n").await;
                assert!(server.accept(&stage.server_files).await);
                server.hear("HELO c\r\nQUIT\r\n").await;
                server.say("250 mx\r\n221 bye\r\n").await;
                server.hear_end().await;
                server.close().await;
            },
        )
        .await;
    });
}

#[test]
fn imap_and_pop3_are_under_tls_before_a_command_goes_on() {
    run(async {
        for (greeting, shown, request, go, command) in [
            (
                "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n",
                "* OK hi\r\n",
                "mailtap STARTTLS\r\n",
                "mailtap OK go\r\n",
                "a LOGIN b c\r\n",
            ),
            ("+OK hi\r\n", "+OK hi\r\n", "STLS\r\n", "+OK go\r\n", "USER b\r\n"),
        ] {
            let stage = stage(TlsListen::Implicit, TlsUpstream::StartTls, Some(SERVER));
            let (ending, _) = play(
                &stage,
                async |client| {
                    client.connect(&stage.authority.own(), NAME).await;
                    client.hear(shown).await;
                    client.say(command).await;
                    client.hear("done\r\n").await;
                    client.close().await;
                    client.hear_end().await;
                },
                async |server| {
                    server.say(greeting).await;
                    server.hear(request).await;
                    server.say(go).await;
                    assert!(server.accept(&stage.server_files).await);
                    server.hear(command).await;
                    server.say("done\r\n").await;
                    server.hear_end().await;
                    server.close().await;
                },
            )
            .await;
            assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
        }
    });
}

#[test]
fn a_server_without_starttls_gets_no_command() {
    run(async {
        for (greeting, request, no) in [
            ("* PREAUTH hi\r\n", "", ""),
            ("* OK hi\r\n", "mailtap STARTTLS\r\n", "mailtap BAD what\r\n"),
            ("554 no\r\n", "", ""),
        ] {
            let stage = stage(TlsListen::Implicit, TlsUpstream::StartTls, Some(SERVER));
            let (ending, _) = play(
                &stage,
                async |client| {
                    client.connect(&stage.authority.own(), NAME).await;
                    client.hear(greeting).await;
                    let mut rest = Vec::new();
                    let _ = client.stream().read_to_end(&mut rest).await;
                    assert_eq!(String::from_utf8_lossy(&rest), "421 4.3.2 later\r\n");
                },
                async |server| {
                    server.say(greeting).await;
                    server.hear(request).await;
                    server.say(no).await;
                    server.hear_end().await;
                },
            )
            .await;
            assert!(matches!(ending, TlsEnd::Server(_)), "{ending:?}");
        }
    });
}

#[test]
fn a_client_that_speaks_in_clear_where_tls_is_due_is_let_go() {
    run(async {
        let stage = stage(TlsListen::Implicit, TlsUpstream::None, None);
        let (ending, seen) = play(
            &stage,
            async |client| client.say("EHLO c\r\n").await,
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear_end().await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Client(_)), "{ending:?}");
        assert_eq!(seen.secured, [(TlsMode::Implicit, Handshake::Failed)]);
        assert_eq!(stage.files.0.extension().unwrap(), "cert");
    });
}
