//! What the process may still do to files and the network: Landlock, as far as the kernel has it.
//!
//! Everything may be read; written, made, renamed and deleted is only what lies in the folders that are named, nothing
//! may be run, and no other process gets a signal. Sockets that are open stay so. A kernel without Landlock is no
//! error: this is a second line, behind what the user may do.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};

use crate::error::Error;

/// The newest Landlock whose rules are known to be bearable here; older ones take what they know of it.
const KNOWN: ABI = ABI::V6;

/// What remains allowed.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    writable: Vec<PathBuf>,
    isolated: bool,
}

/// How much of it the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// All.
    Fully,
    /// What its version knows.
    Partly,
    /// Nothing: it has no Landlock.
    Not,
}

impl Sandbox {
    /// Nothing may be written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files in `folder`, at any depth, may be made, written, renamed and deleted.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.writable.push(folder.to_owned());
        self
    }

    /// The file `path` may be made, written, and replaced: what lies beside it too, since Landlock knows no names. So may
    /// what lies in the folder above, if it is none of the system's: a folder that is made anew is another one, to which
    /// only a rule for the one above applies. A device may be written only.
    #[must_use]
    pub fn file(self, path: &Path) -> Self {
        let real = fs::canonicalize(path);
        match fs::metadata(path).map(|about| about.file_type()) {
            // A pipe without a name has no place in the file system, and Landlock no say about it.
            Ok(kind) if !kind.is_file() && real.is_err() => return self,
            Ok(kind) if kind.is_char_device() || kind.is_block_device() => return self.folder(path),
            _ => {}
        }
        // A log that is a link is renamed where the link is, and written where it leads.
        let folder = parent(path);
        let here = self.folder(folder);
        let here = match above(folder) {
            Some(above) => here.folder(&above),
            None => here,
        };
        match real {
            Ok(real) if real != path => here.folder(parent(&real)),
            _ => here,
        }
    }

    /// No TCP connection may be made and no port be listened on any more.
    #[must_use]
    pub const fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// Confines this thread, and those it will start, for good.
    pub fn enforce(&self) -> Result<Confined, Error> {
        let status = self.rules().map_err(|reason| {
            Error::Privileges(format!("the process cannot be confined with Landlock: {reason}; see --no-sandbox"))
        })?;
        let confined = match status {
            RulesetStatus::FullyEnforced => Confined::Fully,
            RulesetStatus::PartiallyEnforced => Confined::Partly,
            RulesetStatus::NotEnforced => Confined::Not,
        };
        tracing::debug!(?confined, writable = ?self.writable, isolated = self.isolated, "confined with Landlock");
        Ok(confined)
    }

    fn rules(&self) -> Result<RulesetStatus, String> {
        let text = |e: landlock::RulesetError| e.to_string();
        let mut rules = Ruleset::default().handle_access(AccessFs::from_write(KNOWN) | AccessFs::Execute);
        if self.isolated {
            rules = rules.and_then(|r| r.handle_access(AccessNet::from_all(KNOWN)));
        }
        let mut rules = rules.and_then(|r| r.scope(scopes())).and_then(Ruleset::create).map_err(text)?;
        for path in &self.writable {
            let opened = PathFd::new(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let rule = PathBeneath::new(opened, granted(path));
            rules = rules.add_rule(rule).map_err(text)?;
        }
        rules.restrict_self().map(|status| status.ruleset).map_err(text)
    }
}

/// An abstract socket is kept in reach if the service manager has one.
fn scopes() -> BitFlags<Scope> {
    let abstract_socket =
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
    if abstract_socket { Scope::Signal.into() } else { Scope::from_all(KNOWN) }
}

fn granted(path: &Path) -> BitFlags<AccessFs> {
    let write = AccessFs::WriteFile | AccessFs::Truncate;
    if path.is_dir() { write | AccessFs::MakeReg | AccessFs::RemoveFile } else { write }
}

/// The folder above `folder`, if nothing but what belongs to one program is likely to lie there.
fn above(folder: &Path) -> Option<PathBuf> {
    const SYSTEM: [&str; 12] =
        ["/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/sys", "/usr", "/var"];
    let above = fs::canonicalize(folder).ok()?.parent()?.to_owned();
    let is_system = SYSTEM.iter().any(|system| above == Path::new(system));
    let is_below = ["/etc", "/usr", "/boot", "/proc", "/sys", "/dev"].iter().any(|system| above.starts_with(system));
    (!is_system && !is_below).then_some(above)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::privileges::tests::in_child;

    #[test]
    fn a_file_is_replaced_where_it_is() {
        let of = |path: &str| Sandbox::new().file(Path::new(path)).writable;
        assert_eq!(of("mailtap.jsonl").first(), Some(&PathBuf::from(".")));
        assert_eq!(of("/no/such/mailtap.jsonl"), [Path::new("/no/such")]);
        assert_eq!(of("/dev/null"), [Path::new("/dev/null")]);
        assert_eq!(of("/var/log/mail.jsonl"), [Path::new("/var/log")], "/var is the system's");
        assert_eq!(of("/etc/mail.jsonl"), [Path::new("/etc")]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let error = Sandbox::new().folder(Path::new("/no/such/folder")).enforce().unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn only_the_folders_named_are_written() {
        in_child("process::sandbox::tests::confines");
    }

    #[test]
    #[ignore = "changes its process; run by only_the_folders_named_are_written"]
    fn confines() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("file"), "x").unwrap();
        let folder = mine.path().join("of").join("mailtap");
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let confined = Sandbox::new().file(&log).isolated().enforce().unwrap();
        fs::write(&log, "1").unwrap();
        fs::rename(&log, folder.join("log.1")).unwrap();
        fs::write(&log, "2").unwrap();
        fs::remove_file(&log).unwrap();
        assert!(fs::write(mine.path().join("file"), "y").is_err() || confined == Confined::Not);
        assert_eq!(fs::read(other.path().join("file")).unwrap(), b"x");
        if confined == Confined::Not {
            eprintln!("this kernel has no Landlock");
            return;
        }
        assert!(fs::write(other.path().join("file"), "y").is_err());
        assert!(fs::write(other.path().join("new"), "y").is_err());
        assert!(fs::remove_file(other.path().join("file")).is_err());
        assert!(std::process::Command::new("/bin/true").status().is_err());
        if confined == Confined::Fully {
            assert!(std::net::TcpStream::connect(at).is_err());
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        }
    }
}
