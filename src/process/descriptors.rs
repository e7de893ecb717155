//! How many files and sockets the process may have open at the same time.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many descriptors as the system grants, and tells how many those are; `None` is no limit.
///
/// The soft limit of 1024 that processes begin with is there for programs that use select(2), which this one does not.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum;
    }
    current
}
