//! Which protocol is spoken, from the first octets of both directions; the port is a prior, never proof.
//!
//! A connection seen from its start is told by the server's greeting and the client's first line together; neither
//! alone tells SMTP from LMTP and FTP, or POP3 from Redis. One picked up in the middle is told by lines that the
//! protocol alone has, in both directions, or in one on a mail port. A verdict is never given earlier than more octets
//! could change it, save where no more will come.

mod client;
mod hello;
mod line;
mod middle;
mod server;
#[cfg(test)]
mod tests;
mod tunnel;

use crate::event::{Other, Protocol};
use client::Says;
use hello::Inside;
use line::{holds, is_binary, lines, verb};
use server::Greets;
pub(crate) use tunnel::{Host, OpenTunnel};

/// Lines of either direction after which a connection that nothing tells is given up.
const ENOUGH: usize = 4;

/// What the first octets say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough yet.
    Wait,
    /// Mail.
    Mail {
        /// Which.
        protocol: Protocol,
        /// The side taken for the client is the server (picked up in the middle).
        reversed: bool,
    },
    /// TLS from the first octet; `Protocol::Unknown` if neither port nor ALPN says what is inside.
    Tls(Protocol),
    /// Not mail.
    Other(Other),
    /// Not mail, and the side taken for the client is the server (picked up in the middle).
    OtherReversed(Other),
    /// A tunnel is open: what it carries is to be told apart anew.
    Tunnel(OpenTunnel),
    /// Nothing known.
    Unknown,
}

/// IMAP, as the port has it.
pub(crate) const IMAP: Verdict = mail(Protocol::Imap);

/// What is known when a verdict is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DetectionEvidence<'a> {
    /// First octets of the client, after a PROXY preamble.
    pub(crate) client: &'a [u8],
    /// First octets of the server.
    pub(crate) server: &'a [u8],
    /// What the port suggests.
    pub(crate) prior: Option<Protocol>,
    /// The start of the connection was not seen, or octets of it were lost.
    pub(crate) midstream: bool,
    /// Who is the client is a guess.
    pub(crate) reversible: bool,
    /// Who sent first, as far as known.
    pub(crate) server_first: bool,
    /// It is inside as many tunnels as are followed.
    pub(crate) is_deep: bool,
    /// No more will come: decide.
    pub(crate) last: bool,
}

/// Weighs `evidence`.
pub(crate) fn decide(evidence: &DetectionEvidence<'_>) -> Verdict {
    let verdict = if evidence.midstream { middle::decide(evidence) } else { opening(evidence) };
    let silent = evidence.client.is_empty() && evidence.server.is_empty();
    match (verdict, evidence.last) {
        (Verdict::Wait, true) if silent => Verdict::Unknown,
        (Verdict::Wait, true) => match evidence.prior {
            Some(prior) if middle::may_be(evidence, prior) => mail(prior),
            _ => Verdict::Unknown,
        },
        _ => verdict,
    }
}

/// What the well-known ports suggest.
pub(crate) fn prior(port: u16) -> Option<Protocol> {
    match port {
        25 | 465 | 587 | 2525 => Some(Protocol::Smtp),
        24 => Some(Protocol::Lmtp),
        110 | 995 => Some(Protocol::Pop3),
        143 | 993 => Some(Protocol::Imap),
        4190 => Some(Protocol::ManageSieve),
        _ => None,
    }
}

/// How many of `octets` to add to the `heard` ones before [`decide`] is asked again: octet by octet where protocols that
/// are not text differ, then line by line. `midstream`: the start of the connection was not seen.
pub(crate) fn step(heard: &[u8], octets: &[u8], midstream: bool) -> usize {
    const HEAD: usize = 16;
    // From its start, a side whose first octet is text is text, or is told at a line feed (MySQL).
    let is_text = !midstream && heard.first().is_some_and(|octet| matches!(octet, 0x20..=0x7e));
    if heard.len() < HEAD && !is_text {
        return octets.len().min(1);
    }
    memchr::memchr(b'\n', octets).map_or(octets.len(), |end| end + 1)
}

const fn mail(protocol: Protocol) -> Verdict {
    Verdict::Mail { protocol, reversed: false }
}

