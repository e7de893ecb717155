//! The facts of whole messages: by hand, against mail-parser, and however the octets are cut.

use super::*;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

const HEADER: usize = 256 << 10;

/// All facts, for comparison.
type Facts = ((u64, Option<[u8; 32]>, LineEndings, bool), Vec<Option<String>>, (Vec<Attachment>, u64, u32, bool));

fn facts(message: &Message) -> Facts {
    let texts = vec![
        message.message_id(),
        message.date(),
        message.from(),
        message.sender(),
        message.to(),
        message.cc(),
        message.reply_to(),
        message.subject(),
        message.from_domain(),
    ];
    let digest = (message.size(), message.sha256(), message.line_endings().clone(), message.complete());
    let parts =
        (message.attachments().to_vec(), message.attachments_total(), message.parts(), message.parts_truncated());
    (digest, texts, parts)
}

fn feed<'a>(message: &mut Message, pieces: impl IntoIterator<Item = &'a [u8]>) {
    message.begin(true, HEADER);
    for piece in pieces {
        message.octets(piece);
    }
    message.finish(true);
}

fn read(octets: &[u8]) -> Message {
    let mut message = Message::default();
    feed(&mut message, [octets]);
    message
}

/// File name, media type, size.
fn listed(octets: &[u8]) -> Vec<(Option<String>, String, u64)> {
    let message = read(octets);
    let attachments = message.attachments().iter();
    attachments
        .inspect(|attachment| assert!(attachment.complete))
        .map(|a| (a.filename.clone(), a.content_type.clone(), a.size))
        .collect()
}

fn file(name: &str, content_type: &str, size: u64) -> (Option<String>, String, u64) {
    (Some(name.to_owned()), content_type.to_owned(), size)
}

const SAMPLE: &str = "Received: from a by b\r\n\twith SMTP;\r\n 1 Jan 2026 00:00:00 +0000\r\n\
Message-ID:  <1@example.org>\r\n\
Date: Thu, 1 Jan 2026 12:00:00 +0100\r\n\
From: =?utf-8?Q?J=C3=A4n?= Doe <jan@Example.ORG>\r\n\
TO: a@example.net,\r\n b@example.net\r\n\
Subject : =?iso-8859-1?Q?Gr=FC=DFe?=\r\n =?iso-8859-1?Q?_aus?= Bonn\r\n\
Subject: second\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed;\r\n boundary=\"=_outer\"\r\n\
\r\n\
preamble\r\n\
--=_outer\r\n\
Content-Type: multipart/alternative; boundary=\"=_outer2\"\r\n\
\r\n\
--=_outer2\r\n\
Content-Type: text/plain\r\n\
\r\n\
hello\r\n-- \r\n--signature\r\n\
--=_outer2  \r\n\
Content-Type: text/html\r\n\
\r\n\
<p>hello\r\n\
--=_outer2--\r\n\
--=_outer\r\n\
Content-Type: application/pdf; name=\"ignored.pdf\"\r\n\
Content-Transfer-Encoding: base64\r\n\
Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.pdf\r\n\
\r\n\
aGVsbG8gd29y\r\n\
bGQ=\r\n\
--=_outer\r\n\
Content-Type: text/plain; name=a.txt\r\n\
Content-Transfer-Encoding: Quoted-Printable\r\n\
\r\n\
a=3Db  \r\n\
soft=\r\n\
 line\r\n\
--=_outer\r\n\
Content-Disposition: ATTACHMENT\r\n\
\r\n\
raw\r\n\
\r\n\
--=_outer--\r\n\
epilogue\r\n--=_outer\r\n\r\nnot a part\r\n";

#[test]
fn the_sample_says_all_it_has_to_say() {
    let message = read(SAMPLE.as_bytes());
    assert!(message.complete() && message.size_known() && !message.header_truncated());
    assert_eq!(message.size(), SAMPLE.len() as u64);
    assert_eq!(message.message_id().as_deref(), Some("<1@example.org>"));
    assert_eq!(message.date().as_deref(), Some("2026-01-01T12:00:00+01:00"));
    assert_eq!(message.from().as_deref(), Some("Jän Doe <jan@Example.ORG>"));
    assert_eq!(message.from_domain().as_deref(), Some("example.org"));
    assert_eq!(message.to().as_deref(), Some("a@example.net, b@example.net"));
    assert_eq!(message.cc(), None);
    assert_eq!(message.subject().as_deref(), Some("Grüße aus Bonn"));
    assert_eq!(message.parts(), 5);
    let raw = (None, "text/plain".to_owned(), 5);
    assert_eq!(listed(SAMPLE.as_bytes()), [file("€.pdf", "application/pdf", 11), file("a.txt", "text/plain", 13), raw]);
    assert_eq!(message.line_endings().bare_lf + message.line_endings().bare_cr, 0);
}

