//! What may be wrong with a capture, each with its own words: place, reason, next step.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::BLOCK;
use super::compression::{Compression, TrailingBytes};
use crate::console::plain;
use crate::wire::LinkType;

/// Something wrong with a capture file.
#[derive(Debug)]
pub struct CaptureError {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub what: ErrorKind,
    /// Octet of the uncompressed capture where it is, if it has a place.
    pub offset: Option<u64>,
    /// The compression that the offset does not count.
    pub compression: Option<Compression>,
}

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file cannot be opened.
    Open(io::Error),
    /// The system cannot read on.
    Read(io::Error),
    /// It is a directory.
    Directory,
    /// It has no octet.
    Empty,
    /// It has no octet once decompressed.
    EmptyInside(Compression),
    /// It is something else.
    NotCapture {
        /// Its first octets.
        first: Vec<u8>,
        /// What it is and how to make a capture of it, if that is known.
        hint: Option<&'static str>,
    },
    /// Compressions inside each other, more than this.
    Layers(usize),
    /// It ends before a packet could come.
    HeaderCut {
        /// Octets of the header that are there.
        have: usize,
        /// Octets it has.
        need: usize,
    },
    /// It ends inside a record or block.
    Cut {
        /// Octets that are there.
        have: usize,
        /// Octets that the record or block has; `None` if its header is cut.
        need: Option<usize>,
    },
    /// The compressed stream ends too early.
    CompressionCut,
    /// The compressed stream is damaged.
    CompressionDamaged(String),
    /// Behind the compressed data stands something else; all data was read.
    TrailingBytes,
    /// Zeros stand behind the last record; all records were read.
    Padding,
    /// Its version is none that exists.
    Version(u16, u16),
    /// Packets of this link type cannot be read.
    Link(u32),
    /// Packets of this link type were passed over.
    LinkSkipped {
        /// The link type.
        link: LinkType,
        /// How many.
        packets: u64,
        /// There were no others.
        all: bool,
    },
    /// A record header that cannot be.
    Record {
        /// Octets it claims to have captured.
        captured: u32,
        /// The most that is possible.
        limit: u32,
    },
    /// A block that cannot be.
    Block(String),
    /// Packets are larger than the snap length says; they are used.
    BeyondSnaplen {
        /// Octets captured.
        captured: u32,
        /// The snap length.
        snaplen: u32,
    },
    /// Another capture begins inside the file; it is read.
    Concatenated,
    /// The file is read at another place than it was given, since the first packets of the files show their order.
    Reordered {
        /// The file that was given before it, and begins later.
        before: PathBuf,
    },
    /// Time runs backwards from the file before to this one.
    Backwards {
        /// How far.
        by: Duration,
    },
}

impl ErrorKind {
    /// An error of the stream under the capture.
    pub(super) fn reading(error: io::Error, compression: Option<Compression>) -> Self {
        if compression.is_none() || error.raw_os_error().is_some() {
            Self::Read(error)
        } else if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TrailingBytes>) {
            Self::TrailingBytes
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::CompressionCut
        } else {
            Self::CompressionDamaged(error.to_string().escape_default().to_string())
        }
    }

    /// The first octets are those of no capture.
    pub(super) fn not_capture(data: &[u8]) -> Self {
        let first = data.get(..16).unwrap_or(data);
        Self::NotCapture { first: first.to_vec(), hint: hint(first) }
    }

    /// Whether the run is as good as it can be nevertheless: exit status 0.
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::Cut { .. }
            | Self::CompressionCut
            | Self::TrailingBytes
            | Self::Padding
            | Self::BeyondSnaplen { .. }
            | Self::Concatenated
            | Self::Reordered { .. }
            | Self::Backwards { .. } => true,
            Self::LinkSkipped { all, .. } => !*all,
            _ => false,
        }
    }
}