/// A connection seen from its start.
fn opening(evidence: &DetectionEvidence<'_>) -> Verdict {
    if let Some(verdict) = encrypted(evidence).or_else(|| tunneled(evidence)).or_else(|| binary(evidence)) {
        return verdict;
    }
    let spoken = |octets: &'_ [u8]| lines(octets, evidence.last).filter(|line| !line.is_empty()).count();
    let enough = evidence.last || (spoken(evidence.client) >= ENOUGH && spoken(evidence.server) >= ENOUGH);
    match (first(evidence.client, evidence.last), first(evidence.server, evidence.last)) {
        (Some(client), Some(server)) => FirstLines { evidence, client, server, enough }.verdict(),
        (None, Some(server)) => match server::greets(server) {
            Greets::Other(other) => Verdict::Other(other),
            Greets::Sieve => mail(Protocol::ManageSieve),
            _ if evidence.last => FirstLines { evidence, client: b"", server, enough }.verdict(),
            _ => Verdict::Wait,
        },
        (Some(client), None) => monologue(evidence, client),
        (None, None) => Verdict::Wait,
    }
}

/// The first line with something in it. Where no line of text can begin, an empty one stands for what is there.
fn first(octets: &[u8], last: bool) -> Option<&[u8]> {
    if octets.first().copied().is_some_and(is_binary) {
        return Some(b"");
    }
    lines(octets, last).find(|line| !line.is_empty())
}

/// TLS from the client's first octet. A server that greets in clear has not understood: then it is not TLS.
fn encrypted(evidence: &DetectionEvidence<'_>) -> Option<Verdict> {
    let answer = evidence.server.first().copied();
    if !hello::begins(evidence.client) || answer.is_some_and(|octet| !is_binary(octet)) {
        return None;
    }
    let inside = hello::inside(evidence.client);
    if !evidence.last && (answer.is_none() || inside == Inside::Incomplete) {
        return Some(Verdict::Wait);
    }
    Some(match inside {
        Inside::Mail(protocol) => Verdict::Tls(protocol),
        Inside::Other(other) => Verdict::Other(other),
        Inside::Incomplete | Inside::Unsaid => Verdict::Tls(evidence.prior.unwrap_or(Protocol::Unknown)),
    })
}

/// A tunnel that the client asks a proxy for.
fn tunneled(evidence: &DetectionEvidence<'_>) -> Option<Verdict> {
    Some(match tunnel::progress(evidence.client, evidence.server) {
        tunnel::TunnelProgress::None => return None,
        tunnel::TunnelProgress::Asked(other) if evidence.last => Verdict::Other(other),
        tunnel::TunnelProgress::Asked(_) => Verdict::Wait,
        tunnel::TunnelProgress::Refused(other) => Verdict::Other(other),
        tunnel::TunnelProgress::Open(_) if evidence.is_deep => Verdict::Other(Other::Other),
        tunnel::TunnelProgress::Open(opened) => Verdict::Tunnel(opened),
    })
}

/// Protocols that are not lines of text.
fn binary(evidence: &DetectionEvidence<'_>) -> Option<Verdict> {
    let (client, server) = (evidence.client, evidence.server);
    if server::is_mysql(server) {
        return Some(Verdict::Other(Other::Mysql));
    }
    let silent = server.is_empty();
    if !silent && !server.first().copied().is_some_and(is_binary) {
        return None;
    }
    match client {
        _ if evidence.prior.is_some() => None,
        [octet, ..] if is_binary(*octet) => Some(Verdict::Unknown),
        _ if !silent && server.len() >= 5 => Some(Verdict::Unknown),
        _ => None,
    }
}

/// The server's greeting, and the client's first line (empty if it said nothing).
struct FirstLines<'a> {
    evidence: &'a DetectionEvidence<'a>,
    client: &'a [u8],
    server: &'a [u8],
    /// What is not told now will not be.
    enough: bool,
}

