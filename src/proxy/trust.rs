//! Servers trust addresses: Postfix relays for those of `mynetworks`, which has this host's by default, Dovecot takes
//! passwords in clear from its own host. A proxy that connects from its own address makes every client look like that.

use std::net::{IpAddr, SocketAddr};

use super::local::is_local;
use super::settings::{ListenerSettings, Target};
use crate::event::Protocol;

/// What the operator should know of a listener of `settings` at the addresses `own`, whose server has the addresses
/// `targets`, and at which `protocol` is spoken; `None` where the server sees its clients, or is another host that was named
/// by the operator, or where a service manager's socket has none but this host's clients.
pub(super) fn caution(
    settings: &ListenerSettings,
    own: &[SocketAddr],
    targets: &[IpAddr],
    protocol: Protocol,
) -> Option<String> {
    if settings.spoof_source || settings.header_to.is_some() {
        return None;
    }
    let seen = match settings.target {
        // Whose they are is not known; one of them may well be on this host.
        Target::Original(_) => "servers see the address of this host instead of the clients'",
        Target::Host { .. } if is_passed_at_loopback(settings, own) => return None,
        Target::Host { .. } if targets.iter().any(|ip| is_local(*ip)) => {
            "the server is on this host and sees its address instead of the clients'"
        }
        Target::Host { .. } => return None,
    };
    let danger = match protocol {
        Protocol::Smtp | Protocol::Unknown => "where that is trusted (mynetworks of Postfix), anybody may relay",
        Protocol::Pop3 | Protocol::Imap | Protocol::ManageSieve => {
            "where that is trusted, passwords are taken in clear"
        }
        Protocol::Lmtp => "where that is trusted, so is everybody",
    };
    Some(format!(
        "listener {}: {seen}: {danger}; set --proxy-to and let the server read the PROXY header, or use TPROXY with --spoof-source (README: Who the server sees)",
        settings.name
    ))
}

/// Whether the listener's sockets were passed, and none but this host's clients reach them. Rules of nftables bring others
/// to loopback too, but to listeners of the transparent modes.
fn is_passed_at_loopback(settings: &ListenerSettings, own: &[SocketAddr]) -> bool {
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    // `--check` is passed no socket: where it will listen is not known.
    settings.listen.is_empty() && !own.is_empty() && own.iter().all(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::{HeaderOut, Transparent};
    use crate::proxy::testing::listener;

    #[test]
    fn a_server_that_cannot_tell_clients_from_this_host_is_told_of() {
        let explicit = || listener(Target::Host { host: "mx".into(), port: 25 });
        let said =
            |settings: &ListenerSettings, ip: &str| caution(settings, &[], &[ip.parse().unwrap()], Protocol::Smtp);
        for local in ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1", "0.0.0.0"] {
            let text = said(&explicit(), local).unwrap();
            assert!(text.contains("mynetworks") && text.contains("--proxy-to"), "{text}");
        }
        assert_eq!(said(&explicit(), "192.0.2.25"), None, "another host");
        let with_header = ListenerSettings { header_to: Some(HeaderOut::V1), ..explicit() };
        assert_eq!(said(&with_header, "127.0.0.1"), None);
        let spoofed = ListenerSettings { spoof_source: true, ..explicit() };
        assert_eq!(said(&spoofed, "127.0.0.1"), None);
        for how in [Transparent::Redirect, Transparent::Tproxy] {
            let transparent = listener(Target::Original(how));
            assert!(caution(&transparent, &[], &[], Protocol::Imap).is_some_and(|text| text.contains("passwords")));
            let spoofed = ListenerSettings { spoof_source: true, ..transparent };
            assert_eq!(caution(&spoofed, &[], &[], Protocol::Smtp), None);
        }
    }
    #[test]
    fn none_but_this_hosts_clients_come_to_a_socket_passed_at_loopback_unless_rules_bring_others() {
        let passed = |target| ListenerSettings { listen: Vec::new(), ..listener(target) };
        let said = |target, own: &[&str]| {
            let own: Vec<_> = own.iter().map(|address| address.parse().unwrap()).collect();
            caution(&passed(target), &own, &["127.0.0.1".parse().unwrap()], Protocol::Smtp)
        };
        let explicit = || Target::Host { host: "mx".into(), port: 25 };
        assert_eq!(said(explicit(), &["127.0.0.1:25", "[::1]:25"]), None);
        assert!(said(explicit(), &["127.0.0.1:25", "192.0.2.1:25"]).is_some());
        assert!(said(explicit(), &[]).is_some(), "where it will listen is not known");
        for how in [Transparent::Redirect, Transparent::Tproxy] {
            assert!(said(Target::Original(how), &["127.0.0.1:25"]).is_some());
        }
    }
}
