//! `mailtap proxy`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use ipnet::IpNet;

use super::{Patience, Records, Running, word};
use crate::config::proxy::{HeaderOut, OnFault, OnLimit, Refuse, Splice, TlsListen, TlsUpstream, Transparent};
use crate::event::Protocol;

const HELP: &str = "\
Examples:
  mailtap proxy --upstream mx.example.org                      ports 25, 110 and 143, each to the same port there
  mailtap proxy --listen :2525 --upstream 192.0.2.25:25        one listener; give several pairs in this order
  mailtap proxy --config /etc/mailtap.toml                     [[listener]] tables: see the README
  mailtap proxy --transparent redirect --listen :2525          for connections that nftables redirects here
  mailtap proxy --transparent tproxy --spoof-source --listen :2525
  mailtap proxy --listen :993 --upstream 192.0.2.25:143 --tls implicit --tls-cert chain.pem --tls-key key.pem

Signals:
  SIGTERM, SIGINT  stop accepting, let mail in transfer finish within --drain-timeout, end; twice: end now
  SIGHUP           read the configuration and certificates again, reopen the log

Exit status:
  0  stopped by a signal
  1  a listener cannot be opened, or an output not written; a line on standard error says which and why
  2  wrong usage";

/// Flags of `mailtap proxy`.
#[derive(Debug, Default, Args)]
#[command(after_help = HELP)]
pub struct Proxy {
    /// Where to listen: ADDR:PORT, or :PORT for all addresses, IPv4 and IPv6; several with as many --upstream
    #[arg(long, value_name = "ADDR", help_heading = "Listeners")]
    pub listen: Vec<String>,

    /// Where connections go: HOST, HOST:PORT or ADDR:PORT; without a port, the port of the listener
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Listeners")]
    pub upstream: Vec<String>,

    /// Connections were meant for another address and come here by nftables: go on to that address
    #[arg(long, value_name = "HOW", value_parser = word(Transparent::ALL, Transparent::as_str), conflicts_with = "upstream", help_heading = "Listeners")]
    pub transparent: Option<Transparent>,

    /// Let the server see the client's own address (needs CAP_NET_RAW and routing of the answers to this host)
    #[arg(long, help_heading = "Listeners")]
    pub spoof_source: bool,

    /// Mark of mailtap's own connections, by which nftables can leave them alone [default: 0x6d74 if transparent]
    #[arg(long, value_name = "NUMBER", value_parser = number, help_heading = "Listeners")]
    pub mark: Option<u32>,

    /// What is spoken there, if the port does not tell; only a first guess
    #[arg(long, value_name = "PROTOCOL", value_parser = word(Protocol::ALL, Protocol::as_str), help_heading = "Listeners")]
    pub protocol: Option<Protocol>,

    /// Networks whose connections begin with a PROXY header, v1 or v2; no other may send one
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', help_heading = "Listeners")]
    pub proxy_from: Option<Vec<IpNet>>,

    /// Begin connections to the server with a PROXY header
    #[arg(long, value_name = "VERSION", value_parser = word(HeaderOut::ALL, HeaderOut::as_str), help_heading = "Listeners")]
    pub proxy_to: Option<HeaderOut>,

    /// Answer TLS here instead of passing it through [default: passthrough]
    #[arg(long, value_name = "HOW", value_parser = word(TlsListen::ALL, TlsListen::as_str), help_heading = "TLS")]
    pub tls: Option<TlsListen>,

    /// PEM file with a certificate chain; several are chosen from by the name the client asks for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub tls_cert: Vec<PathBuf>,

    /// PEM file with its private key, in the order of --tls-cert
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub tls_key: Vec<PathBuf>,

    /// How to talk to the server where TLS is answered here [default: none]
    #[arg(long, value_name = "HOW", value_parser = word(TlsUpstream::ALL, TlsUpstream::as_str), help_heading = "TLS")]
    pub upstream_tls: Option<TlsUpstream>,

    /// PEM file with the authorities that may vouch for the server [default: those of the system]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub upstream_ca: Option<PathBuf>,

    /// Name that the server's certificate must have [default: the host of --upstream]
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub upstream_name: Option<String>,

    /// Connections at the same time, of each listener [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_connections: Option<u32>,

    /// Connections at the same time from one address (IPv6: one /64) [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_per_source: Option<u32>,

    /// Connections at the same time from one network (IPv4 /24, IPv6 /48) [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_per_prefix: Option<u32>,

    /// New connections a second from one address [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_rate: Option<u32>,

    /// What becomes of connections over --max-connections [default: wait]
    #[arg(long, value_name = "WHAT", value_parser = word(OnLimit::ALL, OnLimit::as_str), help_heading = "Limits")]
    pub on_limit: Option<OnLimit>,

    /// Whether a connection that is turned away, or whose server cannot be reached, is told why [default: close]
    #[arg(long, value_name = "HOW", value_parser = word(Refuse::ALL, Refuse::as_str), help_heading = "Limits")]
    pub refuse: Option<Refuse>,

    /// How long the server may take to answer the connection [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    pub connect_timeout: Option<Patience>,

    /// How long the server may take to greet [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    pub greeting_timeout: Option<Patience>,

    /// How long a connection may stand still [default: SMTP and POP3 15m, IMAP 35m, encrypted 35m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    pub idle_timeout: Option<Patience>,

    /// How long one side may stay open when the other has closed [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    pub half_close_timeout: Option<Patience>,

    /// How long open sessions may go on after SIGTERM [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    pub drain_timeout: Option<Patience>,

    /// What becomes of a session in which the observer fails: goes on unobserved, or is closed [default: bypass]
    #[arg(long, value_name = "WHAT", value_parser = word(OnFault::ALL, OnFault::as_str))]
    pub on_fault: Option<OnFault>,

    /// Let the kernel move what cannot be read (TLS passed through) [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = word(Splice::ALL, Splice::as_str))]
    pub splice: Option<Splice>,

    /// A socket by which a new mailtap takes the listeners over from a running one, without a refused connection
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub handover: Option<PathBuf>,

    /// Threads that forward [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,

    /// Let the observer fail after so many octets of each session: for tests.
    #[arg(long, hide = true)]
    pub inject_fault: Option<u64>,

    /// The log.
    #[command(flatten)]
    pub records: Records,

    /// What every running mode has.
    #[command(flatten)]
    pub running: Running,
}

/// A number, decimal or with `0x`.
fn number(text: &str) -> Result<u32, String> {
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u32::from_str_radix(hex, 16));
    parsed.map_err(|_| "expected a number, decimal or hexadecimal with 0x".into())
}
