//! Processor time and memory of other processes, as the kernel counts them (proc(5)).

use std::fs;
use std::io;

/// Nanoseconds that all threads of `processes` have run.
pub(crate) fn processor(processes: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = thread?.path().join("schedstat");
            // A thread may have ended since.
            let text = fs::read_to_string(path).unwrap_or_default();
            sum += text.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// KiB of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss: u64,
    /// Resident, with shared pages divided by those who share them.
    pub(crate) pss: u64,
}

/// Memory of `processes` together.
pub(crate) fn memory(processes: &[u32]) -> io::Result<Memory> {
    let mut sum = Memory::default();
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let field = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        sum.rss += field("Rss:").unwrap_or(0);
        sum.pss += field("Pss:").unwrap_or(0);
    }
    Ok(sum)
}
