//! Sockets that are open already find their listeners, and listeners their numbers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;

use crate::config::Proxy;
use crate::console::{self, Level};
use crate::error::Error;
use crate::event::Protocol;
use crate::output::MetricsEndpoint;
use crate::output::metrics::MetricsSource;
use crate::proxy::settings::ListenerSettings;
use crate::proxy::{AcceptQueues, BoundListener, Listener, ListenerOptions, ListeningSocket, OpenError, Serving};

/// Sockets that listen already: from the service manager, a predecessor, or this process before a reload.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<ListeningSocket>);

impl Sockets {
    /// Those that the service manager has passed (sd_listen_fds(3)).
    pub(super) fn of_service_manager() -> Result<Self, Error> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let (mut sockets, mut others) = (Vec::new(), Vec::new());
        for at in 0..passed.len() {
            let name = names.next().filter(|name| *name != "unknown").unwrap_or_default();
            match passed.take_tcp_listener(at) {
                Ok(Some(socket)) => {
                    sockets.push(ListeningSocket { socket: Arc::new(socket), passed_as: Some(name.into()) });
                }
                Ok(None) => {}
                Err(_) => {
                    others.push(format!("number {} (`{}`), which is no TCP listener", at + 1, name.escape_debug()));
                }
            }
        }
        if others.is_empty() { Ok(Self(sockets)) } else { Err(Error::Open(OpenError::Unwanted(others))) }
    }

    /// Adds sockets.
    pub(super) fn extend(&mut self, sockets: impl IntoIterator<Item = ListeningSocket>) {
        self.0.extend(sockets);
    }

    /// Takes the socket that listens at `address`.
    pub(super) fn at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let exact = |one: &ListeningSocket| one.address() == Some(address);
        let found = self.0.iter().position(exact).or_else(|| self.0.iter().position(|one| is_same(one, address)))?;
        self.0.swap_remove(found).socket.try_clone().ok()
    }

    /// Takes those of each listener: first the sockets that listen at one of its addresses, then those that were passed under its
    /// name.
    fn share_out(&mut self, listeners: &[ListenerSettings]) -> Vec<Vec<ListeningSocket>> {
        let mut shares = vec![Vec::new(); listeners.len()];
        let mut take = |is_wanted: &dyn Fn(&ListenerSettings, &ListeningSocket) -> bool| {
            for (settings, share) in listeners.iter().zip(&mut shares) {
                share.extend(self.0.extract_if(.., |socket| is_wanted(settings, socket)));
            }
        };
        take(&|settings, socket| settings.listen.iter().any(|address| socket.address() == Some(*address)));
        take(&|settings, socket| settings.listen.iter().any(|address| is_same(socket, *address)));
        take(&|settings, socket| socket.passed_as.as_deref() == Some(&settings.name));
        shares
    }
}

/// Whether `socket` listens at `address`, or both are all addresses of a port: what `[::]` stands for is the host's choice.
fn is_same(socket: &ListeningSocket, address: SocketAddr) -> bool {
    socket.address().is_some_and(|own| {
        own == address || own.port() == address.port() && own.ip().is_unspecified() && address.ip().is_unspecified()
    })
}

/// What is open of a configuration.
#[derive(Debug, Default)]
pub(super) struct OpenListeners {
    /// The listeners.
    pub(super) listeners: Vec<BoundListener>,
    /// All that ever were, by their numbers, so that a name is that of one listener for good.
    pub(super) sources: Vec<MetricsSource>,
    /// Sockets of the service manager that no listener wants now. It holds them open in any case; a reload may want them again.
    spare: Vec<ListeningSocket>,
}

impl OpenListeners {
    /// The sockets of all, once more.
    pub(super) fn sockets(&self) -> Vec<ListeningSocket> {
        self.listeners.iter().flat_map(|bound| &bound.sockets).chain(&self.spare).cloned().collect()
    }

    /// What the workers are to serve.
    pub(super) fn serving(&self) -> Serving {
        let sources = self.sources.iter().map(|source| source.name.clone()).collect();
        Serving { listeners: self.listeners.clone(), sources }
    }