fn hint(first: &[u8]) -> Option<&'static str> {
    Some(match first {
        [0xa1, 0xb2, 0xc3 | 0xcd | 0x3c, ..] | [_, 0xc3 | 0xcd | 0x3c, 0xb2, 0xa1] => {
            "its first octets are those of a damaged pcap header"
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "it is compressed with xz: use `xz -dc FILE | mailtap analyze -`",
        [b'B', b'Z', b'h', ..] => "it is compressed with bzip2: use `bzip2 -dc FILE | mailtap analyze -`",
        [0x04, 0x22, 0x4d, 0x18, ..] => "it is compressed with lz4: use `lz4 -dc FILE | mailtap analyze -`",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive: unpack it first",
        [b's', b'n', b'o', b'o', b'p', ..] => "it is a snoop capture: convert it with `editcap -F pcapng FILE NEW`",
        [b'R', b'T', b'S', b'S', ..] | [b'G', b'M', b'B', b'U', ..] => {
            "it is a Network Monitor capture: convert it with `editcap -F pcapng FILE NEW`"
        }
        text if text.iter().all(|o| matches!(o, b'\t' | b'\n' | b'\r' | b' '..=b'~')) => "it looks like text",
        _ => return None,
    })
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str() == "-" {
            f.write_str("standard input")?;
        } else {
            write!(f, "{}", self.path.display())?;
        }
        let place = AtOffset(self);
        match &self.what {
            ErrorKind::Open(reason) => write!(f, ": cannot be opened: {}; check its name and permissions", plain(reason)),
            ErrorKind::Read(reason) => {
                write!(f, ": cannot be read{place}: {}; check the disk, or copy the file and try that", plain(reason))
            }
            ErrorKind::Directory => f.write_str(": is a directory; name the capture files in it"),
            ErrorKind::Empty => f.write_str(": is empty; a capture has a header even without packets: record it again"),
            ErrorKind::EmptyInside(how) => {
                write!(f, ": holds nothing once decompressed ({}); compress the capture again", how.as_str())
            }
            ErrorKind::NotCapture { first, hint } => {
                write!(f, ": is not a pcap or pcapng capture (first octets")?;
                first.iter().take(8).try_for_each(|o| write!(f, " {o:02x}"))?;
                write!(
                    f,
                    "); {}",
                    hint.unwrap_or(
                        "record one with `tcpdump -w FILE`, or convert it with `editcap -F pcapng FILE NEW`"
                    )
                )
            }
            ErrorKind::Layers(layers) => write!(f, ": is compressed more than {layers} times over; decompress it by hand"),
            ErrorKind::HeaderCut { have, need } => {
                write!(
                    f,
                    ": ends{place}, inside the file header ({have} of {need} octets); no packet can be read: get the whole file"
                )
            }
            ErrorKind::Cut { have, need } => {
                write!(f, ": ends{place}, inside ")?;
                match need {
                    Some(need) => write!(f, "a record ({have} of {need} octets)")?,
                    None => write!(f, "a record header ({have} octets of it)")?,
                }
                f.write_str("; everything before is reported: run again on the whole file if it was cut by a copy")
            }
            ErrorKind::CompressionCut => {
                write!(
                    f,
                    ": the compressed file ends too early{place}; everything before is reported: get the whole file"
                )
            }
            ErrorKind::CompressionDamaged(reason) => {
                write!(
                    f,
                    ": the compressed file is damaged{place}: {reason}; everything before is reported: get an undamaged copy"
                )
            }
            ErrorKind::TrailingBytes => {
                f.write_str(": something else stands behind the compressed data; it was passed over, everything before is reported: compress the capture again")
            }
            ErrorKind::Padding => {
                write!(
                    f,
                    ": has nothing but zeros{place} to its end; they were passed over: the program that wrote it may not have written all packets"
                )
            }
            ErrorKind::Version(major, minor) => {
                write!(
                    f,
                    ": has the version {major}.{minor}{place}, which does not exist or cannot be read; rewrite it with `editcap -F pcapng FILE NEW`"
                )
            }
            ErrorKind::Link(link) => {
                write!(
                    f,
                    ": has link type {link}, which cannot be read; capture on an IP or Ethernet interface (see LINKTYPE_ numbers on tcpdump.org)"
                )
            }
            ErrorKind::LinkSkipped { link, packets, all } => {
                write!(f, ": {packets} packets with link type {}", link.0)?;
                if let Some(name) = link.name() {
                    write!(f, " ({name})")?;
                }
                f.write_str(" were passed over")?;
                f.write_str(if *all { ", all there are; " } else { "; " })?;
                f.write_str("only IP, Ethernet, cooked and PPP links can be read")
            }
            ErrorKind::Record { captured, limit } => {
                write!(
                    f,
                    ": is damaged{place}: a packet record claims {captured} octets where {limit} are possible; {RESCUE}"
                )
            }
            ErrorKind::Block(reason) => write!(f, ": is damaged{place}: {reason}; {RESCUE}"),
            ErrorKind::BeyondSnaplen { captured, snaplen } => {
                write!(
                    f,
                    ": has packets larger than its snap length of {snaplen} says ({captured} octets{place}); they are used all the same"
                )
            }
            ErrorKind::Reordered { before } => {
                write!(
                    f,
                    ": begins before {}, which was given first; the files are read in the order of their first packets: use --in-order-given to read them as given",
                    before.display()
                )
            }
            ErrorKind::Backwards { by } => {
                write!(
                    f,
                    ": begins {} before the last packet of the file in front of it; connections that are in both files may be reported wrongly: merge the files with `mergecap -w NEW FILE...`, or name them in the order of time",
                    Rounded(*by)
                )
            }
            ErrorKind::Concatenated => {
                write!(f, ": another capture begins{place}; it is read on: use mergecap or name the files one by one")
            }
        }
    }
}

const RESCUE: &str = "everything before is reported, the rest of the file is not: get an undamaged copy";

/// ` at octet N`, if there is a place to name.
struct AtOffset<'a>(&'a CaptureError);

impl fmt::Display for AtOffset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(offset) = self.0.offset else {
            return Ok(());
        };
        write!(f, " at octet {offset}")?;
        match self.0.compression {
            Some(_) => f.write_str(" of the uncompressed capture"),
            None => Ok(()),
        }
    }
}

/// A duration in the largest unit that shows it.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..=120 => write!(f, "{seconds} s"),
            seconds @ 121..=7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7201..=172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

const _: () = assert!(BLOCK <= u32::MAX as usize, "a block's length is 32 bits");
