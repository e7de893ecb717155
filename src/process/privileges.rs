//! Who the process is and what it may do: a normal user with the capabilities that are named, and no way back.
//!
//! Users are looked up and switched through nix, which has the C library's calls as safe functions: the names may come
//! from a directory service, and the switch is one of the whole process. rustix has neither.

use std::collections::HashSet;
use std::path::Path;

use caps::CapSet;
use nix::unistd::{self, Uid};
use rustix::process::DumpableBehavior;

use crate::error::Error;

pub use caps::Capability;

/// A user of this system, looked up while nothing is open yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(unistd::User);

impl Account {
    /// The account `name`, which may be a number.
    pub fn find(name: &str) -> Result<Self, Error> {
        let mut found = unistd::User::from_name(name);
        if let (Ok(None), Ok(uid)) = (&found, name.parse()) {
            found = unistd::User::from_uid(Uid::from_raw(uid));
        }
        match found {
            Ok(Some(user)) => Ok(Self(user)),
            Ok(None) => Err(Error::Usage(format!(
                "--user {}: there is no such user; make one with `useradd --system {0}`",
                name.escape_default()
            ))),
            Err(reason) => Err(Error::Privileges(format!(
                "--user {}: the user cannot be looked up: {}; give its number",
                name.escape_default(),
                reason.desc()
            ))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its number.
    pub const fn uid(&self) -> u32 {
        self.0.uid.as_raw()
    }

    /// The number of its group.
    pub const fn gid(&self) -> u32 {
        self.0.gid.as_raw()
    }
}

/// Becomes `user`, if one is given, keeps those of `keep` that it has, and gives up all else for good: other
/// capabilities, those of programs it might run, and being traced or dumped.
///
/// Who stays root also keeps [`Capability::CAP_DAC_OVERRIDE`], without which root could not write a log into
/// a folder of someone else. An error leaves the process in between: end it. It is one, too, if there are other
/// threads already, which would keep everything.
pub fn drop_to(user: Option<&Account>, keep: &[Capability]) -> Result<(), Error> {
    let threads = threads();
    if threads > 1 {
        return Err(failed("privileges", &format!("{threads} threads run already"), "please report it"));
    }
    apply(user, keep)
}

fn apply(user: Option<&Account>, keep: &[Capability]) -> Result<(), Error> {
    let mut keep: HashSet<_> = keep.iter().copied().collect();
    let stays_root = user.map_or_else(Uid::effective, |user| user.0.uid).is_root();
    if stays_root {
        keep.insert(Capability::CAP_DAC_OVERRIDE);
    }
    let permitted = caps::read(None, CapSet::Permitted).map_err(|e| capabilities(&e))?;
    keep.retain(|one| permitted.contains(one));
    if permitted.contains(&Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding).map_err(|e| capabilities(&e))?;
    }
    if let Some(user) = user.filter(|user| !is(user)) {
        become_user(user)?;
    }
    // What is effective must be permitted at any moment; a new user has nothing effective.
    caps::set(None, CapSet::Effective, &keep).map_err(|e| capabilities(&e))?;
    caps::set(None, CapSet::Permitted, &keep).map_err(|e| capabilities(&e))?;
    caps::clear(None, CapSet::Inheritable).map_err(|e| capabilities(&e))?;
    caps::clear(None, CapSet::Ambient).map_err(|e| capabilities(&e))?;
    seal()?;
    tracing::debug!(uid = Uid::effective().as_raw(), capabilities = ?keep, "privileges dropped");
    Ok(())
}

/// Whether the process is this user already.
fn is(user: &Account) -> bool {
    let (uid, gid) = (user.0.uid, user.0.gid);
    unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
        && unistd::getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
        && !uid.is_root()
}

fn become_user(user: &Account) -> Result<(), Error> {
    let Account(unistd::User { name, uid, gid, .. }) = user;
    let wrong = |reason: nix::errno::Errno| {
        failed(&format!("--user {}", name.escape_default()), &reason.desc(), "start as root, or without --user")
    };
    let name = std::ffi::CString::new(name.as_str()).map_err(|_| wrong(nix::errno::Errno::EINVAL))?;
    caps::securebits::set_keepcaps(true).map_err(|e| capabilities(&e))?;
    unistd::initgroups(&name, *gid).map_err(wrong)?;
    unistd::setresgid(*gid, *gid, *gid).map_err(wrong)?;
    unistd::setresuid(*uid, *uid, *uid).map_err(wrong)?;
    caps::securebits::set_keepcaps(false).map_err(|e| capabilities(&e))
}

/// No program that might be run, and nobody who traces or dumps this one, gets more than it has.
fn seal() -> Result<(), Error> {
    let wrong = |reason: rustix::io::Errno| failed("privileges", &reason, "see the kernel's version and its policies");
    rustix::thread::set_no_new_privs(true).map_err(wrong)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(wrong)
}

/// Threads of this process; 1 if that cannot be told.
fn threads() -> usize {
    std::fs::read_dir(Path::new("/proc/self/task")).map_or(1, Iterator::count)
}

fn capabilities(reason: &caps::errors::CapsError) -> Error {
    failed("capabilities", reason, "start as root, or with fewer capabilities")
}

fn failed(what: &str, reason: &dyn std::fmt::Display, advice: &str) -> Error {
    let reason = crate::console::plain(&reason.to_string());
    Error::Privileges(format!("{what} cannot be given up or taken: {reason}; {advice}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process::Command;

    /// Runs the ignored test `name` in a process of its own, since what it does cannot be undone.
    pub(in crate::process) fn in_child(name: &str) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", name])
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success() && text.contains("1 passed"), "{text}");
    }

    /// A field of this thread's status.
    pub(in crate::process) fn status(field: &str) -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(in crate::process) fn is_root() -> bool {
        let root = Uid::effective().is_root();
        if !root {
            eprintln!("skipped: only root can give something up");
        }
        root
    }

    #[test]
    fn an_account_has_a_name_or_a_number() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid(), root.gid(), root.name()), (0, 0, "root"));
        assert_eq!(Account::find("0").unwrap(), root);
        let error = Account::find("nobody-of-that-name").unwrap_err();
        assert!(error.to_string().contains("there is no such user; "), "{error}");
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn a_user_keeps_what_is_named() {
        if is_root() {
            in_child("process::privileges::tests::becomes_nobody");
        }
    }