#[test]
fn sha256_of_known_octets() {
    let hex = |octets: &[u8]| data_encoding::HEXLOWER.encode(&read(octets).sha256().unwrap());
    assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let mut message = Message::default();
    message.begin(false, HEADER);
    message.octets(b"abc");
    message.finish(true);
    assert_eq!(message.sha256(), None);
    assert!(message.complete());
}

#[test]
fn every_cut_gives_the_same_facts() {
    let whole = facts(&read(SAMPLE.as_bytes()));
    let mut message = Message::default();
    for at in 0..=SAMPLE.len() {
        let (front, back) = SAMPLE.as_bytes().split_at(at);
        feed(&mut message, [front, back]);
        assert_eq!(facts(&message), whole, "cut at {at}");
    }
    for size in 1..8 {
        feed(&mut message, SAMPLE.as_bytes().chunks(size));
        assert_eq!(facts(&message), whole, "pieces of {size}");
    }
}

#[test]
fn a_message_without_header_or_body() {
    let bare = read(b"just text\r\nwithout a header\r\n");
    assert_eq!((bare.subject(), bare.parts(), bare.complete()), (None, 1, true));
    let empty = read(b"");
    assert_eq!((empty.size(), empty.parts(), empty.complete()), (0, 1, true));
    let headed = read(b"Subject: only\r\n");
    assert_eq!(headed.subject().as_deref(), Some("only"));
    let cut = read(b"Subject: only");
    assert_eq!(cut.subject().as_deref(), Some("only"));
}

#[test]
fn lf_lines_and_garbage_in_the_header() {
    let message = read(b" odd\nFrom a Thu\nSubject: a\n\tb\nnonsense\n more nonsense\nTo: x@y.example\n\nCc: body\n");
    assert_eq!(message.subject().as_deref(), Some("a\tb"));
    assert_eq!(message.to().as_deref(), Some("x@y.example"));
    assert_eq!(message.cc(), None);
    assert_eq!(message.line_endings().first, Some(LineEnd::Lf));
}

#[test]
fn loss_voids_what_it_may_have_changed() {
    let body = SAMPLE.find("aGVsbG8").unwrap();
    let (front, back) = SAMPLE.as_bytes().split_at(body + 4);
    let mut message = Message::default();
    message.begin(true, HEADER);
    message.octets(front);
    message.gap(10);
    message.octets(&back[10..]);
    message.finish(true);
    assert_eq!(message.size(), SAMPLE.len() as u64);
    assert!(message.size_known() && !message.complete());
    assert_eq!(message.sha256(), None);
    assert_eq!(message.subject().as_deref(), Some("Grüße aus Bonn"));
    let [only] = message.attachments() else { panic!("{:?}", message.attachments()) };
    assert!(!only.complete);
    assert_eq!(only.size, 3);

    message.begin(true, HEADER);
    message.octets(b"To: a@b.example\r\nSubject: cu");
    message.gap_unknown();
    message.octets(b"t\r\nCc: c@d.example\r\n\r\n");
    message.finish(true);
    assert!(!message.size_known());
    assert_eq!((message.to().as_deref(), message.subject(), message.cc()), (Some("a@b.example"), None, None));
    assert_eq!(message.parts(), 0);
}

#[test]
fn headless_has_no_header_and_a_cut_end_no_digest() {
    let mut message = Message::default();
    message.begin(true, HEADER);
    message.headless();
    message.octets(b"Subject: a body line\r\n\r\n");
    message.finish(true);
    assert_eq!(
        (message.subject(), message.complete(), message.size_known(), message.sha256()),
        (None, false, false, None)
    );

    message.begin(true, HEADER);
    message.octets(b"Subject: a\r\n\r\nbody");
    message.finish(false);
    assert_eq!((message.subject().as_deref(), message.complete(), message.sha256()), (Some("a"), false, None));
    assert_eq!((message.size(), message.size_known()), (18, true));
}

#[test]
fn delimiters_that_begin_alike() {
    let inner = "Content-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\n\
Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Disposition: attachment\r\n\r\n1\r\n--a--\r\n\
--ab\r\nContent-Disposition: attachment\r\n\r\n22\r\n--ab--";
    let sizes: Vec<u64> = listed(inner.as_bytes()).into_iter().map(|(_, _, size)| size).collect();
    assert_eq!(sizes, [1, 2]);
}

#[test]
fn an_outer_delimiter_ends_what_is_within() {
    let octets = b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\nContent-Disposition: attachment; filename=a\n\nabc\n--o\nContent-Disposition: attachment; filename=b\n\nde\n\n--o--\n";
    assert_eq!(listed(octets), [file("a", "text/plain", 3), file("b", "text/plain", 3)]);
}

