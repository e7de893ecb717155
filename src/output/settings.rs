//! Settings of the outputs that more than one mode has.

use std::path::{Path, PathBuf};

use super::serve;

/// Where the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Its file; `-` or `None` is standard output.
    pub path: Option<PathBuf>,
    /// Permissions of files that are made; `None`: [`Self::MODE`], less what the umask takes away.
    pub mode: Option<u32>,
    /// Size in bytes that a regular file shall not exceed; a single record that is longer still has a file of its own.
    pub rotate: Option<u64>,
    /// Files that are kept, the one being written included.
    pub files: Option<u32>,
}

impl LogSettings {
    /// Permissions of a log: its group may read it, others may not.
    pub const MODE: u32 = 0o640;

    /// Whether the log goes to standard output.
    pub fn is_on_stdout(&self) -> bool {
        self.descriptor() == Some(1)
    }

    /// The number of the descriptor of this process that the log goes to, if its path is the name of one: `-`,
    /// `/dev/stdout`, `/dev/stderr`, `/dev/fd/N`. Such a name cannot be opened anew where it is a socket, and Landlock has
    /// no rule for it.
    pub fn descriptor(&self) -> Option<u32> {
        let Some(path) = &self.path else { return Some(1) };
        match path.to_str()? {
            "-" | "/dev/stdout" => Some(1),
            "/dev/stderr" => Some(2),
            text => {
                let number = text.strip_prefix("/dev/fd/").or_else(|| text.strip_prefix("/proc/self/fd/"))?;
                number.parse().ok()
            }
        }
    }

    /// The path, if it is one in the file system.
    pub fn file(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.descriptor().is_none())
    }
}

/// What is shown beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The server of metrics and page, if there is one.
    pub server: Option<serve::ServeSettings>,
    /// File with the operator's names for reply texts.
    pub reply_reasons: Option<PathBuf>,
    /// File of the top lists.
    pub top_file: Option<PathBuf>,
    /// Whether the top lists count who authenticated.
    pub top_users: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_descriptors_are_known() {
        let of = |path: &str| LogSettings { path: Some(path.into()), ..LogSettings::default() }.descriptor();
        assert_eq!(LogSettings::default().descriptor(), Some(1));
        for (path, number) in [
            ("-", Some(1)),
            ("/dev/stdout", Some(1)),
            ("/dev/stderr", Some(2)),
            ("/dev/fd/7", Some(7)),
            ("/proc/self/fd/0", Some(0)),
            ("/dev/fd/x", None),
            ("/dev/null", None),
            ("mail.jsonl", None),
        ] {
            assert_eq!(of(path), number, "{path}");
        }
    }
}
