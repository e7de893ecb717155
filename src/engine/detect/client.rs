//! What a client's line says of the protocol it speaks.

use super::line::{holds, starts, verb, words};
use crate::event::{Other, Protocol};

/// What one line of a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A command of this protocol and of no other.
    Mail(Protocol),
    /// A command of FTP (RFC 959, RFC 2228) that SMTP has not.
    Ftp,
    /// A command of NNTP (RFC 3977) alone.
    Nntp,
    /// `USER`, `PASS`, `LIST` and others of POP3 that FTP, NNTP or poppassd have too.
    Pop3Like,
    /// `AUTH` with a SASL mechanism, which SMTP, POP3 and (as a password) Redis have.
    Auth,
    /// A command of several protocols: `QUIT`, `HELP`, `NOOP`.
    Shared,
    /// An HTTP request.
    Http,
    /// Another protocol that announces itself.
    Other(Other),
    /// Nothing known.
    Nothing,
}

/// What `line` says.
pub(super) fn says(line: &[u8]) -> Says {
    if let Some(other) = announced(line) {
        return other;
    }
    let argument = words(line).nth(1);
    match verb(line).as_bytes() {
        b"EHLO" | b"HELO" | b"MAIL" | b"RCPT" | b"DATA" | b"BDAT" | b"VRFY" | b"EXPN" | b"ETRN" | b"ATRN" | b"TURN"
        | b"XCLIENT" | b"XFORWARD" | b"X-ANONYMOUSTLS" | b"X-EXPS" | b"BURL" => Says::Mail(Protocol::Smtp),
        b"LHLO" => Says::Mail(Protocol::Lmtp),
        b"AUTH" => match argument {
            Some(mechanism) if starts(mechanism, b"TLS") || starts(mechanism, b"SSL") => Says::Ftp,
            _ => Says::Auth,
        },
        b"FEAT" | b"SYST" | b"OPTS" | b"HOST" | b"CLNT" | b"ACCT" | b"PASV" | b"PORT" | b"EPSV" | b"EPRT" | b"TYPE"
        | b"CWD" | b"PWD" | b"CDUP" | b"RETR" | b"STOR" | b"NLST" | b"MLSD" | b"MLST" | b"PBSZ" | b"PROT" | b"ADAT"
            if !is_number(argument) =>
        {
            Says::Ftp
        }
        b"CAPABILITIES" | b"MODE" | b"GROUP" | b"LISTGROUP" | b"AUTHINFO" | b"ARTICLE" | b"XOVER" | b"OVER"
        | b"XHDR" | b"HDR" | b"IHAVE" | b"CHECK" | b"TAKETHIS" | b"NEWGROUPS" | b"NEWNEWS" | b"POST" | b"DATE" => {
            Says::Nntp
        }
        b"CAPA" | b"APOP" | b"STLS" | b"UIDL" | b"DELE" | b"RETR" | b"TOP" | b"XTND" => Says::Mail(Protocol::Pop3),
        b"USER" | b"PASS" | b"LIST" | b"LAST" | b"UTF8" | b"LANG" => Says::Pop3Like,
        b"QUIT" | b"HELP" | b"NOOP" | b"RSET" | b"STAT" | b"STARTTLS" | b"LOGOUT" | b"CAPABILITY" => Says::Shared,
        b"AUTHENTICATE" if argument.is_some_and(|a| a.starts_with(b"\"")) => Says::Mail(Protocol::ManageSieve),
        b"HAVESPACE" | b"PUTSCRIPT" | b"LISTSCRIPTS" | b"SETACTIVE" | b"GETSCRIPT" | b"DELETESCRIPT" => {
            Says::Mail(Protocol::ManageSieve)
        }
        b"NEWPASS" | b"NICK" | b"PRIVMSG" => Says::Other(Other::Other),
        _ if is_imap(line) => Says::Mail(Protocol::Imap),
        // Redis, memcached and NATS.
        b"SET" | b"GET" | b"GETS" | b"INCR" | b"DECR" | b"DEL" | b"HGET" | b"HSET" | b"LPUSH" | b"RPUSH"
        | b"EXPIRE" | b"PUBLISH" | b"SUBSCRIBE"
            if argument.is_some() =>
        {
            Says::Other(Other::Other)
        }
        b"PUB" | b"HPUB" | b"SUB" | b"UNSUB" if argument.is_some() => Says::Other(Other::Other),
        b"PONG" | b"STATS" if argument.is_none() => Says::Other(Other::Other),
        _ => Says::Nothing,
    }
}

