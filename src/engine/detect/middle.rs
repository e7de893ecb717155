//! A connection picked up in the middle, or with octets lost: told by lines that one protocol alone has.
//!
//! The text of a message may look like any dialogue, so two directions must agree, or one direction and the port.

use super::client;
use super::client::Says;
use super::line::{is_binary, lines};
use super::server::{self, Greets};
use super::{DetectionEvidence, ENOUGH, Other, Protocol, Verdict, encrypted, first, hello, kin, opening, related};
use smallvec::SmallVec;

/// Weighs `evidence`.
pub(super) fn decide(evidence: &DetectionEvidence<'_>) -> Verdict {
    if let Some(verdict) = records(evidence) {
        return verdict;
    }
    let swapped = DetectionEvidence {
        client: evidence.server,
        server: evidence.client,
        prior: None,
        server_first: !evidence.server_first,
        ..*evidence
    };
    for (view, reversed) in [(evidence, false), (&swapped, true)] {
        if reversed && !evidence.reversible {
            continue;
        }
        match greeted(view) {
            Some(Verdict::Mail { protocol, .. }) => return Verdict::Mail { protocol, reversed },
            Some(Verdict::Wait) if !(evidence.last || reversed && evidence.prior.is_some()) => return Verdict::Wait,
            Some(Verdict::Other(other)) if reversed => return Verdict::OtherReversed(other),
            Some(Verdict::Other(other)) => return Verdict::Other(other),
            _ => {}
        }
    }
    if let Some(verdict) = agreed(evidence, &swapped) {
        return verdict;
    }
    let binary = |octets: &[u8]| octets.first().copied().is_some_and(is_binary);
    match evidence.prior {
        None if binary(evidence.client) && binary(evidence.server) => Verdict::Unknown,
        None if evidence.last => alone(evidence, &swapped).unwrap_or(Verdict::Unknown),
        _ => Verdict::Wait,
    }
}

/// TLS records: of a handshake, or long after it.
fn records(evidence: &DetectionEvidence<'_>) -> Option<Verdict> {
    if let Some(verdict) = encrypted(evidence) {
        return Some(verdict);
    }
    let (client, server) = (evidence.client, evidence.server);
    let sealed = |octets: &[u8]| octets.is_empty() || hello::is_record(octets);
    let any = !(client.is_empty() && server.is_empty());
    (any && sealed(client) && sealed(server)).then_some(Verdict::Tls(evidence.prior.unwrap_or(Protocol::Unknown)))
}

/// What the start of the connection says, if what is first seen of the server may be its greeting.
fn greeted(view: &DetectionEvidence<'_>) -> Option<Verdict> {
    let server = first(view.server, view.last)?;
    match server::greets(server) {
        Greets::Ready | Greets::Pop3 | Greets::Imap | Greets::Sieve => Some(opening(view)),
        Greets::Other(other @ (Other::Http | Other::Ssh | Other::Redis)) => {
            let said = client::says(first(view.client, view.last)?);
            let both = match other {
                Other::Http => said == Says::Http,
                _ => said == Says::Other(other),
            };
            both.then_some(Verdict::Other(other))
        }
        _ => None,
    }
}

/// Anchors of both directions that agree, or of one that agree with the port.
fn agreed(evidence: &DetectionEvidence<'_>, swapped: &DetectionEvidence<'_>) -> Option<Verdict> {
    let sides = |view: &DetectionEvidence<'_>| {
        let (client, server) = (lines(view.client, view.last), lines(view.server, view.last));
        (most(client, client::anchor), most(server, server::anchor))
    };
    let told = |view: &DetectionEvidence<'_>, protocol, reversed| {
        let hello = first(view.client, view.last).unwrap_or_default();
        Some(Verdict::Mail { protocol: kin(protocol, hello, view.prior), reversed })
    };
    let (client, server) = sides(evidence);
    if let (Some(ours), Some(theirs)) = (client, server)
        && related(ours, theirs)
    {
        return told(evidence, ours, false);
    }
    if let Some(prior) = evidence.prior
        && [client, server].into_iter().flatten().any(|anchor| related(anchor, prior))
        && may_be(evidence, prior)
        // Others say `+OK` too: what the client says is waited for.
        && (prior != Protocol::Pop3
            || lines(evidence.client, false).next().is_some()
            || evidence.last && !is_bare_answer(evidence.server))
    {
        return told(evidence, prior, false);
    }
    if !evidence.reversible {
        return None;
    }
    match sides(swapped) {
        (Some(ours), Some(theirs)) if related(ours, theirs) => told(swapped, ours, true),
        _ => None,
    }
}

