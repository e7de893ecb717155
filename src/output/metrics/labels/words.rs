//! Values of the label `reason`, and of others that are words of this program.

use crate::event::words;

words! {
    /// Why a reply's latency is not observed.
    Unobserved {
        /// It came in one piece with the reply before it.
        Coalesced = "coalesced",
        /// Octets of the command or the reply were lost.
        Gap = "gap",
        /// Only one direction was captured.
        OneSided = "one_sided",
        /// The reply is older than the command: clocks differ.
        Negative = "negative",
        /// The packets were captured without a time.
        Untimed = "untimed",
        /// It lasts as long as the client likes.
        Excluded = "excluded",
    }
}

words! {
    /// What became of STARTTLS.
    StartTlsOutcome {
        /// The handshake went well.
        Ok = "ok",
        /// The server said no.
        Refused = "refused",
        /// A capability list without it.
        NotOffered = "not_offered",
        /// Asked for, and nothing came of it.
        Abandoned = "abandoned",
        /// The handshake failed.
        HandshakeFailed = "handshake_failed",
    }
}

words! {
    /// What is wrong with a line.
    LineFault {
        /// LF without CR.
        BareLf = "bare_lf",
        /// CR without LF.
        BareCr = "bare_cr",
        /// A NUL.
        Nul = "nul",
        /// Too long.
        Overlong = "overlong",
    }
}

words! {
    /// IMAP untagged responses.
    UntaggedReason {
        /// `EXISTS`.
        Exists = "exists",
        /// `EXPUNGE` and `VANISHED`.
        Expunge = "expunge",
        /// `FETCH`.
        Fetch = "fetch",
        /// `BYE`.
        Bye = "bye",
        /// The rest.
        Other = "other",
    }
}

words! {
    /// How a parser left the grammar.
    ParserError {
        /// A direction could not be read for a while.
        Unparseable = "unparseable",
        /// More waited for an answer than the cap allows.
        HoldOverflow = "hold_overflow",
        /// Reading took more work than the bytes are worth.
        WorkLimit = "work_limit",
    }
}

words! {
    /// What the proxy did against an anomaly.
    Enforcement {
        /// Kept the octets.
        Block = "block",
        /// Closed the connection.
        Close = "close",
    }
}

words! {
    /// Why a packet was lost, or of no use.
    PacketLoss {
        /// The kernel had no room.
        Kernel = "kernel",
        /// The interface had none.
        Interface = "interface",
        /// The analysis was behind.
        Queue = "queue",
        /// Headers cut off by the snap length.
        Snaplen = "snaplen",
        /// Headers that cannot be.
        Decode = "decode",
    }
}

words! {
    /// Why a packet was not understood.
    NotUnderstood {
        /// A link type that cannot be read.
        LinkType = "link_type",
        /// A protocol on the link that is not known.
        Network = "network",
        /// A protocol of IP that is not known.
        Transport = "transport",
        /// Encrypted: IPsec, MACsec.
        Encrypted = "encrypted",
        /// A tunnel of a form that is not known.
        Tunnel = "tunnel",
    }
}

words! {
    /// Why the tracker gave a connection up.
    Eviction {
        /// No packet came.
        Idle = "idle",
        /// There were too many.
        TableFull = "table_full",
    }
}

words! {
    /// Why records were lost.
    LogLoss {
        /// The queue was full.
        QueueFull = "queue_full",
        /// They could not be written.
        SinkError = "sink_error",
    }
}
