//! Settings of the proxy: listeners with all that belongs to each.

mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use tls::{Cipher, ClientCertificate, TlsBounds, TlsListen, TlsSettings, TlsUpstream, TlsVersion};

use crate::event::{Protocol, words};

/// Settings of the proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySettings {
    /// Where connections come in; names are unique, at least one.
    pub listeners: Vec<ListenerSettings>,
    /// What all threads do alike.
    pub forwarding: Forwarding,
    /// Socket by which a successor takes the listeners over.
    pub handover: Option<PathBuf>,
    /// How long open sessions may go on after SIGTERM; `None` is for ever.
    pub drain: Option<Duration>,
    /// Threads that forward.
    pub threads: usize,
}

/// What all threads that forward do alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// What becomes of a session in which the observer fails.
    pub on_fault: OnFault,
    /// Whether the kernel may move what cannot be read.
    pub splice: Splice,
}

/// Where connections come in, and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerSettings {
    /// Its name in records and metrics.
    pub name: String,
    /// Addresses to listen on. Empty: the sockets are those that the service manager passes under this name.
    pub listen: Vec<SocketAddr>,
    /// Where connections go.
    pub target: Target,
    /// The server sees the client's own address.
    pub spoof_source: bool,
    /// `SO_MARK` of connections to the server.
    pub mark: Option<u32>,
    /// What is spoken there, a prior only.
    pub protocol: Option<Protocol>,
    /// Networks whose connections begin with a PROXY header.
    pub header_from: Vec<IpNet>,
    /// Networks whose connections are health checks if they say nothing, or only goodbye.
    pub health_from: Vec<IpNet>,
    /// Header that connections to the server begin with.
    pub header_to: Option<HeaderOut>,
    /// TLS that is answered here; `None` passes it through.
    pub tls: Option<TlsSettings>,
    /// How many connections are let in.
    pub admission: AdmissionSettings,
    /// Times.
    pub times: Times,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this host and port; a name is looked up at start and at each reload.
    Host {
        /// A name or an address.
        host: String,
        /// 0: the port that the client connected to.
        port: u16,
    },
    /// Where the client wanted to go.
    Original(Transparent),
}

/// How many connections are let in. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// At the same time.
    pub connections: u32,
    /// At the same time from one address (IPv6: /64).
    pub per_source: u32,
    /// At the same time from one network (IPv4 /24, IPv6 /48).
    pub per_prefix: u32,
    /// A second, from one address (IPv6: /64).
    pub rate: u32,
    /// What becomes of those over `connections`.
    pub on_limit: OnLimit,
    /// Whether one that is turned away is told so.
    pub refuse: Refuse,
}

/// How long things may take; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Until the server has taken the connection.
    pub connect: Option<Duration>,
    /// Until the server's first octet.
    pub greeting: Option<Duration>,
    /// Without an octet either way.
    pub idle: Option<Duration>,
    /// Whether `idle` was given: else the protocol decides.
    pub idle_given: bool,
    /// With one side closed.
    pub half_close: Option<Duration>,
}

impl Times {
    /// Time for a PROXY header to come.
    pub const HEADER: Duration = Duration::from_secs(3);

    /// How long a connection may stand still (RFC 5321 section 4.5.3.2, RFC 1939 section 3, RFC 9051 section 5.4 demand less).
    pub fn idle(&self, protocol: Protocol, encrypted: bool) -> Option<Duration> {
        match protocol {
            _ if self.idle_given => self.idle,
            Protocol::Smtp | Protocol::Lmtp | Protocol::Pop3 if !encrypted => Some(Duration::from_secs(15 * 60)),
            _ => Some(Duration::from_secs(35 * 60)),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(30)),
            greeting: Some(Duration::from_secs(300)),
            idle: None,
            idle_given: false,
            half_close: Some(Duration::from_secs(600)),
        }
    }
}

words! {
    /// How connections meant for another address come here.
    Transparent {
        /// NAT: the address is asked of the kernel (`SO_ORIGINAL_DST`).
        Redirect = "redirect",
        /// TPROXY: the socket has the address.
        Tproxy = "tproxy",
    }
}

words! {
    /// Version of a PROXY header.
    HeaderOut {
        /// Text.
        V1 = "v1",
        /// Binary, with the session's id.
        V2 = "v2",
    }
}

words! {
    /// What becomes of connections over the limit.
    #[derive(Default)]
    OnLimit {
        /// They wait in the kernel's queue.
        #[default]
        Wait = "wait",
        /// They are turned away.
        Close = "close",
    }
}

words! {
    /// How a connection is turned away.
    #[derive(Default)]
    Refuse {
        /// Without a word.
        #[default]
        Close = "close",
        /// With `421`, `-ERR` or `* BYE`.
        Tell = "tell",
    }
}

words! {
    /// What becomes of a session in which the observer fails.
    OnFault {
        /// It goes on unobserved.
        Bypass = "bypass",
        /// It is closed.
        Close = "close",
    }
}

words! {
    /// Whether the kernel moves what cannot be read.
    Splice {
        /// Where it is faster.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}