    #[test]
    #[ignore = "changes its process; run by a_user_keeps_what_is_named"]
    fn becomes_nobody() {
        let nobody = Account::find("nobody").unwrap();
        apply(Some(&nobody), &[Capability::CAP_NET_RAW]).unwrap();
        let (uid, gid) = (nobody.uid(), nobody.gid());
        assert_eq!(status("Uid"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(status("Gid"), format!("{gid} {gid} {gid} {gid}"));
        assert_eq!(status("Groups"), gid.to_string());
        let raw = format!("{:016x}", Capability::CAP_NET_RAW.bitmask());
        assert_eq!((status("CapPrm"), status("CapEff")), (raw.clone(), raw));
        for set in ["CapInh", "CapAmb", "CapBnd"] {
            assert_eq!(status(set), "0000000000000000", "{set}");
        }
        assert_eq!(status("NoNewPrivs"), "1");
        assert!(unistd::setuid(Uid::from_raw(0)).is_err());
        assert!(std::fs::read("/etc/shadow").is_err());
        // Once more is no error, and takes the rest.
        apply(Some(&nobody), &[]).unwrap();
        assert_eq!(status("CapPrm"), "0000000000000000");
    }

    #[test]
    fn root_keeps_its_files_only() {
        if is_root() {
            in_child("process::privileges::tests::stays_root");
        }
    }

    #[test]
    #[ignore = "changes its process; run by root_keeps_its_files_only"]
    fn stays_root() {
        apply(None, &[]).unwrap();
        let kept = format!("{:016x}", Capability::CAP_DAC_OVERRIDE.bitmask());
        assert_eq!((status("CapPrm"), status("CapEff")), (kept.clone(), kept));
        assert_eq!(status("Uid"), "0 0 0 0");
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn other_threads_would_keep_everything() {
        // The test harness has a thread of its own.
        let error = drop_to(None, &[]).unwrap_err();
        assert!(error.to_string().contains("threads run already; "), "{error}");
    }
}