impl FirstLines<'_> {
    fn verdict(&self) -> Verdict {
        let said = client::says(self.client);
        match server::greets(self.server) {
            Greets::Other(other) => Verdict::Other(other),
            Greets::Ready => self.coded(said, false),
            Greets::Refusal => self.coded(said, true),
            Greets::News => self.news(said),
            Greets::Pop3 | Greets::Pop3Refusal => self.pop3(said),
            Greets::Imap => self.imap(said),
            Greets::Sieve => mail(Protocol::ManageSieve),
            Greets::Nothing => self.unheard(said),
        }
    }

    /// `220`, or a code that turns the client away.
    fn coded(&self, said: Says, refused: bool) -> Verdict {
        let banner = server::banner(self.server);
        match (self.told(said), banner) {
            (Says::Mail(protocol @ (Protocol::Smtp | Protocol::Lmtp)), _) => return mail(self.kin(protocol)),
            (Says::Auth, Some(true) | None) => return mail(self.kin(Protocol::Smtp)),
            (Says::Ftp | Says::Pop3Like, Some(false) | None) => return Verdict::Other(Other::Ftp),
            (Says::Nntp, None) if refused => return Verdict::Other(Other::Nntp),
            _ => {}
        }
        match (banner, self.evidence.prior) {
            (Some(false), _) => Verdict::Other(Other::Ftp),
            (_, Some(protocol @ (Protocol::Smtp | Protocol::Lmtp))) => mail(protocol),
            (Some(true), _) if holds(self.server, b"LMTP") => mail(Protocol::Lmtp),
            (Some(true), _) => mail(Protocol::Smtp),
            (None, _) if self.later(|line| line.starts_with(b"221 2.0.0")) => mail(Protocol::Smtp),
            (None, _) if !refused && self.is_bare() => Verdict::Other(Other::Ftp),
            (None, _) => self.open(Verdict::Unknown),
        }
    }

    /// `200` or `201`.
    fn news(&self, said: Says) -> Verdict {
        let paper = [b"NNTP".as_slice(), b"NNRP", b"NEWS", b"INN"].iter().any(|word| holds(self.server, word));
        match self.told(said) {
            Says::Nntp => Verdict::Other(Other::Nntp),
            Says::Mail(protocol @ (Protocol::Smtp | Protocol::Lmtp)) => mail(self.kin(protocol)),
            Says::Pop3Like | Says::Other(_) => Verdict::Other(Other::Other),
            _ if paper => Verdict::Other(Other::Nntp),
            _ if holds(self.server, b"POPPASS") => Verdict::Other(Other::Other),
            _ => self.open(Verdict::Unknown),
        }
    }

    /// `+OK` or `-ERR`. Redis and NATS have simple strings and errors that begin so, but do not greet with them.
    fn pop3(&self, said: Says) -> Verdict {
        let expected = self.evidence.prior == Some(Protocol::Pop3);
        // Picked up in the middle, it need not be a greeting.
        let greets = self.evidence.server_first && !self.evidence.midstream;
        let own = || holds(self.server, b"POP") || (self.server.contains(&b'<') && self.server.contains(&b'@'));
        match self.told(said) {
            Says::Mail(Protocol::Pop3) | Says::Pop3Like => mail(Protocol::Pop3),
            Says::Other(other) if !(greets && (expected || own())) => Verdict::Other(other),
            _ if expected && self.client.is_empty() && middle::is_bare_answer(self.evidence.server) && !greets => {
                self.open(Verdict::Unknown)
            }
            _ if expected => mail(Protocol::Pop3),
            Says::Http if !self.evidence.server_first => self.open(Verdict::Unknown),
            _ if !self.evidence.server_first => Verdict::Other(Other::Redis),
            Says::Auth | Says::Shared if greets => mail(Protocol::Pop3),
            _ if own() || greets && self.later(|line| line.starts_with(b"+OK")) => self.open(mail(Protocol::Pop3)),
            _ => self.open(Verdict::Unknown),
        }
    }

    /// `* OK`, `* PREAUTH`, `* BYE`.
    fn imap(&self, said: Says) -> Verdict {
        let expected = self.evidence.prior == Some(Protocol::Imap);
        match self.told(said) {
            Says::Mail(Protocol::Imap) => mail(Protocol::Imap),
            _ if expected => mail(Protocol::Imap),
            _ if self.evidence.server_first => self.open(mail(Protocol::Imap)),
            _ => self.open(Verdict::Unknown),
        }
    }

    /// A greeting that says nothing: masked, broken, or of a protocol not known here. What comes to a mail port is mail
    /// only if the server, sooner or later, says what a server of that mail protocol says.
    fn unheard(&self, said: Says) -> Verdict {
        let said = self.told(said);
        let fits = |protocol| server::fits(self.server, protocol) || self.later(|line| server::fits(line, protocol));
        match (said, self.evidence.prior) {
            (Says::Other(other), _) => Verdict::Other(other),
            (Says::Mail(Protocol::Smtp | Protocol::Lmtp), Some(Protocol::Smtp | Protocol::Lmtp)) => {
                mail(self.kin(Protocol::Smtp))
            }
            (_, Some(_)) if self.server.is_empty() && self.evidence.server.len() < 3 && !self.evidence.last => {
                Verdict::Wait
            }
            // Text to a port where TLS is spoken is answered with an alert.
            (_, Some(protocol)) if self.server.is_empty() && hello::is_record(self.evidence.server) => mail(protocol),
            // Binary on both sides on a mail port is not what the port is for.
            (_, Some(_)) if self.server.is_empty() => Verdict::Unknown,
            (_, Some(protocol)) if fits(protocol) => mail(self.kin(protocol)),
            (Says::Http, _) => self.open(Verdict::Other(Other::Http)),
            (Says::Mail(protocol @ (Protocol::Smtp | Protocol::Lmtp)), None)
                if self.later(|line| line.starts_with(b"250")) =>
            {
                mail(protocol)
            }
            _ => self.open(Verdict::Unknown),
        }
    }

    /// What the client said; where the first line is one of many protocols and the port suggests none, what it said later.
    fn told(&self, said: Says) -> Says {
        let vague = |said: &Says| matches!(said, Says::Shared | Says::Nothing);
        if self.evidence.prior.is_some() || !vague(&said) {
            return said;
        }
        let later = lines(self.evidence.client, self.evidence.last).take(ENOUGH).map(client::says);
        later.into_iter().find(|says| !vague(says)).unwrap_or(said)
    }

    /// SMTP and LMTP share all commands but the first; on a port of either, the other needs its own hello.
    fn kin(&self, protocol: Protocol) -> Protocol {
        kin(protocol, self.client, self.evidence.prior)
    }

    /// Whether a line of the server after the first does.
    fn later(&self, does: impl Fn(&[u8]) -> bool) -> bool {
        lines(self.evidence.server, self.evidence.last).skip(1).take(2 * ENOUGH).any(does)
    }

    /// A greeting of several lines of which the second lacks the code: FTP (RFC 959 section 4.2) may, SMTP may not.
    fn is_bare(&self) -> bool {
        let second = lines(self.evidence.server, self.evidence.last).nth(1);
        self.server.get(3) == Some(&b'-') && second.is_some_and(|line| line::code(line).is_none())
    }

    fn open(&self, verdict: Verdict) -> Verdict {
        if self.enough { verdict } else { Verdict::Wait }
    }
}