    /// Opens the listeners of `ready` at a start, on `sockets` where these listen at their addresses or bear their names.
    /// Unless a predecessor passed them, each must be wanted.
    pub(super) fn first(ready: &Proxy, mut sockets: Sockets, is_successor: bool) -> Result<Self, Error> {
        let shares = sockets.share_out(&ready.proxy.listeners);
        if !is_successor && !sockets.0.is_empty() {
            return Err(Error::Open(OpenError::Unwanted(sockets.0.iter().map(describe).collect())));
        }
        Self::default().open(ready, shares, sockets)
    }

    /// Opens the listeners of `ready` after those of `self`: a listener keeps number and connection counts of the one with the same
    /// name, and sockets that listen go on listening.
    pub(super) fn follow(&self, ready: &Proxy) -> Result<Self, Error> {
        let mut sockets = Sockets(self.sockets());
        let shares = sockets.share_out(&ready.proxy.listeners);
        self.open(ready, shares, sockets)
    }

    fn open(&self, ready: &Proxy, shares: Vec<Vec<ListeningSocket>>, rest: Sockets) -> Result<Self, Error> {
        let all = &ready.proxy.listeners;
        let sources = self.number(all);
        let mut listeners = Vec::with_capacity(all.len());
        for (settings, sockets) in all.iter().zip(shares) {
            let before = self.listeners.iter().map(|old| &*old.listener).find(|old| old.settings.name == settings.name);
            let source = sources.iter().position(|source| source.name == settings.name).unwrap_or_default();
            let opening = ListenerOptions {
                source: u32::try_from(source).unwrap_or(u32::MAX),
                limits: &ready.limits,
                sockets,
                ipv4_ports: &ipv4_ports(all, settings),
                before,
            };
            let opened = Listener::open(settings, opening);
            listeners.push(opened.map_err(|error| self.held(&settings.name, error))?);
        }
        let spare = rest.0.into_iter().filter(|socket| socket.passed_as.is_some()).collect();
        Ok(Self { listeners, sources, spare })
    }

    /// What is to be said of `error`: what is in the way of a listener may be a socket of `self`.
    fn held(&self, listener: &str, error: OpenError) -> OpenError {
        let OpenError::Socket(socket) = &error else { return error };
        let Some(wanted) = socket.taken() else { return error };
        let own = self.sockets().iter().filter_map(ListeningSocket::address).find(|own| own.port() == wanted.port());
        own.map_or(error, |own| OpenError::Held { listener: listener.to_owned(), wanted, own })
    }

    /// Begins to count what they do.
    pub(super) fn measure(&mut self, monitor: &MetricsEndpoint) {
        monitor.name_sources(&self.sources);
        let Some(metrics) = monitor.metrics() else { return };
        for bound in &mut self.listeners {
            bound.measure(metrics.proxy(bound.listener.source));
            if let Some(end) = bound.listener.certificate_ends() {
                let since = Duration::from_nanos(end.as_nanos());
                metrics.certificate(bound.listener.source, bound.listener.protocol(), since.as_secs_f64());
            }
        }
    }

    /// Warns of servers that cannot tell clients from this host, of sockets that hold connections which nobody accepts, and of
    /// those that listen at more than they should. What was said of a listener of `before` is not said again.
    pub(super) fn warn(&self, before: Option<&Self>) {
        let said: Vec<_> =
            before.iter().flat_map(|open| &open.listeners).filter_map(|b| b.listener.caution()).collect();
        for BoundListener { listener, sockets } in &self.listeners {
            if let Some(caution) = listener.caution().filter(|caution| !said.contains(caution)) {
                console::print(Level::Warning, &caution);
            }
            let listen = &listener.settings.listen;
            let all_ipv4 = |own: &SocketAddr| SocketAddr::from((Ipv4Addr::UNSPECIFIED, own.port()));
            let is_wider = |own: &SocketAddr| own.is_ipv6() && listen.contains(&all_ipv4(own)) && !listen.contains(own);
            let own = sockets.iter().filter(|socket| socket.passed_as.is_none());
            for own in own.filter_map(ListeningSocket::address).filter(is_wider) {
                let name = &listener.settings.name;
                let text = format!("listener {name}: it goes on listening at {own} until a restart");
                console::print(Level::Warning, &text);
            }
        }
        for socket in &self.spare {
            let text = format!(
                "no listener wants the socket {} that the service manager passes: clients that connect to it wait in vain; give it a listener, or stop its socket unit",
                describe(socket)
            );
            console::print(Level::Warning, &text);
        }
    }

