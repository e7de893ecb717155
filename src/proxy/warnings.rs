//! What an operator is warned of, in words that say what to do. The console shows one line a minute of each kind.

use std::net::{IpAddr, SocketAddr};

use super::descriptors::limit;
use super::listener::Listener;
use super::settings::OnLimit;
use crate::console;
use crate::event::{Refusal, Rejection};

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

    /// None of `targets` has taken a connection.
    pub(super) fn warn_of_server(&self, targets: &[SocketAddr], failed: Refusal) {
        let name = &self.settings.name;
        let places = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let why = match failed {
            Refusal::Refused => "the connection was refused; is the server running?",
            Refusal::Timeout => "it did not answer in time; see --connect-timeout, firewalls and routes",
            Refusal::Unreachable => "no route leads there; see `ip route get`",
            // Not the server's fault: warned of with the limit.
            Refusal::Descriptors => return,
            Refusal::Other => "see -v for the reason",
        };
        console::warn("server", name, &format_args!("listener {name}: {places} cannot be reached: {why}"));
    }
}