/// `protocol`, or its kin that `prior` suggests unless `client` says hello in the way of the other.
fn kin(protocol: Protocol, client: &[u8], prior: Option<Protocol>) -> Protocol {
    match (verb(client).as_bytes(), protocol, prior) {
        (b"LHLO", Protocol::Smtp | Protocol::Lmtp, _) => Protocol::Lmtp,
        // Where LMTP is expected, the answer to EHLO tells: servers of LMTP refuse it (RFC 2033 section 4.1).
        (_, Protocol::Smtp | Protocol::Lmtp, Some(Protocol::Lmtp)) => Protocol::Lmtp,
        (b"EHLO" | b"HELO", Protocol::Smtp | Protocol::Lmtp, _) => Protocol::Smtp,
        _ => protocol,
    }
}

/// Only the client is heard so far: it did not wait for the greeting, or the server's direction is not captured.
fn monologue(evidence: &DetectionEvidence<'_>, client: &[u8]) -> Verdict {
    let anchors = |family: Protocol| {
        let spoken = lines(evidence.client, evidence.last);
        spoken.filter(|line| client::anchor(line).is_some_and(|p| related(p, family))).count()
    };
    match (client::says(client), evidence.prior) {
        (Says::Other(other), None) => Verdict::Other(other),
        (Says::Other(other), Some(_)) if evidence.last => Verdict::Other(other),
        (Says::Http, None) if evidence.last => Verdict::Other(Other::Http),
        (Says::Mail(said), Some(prior)) if related(said, prior) && (evidence.last || anchors(prior) >= 3) => {
            mail(kin(prior, client, Some(prior)))
        }
        (Says::Mail(said), None) if evidence.last && anchors(said) >= 3 => mail(said),
        _ => Verdict::Wait,
    }
}

/// The same, or SMTP and LMTP.
fn related(one: Protocol, other: Protocol) -> bool {
    let family = |p| if p == Protocol::Lmtp { Protocol::Smtp } else { p };
    family(one) == family(other)
}
