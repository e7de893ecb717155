//! The filter for those who give none: mail ports, inside VLANs too.

use std::fmt::Write as _;

use crate::event::MAIL_PORTS;

/// Mail ports and `more`. With `vlan`, also inside one and two VLAN tags, which only some link types have.
///
/// Fragments are taken as well: all but the first have no ports.
pub(super) fn mail(more: &[u16], vlan: bool) -> String {
    let mut ports: Vec<u16> = MAIL_PORTS.iter().chain(more).copied().collect();
    ports.sort_unstable();
    ports.dedup();
    let mut inner = String::from("(tcp and (");
    for (at, port) in ports.iter().enumerate() {
        let _ = write!(inner, "{}port {port}", if at > 0 { " or " } else { "" });
    }
    inner.push_str(")) or (ip proto 6 and ip[6:2] & 0x1fff != 0) or ip6 proto 44");
    if vlan {
        // Each `vlan` moves on what stands to its right: the second is the inner tag.
        format!("{inner} or (vlan and ({inner} or (vlan and ({inner}))))")
    } else {
        inner
    }
}
