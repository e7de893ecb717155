//! Packets that were not understood, in words for the summary.

use crate::wire::{DecodeCounters, UnreadCounts};

/// Kinds that are listed.
const LISTED: usize = 8;

/// How many packets of what kind were not understood, the most frequent first.
pub(super) fn lines(packets: &DecodeCounters, unread: &UnreadCounts) -> Vec<(u64, String)> {
    let kinds = unread.kinds();
    let mut lines = kinds.iter().take(LISTED).map(|(kind, packets)| (*packets, kind.to_string())).collect::<Vec<_>>();
    let rest = kinds.iter().skip(LISTED).map(|(_, packets)| packets).sum::<u64>() + unread.others();
    let malformed =
        packets.malformed_link + packets.malformed_ip + packets.malformed_transport + packets.malformed_tunnel;
    lines.extend([
        (rest, "of other kinds".to_owned()),
        (malformed, "with headers that cannot be".to_owned()),
        (packets.cut(), "cut off inside their headers by the snap length".to_owned()),
        (packets.too_deep, "with more headers inside each other than are read".to_owned()),
        (packets.fragments_dropped, "that are fragments of no use".to_owned()),
    ]);
    lines.retain(|(packets, _)| *packets > 0);
    lines
}

/// What is said at once: that a tenth of the packets or more were not understood, or all that might hold mail.
pub(super) fn warning(packets: &DecodeCounters, unread: &UnreadCounts) -> Option<String> {
    let lines = lines(packets, unread);
    let count = lines.iter().map(|(packets, _)| packets).sum::<u64>();
    if count == 0 || packets.segments > 0 && count < packets.packets / 10 {
        return None;
    }
    let kinds = lines.iter().map(|(packets, kind)| format!("{packets} {kind}")).collect::<Vec<_>>().join(", ");
    Some(format!(
        "{count} of {} packets were not understood, and are not part of the results: {kinds}",
        packets.packets
    ))
}
