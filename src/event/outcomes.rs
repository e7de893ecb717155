//! What the proxy decides about a connection: log, metrics and errors share these words.

use super::words::words;

words! {
    /// Why a connection was not taken.
    Refusal {
        /// Reset.
        Refused = "refused",
        /// No answer.
        Timeout = "timeout",
        /// No route, or the host does not answer.
        Unreachable = "unreachable",
        /// Anything else.
        Other = "other",
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
        /// It came from the proxy itself.
        Loop = "loop",
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
