//! `mailtap sniff --check`: interfaces, filter and files are looked at without opening them.

use crate::capture::live;
use crate::commands::check::{Check, writable};
use crate::config::Sniff;
use crate::error::Error;

/// Checks what `made` has become of flags and configuration file. Whether all is well.
pub fn check(made: Result<Sniff, Error>) -> bool {
    let mut check = Check::default();
    let Some(Sniff { interfaces, options, write, running, .. }) = check.look(made) else { return false };
    check.running(&running);
    if let Some(write) = &write {
        let wrong = |reason| Error::Packets { path: write.path.clone(), reason };
        check.look(writable(&write.path, running.process.user.as_deref()).map_err(wrong));
    }
    for name in &interfaces {
        check.look(live::check(name, &options).map_err(Error::Interface));
    }
    check.finish(running.quiet, &format!("interfaces {}", interfaces.join(", ")))
}
