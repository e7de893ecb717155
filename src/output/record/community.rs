//! Community ID, version 1: the flow hash by which the logs of Zeek, Suricata and others are joined with ours.
//!
//! <https://github.com/corelight/community-id-spec>, seed 0, TCP.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

const SEED: [u8; 2] = [0, 0];
const TCP: u8 = 6;

/// `1:` and the base64 of the hash; the same for both directions.
pub(super) fn community_id(a: SocketAddr, b: SocketAddr) -> impl Display {
    let (a, b) = ((a.ip().to_canonical(), a.port()), (b.ip().to_canonical(), b.port()));
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut digest = Sha1::new_with_prefix(SEED);
    for (ip, _) in [low, high] {
        match ip {
            IpAddr::V4(v4) => digest.update(v4.octets()),
            IpAddr::V6(v6) => digest.update(v6.octets()),
        }
    }
    digest.update([TCP, 0]);
    digest.update(low.1.to_be_bytes());
    digest.update(high.1.to_be_bytes());
    let hash: [u8; 20] = digest.finalize().into();
    std::fmt::from_fn(move |f| write!(f, "1:{}", BASE64.encode_display(&hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors() {
        for (a, b, expected) in [
            ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            ("[::ffff:128.232.110.120]:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(community_id(a, b).to_string(), expected);
            assert_eq!(community_id(b, a).to_string(), expected, "the other way round");
        }
    }
}
