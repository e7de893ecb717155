//! `mailtap proxy`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Deserialize;

use super::file::{list, parsed};
use super::{
    ConfigFile, ListenAddress, LogFlags, Network, Number, PacketMark, RunningFlags, TimeOrOff, TlsMinimum,
    UpstreamAddress, Verbosity, word,
};
use crate::event::Protocol;
use crate::proxy::settings::{
    Cipher, ClientCertificate, HeaderOut, OnFault, OnLimit, Refuse, Splice, TlsListen, TlsUpstream, Transparent,
};

const HELP: &str = "\
Examples:
  mailtap proxy --upstream mx.example.org                      ports 25, 110 and 143, each to the same port there
  mailtap proxy --listen :2525 --upstream 192.0.2.25:25        one listener; give several pairs in this order
  mailtap proxy --config /etc/mailtap.toml                     [[listener]] tables: see the README
  mailtap proxy --check --config /etc/mailtap.toml             is it right? before a start or a reload
  mailtap proxy --transparent redirect --listen :2525          for connections that nftables redirects here
  mailtap proxy --transparent tproxy --spoof-source --listen :2525
  mailtap proxy --listen :993 --upstream 192.0.2.25:143 --tls implicit --tls-cert chain.pem --tls-key key.pem

Signals:
  SIGTERM, SIGINT, SIGQUIT  stop accepting and dialling, let mail in transfer finish within --drain-timeout, end;
                            twice: end now
  SIGHUP                    read the configuration and certificates again, reopen the log
  SIGUSR1                   reopen the log, as with nginx (with HAProxy it is a soft stop: send SIGTERM for that)
  SIGUSR2                   ignored

Exit status:
  0  stopped by a signal
  1  a listener cannot be opened, or an output not written; a line on standard error says which and why;
     with --check, something is wrong: a line for each fault
  2  wrong usage";

/// Flags of `mailtap proxy`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = HELP)]
pub struct ProxyFlags {
    /// Where it listens.
    #[command(flatten)]
    pub listener: ListenerFlags,

    /// What all listeners share.
    #[command(flatten)]
    pub forwarding: ForwardingFlags,

    /// The log.
    #[command(flatten)]
    pub records: LogFlags,

    /// What every running mode has.
    #[command(flatten)]
    pub running: RunningFlags,

    /// The configuration file.
    #[command(flatten)]
    pub file: ConfigFile,

    /// How much it says.
    #[command(flatten)]
    pub verbosity: Verbosity,

    /// Let the observer fail after so many bytes of each session: for tests.
    #[arg(long, hide = true)]
    pub inject_fault: Option<u64>,
}