#[test]
fn a_multipart_that_never_closes_ends_with_the_message() {
    let octets = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Disposition: attachment; filename=a\r\n\r\nabc\r\n";
    assert_eq!(listed(octets), [file("a", "text/plain", 5)]);
}

#[test]
fn parts_without_header_or_body() {
    let octets = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\ntext\r\n--o\r\nContent-Disposition: attachment; filename=a\r\n--o\r\nContent-Disposition: attachment; filename=b\r\n\r\n--o--\r\n";
    assert_eq!(listed(octets), [file("a", "text/plain", 0), file("b", "text/plain", 0)]);
    assert_eq!(read(octets).parts(), 3);
}

#[test]
fn an_embedded_message_is_listed_and_searched() {
    let inner = "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\nContent-Type: image/png; name=p.png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--i--\r\nend\r\n";
    let octets = format!(
        "Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: message/rfc822; name=m.eml\r\n\r\n{inner}\r\n--o--\r\n"
    );
    assert_eq!(
        listed(octets.as_bytes()),
        [file("m.eml", "message/rfc822", inner.len() as u64), file("p.png", "image/png", 3)]
    );
    assert_eq!(read(octets.as_bytes()).subject().as_deref(), Some("outer"));
    let digest = "Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nContent-Type: image/png; name=p.png\r\n\r\nxx\r\n--d--";
    assert_eq!(listed(digest.as_bytes()), [file("p.png", "image/png", 2)]);
}

#[test]
fn a_single_part_with_a_name_is_an_attachment() {
    let octets = b"Content-Type: Application/PDF; name=\"=?utf-8?B?w6QucGRm?=\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAA=\r\nAAAA\r\n";
    assert_eq!(listed(octets), [file("ä.pdf", "application/pdf", 5)]);
}

#[test]
fn caps_are_seen() {
    let value = "x".repeat(100 << 10);
    let message = read(format!("Subject: {value}\r\nTo: a@b.example\r\n\r\n").as_bytes());
    assert!(message.header_truncated());
    assert_eq!(message.to().as_deref(), Some("a@b.example"));

    let mut many = String::from("Content-Type: multipart/mixed; boundary=o\r\n\r\n");
    many += &"--o\r\nContent-Disposition: attachment; filename=a\r\n\r\n1\r\n".repeat(1500);
    let message = read(many.as_bytes());
    assert_eq!((message.attachments().len(), message.attachments_total(), message.parts()), (1000, 1500, 1500));

    let mut deep = String::new();
    for level in 0..100 {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    }
    let message = read(deep.as_bytes());
    assert!(message.parts_truncated());
    let long = format!("Content-Type: multipart/mixed; boundary={}\r\n\r\n", "b".repeat(300));
    assert!(read(long.as_bytes()).parts_truncated());
}

#[test]
fn a_hundred_thousand_addresses_and_deep_comments() {
    let list = "Ann <a@example.org>, ".repeat(100_000);
    let message = read(format!("To: {list}\r\nFrom: {}\r\n\r\n", "(".repeat(100_000)).as_bytes());
    assert!(message.header_truncated());
    assert!(message.to().unwrap().starts_with("Ann <a@example.org>, Ann"));
    assert_eq!(message.from_domain(), None);
}

/// Attachments as mail-parser reads them: name and decoded size.
fn oracle(octets: &[u8]) -> (Option<String>, Vec<(String, u64)>) {
    let message = MessageParser::default().parse(octets).unwrap();
    let named = message.parts.iter().filter_map(|part| {
        let name = part.attachment_name()?;
        let size = match &part.body {
            PartType::Text(text) | PartType::Html(text) => text.len(),
            PartType::Binary(octets) | PartType::InlineBinary(octets) => octets.len(),
            _ => return None,
        };
        Some((name.to_owned(), size as u64))
    });
    (message.subject().map(str::to_owned), named.collect())
}

fn fold(octets: &[u8], width: usize) -> String {
    let encoded = data_encoding::BASE64.encode(octets);
    encoded.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned() + "\r\n").collect()
}

