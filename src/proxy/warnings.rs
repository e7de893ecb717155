//! What an operator is warned of, in words that say what to do. The console shows one line a minute of each kind.

use std::io;
use std::net::IpAddr;

use super::descriptors::limit;
use super::dial::DialError;
use super::listener::Listener;
use super::settings::OnLimit;
use super::tls::failure;
use super::upstream::UpstreamHost;
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

    /// No descriptor is left.
    pub(super) fn warn_of_descriptors(&self) {
        let name = &self.settings.name;
        let others = match self.settings.admission.on_limit {
            OnLimit::Wait => "wait",
            OnLimit::Close => "are turned away",
        };
        let limit = limit().map_or_else(|| "any number".to_owned(), |limit| limit.to_string());
        let text = format_args!(
            "listener {name}: no descriptor is free for more connections, and new clients {others}: the process may open {limit} (LimitNOFILE= of its unit, `ulimit -Hn`; the host: fs.file-max)"
        );
        console::warn(Rejection::Descriptors.as_str(), name, &text);
    }

    /// There is no connection to the server for `client`.
    pub(super) fn warn_of_server(&self, failed: &DialError, client: IpAddr) {
        let name = &self.settings.name;
        let host = self.upstream.as_ref().map_or("the server", UpstreamHost::host);
        let place = failed.address.map_or_else(|| host.to_owned(), |address| address.to_string());
        let why = match failed.reason {
            Refusal::Refused => "the connection was refused; is the server running?",
            Refusal::Timeout => "it did not answer in time; see --connect-timeout, firewalls and routes",
            Refusal::Unreachable => "no route leads there; see `ip route get`",
            // Not the server's fault: warned of with the limit.
            Refusal::Descriptors => return,
            Refusal::Unresolved => "its name has no address; check the name and the resolver",
            Refusal::Loop => "connections to it come back to mailtap; give the server's address",
            Refusal::SpoofFamily => {
                let text = format_args!(
                    "listener {name}: {client} was turned away: {host} has no address of its family, which --spoof-source needs; give the server one, or the listener addresses of the server's family only"
                );
                return console::warn(failed.reason.as_str(), name, &text);
            }
            Refusal::Other => "see -v for the reason",
        };
        let kind = failed.reason.rejection().map_or("server", Rejection::as_str);
        console::warn(kind, name, &format_args!("listener {name}: {place} cannot be reached: {why}"));
    }
}