/// Flags of a listener. In the configuration file they are keys of a `[[listener]]` table, or stand above the tables
/// for all of them.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ListenerFlags {
    /// Where to listen: ADDR:PORT, or :PORT for all addresses, IPv4 and IPv6; several with as many --upstream
    #[arg(long, value_name = "ADDR", help_heading = "Listeners")]
    #[serde(deserialize_with = "list")]
    pub listen: Option<Vec<ListenAddress>>,

    /// Where connections go: HOST, HOST:PORT or ADDR:PORT, an IPv6 address in brackets; without a port, the port of the listener
    ///
    /// A name is looked up again every 30 s. Of several addresses the one that answers first is taken, and one that failed
    /// comes last for a minute.
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Listeners")]
    #[serde(deserialize_with = "list")]
    pub upstream: Option<Vec<UpstreamAddress>>,

    /// Connections were meant for another address and come here by nftables: go on to that address
    #[arg(long, value_name = "HOW", value_parser = word::<Transparent>(), help_heading = "Listeners")]
    #[serde(deserialize_with = "parsed")]
    pub transparent: Option<Transparent>,

    /// Let the server see the client's own address (needs CAP_NET_RAW and routing of the answers to this host)
    ///
    /// A client is refused if the server has no address of its family.
    #[arg(long, help_heading = "Listeners")]
    pub spoof_source: bool,

    /// Mark of mailtap's own connections, by which nftables can leave them alone [default: 0x6d74 if transparent]
    #[arg(long, value_name = "NUMBER", help_heading = "Listeners")]
    #[serde(deserialize_with = "parsed")]
    pub mark: Option<PacketMark>,

    /// What is spoken there, if the port does not tell; only a first guess
    #[arg(long, value_name = "PROTOCOL", value_parser = word::<Protocol>(), help_heading = "Listeners")]
    #[serde(deserialize_with = "parsed")]
    pub protocol: Option<Protocol>,

    /// Networks whose connections begin with a PROXY header, v1 or v2; no other may send one
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', help_heading = "Listeners")]
    #[serde(deserialize_with = "list")]
    pub proxy_from: Option<Vec<Network>>,

    /// Networks of health checks: their connections that say nothing, or only QUIT, are counted apart and recorded only with -v
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', help_heading = "Listeners")]
    #[serde(deserialize_with = "list")]
    pub health_from: Option<Vec<Network>>,

    /// Begin connections to the server with a PROXY header
    #[arg(long, value_name = "VERSION", value_parser = word::<HeaderOut>(), help_heading = "Listeners")]
    #[serde(deserialize_with = "parsed")]
    pub proxy_to: Option<HeaderOut>,

    /// Answer TLS here instead of passing it through [default: passthrough]
    #[arg(long, value_name = "HOW", value_parser = word::<TlsListen>(), help_heading = "TLS")]
    #[serde(deserialize_with = "parsed")]
    pub tls: Option<TlsListen>,

    /// PEM file with a certificate chain; several are chosen from by the name the client asks for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    #[serde(deserialize_with = "list")]
    pub tls_cert: Option<Vec<PathBuf>>,

    /// PEM file with its private key, in the order of --tls-cert
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    #[serde(deserialize_with = "list")]
    pub tls_key: Option<Vec<PathBuf>>,

    /// Oldest version of TLS that is agreed on with clients: 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION", help_heading = "TLS")]
    #[serde(deserialize_with = "parsed")]
    pub tls_min: Option<TlsMinimum>,

    /// Cipher suites that are agreed on with clients, the best first [default: all of these]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = word::<Cipher>(), help_heading = "TLS")]
    #[serde(deserialize_with = "list")]
    pub tls_ciphers: Option<Vec<Cipher>>,

    /// PEM file with the authorities that may vouch for clients: a certificate is asked for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub tls_client_ca: Option<PathBuf>,

    /// Whether a client must have a certificate, with --tls-client-ca [default: required]
    #[arg(long, value_name = "HOW", value_parser = word::<ClientCertificate>(), help_heading = "TLS")]
    #[serde(deserialize_with = "parsed")]
    pub tls_client_auth: Option<ClientCertificate>,

    /// How to talk to the server where TLS is answered here [default: none]
    #[arg(long, value_name = "HOW", value_parser = word::<TlsUpstream>(), help_heading = "TLS")]
    #[serde(deserialize_with = "parsed")]
    pub upstream_tls: Option<TlsUpstream>,

    /// PEM file with the authorities that may vouch for the server, or with its own certificate [default: those of the system]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub upstream_ca: Option<PathBuf>,

    /// Name that the server's certificate must have [default: the host of --upstream]
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub upstream_name: Option<String>,

    /// PEM file with the certificate chain that the server is shown if it asks for one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub upstream_cert: Option<PathBuf>,

    /// PEM file with its private key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub upstream_key: Option<PathBuf>,

    /// Oldest version of TLS that is agreed on with the server: 1.2 or 1.3 [default: 1.2]
    #[arg(long, value_name = "VERSION", help_heading = "TLS")]
    #[serde(deserialize_with = "parsed")]
    pub upstream_tls_min: Option<TlsMinimum>,

    /// Cipher suites that are agreed on with the server, the best first [default: all, as with --tls-ciphers]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = word::<Cipher>(), hide_possible_values = true, help_heading = "TLS")]
    #[serde(deserialize_with = "list")]
    pub upstream_tls_ciphers: Option<Vec<Cipher>>,

    /// Connections at the same time, of each listener [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub max_connections: Option<Number>,

    /// Connections at the same time from one address (IPv6: one /64) [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub max_per_source: Option<Number>,

    /// Connections at the same time from one network (IPv4 /24, IPv6 /48) [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub max_per_prefix: Option<Number>,

    /// New connections a second from one address [default: 0, no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub max_rate: Option<Number>,

    /// What becomes of connections over --max-connections [default: wait]
    #[arg(long, value_name = "WHAT", value_parser = word::<OnLimit>(), help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub on_limit: Option<OnLimit>,

    /// Whether a connection that is turned away, or whose server cannot be reached, is told why [default: close]
    #[arg(long, value_name = "HOW", value_parser = word::<Refuse>(), help_heading = "Limits")]
    #[serde(deserialize_with = "parsed")]
    pub refuse: Option<Refuse>,

    /// How long the server may take to answer the connection [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    #[serde(deserialize_with = "parsed")]
    pub connect_timeout: Option<TimeOrOff>,

    /// How long the server may take to greet [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    #[serde(deserialize_with = "parsed")]
    pub greeting_timeout: Option<TimeOrOff>,

    /// How long a connection may stand still [default: SMTP and POP3 15m, IMAP 35m, encrypted 35m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    #[serde(deserialize_with = "parsed")]
    pub idle_timeout: Option<TimeOrOff>,

    /// How long one side may stay open when the other has closed [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    #[serde(deserialize_with = "parsed")]
    pub half_close_timeout: Option<TimeOrOff>,
}

/// Flags of a proxy that do not belong to one of its listeners.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ForwardingFlags {
    /// How long open sessions may go on after SIGTERM [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Times")]
    #[serde(deserialize_with = "parsed")]
    pub drain_timeout: Option<TimeOrOff>,

    /// What becomes of a session in which the observer fails: goes on unobserved, or is closed [default: bypass]
    #[arg(long, value_name = "WHAT", value_parser = word::<OnFault>())]
    #[serde(deserialize_with = "parsed")]
    pub on_fault: Option<OnFault>,

    /// Let the kernel move what cannot be read (TLS passed through) [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = word::<Splice>())]
    #[serde(deserialize_with = "parsed")]
    pub splice: Option<Splice>,

    /// A socket by which a new mailtap takes the listeners over from a running one, without a refused connection
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub handover: Option<PathBuf>,

    /// Threads that forward [default: one per core]
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "parsed")]
    pub threads: Option<Number<1, 64>>,
}
