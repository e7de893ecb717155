//! Header words and parameters: a message whose fields hold what the fuzzer makes up. No panic, and the same facts however
//! the octets are cut.
//!
//! The first octet says which field the input stands in, or that it is a message as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailtap::message::Message;

const HEADER: usize = 4096;

/// Fields, what stands before the input in them, and what behind it.
const FIELDS: [(&str, &str); 12] = [
    ("Subject: ", ""),
    ("Subject: =?utf-8?B?", "?="),
    ("Subject: =?iso-8859-1?Q?", "?= =?x?Q?y?="),
    ("From: ", ""),
    ("To: \"", "\" <a@example.org>"),
    ("Date: ", ""),
    ("Message-ID: ", ""),
    ("Content-Type: ", ""),
    ("Content-Type: multipart/mixed; boundary=", "\r\n\r\n--x\r\n\r\ny\r\n--x--"),
    ("Content-Type: text/plain; name*0*=utf-8''a; name*1*=", "; charset=x"),
    ("Content-Disposition: attachment; filename=", ""),
    ("Content-Transfer-Encoding: ", ""),
];

fuzz_target!(|input: &[u8]| {
    let (&number, input) = input.split_first().unwrap_or((&0, input));
    let octets = match FIELDS.get(usize::from(number)) {
        Some((before, behind)) => {
            [before.as_bytes(), input, behind.as_bytes(), b"\r\nX: y\r\n\r\nbody\r\n--x\r\n\r\npart\r\n"].concat()
        }
        None => input.to_vec(),
    };
    let [whole, again, single] = [usize::MAX, 7, 1].map(|cut| facts(&octets, cut));
    assert_eq!(whole, again, "cut into sevens, other facts");
    assert_eq!(whole, single, "octet by octet, other facts");
});

fn facts(octets: &[u8], cut: usize) -> String {
    let mut message = Message::default();
    message.begin(true, HEADER);
    octets.chunks(cut).for_each(|piece| message.octets(piece));
    message.finish(true);
    let header = [message.message_id(), message.date(), message.from(), message.to(), message.cc(), message.subject()];
    let more = [message.sender(), message.reply_to(), message.from_domain()];
    let parts = (message.parts(), message.attachments_total(), message.parts_truncated(), message.header_truncated());
    format!("{:?} {header:?} {more:?} {parts:?} {:?}", (message.size(), message.sha256()), message.attachments())
}
