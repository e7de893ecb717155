//! Rules come and go while clients connect: nobody notices.
//!
//! As in [`transparent`](crate::transparent), each test runs again as the router between a client and a server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::transparent::{Proxy, Rules, Server, V4, V6, at, intercept, ip, on_a_router, patient, router};

/// How often the rules change, and for how long each holds.
const CHANGES: usize = 12;
const EACH: Duration = Duration::from_millis(150);

/// Clients at the same time.
const CLIENTS: usize = 16;

router!(redirected_clients_do_not_notice_changes_of_rules {
    changes("redirect.nft", &["--transparent", "redirect"]);
});

router!(caught_clients_do_not_notice_changes_of_rules {
    changes("tproxy.nft", &["--transparent", "tproxy"]);
});

router!(clients_whose_address_is_kept_do_not_notice_changes_of_rules {
    changes("tproxy.nft", &["--transparent", "tproxy", "--spoof-source"]);
});

router!(connections_that_are_accepted_by_cookie_are_caught {
    let server = Server::new();
    let proxy = Proxy::start(&["--transparent", "tproxy"]);
    let _rules = Rules::load("tproxy.nft");
    // Always, not only when too many wait: until the handshake is over there is no socket that has the connection.
    fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
    for addresses in [V4, V6] {
        let mut open = server.talk(addresses);
        assert_eq!(open.seen.ip(), ip(addresses[1]), "the server sees the router");
        open.transfer();
        proxy.assert_session(addresses, open);
    }
});

/// Clients connect without a rest while rules are loaded, let go and loaded again.
fn changes(file: &str, flags: &[&str]) {
    let server = serve();
    let _proxy = Proxy::start(flags);
    let rules = Rules::load(file);
    let done = Arc::new(AtomicBool::new(false));
    let talked = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> =
        [V4, V6].into_iter().cycle().take(CLIENTS).map(|addresses| client(addresses, &done, &talked)).collect();
    for change in 0..CHANGES {
        thread::sleep(EACH);
        if change % 3 == 0 {
            intercept(&["pause"]);
        } else {
            // Twice as often as they are let go: also while they hold.
            rules.start_again();
        }
    }
    done.store(true, Ordering::Relaxed);
    let failed: Vec<String> = clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
    assert!(failed.is_empty(), "after {} conversations: {failed:?}", talked.load(Ordering::Relaxed));
    assert!(talked.load(Ordering::Relaxed) > 100, "{talked:?} conversations");
    drop(server);
}

/// A server that greets and says goodbye, on a thread for each connection.
fn serve() -> Arc<TcpListener> {
    let listener = Arc::new(at("server", || TcpListener::bind("[::]:25").unwrap()));
    let accepting = Arc::clone(&listener);
    thread::spawn(move || {
        while let Ok((mut client, _)) = accepting.accept() {
            thread::spawn(move || {
                let _ = client.write_all(b"220 mx ESMTP\r\n");
                let mut line = [0; 6];
                if client.read_exact(&mut line).is_ok() {
                    let _ = client.write_all(b"221 bye\r\n");
                }
            });
        }
    });
    listener
}

/// A client that talks to the server until it is `done`; what went wrong.
fn client(
    [_, _, server]: [&'static str; 3],
    done: &Arc<AtomicBool>,
    talked: &Arc<AtomicU32>,
) -> thread::JoinHandle<Result<(), String>> {
    let (done, talked) = (Arc::clone(done), Arc::clone(talked));
    thread::spawn(move || {
        at("client", || {
            while !done.load(Ordering::Relaxed) {
                talk(SocketAddr::new(ip(server), 25))?;
                talked.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    })
}

fn talk(server: SocketAddr) -> Result<(), String> {
    let step = |what: &'static str| move |error: std::io::Error| format!("{what} {server}: {error}");
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(10)).map_err(step("connect"))?;
    patient(&stream);
    let mut greeting = [0; 14];
    stream.read_exact(&mut greeting).map_err(step("greeting"))?;
    stream.write_all(b"QUIT\r\n").map_err(step("QUIT"))?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map_err(step("goodbye"))?;
    if rest == b"221 bye\r\n" { Ok(()) } else { Err(format!("{rest:?}")) }
}
