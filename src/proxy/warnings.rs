//! What an operator is warned of, in words that say what to do. The console shows one line a minute of each kind.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::listener::Listener;
use super::settings::OnLimit;
use super::tls::failure;
use crate::console;
use crate::event::{Refusal, Rejection, TlsFailure};

impl Listener {
    /// As many connections are open as may be: more wait, or are turned away.
    pub(super) fn warn_of_full(&self) {
        let (name, limits) = (&self.settings.name, &self.settings.admission);
        let others = match limits.on_limit {
            OnLimit::Wait => "wait",
            OnLimit::Close => "are turned away",
        };
        let limit = limits.connections;
        let text = format_args!(
            "listener {name}: the limit of {limit} connections is reached (--max-connections); more {others}"
        );
        console::warn(Rejection::MaxConnections.as_str(), name, &text);
    }

    /// A connection of `client` was turned away.
    pub(super) fn warn_of_limit(&self, reason: Rejection, client: IpAddr) {
        let (name, limits) = (&self.settings.name, &self.settings.admission);
        let text = match reason {
            Rejection::MaxConnections => return self.warn_of_full(),
            Rejection::PerSource => format!(
                "listener {name}: {client} was turned away: {} connections from its address or {} from its network are the limit (--max-per-source, --max-per-prefix; 0 is none)",
                limits.per_source, limits.per_prefix
            ),
            Rejection::Rate => format!(
                "listener {name}: {client} was turned away: more than {} connections a second from its address (--max-rate)",
                limits.rate
            ),
            _ => return,
        };
        console::warn(reason.as_str(), name, &text);
    }

    /// TLS with a client came to nothing.
    pub(super) fn warn_of_client_tls(&self, error: &io::Error) {
        let name = &self.settings.name;
        let failure = failure(error);
        let why = match failure {
            TlsFailure::UnknownCa => {
                "nobody that it trusts vouches for --tls-cert, or nobody in --tls-client-ca for its own"
            }
            TlsFailure::Expired => "a certificate has expired; renew it",
            TlsFailure::CertificateRequired => "it has no certificate, which --tls-client-auth demands",
            TlsFailure::ProtocolVersion => "it has no version of TLS that --tls-min allows",
            TlsFailure::NoCommonCipher => "it has no cipher suite that --tls-ciphers allows",
            TlsFailure::NotTls => "it does not speak TLS",
            TlsFailure::Closed => "it closed in the middle",
            TlsFailure::Timeout => "it fell silent",
            _ => "see the reason",
        };
        let text = format_args!("listener {name}: TLS with a client failed ({}): {why}: {error}", failure.as_str());
        console::warn("client_tls", name, &text);
    }

    /// TLS with the server came to nothing.
    pub(super) fn warn_of_server_tls(&self, error: &io::Error) {
        let name = &self.settings.name;
        let failure = failure(error);
        let why = match failure {
            TlsFailure::UnknownCa => "nobody that is trusted vouches for its certificate; see --upstream-ca",
            TlsFailure::Expired => "its certificate has expired; renew it there",
            TlsFailure::NotYetValid => "its certificate is not valid yet; look at both clocks",
            TlsFailure::NameMismatch => "its certificate is one of another name; see --upstream-name",
            TlsFailure::CertificateRequired => "it wants a certificate; see --upstream-cert",
            TlsFailure::ProtocolVersion => "it has no version of TLS that --upstream-tls-min allows",
            TlsFailure::NoCommonCipher => "it has no cipher suite that --upstream-tls-ciphers allows",
            TlsFailure::NotTls | TlsFailure::Refused => "it does not take TLS there; see --upstream-tls",
            TlsFailure::Closed => "it closed in the middle",
            TlsFailure::Timeout => "it fell silent",
            TlsFailure::BadCertificate | TlsFailure::Other => "see the reason",
        };
        let text = format_args!("listener {name}: TLS with the server failed ({}): {why}: {error}", failure.as_str());
        console::warn("server_tls", name, &text);
    }

    /// None of `targets` has taken a connection.
    pub(super) fn warn_of_server(&self, targets: &[SocketAddr], failed: Refusal) {
        let name = &self.settings.name;
        let places = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = match failed {
            Refusal::Refused => "the connection was refused; is the server running?",
            Refusal::Timeout => "it did not answer in time; see --connect-timeout, firewalls and routes",
            Refusal::Unreachable => "no route leads there; see `ip route get`",
            Refusal::Other => "see -v for the reason",
        };
        console::warn("server", name, &format_args!("listener {name}: {places} cannot be reached: {why}"));
    }
}