/// Whether `server` says no more of POP3 than a bare `+OK`, and goes on with what has no end as its lists have: NATS and
/// others answer so.
pub(super) fn is_bare_answer(server: &[u8]) -> bool {
    let (mut bare, mut last) = (false, &b""[..]);
    for line in lines(server, true).filter(|line| !line.is_empty()) {
        let header = line.iter().position(|o| !(o.is_ascii_alphanumeric() || *o == b'-'));
        let header = header.is_some_and(|at| at > 0 && line.get(at) == Some(&b':'));
        if header || line.starts_with(b"+OK ") || line.starts_with(b"-ERR ") {
            return false;
        }
        bare |= matches!(line, b"+OK" | b"-ERR");
        last = line;
    }
    bare && !matches!(last, b"." | b"+OK" | b"-ERR")
}

/// Whether nothing speaks against `prior`, which the port suggests. Text of a message may be anything, and in the middle
/// it may be all that is seen; but a server of SMTP speaks in codes, and a client of POP3 in commands.
pub(super) fn may_be(evidence: &DetectionEvidence<'_>, prior: Protocol) -> bool {
    let client = || lines(evidence.client, evidence.last).filter(|line| !line.is_empty()).take(ENOUGH);
    let mut server = lines(evidence.server, evidence.last).filter(|line| !line.is_empty()).take(ENOUGH);
    let is_silent = server.clone().next().is_none();
    let fits = is_silent || server.any(|line| server::fits(line, prior));
    let says = client().map(client::says).collect::<SmallVec<[Says; ENOUGH]>>();
    // USER and PASS are commands of FTP, where the server speaks in codes.
    let coded = matches!(prior, Protocol::Smtp | Protocol::Lmtp);
    let foreign = |says: &Says| match says {
        Says::Other(_) | Says::Ftp | Says::Nntp | Says::Http => true,
        Says::Pop3Like => coded,
        _ => false,
    };
    let alien = says.iter().any(foreign);
    let own = says.iter().any(|says| matches!(says, Says::Mail(protocol) if related(*protocol, prior)));
    if !evidence.midstream {
        // All that was seen is the client: a command of this protocol, or of several.
        let shared = says.iter().any(|says| matches!(says, Says::Auth | Says::Shared | Says::Pop3Like));
        return if is_silent { own || shared && !alien } else { fits };
    }
    match prior {
        Protocol::Smtp | Protocol::Lmtp => fits && (own || !alien),
        Protocol::Pop3 if says.is_empty() => !is_bare_answer(evidence.server),
        Protocol::Pop3 => own || !alien && !client().any(client::is_no_pop3),
        _ => own || !alien && fits || says.is_empty(),
    }
}

/// The protocol that most anchors are of; none if two have as many.
fn most<'a>(lines: impl Iterator<Item = &'a [u8]>, anchor: fn(&[u8]) -> Option<Protocol>) -> Option<Protocol> {
    let mut counts = [(Protocol::Smtp, 0_u32), (Protocol::Pop3, 0), (Protocol::Imap, 0)];
    let mut lmtp = false;
    for protocol in lines.filter_map(anchor) {
        lmtp |= protocol == Protocol::Lmtp;
        for (family, count) in &mut counts {
            *count += u32::from(related(*family, protocol));
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match counts {
        [(_, 0), ..] => None,
        [(_, first), (_, second), _] if first == second => None,
        [(Protocol::Smtp, _), ..] if lmtp => Some(Protocol::Lmtp),
        [(protocol, _), ..] => Some(protocol),
    }
}

/// One direction only, on any port: nothing in it but anchors of one protocol, three or more.
fn alone(evidence: &DetectionEvidence<'_>, swapped: &DetectionEvidence<'_>) -> Option<Verdict> {
    let only = |octets: &[u8], anchor: fn(&[u8]) -> Option<Protocol>| {
        let protocol = most(lines(octets, true), anchor)?;
        let of_it = |line: &[u8]| anchor(line).is_some_and(|p| related(p, protocol));
        (lines(octets, true).count() >= 3 && lines(octets, true).all(of_it)).then_some(protocol)
    };
    let told = |view: &DetectionEvidence<'_>| match (view.client, view.server) {
        (octets, []) => only(octets, client::anchor),
        // Replies of SMTP are like those of others, unless one of them is like none; `+OK` alone is what Redis says.
        ([], octets) if lines(octets, true).any(|line| server::is_strong(line) || line.starts_with(b"+OK ")) => {
            only(octets, server::anchor)
        }
        _ => None,
    };
    if let Some(protocol) = told(evidence) {
        return Some(Verdict::Mail { protocol, reversed: false });
    }
    let protocol = told(swapped).filter(|_| evidence.reversible)?;
    Some(Verdict::Mail { protocol, reversed: true })
}
