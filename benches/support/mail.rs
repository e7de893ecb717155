//! Messages as they are in the field: trace and signature headers, plain text, HTML in quoted-printable,
//! attachments in base64. Attachment octets are random: what repeats would flatter caches and compressors.

use std::io::Write as _;

use super::random::Random;

const WORDS: &str = "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they \
    which one you were all her she there would their we him been has when who will no more if out so said what up its about \
    than into them can only other time new some could these two may first then do any like my now over such our man me even \
    most made after also did many off before must well back through years where much your way down should because long each \
    just state those people too mister how little good world make very year still see work life both between being under \
    never day same another know while last might us great old invoice meeting agenda attached regards Friday quarter report \
    please confirm delivery schedule draft contract review. thanks, budget team. project shipment order customer account number";

/// HTML, encoded as quoted-printable already: an equals sign is never alone.
const MARKUP: [&[u8]; 16] = [
    b"<p style=3D\"margin:0 0 12px\">",
    b"</p>",
    b"<td align=3D\"left\" width=3D\"50%\">",
    b"</td><td>",
    b"<tr class=3D\"row\">",
    b"</td></tr>",
    b"<a href=3D\"https://example.com/i?id=3D",
    b"\">here</a>",
    b"<br>",
    b"caf=C3=A9 ",
    b"&nbsp;",
    b"<span style=3D\"color:#333\">",
    b"</span>",
    b"=E2=80=93 ",
    b"<b>",
    b"</b>",
];

const FILLER: &[u8] =
    b"With kind regards, and thank you for your patience; the figures we spoke of on the telephone are below, \
please let us know by the end of the week whether they suit you and your colleagues in the other office.";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const SUBJECTS: [&str; 8] = [
    "Meeting on Friday",
    "Re: draft contract, second reading",
    "=?UTF-8?Q?Caf=C3=A9_re=C3=A7u?=",
    "Fwd: Invoice 2026-0117",
    "=?UTF-8?B?UmVjaG51bmcgZsO8ciBKYW51YXI=?=",
    "Your order has been shipped",
    "[list] weekly summary of open questions and of the answers that were given to them",
    "Monthly report",
];

/// Names that senders, hosts and mailboxes are made of.
pub(crate) const DOMAINS: [&str; 8] = [
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "corp.example",
    "lists.example.org",
    "shop.example",
    "uni.example",
];

/// Local parts.
pub(crate) const NAMES: [&str; 16] = [
    "alice",
    "bob",
    "carol.smith",
    "dave",
    "erin",
    "frank",
    "grace.h",
    "heidi",
    "ivan",
    "judy",
    "mallory",
    "niaj",
    "olivia",
    "peggy+lists",
    "rupert",
    "sybil",
];

/// Writes messages.
pub(crate) struct Composer {
    words: Vec<&'static [u8]>,
    number: u64,
}

impl Composer {
    /// A composer that has written nothing yet.
    pub(crate) fn new() -> Self {
        let words: Vec<_> = WORDS.split_ascii_whitespace().map(str::as_bytes).take(128).collect();
        assert_eq!(words.len(), 128, "seven random bits choose a word");
        Self { words, number: 0 }
    }

    /// Appends a message of exactly `size` octets, 2048 or more, that ends in CRLF.
    pub(crate) fn compose(&mut self, random: &mut Random, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size.max(2048);
        self.number += 1;
        self.header(random, size, out);
        match size {
            0..8_000 if random.chance(600) => self.plain(random, end, out),
            0..80_000 if random.chance(800) => self.alternative(random, end, out),
            _ => self.mixed(random, end, out),
        }
        assert_eq!(out.len(), end, "a message has the size asked for");
    }

    /// Header fields up to those of MIME.
    pub(crate) fn header(&self, random: &mut Random, size: usize, out: &mut Vec<u8>) {
        let (n, from, to) = (self.number, *random.pick(&DOMAINS), *random.pick(&DOMAINS));
        let hops = if size < 4096 { 1 } else { random.range(2, 4) };
        for hop in 0..hops {
            let (minute, second, id) = (random.below(60), random.below(60), random.bits() & 0xff_ffff_ffff);
            let _ = write!(
                out,
                "Received: from mx{hop}.{from} (mx{hop}.{from} [192.0.2.{}])\r\n\tby mx.{to} (Postfix) with ESMTPS id {id:010X}\r\n\tfor \
                 <{}@{to}>; Mon, 12 Jan 2026 07:{minute:02}:{second:02} +0000 (UTC)\r\n",
                random.below(254) + 1,
                random.pick(&NAMES)
            );
        }
        if size >= 4096 && random.chance(700) {
            let _ = write!(
                out,
                "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={from};\r\n\ts=s2026; h=from:to:subject:date:message-id;\r\n\tbh="
            );
            base64(random, 44, out);
            out.extend_from_slice(b";\r\n\tb=");
            for _ in 0..4 {
                base64(random, 68, out);
                out.extend_from_slice(b"\r\n\t ");
            }
            base64(random, 72, out);
            out.extend_from_slice(b"\r\n");
        }
        let _ = write!(
            out,
            "Date: Mon, 12 Jan 2026 0{}:{:02}:{:02} +0000\r\nFrom: \"{} Example\" <{}@{from}>\r\nTo: {}@{to}\r\nSubject: {}\r\n\
             Message-ID: <{n}.{:016x}@{from}>\r\nMIME-Version: 1.0\r\n",
            random.below(8),
            random.below(60),
            random.below(60),
            random.pick(&["Alice", "Bob", "Carol", "Dave"]),
            random.pick(&NAMES),
            random.pick(&NAMES),
            random.pick(&SUBJECTS),
            random.bits(),
        );
    }

