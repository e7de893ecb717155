//! Files that were put away under a number: the highest is the newest, and nothing is ever overwritten.
//!
//! Only files that this program has written are deleted, which their first bytes show: what else lies in the folder is
//! somebody else's.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::console::{self, plain};

/// The highest number that counts as ours: longer ones are dates (`mail.jsonl.20261101`).
const HIGHEST: u64 = 9_999_999;

/// Bytes by which a file of ours is known.
const HEAD: usize = 64;

/// The names of files put away from one path.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    path: PathBuf,
    before: OsString,
    after: &'static str,
    is_ours: fn(&[u8]) -> bool,
}

impl Numbered {
    /// `PATH.N`.
    pub(super) fn behind(path: &Path, is_ours: fn(&[u8]) -> bool) -> Self {
        Self { path: path.to_owned(), before: path.file_name().unwrap_or_default().to_owned(), after: "", is_ours }
    }

    /// `mail.N.pcapng` for `mail.pcapng`: programs know a file by the end of its name.
    pub(super) fn before(extension: &'static str, path: &Path, is_ours: fn(&[u8]) -> bool) -> Self {
        let name = path.file_name().unwrap_or_default();
        let stem = Path::new(name).extension().filter(|had| OsStr::new(extension.trim_start_matches('.')) == *had);
        let before = if stem.is_some() { Path::new(name).file_stem().unwrap_or(name) } else { name };
        Self { path: path.to_owned(), before: before.to_owned(), after: extension, is_ours }
    }

    /// Renames the file to the number behind the highest, and deletes those with the lowest numbers beyond `keep` files, a
    /// new one at the path included. `false`: there was no file.
    pub(super) fn put_away(&self, keep: Option<u32>) -> io::Result<bool> {
        let numbers = self.numbers()?;
        let mut next = numbers.last().map_or(1, |last| last.saturating_add(1));
        loop {
            match rename_to_new(&self.path, &self.name(next)) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => next = next.saturating_add(1),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if let Some(keep) = keep {
            let mut ours: Vec<_> = numbers.into_iter().filter(|number| self.is_ours(*number)).collect();
            ours.push(next);
            let beyond = (ours.len() + 1).saturating_sub(keep.max(1) as usize);
            ours.into_iter().take(beyond).for_each(|number| self.delete(number));
        }
        Ok(true)
    }

    /// One that cannot be deleted is no reason to write no more.
    fn delete(&self, number: u64) {
        let name = self.name(number);
        if let Err(error) = fs::remove_file(&name) {
            let text = format_args!("{}: cannot be deleted: {}; delete it by hand", name.display(), plain(&error));
            console::warn("old_file", &self.path.to_string_lossy(), &text);
        }
    }

    fn name(&self, number: u64) -> PathBuf {
        let mut name = self.before.clone();
        name.push(format!(".{number}{}", self.after));
        self.path.with_file_name(name)
    }

    /// The numbers in use, ascending.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            found.extend(self.number(&entry?.file_name()));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn number(&self, name: &OsStr) -> Option<u64> {
        let rest = name.as_encoded_bytes().strip_prefix(self.before.as_encoded_bytes())?.strip_prefix(b".")?;
        let text = std::str::from_utf8(rest.strip_suffix(self.after.as_bytes())?).ok()?;
        text.parse().ok().filter(|n: &u64| (1..=HIGHEST).contains(n) && n.to_string() == text)
    }

    fn is_ours(&self, number: u64) -> bool {
        let name = self.name(number);
        let mut head = Vec::new();
        let is_file = fs::symlink_metadata(&name).is_ok_and(|about| about.is_file());
        let mut read = || File::open(&name)?.take(HEAD as u64).read_to_end(&mut head);
        is_file && read().is_ok() && (self.is_ours)(&head)
    }
}

/// Renames `path`, but never over another file.
fn rename_to_new(path: &Path, new: &Path) -> io::Result<()> {
    match renameat_with(CWD, path, CWD, new, RenameFlags::NOREPLACE) {
        // File systems without it (NFS): somebody else would have to take that name in this very moment.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(new) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(path, new),
        },
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_highest_number_is_the_newest_and_only_our_lowest_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let log = Numbered::behind(&at("log"), |head| head.starts_with(b"ours"));
        for (name, text) in [
            ("log", "ours 0"),
            ("log.3", "ours"),
            ("log.5", "another program's"),
            ("log.7", "ours"),
            ("log.07", "ours"),
            ("log.bak", "ours"),
            ("log.20261101", "ours, and put away by hand"),
            ("log.18446744073709551615", "ours"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        assert!(log.put_away(Some(3)).unwrap());
        assert_eq!(fs::read(at("log.8")).unwrap(), b"ours 0");
        let others = ["log.07", "log.18446744073709551615", "log.20261101", "log.5"];
        assert_eq!(names(dir.path()), [&others[..], &["log.7", "log.8", "log.bak"]].concat());
        assert!(!log.put_away(Some(3)).unwrap(), "there is no file now");
        fs::write(at("log"), "ours 1").unwrap();
        assert!(log.put_away(Some(1)).unwrap());
        assert_eq!(names(dir.path()), [&others[..], &["log.bak"]].concat());
    }

    #[test]
    fn a_capture_keeps_the_end_of_its_name() {
        let name = |path: &str| Numbered::before(".pcapng", Path::new(path), |_| true).name(7);
        assert_eq!(name("/a/mail.pcapng"), Path::new("/a/mail.7.pcapng"));
        assert_eq!(name("mail"), Path::new("mail.7.pcapng"));
        assert_eq!(name("mail.pcap"), Path::new("mail.pcap.7.pcapng"));
        assert_eq!(name(".pcapng"), Path::new(".pcapng.7.pcapng"));
    }

    #[test]
    fn a_link_is_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("elsewhere"), "ours").unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("log.1")).unwrap();
        fs::write(at("log"), "ours").unwrap();
        Numbered::behind(&at("log"), |_| true).put_away(Some(2)).unwrap();
        assert_eq!(names(dir.path()), ["elsewhere", "log.1", "log.2"]);
    }
}
