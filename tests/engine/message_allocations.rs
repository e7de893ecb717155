//! A message that is like the one before it costs no allocation.

use mailtap::message::Message;

use crate::allocations;

fn taken_by(message: &mut Message, octets: &[u8]) -> u64 {
    let before = allocations::so_far();
    message.begin(true, 256 << 10);
    for piece in octets.chunks(1448) {
        message.octets(piece);
    }
    message.finish(true);
    allocations::so_far() - before
}

fn after_warm_up(octets: &str) -> u64 {
    let mut message = Message::default();
    assert!(taken_by(&mut message, octets.as_bytes()) > 0, "nothing is counted");
    taken_by(&mut message, octets.as_bytes())
}

#[test]
fn a_plain_message_allocates_nothing() {
    let body = "A line of text -- with dashes.\r\n".repeat(1000);
    assert_eq!(after_warm_up(&format!("From: a@example.org\r\nSubject: a\r\n\r\n{body}")), 0);
}

#[test]
fn a_multipart_allocates_nothing() {
    let part = "--=_b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n-- \r\ntext=20\r\n";
    let head = "From: a@example.org\r\nContent-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n";
    assert_eq!(after_warm_up(&format!("{head}{}--=_b--\r\n", part.repeat(100))), 0);
}

#[test]
fn an_attachment_costs_its_name_and_type_only() {
    let part = "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let lines = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\n".repeat(1000);
    let octets = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{part}{lines}--b--\r\n");
    assert!(after_warm_up(&octets) <= 6);
}
