//! What every mode has that stays running: the log, metrics, privileges.

use std::path::PathBuf;

use super::{ReadKeys, key};
use crate::cli::{self, LocalAddress, Verbosity};
use crate::error::Error;
use crate::output::{IdentityPolicy, LogSettings, MonitorSettings, serve};
use crate::process;
use crate::secret::Secret;

/// Settings of a running mode, ready.
#[derive(Clone, Debug)]
pub struct Running {
    /// The file that SIGHUP reads again.
    pub config: Option<PathBuf>,
    /// The log.
    pub log: LogSettings,
    /// Metrics and the page.
    pub monitor: MonitorSettings,
    /// What the process may do.
    pub process: process::ConfineSettings,
    /// What the file of names for reply texts says; none if it cannot be read. Only to know whether it was changed.
    pub reasons: Option<Vec<u8>>,
    /// No messages but warnings and errors.
    pub quiet: bool,
    /// 0, 1, 2: how much to say about the run itself.
    pub verbose: u8,
}

/// Makes `flags` ready.
pub(super) fn running(
    flags: cli::RunningFlags,
    config: Option<PathBuf>,
    (log, log_mode): (Option<PathBuf>, Option<u32>),
    identity: IdentityPolicy,
    verbosity: Verbosity,
    read: ReadKeys<'_>,
) -> Result<Running, Error> {
    let cli::RunningFlags {
        log_rotate,
        log_files,
        metrics_listen,
        metrics_token,
        metrics_cert,
        metrics_key,
        metrics_host,
        top_file,
        top_users,
        reply_reasons,
        user,
        no_sandbox,
    } = flags;
    let token = metrics_token.map(|token| key(&token, "metrics token", "--metrics-token", read)).transpose()?;
    let token = token.map(|token| Secret::from(String::from_utf8_lossy(&token).into_owned()));
    let tls = match (metrics_cert, metrics_key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err(Error::Usage("metrics-cert and metrics-key go together: give both, or none".into())),
    };
    if log_files.is_some() && log_rotate.is_none() {
        return Err(Error::Usage(
            "log-files needs log-rotate: only files that were put away by size are counted".into(),
        ));
    }
    if top_users && identity != IdentityPolicy::Full {
        return Err(Error::Usage("top-users needs --identity full: the lists have names as they are, or none".into()));
    }
    if top_users && top_file.is_none() && metrics_listen.is_none() {
        return Err(Error::Usage("top-users needs a top-file or metrics-listen: nobody would see the lists".into()));
    }
    let hosts = metrics_host.unwrap_or_default().into_iter().map(|cli::HostName(name)| name).collect();
    Ok(Running {
        config,
        reasons: reply_reasons.as_deref().and_then(|path| read(path).ok()),
        log: LogSettings {
            path: log,
            mode: log_mode,
            rotate: log_rotate.map(|size| size.0),
            files: log_files.map(cli::Number::get),
        },
        monitor: MonitorSettings {
            server: metrics_listen.map(|LocalAddress(listen)| serve::ServeSettings { listen, token, tls, hosts }),
            reply_reasons,
            top_file,
            top_users,
        },
        process: process::ConfineSettings { user, sandbox: !no_sandbox },
        quiet: verbosity.quiet,
        verbose: verbosity.verbose,
    })
}