/// A well-formed part with a file name.
fn part() -> impl Strategy<Value = String> {
    let name = "[a-zA-Z0-9 ._-]{1,20}[a-z]";
    let content = prop::collection::vec(any::<u8>(), 0..300);
    (name, content, 4usize..80, 0u8..3).prop_map(|(name, content, width, form)| {
        let head = format!(
            "Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n filename=\"x{name}\"\r\n"
        );
        match form {
            0 => format!("{head}Content-Transfer-Encoding: base64\r\n\r\n{}", fold(&content, width)),
            1 => {
                let quoted: String = content
                    .iter()
                    .enumerate()
                    .map(|(at, octet)| format!("={octet:02X}{}", if at % 20 == 19 { "=\r\n" } else { "" }))
                    .collect();
                format!("{head}Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n")
            }
            _ => format!(
                "{head}\r\n{}\r\n",
                content
                    .iter()
                    .map(|octet| format!("{octet} -{}", if octet % 8 == 0 { "\r\n" } else { "" }))
                    .collect::<String>()
            ),
        }
    })
}

/// Parts, some of them multiparts of further parts.
fn tree() -> impl Strategy<Value = String> {
    part().prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 1..4).prop_map(|parts| multipart(&parts)))
}

/// A multipart whose boundary is no other's: it depends on what is within.
fn multipart(parts: &[String]) -> String {
    let length: usize = parts.iter().map(String::len).sum();
    let parts: String = parts.iter().map(|part| format!("--=_{length}=\r\n{part}")).collect();
    format!("Content-Type: multipart/mixed; boundary=\"=_{length}=\"\r\n\r\n{parts}--=_{length}=--\r\n")
}

fn mail() -> impl Strategy<Value = String> {
    let subject = "[A-Za-z][a-zA-Z ]{0,30}[a-z]";
    (subject, prop::collection::vec(tree(), 1..4))
        .prop_map(|(subject, parts)| format!("Subject: {subject}\r\n{}", multipart(&parts)))
}

/// Octets that look like mail, put together without care.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\r\n",
        "\n",
        "\r",
        "--",
        "--b",
        "--bb",
        "--b--",
        "--bb--",
        "-",
        "=",
        "=3D",
        " ",
        "\t",
        "text",
        ":",
        "\0",
        "AAAA",
        ";",
        "\"",
        "(",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        "Content-Type: multipart/digest; boundary=bb\r\n\r\n",
        "Content-Type: message/rfc822; name=m\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "Content-Disposition: attachment; filename=f\r\n",
        "Content-Disposition: attachment; filename*0*=utf-8''%c3; filename*1*=%a4\r\n\r\n",
        "Subject: =?utf-8?q?=c3=a4?=\r\n",
        "From: a@b.example\r\n",
        "\r\n--b\r\n",
        "\r\n--bb\r\n",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn well_formed_mail_reads_as_mail_parser_reads_it(mail in mail()) {
        let message = read(mail.as_bytes());
        let attachments = message.attachments().iter().map(|a| (a.filename.clone().unwrap(), a.size)).collect::<Vec<_>>();
        prop_assert_eq!((message.subject(), attachments), oracle(mail.as_bytes()));
    }

    #[test]
    fn any_cut_of_anything_gives_the_same_facts(octets in soup(), cuts in prop::collection::vec(0usize..400, 0..12), dirty in soup()) {
        let whole = facts(&read(&octets));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(octets.len())).chain([0, octets.len()]).collect();
        cuts.sort_unstable();
        let mut message = read(&dirty);
        feed(&mut message, cuts.windows(2).map(|cut| &octets[cut[0]..cut[1]]));
        prop_assert_eq!(facts(&message), whole.clone());
        feed(&mut message, octets.chunks(1));
        prop_assert_eq!(facts(&message), whole);
    }

    #[test]
    fn loss_anywhere_never_panics_and_never_lies(octets in soup(), at in 0usize..400) {
        let (front, back) = octets.split_at(at.min(octets.len()));
        let whole = facts(&read(&octets)).1;
        let mut message = Message::default();
        message.begin(true, HEADER);
        message.octets(front);
        message.gap(0);
        message.octets(back);
        message.finish(true);
        prop_assert!(!message.complete() && message.sha256().is_none());
        for (seen, whole) in facts(&message).1.into_iter().zip(whole) {
            prop_assert!(seen.is_none() || seen == whole, "{:?} is not {:?}", seen, whole);
        }
    }

    #[test]
    fn quoted_printable_is_sized_as_python_and_mail_parser_decode_it(text in "[a-c =\t]{0,20}(\r\n[a-c \t]{0,10}){0,5}") {
        let encoded = text.replace('=', "=3D");
        let mut expected: Vec<&str> = text.split("\r\n").map(|line| line.trim_end_matches([' ', '\t'])).collect();
        let last = expected.pop().unwrap();
        let size = expected.iter().map(|line| line.len() + 2).sum::<usize>() + last.len();
        let mail = format!("Content-Type: text/plain; name=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{encoded}");
        prop_assert_eq!(listed(mail.as_bytes()), [file("a", "text/plain", size as u64)]);
    }
}
