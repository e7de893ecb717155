//! The order in which several files are read: that of their first packets.
//!
//! Names of rotated captures do not sort as they were written (`a.pcap10` comes before `a.pcap2`), and a shell sorts
//! names. A connection that goes on from one file to the next is only understood if they are read in the order of time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CaptureError, CaptureFile, ErrorKind, SeenInFile, Totals, regular_size};
use crate::time::Timestamp;
use crate::wire::Packet;

/// How files are read that are one capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileOrder {
    /// In the order of their first packets, if all of them are regular files.
    #[default]
    Time,
    /// In the order in which they were given.
    Given,
}

/// Bytes of a file held at once while its first packet is looked for.
const ROOM: usize = 64 << 10;

/// The positions of `files` in the order in which they are to be read. Each file that goes before one given earlier is
/// told. A file that has no packet with a time stays where it is.
pub(super) fn by_time(files: &[PathBuf], trouble: &mut dyn FnMut(CaptureError)) -> Vec<usize> {
    let mut order = (0..files.len()).collect::<Vec<_>>();
    if files.len() < 2 || files.iter().any(|file| !can_be_read_twice(file)) {
        return order;
    }
    let times = files.iter().map(|file| first_time(file)).collect::<Vec<_>>();
    let time = |at: usize| times.get(at).copied().flatten();
    let timed = order.iter().copied().filter(|at| time(*at).is_some()).collect::<Vec<_>>();
    let mut sorted = timed.clone();
    // Stable: files that begin at the same time stay as given.
    sorted.sort_by_key(|at| time(*at));
    for (place, at) in timed.into_iter().zip(&sorted) {
        if let Some(slot) = order.get_mut(place) {
            *slot = *at;
        }
    }
    tell(files, &sorted, trouble);
    order
}

/// Tells of every file that is read before one which was given in front of it.
fn tell(files: &[PathBuf], sorted: &[usize], trouble: &mut dyn FnMut(CaptureError)) {
    let mut later: Option<usize> = None;
    let mut told = Vec::new();
    for at in sorted.iter().rev() {
        if let Some(before) = later.filter(|before| before < at) {
            told.push((*at, before));
        }
        later = Some(later.map_or(*at, |l| l.min(*at)));
    }
    for (at, before) in told.into_iter().rev() {
        if let (Some(path), Some(before)) = (files.get(at), files.get(before)) {
            let what = ErrorKind::Reordered { before: before.clone() };
            trouble(CaptureError { path: path.clone(), what, offset: None, compression: None });
        }
    }
}

/// A pipe gives its bytes only once.
fn can_be_read_twice(file: &Path) -> bool {
    file.as_os_str() != "-" && regular_size(file).is_some()
}

/// The time of the first packet, if it has one.
fn first_time(path: &Path) -> Option<Timestamp> {
    let mut totals = Totals::default();
    let mut packet = |_: &Packet<'_>| ControlFlow::Break(());
    let mut file = CaptureFile {
        path,
        source: 0,
        totals: &mut totals,
        trouble: &mut |_| {},
        packet: &mut packet,
        compression: None,
        seen: SeenInFile::default(),
    };
    let _ = file.read(&Arc::default(), ROOM);
    totals.first
}

#[cfg(test)]
mod tests {
    use super::super::Capture;
    use super::super::tests::{MICRO, Order::Little, header, record};
    use super::*;

    /// The capture of one packet at `seconds`, or of none.
    fn file(seconds: Option<u32>) -> Vec<u8> {
        let record = seconds.map(|s| record(Little, s, 1, b"packet", 6)).unwrap_or_default();
        [header(Little, MICRO, 262_144, 1), record].concat()
    }

    /// The order in which files are read whose first packets have these times, and what is told.
    fn read(times: &[Option<u32>], order: FileOrder) -> (Vec<u32>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let paths = (0..times.len()).map(|at| dir.path().join(format!("f{at}"))).collect::<Vec<_>>();
        for (path, time) in paths.iter().zip(times) {
            std::fs::write(path, file(*time)).unwrap();
        }
        let (mut sources, mut told) = (Vec::new(), Vec::new());
        let name = dir.path().display().to_string();
        Capture::new(paths, order).for_each(
            &mut |t| told.push(t.to_string().replace(&format!("{name}/"), "")),
            |packet| {
                sources.push(packet.source);
                ControlFlow::Continue(())
            },
        );
        (sources, told)
    }

    #[test]
    fn files_are_read_in_the_order_of_their_first_packets() {
        let (sources, told) = read(&[Some(10), Some(30), Some(20)], FileOrder::Time);
        assert_eq!(sources, [0, 2, 1]);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("f2: begins before f1, which was given first; "), "{told:?}");
        let (sources, told) = read(&[Some(40), Some(30), Some(20), Some(50)], FileOrder::Time);
        assert_eq!((sources, told.len()), (vec![2, 1, 0, 3], 2));
    }

    #[test]
    fn files_in_order_are_read_without_a_word() {
        for times in [&[Some(10), Some(10), Some(20)][..], &[Some(10), None, Some(20)], &[Some(5)], &[None, None]] {
            let (sources, told) = read(times, FileOrder::Time);
            assert!(told.is_empty(), "{told:?}");
            assert!(sources.is_sorted());
        }
    }

    #[test]
    fn a_file_without_packets_keeps_its_place() {
        assert_eq!(by_places(&[Some(20), None, Some(10)]), [2, 1, 0]);
    }

    fn by_places(times: &[Option<u32>]) -> Vec<usize> {
        let dir = tempfile::tempdir().unwrap();
        let paths = (0..times.len()).map(|at| dir.path().join(format!("f{at}"))).collect::<Vec<_>>();
        for (path, time) in paths.iter().zip(times) {
            std::fs::write(path, file(*time)).unwrap();
        }
        by_time(&paths, &mut |_| {})
    }

    #[test]
    fn whoever_insists_on_an_order_gets_it() {
        let (sources, told) = read(&[Some(20), Some(10)], FileOrder::Given);
        assert_eq!((sources, told.len()), (vec![0, 1], 0));
    }

    #[test]
    fn a_file_that_begins_before_the_one_in_front_of_it_ended_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a"), dir.path().join("b")];
        let long = [file(Some(10)), record(Little, 200, 0, b"late", 4)].concat();
        std::fs::write(&paths[0], long).unwrap();
        std::fs::write(&paths[1], file(Some(20))).unwrap();
        let mut told = Vec::new();
        Capture::new(paths.to_vec(), FileOrder::Time).for_each(&mut |t| told.push(t), |_| ControlFlow::Continue(()));
        assert!(
            matches!(told.as_slice(), [CaptureError { what: ErrorKind::Backwards { by }, .. }] if by.as_secs() == 179),
            "{told:?}"
        );
        assert!(told[0].to_string().contains("begins 2 min before"), "{}", told[0]);
    }
}
