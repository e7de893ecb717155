//! Outputs of one run must not be each other, nor one of its inputs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A file that a run writes or reads, and what it is there: a flag, or a word.
pub(super) type Named<'a> = (&'static str, &'a Path);

/// An error if one of `written` is another of them, or one of `read`: by its name, by a link, or by another way to the same
/// folder. A device may be named twice.
pub(super) fn distinct(written: &[Named<'_>], read: &[Named<'_>]) -> Result<(), Error> {
    for (at, (what, path)) in written.iter().enumerate() {
        let others = written.iter().skip(at + 1).chain(read);
        if let Some((other, same)) = others.into_iter().find(|(_, other)| is_same(path, other)) {
            return Err(Error::Usage(format!(
                "{}: is {what} and {other} {} at once; give each a file of its own",
                path.display(),
                same.display()
            )));
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(a), Ok(b)) => (a.is_file() || a.is_dir()) && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => place(one).is_some_and(|place_of| Some(place_of) == place(other)),
        _ => false,
    }
}

/// Where a file that is not there would be.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("log"), "").unwrap();
        fs::hard_link(at("log"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("log"), at("soft")).unwrap();
        std::os::unix::fs::symlink(dir.path(), at("folder")).unwrap();
        let told = |one: &str, other: &str| distinct(&[("--log", &at(one)), ("--write", &at(other))], &[]);
        for (one, other) in
            [("log", "log"), ("log", "hard"), ("soft", "log"), ("log", "folder/log"), ("new", "folder/./new")]
        {
            let error = told(one, other).unwrap_err();
            assert_eq!(error.exit_status(), 2);
            assert!(error.to_string().contains("is --log and --write "), "{error}");
        }
        assert!(told("log", "new").is_ok() && told("none/a", "none/b").is_ok());
        let log = at("log");
        assert!(distinct(&[("--log", &log)], &[("--config", &at("soft"))]).is_err());
        assert!(distinct(&[("--log", Path::new("/dev/null")), ("--write", Path::new("/dev/null"))], &[]).is_ok());
    }
}
