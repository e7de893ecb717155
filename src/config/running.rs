//! What every mode has that stays running: the metrics server, privileges, the log's rotation.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::{either, key, parsed};
use crate::cli;
use crate::error::Error;
use crate::secret::Secret;

/// Settings of a running mode, ready.
#[derive(Clone, Debug)]
pub struct Running {
    /// The file that SIGHUP reads again.
    pub config: Option<PathBuf>,
    /// Where the log goes; `-` is standard output.
    pub log: Option<PathBuf>,
    /// Octets of a log file.
    pub log_rotate: Option<u64>,
    /// The metrics server, if there is one.
    pub metrics: Option<MetricsServer>,
    /// File with the operator's names for reply texts.
    pub reply_reasons: Option<PathBuf>,
    /// Who to run as.
    pub user: Option<String>,
    /// Confine the process where the kernel can.
    pub sandbox: bool,
    /// No messages but warnings and errors.
    pub quiet: bool,
    /// 0, 1, 2: how much to say about the run itself.
    pub verbose: u8,
}

/// Where `/metrics` and the page are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsServer {
    /// Its address.
    pub listen: SocketAddr,
    /// What a request must bear. [`Secret`] never shows itself.
    pub token: Option<Secret>,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Makes `flags` ready.
pub(super) fn running(
    flags: cli::Running,
    log: Option<PathBuf>,
    settings: &mut Settings,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Running, Error> {
    let rotate = either(flags.log_rotate, settings.log_rotate.take(), |n| n.size("log-rotate"))?;
    let listen = either(flags.metrics_listen, settings.metrics_listen.take(), |t| parsed("metrics-listen", &t))?;
    let token = flags.metrics_token.or_else(|| settings.metrics_token.take());
    let token = token.map(|t| key(&t, "metrics token", read)).transpose()?;
    let token = token.map(|t| Secret::from(String::from_utf8_lossy(&t).into_owned()));
    let cert = flags.metrics_cert.or_else(|| settings.metrics_cert.take());
    let tls = cert.zip(flags.metrics_key.or_else(|| settings.metrics_key.take()));
    Ok(Running {
        config: flags.config,
        log,
        log_rotate: rotate.map(|size| size.0),
        metrics: listen.map(|place| MetricsServer { listen: place.0, token, tls }),
        reply_reasons: flags.reply_reasons.or_else(|| settings.reply_reasons.take()),
        user: flags.user.or_else(|| settings.user.take()),
        sandbox: !(flags.no_sandbox || settings.no_sandbox),
        quiet: flags.quiet || settings.quiet,
        verbose: flags.verbose.max(settings.verbose),
    })
}