    /// Looks who waits at the listeners: that is shown in their metrics, and `/readyz` names those that are full.
    pub(super) fn take_stock(&self, monitor: &MetricsEndpoint) {
        if monitor.metrics().is_some() {
            let queues = AcceptQueues::read();
            monitor.note(self.listeners.iter().filter_map(|bound| bound.take_stock(&queues)).collect());
        }
    }

    /// The sources of `self`, and behind them listeners that are new.
    fn number(&self, listeners: &[ListenerSettings]) -> Vec<MetricsSource> {
        let mut sources = self.sources.clone();
        for listener in listeners {
            let source = source_of(listener.name.clone(), listener.protocol);
            match sources.iter_mut().find(|known| known.name == source.name) {
                Some(known) => *known = source,
                None => sources.push(source),
            }
        }
        sources
    }
}

fn source_of(name: String, protocol: Option<Protocol>) -> MetricsSource {
    MetricsSource { name, protocol }
}

/// Ports at which another listener than `one` has 0.0.0.0.
fn ipv4_ports(listeners: &[ListenerSettings], one: &ListenerSettings) -> Vec<u16> {
    let others = listeners.iter().filter(|other| other.name != one.name);
    let all = others.flat_map(|other| &other.listen).filter(|a| a.is_ipv4() && a.ip().is_unspecified());
    all.map(SocketAddr::port).collect()
}

/// A socket for people.
fn describe(socket: &ListeningSocket) -> String {
    let place = socket.address().map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
    match socket.passed_as.as_deref() {
        Some(name) if !name.is_empty() => format!("`{}` at {place}", name.escape_debug()),
        _ => format!("at {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(address: &str, name: Option<&str>) -> ListeningSocket {
        ListeningSocket { socket: Arc::new(TcpListener::bind(address).unwrap()), passed_as: name.map(Into::into) }
    }

    fn settings(name: &str, listen: &[SocketAddr]) -> ListenerSettings {
        use crate::proxy::settings::{AdmissionSettings, Target, Times};
        ListenerSettings {
            name: name.into(),
            listen: listen.to_vec(),
            target: Target::Host { host: "192.0.2.25".into(), port: 25 },
            spoof_source: false,
            mark: None,
            protocol: None,
            header_from: Vec::new(),
            health_from: Vec::new(),
            header_to: None,
            tls: None,
            admission: AdmissionSettings::default(),
            times: Times::default(),
        }
    }

    #[test]
    fn an_address_comes_before_a_name() {
        let (mx, imap, own) =
            (socket("127.0.0.1:0", Some("mx")), socket("127.0.0.1:0", Some("mx")), socket("127.0.0.1:0", None));
        let address = |socket: &ListeningSocket| socket.address().unwrap();
        let listeners = [
            settings("mx", &[]),
            settings("imap", &[address(&imap)]),
            settings("pop3", &[address(&own), address(&own)]),
        ];
        let mut sockets = Sockets(vec![mx.clone(), imap.clone(), own.clone(), socket("127.0.0.1:0", Some("old"))]);
        let shares = sockets.share_out(&listeners);
        let shared: Vec<Vec<_>> = shares.iter().map(|share| share.iter().map(address).collect()).collect();
        assert_eq!(shared, [vec![address(&mx)], vec![address(&imap)], vec![address(&own)]]);
        assert_eq!(sockets.0.len(), 1, "one that nobody wants");
        assert!(describe(&sockets.0[0]).starts_with("`old` at 127.0.0.1:"));
    }

    #[test]
    fn numbers_are_never_given_twice() {
        let names = |open: &OpenListeners| open.sources.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        let mut open = OpenListeners::default();
        for (now, all) in [
            (&["mx", "imap"][..], &["mx", "imap"][..]),
            (&["pop3", "imap"], &["mx", "imap", "pop3"]),
            (&["imap", "mx"], &["mx", "imap", "pop3"]),
        ] {
            open.sources = open.number(&now.iter().map(|name| settings(name, &[])).collect::<Vec<_>>());
            assert_eq!(names(&open), all);
        }
    }
}
