//! What the proxy decides about a connection: log, metrics and errors share these words.

use super::words::words;

words! {
    /// Why there is no connection to the server.
    Refusal {
        /// Reset.
        Refused = "refused",
        /// No answer.
        Timeout = "timeout",
        /// No route, or the host does not answer.
        Unreachable = "unreachable",
        /// The proxy had no file descriptor for it: not dialled.
        Descriptors = "descriptors",
        /// The server's name has no address.
        Unresolved = "unresolved",
        /// It would come back to the proxy: not dialled.
        Loop = "loop",
        /// The client's address is of another family than the server's, and the server is to see it: not dialled.
        SpoofFamily = "spoof_family",
        /// Anything else.
        Other = "other",
    }
}

impl Refusal {
    /// The proxy's own reason for not dialling; `None` where the server did not take the connection.
    pub const fn rejection(self) -> Option<Rejection> {
        match self {
            Self::Descriptors => Some(Rejection::Descriptors),
            Self::Loop => Some(Rejection::Loop),
            Self::SpoofFamily => Some(Rejection::SpoofFamily),
            Self::Refused | Self::Timeout | Self::Unreachable | Self::Unresolved | Self::Other => None,
        }
    }
}

words! {
    /// Why a session is not, or no longer, understood.
    Bypass {
        /// Framing was lost.
        ParseError = "parse_error",
        /// The observer failed.
        Panic = "panic",
        /// It cost too much.
        WorkLimit = "work_limit",
        /// No protocol that is known.
        UnknownProtocol = "unknown_protocol",
    }
}

words! {
    /// Why the proxy turned a connection away.
    Rejection {
        /// Too many connections.
        MaxConnections = "max_connections",
        /// Too many of one address or network.
        PerSource = "per_source",
        /// Too many a second.
        Rate = "rate",
        /// A PROXY header that is missing or wrong.
        ProxyHeader = "proxy_header",
        /// It came from the proxy itself, or would come back to it.
        Loop = "loop",
        /// No file descriptor was left for it.
        Descriptors = "descriptors",
        /// The server was to see the client's address, which is of another family than the server's.
        SpoofFamily = "spoof_family",
        /// The proxy goes down.
        Drain = "drain",
    }
}

words! {
    /// Why the proxy closed a connection.
    Termination {
        /// The proxy goes down.
        Drain = "drain",
        /// It stood still for too long.
        Timeout = "timeout",
        /// What it carried is not let through.
        Enforcement = "enforcement",
        /// Reading or writing failed.
        Error = "error",
    }
}
