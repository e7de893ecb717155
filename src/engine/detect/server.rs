//! What a server's line says of the protocol it speaks.

use super::line::{code, holds, starts, verb, words};
use crate::event::{Other, Protocol};

/// What the first line of a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greets {
    /// `220`: SMTP, LMTP or FTP.
    Ready,
    /// A code with which SMTP, FTP and NNTP turn a client away.
    Refusal,
    /// `200`, `201`: NNTP or poppassd.
    News,
    /// `+OK`.
    Pop3,
    /// `-ERR`.
    Pop3Refusal,
    /// `* OK`, `* PREAUTH`, `* BYE`, and `* NO` of servers that turn a client away.
    Imap,
    /// A quoted capability (RFC 5804 section 1.7).
    Sieve,
    /// Another protocol that announces itself.
    Other(Other),
    /// Nothing known.
    Nothing,
}

/// What `line` says as a greeting.
pub(super) fn greets(line: &[u8]) -> Greets {
    if let Some(other) = announced(line) {
        return Greets::Other(other);
    }
    match code(line) {
        Some(220) => return Greets::Ready,
        Some(200 | 201) => return Greets::News,
        Some(120 | 400 | 421 | 450 | 451 | 452 | 454 | 500..=504 | 521 | 530 | 550 | 554 | 571) => {
            return Greets::Refusal;
        }
        _ => {}
    }
    let mut rest = words(line).skip(1);
    match verb(line).as_bytes() {
        b"+OK" => return Greets::Pop3,
        b"-ERR" => return Greets::Pop3Refusal,
        b"*" => {}
        _ if words(line).next().is_some_and(is_sieve) => return Greets::Sieve,
        _ => return Greets::Nothing,
    }
    match verb(rest.next().unwrap_or_default()).as_bytes() {
        b"OK" | b"PREAUTH" | b"BYE" | b"NO" | b"BAD" if !is_murder(line) => Greets::Imap,
        b"OK" | b"AUTH" | b"ACAP" | b"STARTTLS" | b"BYE" | b"PREAUTH" => Greets::Other(Other::Other),
        _ => Greets::Nothing,
    }
}

/// Whether a server of `protocol` may say `line`, be it glued, masked by a firewall, or in lower case.
pub(super) fn fits(line: &[u8], protocol: Protocol) -> bool {
    match protocol {
        // `230` and `331` answer the login of FTP (RFC 959 section 4.2); no command of SMTP is answered so.
        Protocol::Smtp | Protocol::Lmtp => {
            (is_reply(line) && !starts(line, b"230") && !starts(line, b"331")) || is_masked(line)
        }
        Protocol::Pop3 => starts(line, b"+OK") || starts(line, b"-ERR"),
        Protocol::Imap => line.starts_with(b"* ") || is_completion(line),
        Protocol::ManageSieve => line.starts_with(b"\"") || matches!(verb(line).as_bytes(), b"OK" | b"NO" | b"BYE"),
        Protocol::Unknown => false,
    }
}

/// Three digits as RFC 5321 section 4.2.1 has them, whatever follows.
fn is_reply(line: &[u8]) -> bool {
    matches!(line, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', rest @ ..] if !rest.first().is_some_and(u8::is_ascii_digit))
}

/// Firewalls (Cisco PIX) put asterisks for what they hide of a greeting.
fn is_masked(line: &[u8]) -> bool {
    line.iter().filter(|byte| **byte == b'*').count() >= 4
        && line.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b' ' | b'-'))
}

/// A tagged response: `tag OK`.
fn is_completion(line: &[u8]) -> bool {
    let mut rest = words(line);
    let tag = rest.next().unwrap_or_default();
    let completes = matches!(rest.next(), Some(b"OK" | b"NO" | b"BAD"));
    completes && !tag.is_empty() && tag.iter().all(|o| o.is_ascii_alphanumeric() || *o == b'.')
}

/// MUPDATE (RFC 3656), IMSP and ACAP (RFC 2244) greet like IMAP.
fn is_murder(line: &[u8]) -> bool {
    // Most of those that greet so say that they are IMAP.
    !holds(line, b"IMAP4") && [b"MUPDATE".as_slice(), b"IMSP", b"ACAP"].iter().any(|w| holds(line, w))
}

fn is_sieve(word: &[u8]) -> bool {
    const CAPABILITIES: [&[u8]; 9] = [
        b"\"IMPLEMENTATION\"",
        b"\"SASL\"",
        b"\"SIEVE\"",
        b"\"STARTTLS\"",
        b"\"NOTIFY\"",
        b"\"MAXREDIRECTS\"",
        b"\"LANGUAGE\"",
        b"\"OWNER\"",
        b"\"VERSION\"",
    ];
    CAPABILITIES.iter().any(|c| c.eq_ignore_ascii_case(word))
}