/// Protocols whose first line is like no other.
fn announced(line: &[u8]) -> Option<Says> {
    const METHODS: [&[u8]; 9] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"CONNECT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE "];
    if holds(line, b" SIP/2.0") || holds(line, b" RTSP/1.0") {
        return Some(Says::Other(Other::Other));
    }
    if holds(line, b" HTTP/") && (METHODS.iter().any(|m| line.starts_with(m)) || line.starts_with(b"PRI ")) {
        return Some(Says::Http);
    }
    if line.starts_with(b"SSH-") {
        return Some(Says::Other(Other::Ssh));
    }
    // Redis takes the same commands as arrays of strings and as plain text.
    if is_resp(line) {
        return Some(Says::Other(Other::Redis));
    }
    if line.eq_ignore_ascii_case(b"PING") {
        return Some(Says::Other(Other::Redis));
    }
    let xmpp = line.starts_with(b"<?xml") || line.starts_with(b"<stream:");
    let irc = starts(line, b"CAP LS") || starts(line, b"CAP REQ");
    let others = [b"CONNECT {".as_slice(), b"{\"", b"AMQP"].iter().any(|head| line.starts_with(head));
    (xmpp || irc || others || holds(line, b" SPAMC/")).then_some(Says::Other(Other::Other))
}

/// The head of an array or string of the Redis serialization protocol: `*3`, `$5`, `$-1`.
pub(super) fn is_resp(line: &[u8]) -> bool {
    match line {
        [b'*' | b'$', b'-', b'1'] => true,
        [b'*' | b'$', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a client of POP3 says no such thing, whatever it is in the middle of: no command, and nothing in base64.
pub(super) fn is_no_pop3(line: &[u8]) -> bool {
    let base64 = |o: &u8| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'=' | b'*');
    !line.iter().all(base64)
        && !matches!(says(line), Says::Mail(Protocol::Pop3) | Says::Pop3Like | Says::Shared | Says::Auth)
}

/// `tag SP command` with a command that IMAP knows (RFC 9051 section 6).
fn is_imap(line: &[u8]) -> bool {
    let Some(blank) = memchr::memchr(b' ', line) else { return false };
    let Some((tag, rest)) = line.split_at_checked(blank) else { return false };
    // A tag has no `+`, and none of the characters that lists, strings and wildcards are made of.
    let is_tag =
        tag.len() <= 64 && !tag.is_empty() && tag.iter().all(|o| o.is_ascii_graphic() && !b"(){%*\"\\+".contains(o));
    is_tag
        && matches!(
            verb(rest).as_bytes(),
            b"CAPABILITY"
                | b"LOGIN"
                | b"AUTHENTICATE"
                | b"STARTTLS"
                | b"LOGOUT"
                | b"NOOP"
                | b"ID"
                | b"SELECT"
                | b"EXAMINE"
                | b"LIST"
                | b"LSUB"
                | b"XLIST"
                | b"STATUS"
                | b"NAMESPACE"
                | b"FETCH"
                | b"STORE"
                | b"UID"
                | b"APPEND"
                | b"SEARCH"
                | b"IDLE"
                | b"ENABLE"
                | b"COMPRESS"
                | b"CHECK"
                | b"CLOSE"
                | b"EXPUNGE"
                | b"UNSELECT"
                | b"COPY"
                | b"MOVE"
                | b"CREATE"
                | b"DELETE"
                | b"RENAME"
                | b"SUBSCRIBE"
                | b"UNSUBSCRIBE"
                | b"GETQUOTAROOT"
                | b"GETQUOTA"
                | b"GETACL"
                | b"MYRIGHTS"
                | b"GETMETADATA"
                | b"SORT"
                | b"THREAD"
                | b"NOTIFY"
                | b"UNAUTHENTICATE"
        )
}

fn is_number(word: Option<&[u8]>) -> bool {
    word.is_some_and(|word| word.iter().all(u8::is_ascii_digit))
}

/// A command line that is an anchor after the start was missed: of this protocol, grammar included.
pub(super) fn anchor(line: &[u8]) -> Option<Protocol> {
    let argument = words(line).nth(1);
    match verb(line).as_bytes() {
        b"MAIL" => holds(line, b"FROM:").then_some(Protocol::Smtp),
        b"RCPT" => holds(line, b"TO:").then_some(Protocol::Smtp),
        b"EHLO" | b"HELO" => argument.map(|_| Protocol::Smtp),
        b"LHLO" => argument.map(|_| Protocol::Lmtp),
        b"DATA" => argument.is_none().then_some(Protocol::Smtp),
        b"BDAT" => is_number(argument).then_some(Protocol::Smtp),
        b"RETR" | b"DELE" | b"TOP" => is_number(argument).then_some(Protocol::Pop3),
        b"UIDL" | b"LIST" => (argument.is_none() || is_number(argument)).then_some(Protocol::Pop3),
        b"CAPA" | b"STLS" | b"STAT" => argument.is_none().then_some(Protocol::Pop3),
        b"APOP" | b"USER" => argument.map(|_| Protocol::Pop3),
        b"DONE" => argument.is_none().then_some(Protocol::Imap),
        _ => is_imap(line).then_some(Protocol::Imap),
    }
}
