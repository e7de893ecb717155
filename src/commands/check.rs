//! `--check`: what a start would read is read, and every fault is reported, not only the first.
//!
//! Nothing is bound, written or created, so that a check may run beside a mailtap that is at work.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::{self, Running};
use crate::console::{self, Level, plain};
use crate::error::Error;
use crate::output::metrics::ReplyReasons;
use crate::output::{Log, TopFile, TopFileError};
use crate::process::Account;

/// What a check has found.
#[derive(Debug, Default)]
pub(super) struct Check {
    faults: usize,
}

impl Check {
    /// Reports what is wrong with `found`, if anything is.
    pub(super) fn look<T>(&mut self, found: Result<T, impl Into<Error>>) -> Option<T> {
        found
            .map_err(|error| {
                console::print(Level::Error, &error.into());
                self.faults += 1;
            })
            .ok()
    }

    /// Ends the check; `right` is what there is to say if nothing was wrong. Whether that is so.
    pub(super) fn finish(self, quiet: bool, right: &str) -> bool {
        if self.faults == 0 && !quiet {
            console::print(Level::Note, &format!("the configuration is right: {right}"));
        }
        self.faults == 0
    }

    /// Looks at what every running mode has.
    pub(super) fn running(&mut self, running: &Running) {
        self.look(config::diagnostics(std::env::var_os(config::VARIABLE).as_deref(), running.verbose));
        let user = running.process.user.as_deref();
        self.look(user.map(Account::find).transpose());
        self.look(running.monitor.reply_reasons.as_deref().map(ReplyReasons::read).transpose());
        if let Some(server) = &running.monitor.server {
            self.look(server.check());
        }
        if let Some(path) = &running.monitor.top_file {
            self.top_file(path, user);
        }
        let is_refused = self.look(Log::check(&running.log).map_err(Error::LogOpen)).is_none();
        if let Some(log) = running.log.file().filter(|_| !is_refused) {
            let wrong = |reason| {
                let (log, reason) = (log.display(), plain(&reason));
                Error::Usage(format!(
                    "{log}: the log cannot be written: {reason}; check the directory and its permissions, or choose another --log"
                ))
            };
            self.look(writable(log, user).map_err(wrong));
        }
    }

    fn top_file(&mut self, path: &Path, user: Option<&str>) {
        let wrong = |reason| TopFileError::new(path, reason);
        let found = TopFile::check(path).and_then(|()| writable(path, user).map_err(wrong));
        self.look(found.map_err(Error::TopFile));
    }
}

/// Whether a file could be written at `path`, as far as that shows without writing it. The rights of `user` are not
/// ours to try: then only what is there is looked at.
pub(super) fn writable(path: &Path, user: Option<&str>) -> io::Result<()> {
    let may = |path: &Path, rights| if user.is_some() { Ok(()) } else { Ok(access(path, rights)?) };
    if path.as_os_str() == "-" {
        return Ok(());
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => may(path, Access::WRITE_OK),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            match fs::metadata(folder)? {
                found if found.is_dir() => may(folder, Access::WRITE_OK | Access::EXEC_OK),
                _ => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_written_where_its_folder_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| writable(&dir.path().join(name), None).map_err(|error| error.kind());
        fs::write(dir.path().join("file"), b"").unwrap();
        assert_eq!((at("file"), at("other")), (Ok(()), Ok(())));
        assert_eq!(at("none/other"), Err(io::ErrorKind::NotFound));
        assert_eq!(at("file/other"), Err(io::ErrorKind::NotADirectory));
        assert_eq!(at(""), Err(io::ErrorKind::IsADirectory));
        assert!(writable(Path::new("-"), None).is_ok());
        assert!(!dir.path().join("other").exists(), "a check makes no file");
    }
}
