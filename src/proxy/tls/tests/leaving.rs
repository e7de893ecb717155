//! Clients that leave while something else is waited for: their sessions end with them.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stage::{Actor, NAME, play, run, stage};
use crate::event::Dir;
use crate::proxy::settings::{TlsListen, TlsUpstream};
use crate::proxy::tls::TlsEnd;

/// Leaves by a reset, or by a close.
fn leave(client: &mut Actor, reset: bool) {
    let tcp = client.tcp.take().unwrap();
    if reset {
        SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_client_that_leaves_behind_starttls_takes_its_session_along() {
    run(async {
        for (reset, replies) in [(true, "a OK\r\nb OK\r\n"), (true, ""), (false, "a OK\r\nb OK\r\n")] {
            let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
            let (ending, _) = play(
                &stage,
                async |client| {
                    client.hear("* OK hi\r\n").await;
                    client.say("a NOOP\r\nb NOOP\r\nc STARTTLS\r\n").await;
                    leave(client, reset);
                },
                async |server| {
                    server.say("* OK hi\r\n").await;
                    server.hear("a NOOP\r\nb NOOP\r\n").await;
                    for reply in replies.split_inclusive('\n') {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        // The proxy may have reset already.
                        let _ = server.stream().write_all(reply.as_bytes()).await;
                    }
                    server.hear_end().await;
                },
            )
            .await;
            assert!(matches!(ending, TlsEnd::Closed | TlsEnd::Reset(_) | TlsEnd::Client(_)), "{ending:?}");
        }
    });
}

#[test]
fn nobody_waits_for_a_server_whose_client_has_left() {
    run(async {
        for (listen, upstream) in [
            (TlsListen::StartTls, TlsUpstream::Implicit),
            (TlsListen::Implicit, TlsUpstream::Implicit),
            (TlsListen::Implicit, TlsUpstream::StartTls),
        ] {
            let stage = stage(listen, upstream, None);
            let (ending, seen) = play(
                &stage,
                async |client| {
                    if listen == TlsListen::Implicit {
                        client.connect(&stage.authority.own(), NAME).await;
                        client.close().await;
                    } else {
                        leave(client, false);
                    }
                },
                // It neither greets nor shakes hands.
                async |server| {
                    let mut first = [0; 1];
                    while server.stream().read(&mut first).await.is_ok_and(|length| length > 0) {}
                },
            )
            .await;
            assert!(matches!(ending, TlsEnd::Closed), "{listen:?} {upstream:?} {ending:?}");
            assert_eq!(seen.fins, [Dir::ToServer]);
        }
    });
}

#[test]
fn a_client_that_closed_with_something_to_say_still_gets_its_answers() {
    run(async {
        let stage = stage(TlsListen::StartTls, TlsUpstream::None, None);
        let (ending, _) = play(
            &stage,
            async |client| {
                client.hear("220 mx\r\n").await;
                client.say("EHLO c\r\nSTARTTLS\r\n").await;
                client.close().await;
                client.hear("250-mx\r\n250 STARTTLS\r\n").await;
                client.hear_end().await;
            },
            async |server| {
                server.say("220 mx\r\n").await;
                server.hear("EHLO c\r\n").await;
                server.hear_end().await;
                server.say("250 mx\r\n").await;
            },
        )
        .await;
        assert!(matches!(ending, TlsEnd::Closed), "{ending:?}");
    });
}