    /// Appends text of exactly `octets` (2 or more), in lines.
    pub(crate) fn text(&self, random: &mut Random, octets: usize, out: &mut Vec<u8>) {
        let end = out.len() + octets;
        let mut line = out.len();
        // A line under way and nine more words fit into what is left open here.
        while out.len() + 300 < end {
            let mut bits = random.bits();
            for _ in 0..9 {
                out.extend_from_slice(self.words[(bits & 127) as usize]);
                bits >>= 7;
                if out.len() - line > 66 {
                    out.extend_from_slice(if bits & 31 == 0 {
                        b"\r\n.\r\n"
                    } else if bits & 127 == 1 {
                        b"\r\n\r\n"
                    } else {
                        b"\r\n"
                    });
                    line = out.len();
                } else {
                    out.push(b' ');
                }
            }
        }
        if out.len() > line {
            out.extend_from_slice(b"\r\n");
        }
        while out.len() < end {
            let left = end - out.len();
            exact_line(if left > 78 { left.div_ceil(2).min(76) } else { left }, out);
        }
    }

    fn plain(&self, random: &mut Random, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n");
        self.text(random, end - out.len(), out);
    }

    fn alternative(&self, random: &mut Random, end: usize, out: &mut Vec<u8>) {
        let boundary = format!("=_alt_{:016x}", random.bits());
        let _ = write!(out, "Content-Type: multipart/alternative;\r\n\tboundary=\"{boundary}\"\r\n\r\n");
        let close = boundary.len() + 6;
        self.both(random, &boundary, end - close, out);
        let _ = write!(out, "--{boundary}--\r\n");
    }

    /// Text, then HTML, up to `end`.
    fn both(&self, random: &mut Random, boundary: &str, end: usize, out: &mut Vec<u8>) {
        let _ = write!(
            out,
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        );
        let text = (end - out.len()) / 4;
        self.text(random, text, out);
        let _ = write!(
            out,
            "--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        );
        self.markup(random, end, out);
    }

    fn markup(&self, random: &mut Random, end: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<html><body>\r\n");
        let mut line = out.len();
        while out.len() + 300 < end {
            let mut bits = random.bits();
            for _ in 0..9 {
                let token =
                    if bits & 3 == 0 { MARKUP[(bits >> 2 & 15) as usize] } else { self.words[(bits & 127) as usize] };
                bits >>= 7;
                if out.len() - line + token.len() > 74 {
                    out.extend_from_slice(b"=\r\n");
                    line = out.len();
                }
                out.extend_from_slice(token);
                out.push(b' ');
            }
        }
        out.extend_from_slice(b"\r\n");
        self.text(random, end - out.len(), out);
    }

    fn mixed(&self, random: &mut Random, end: usize, out: &mut Vec<u8>) {
        let (outer, inner) = (format!("=_mix_{:016x}", random.bits()), format!("=_alt_{:016x}", random.bits()));
        let _ = write!(
            out,
            "Content-Type: multipart/mixed;\r\n\tboundary=\"{outer}\"\r\n\r\nThis is a multi-part message in MIME format.\r\n\
             --{outer}\r\nContent-Type: multipart/alternative;\r\n\tboundary=\"{inner}\"\r\n\r\n"
        );
        let room = end - out.len();
        let readable = (room / 8).clamp(1000.min(room / 2), 24_000);
        self.both(random, &inner, out.len() + readable, out);
        let _ = write!(out, "--{inner}--\r\n");
        let files = if room > 200_000 { random.range(1, 3) } else { 1 };
        for file in 0..files {
            let n = self.number;
            let kind = random.pick(&["application/pdf", "image/jpeg", "application/zip", "image/png"]);
            let _ = write!(
                out,
                "--{outer}\r\nContent-Type: {kind};\r\n\tname=\"file-{n}-{file}.bin\"\r\nContent-Disposition: attachment;\r\n\t\
                 filename=\"file-{n}-{file}.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            );
            let room = (end - out.len()).saturating_sub(outer.len() + 6 + 100) / (files - file) as usize;
            for _ in 0..room.saturating_sub(300) / 78 {
                base64(random, 76, out);
                out.extend_from_slice(b"\r\n");
            }
        }
        let _ = write!(out, "--{outer}--\r\n");
        // What base64 lines do not fill is epilogue (RFC 2046 section 5.1.1).
        self.text(random, end - out.len(), out);
    }
}

/// A line of exactly `octets` with its CRLF.
fn exact_line(octets: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&FILLER[..octets - 2]);
    out.extend_from_slice(b"\r\n");
}

/// Appends `chars` characters of base64, 80 at most.
pub(crate) fn base64(random: &mut Random, chars: usize, out: &mut Vec<u8>) {
    let mut line = [0u8; 80];
    for group in line.chunks_exact_mut(10) {
        let mut bits = random.bits();
        for slot in group {
            *slot = BASE64[(bits & 63) as usize];
            bits >>= 6;
        }
    }
    out.extend_from_slice(&line[..chars]);
}