/// Protocols whose first line is like no other.
fn announced(line: &[u8]) -> Option<Other> {
    // VNC, IRC, XMPP, rsync, BEEP, RTSP, SIP, NATS, JSON-RPC, Music Player Daemon, Asterisk, SpamAssassin, AMQP, SVN.
    const ELSEWHERE: [&[u8]; 17] = [
        b"RFB ",
        b":",
        b"<?xml",
        b"<stream:",
        b"@RSYNCD:",
        b"NOTICE ",
        b"RPY ",
        b"RTSP/",
        b"SIP/2.0",
        b"INFO {",
        b"{\"",
        b"OK MPD ",
        b"Asterisk Call Manager/",
        b"SPAMD/",
        b"AMQP",
        b"( success (",
        b"VERSION ",
    ];
    // memcached.
    const ALONE: [&[u8]; 6] = [b"STORED", b"NOT_STORED", b"END", b"ERROR", b"DELETED", b"NOT_FOUND"];
    match line {
        [b'S', b'S', b'H', b'-', ..] => Some(Other::Ssh),
        [b'H', b'T', b'T', b'P', b'/', ..] => Some(Other::Http),
        // Simple strings and errors of RESP that no POP3 server says.
        _ if starts(line, b"+PONG")
            || starts(line, b"-NOAUTH")
            || starts(line, b"-DENIED")
            || starts(line, b"-WRONGPASS") =>
        {
            Some(Other::Redis)
        }
        _ if line.starts_with(b"-ERR max number of clients") || line.starts_with(b"-ERR unknown command") => {
            Some(Other::Redis)
        }
        _ if super::client::is_resp(line) => Some(Other::Redis),
        _ if ALONE.contains(&line) => Some(Other::Other),
        _ => ELSEWHERE.iter().any(|head| line.starts_with(head)).then_some(Other::Other),
    }
}

/// The MySQL initial handshake (version 10), or an error instead of it: both in the first packet, number 0.
pub(super) fn is_mysql(octets: &[u8]) -> bool {
    matches!(octets, [_, _, 0, 0, 0x0a | 0xff, ..])
}

/// What the words of a banner say: `Some(true)` SMTP or LMTP, `Some(false)` FTP.
pub(super) fn banner(line: &[u8]) -> Option<bool> {
    const MAIL: [&[u8]; 9] =
        [b"SMTP", b"LMTP", b"POSTFIX", b"EXIM", b"SENDMAIL", b"MAIL TRANSFER", b" MTA ", b"5.7.", b"4.7."];
    let mail = MAIL.iter().any(|word| holds(line, word));
    let files = holds(line, b"FTP");
    (mail != files).then_some(mail)
}

/// A reply line that is an anchor after the start was missed: of this protocol.
pub(super) fn anchor(line: &[u8]) -> Option<Protocol> {
    match words(line).next()? {
        b"+OK" | b"-ERR" => return Some(Protocol::Pop3),
        b"*" => return untagged(line).then_some(Protocol::Imap),
        _ => {}
    }
    if let Some(code) = code(line) {
        return is_smtp(code, line).then_some(Protocol::Smtp);
    }
    is_completion(line).then_some(Protocol::Imap)
}

/// Whether an anchor stands alone: hardly any text, and no other protocol, has such lines.
pub(super) fn is_strong(line: &[u8]) -> bool {
    match code(line) {
        Some(354) => true,
        Some(code) => has_status(code, line) || keyword(line),
        None => line.starts_with(b"* ") && untagged(line),
    }
}

fn is_smtp(code: u16, line: &[u8]) -> bool {
    matches!(code, 220 | 221 | 235 | 250..=253 | 334 | 354 | 421 | 450..=459 | 500..=504 | 521 | 523 | 530 | 534 | 535 | 538 | 550..=559)
        || has_status(code, line)
}

/// An enhanced status code (RFC 2034) of the reply's class.
fn has_status(code: u16, line: &[u8]) -> bool {
    let Some(status) = line.get(4..).and_then(|text| words(text).next()) else { return false };
    let mut parts = status.split(|o| *o == b'.');
    let class = parts.next().is_some_and(|c| {
        c.len() == 1 && c.first().copied().map(|d| u16::from(d.wrapping_sub(b'0'))) == Some(code / 100)
    });
    let number =
        |part: Option<&[u8]>| part.is_some_and(|p| (1..=3).contains(&p.len()) && p.iter().all(u8::is_ascii_digit));
    class && number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

/// A line of an answer to EHLO with a keyword that is known.
fn keyword(line: &[u8]) -> bool {
    let Some(text) = line.strip_prefix(b"250-").or_else(|| line.strip_prefix(b"250 ")) else { return false };
    matches!(
        verb(text).as_bytes(),
        b"PIPELINING"
            | b"SIZE"
            | b"8BITMIME"
            | b"AUTH"
            | b"STARTTLS"
            | b"DSN"
            | b"CHUNKING"
            | b"SMTPUTF8"
            | b"ETRN"
            | b"VRFY"
            | b"HELP"
    ) || starts(text, b"ENHANCEDSTATUS")
}

/// An untagged response (RFC 9051 section 7) of a type that is known.
fn untagged(line: &[u8]) -> bool {
    let mut rest = words(line).skip(1);
    let Some(word) = rest.next() else { return false };
    if word.iter().all(u8::is_ascii_digit) {
        return matches!(rest.next(), Some(b"EXISTS" | b"RECENT" | b"EXPUNGE" | b"FETCH"));
    }
    matches!(
        word,
        b"OK"
            | b"NO"
            | b"BAD"
            | b"BYE"
            | b"PREAUTH"
            | b"CAPABILITY"
            | b"FLAGS"
            | b"LIST"
            | b"LSUB"
            | b"XLIST"
            | b"STATUS"
            | b"SEARCH"
            | b"ESEARCH"
            | b"NAMESPACE"
            | b"ID"
            | b"ENABLED"
            | b"VANISHED"
            | b"QUOTA"
            | b"QUOTAROOT"
            | b"ACL"
    )
}
