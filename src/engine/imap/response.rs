//! The server's responses: their types, the commands that asked for them, status texts (RFC 9051 section 7).

use super::lex;
use crate::event::Text;
use crate::event::{AuthOutcome, Status};
use crate::event::{Untagged, Verb};

/// A line of the server, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response<'a> {
    /// `+`: what follows it.
    Continuation(&'a [u8]),
    /// `*`: the number before the type, if there is one; the type; what follows it.
    Untagged(Option<u64>, Untagged, &'a [u8]),
    /// A completion.
    Tagged(&'a [u8], Status, &'a [u8]),
    /// None of these.
    Other,
}

/// Reads the head of `line`. Some servers begin lines with a blank, put several between words, and put the text of a
/// continuation right behind its `+`.
pub(super) fn parse(line: &[u8]) -> Response<'_> {
    let line = lex::trim_start(line);
    if let Some(text) = line.strip_prefix(b"+") {
        return Response::Continuation(lex::trim_start(text));
    }
    let (tag, rest) = lex::word(line);
    let (word, text) = lex::word(rest);
    if tag == b"*" {
        let Some(number) = lex::number(word) else { return Response::Untagged(None, kind(word), text) };
        let (word, text) = lex::word(text);
        return Response::Untagged(Some(number), kind(word), text);
    }
    match status(word) {
        Some(status @ (Status::Ok | Status::No | Status::Bad)) if !tag.is_empty() => {
            Response::Tagged(tag, status, text)
        }
        _ => Response::Other,
    }
}

/// A status word.
fn status(word: &[u8]) -> Option<Status> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    [(&b"OK"[..], Status::Ok), (b"NO", Status::No), (b"BAD", Status::Bad)]
        .into_iter()
        .find_map(|(name, status)| is(name).then_some(status))
}

/// The status of an untagged response that is one.
pub(super) fn status_of(kind: Untagged) -> Option<Status> {
    Some(match kind {
        Untagged::Ok => Status::Ok,
        Untagged::No => Status::No,
        Untagged::Bad => Status::Bad,
        Untagged::Bye => Status::Bye,
        Untagged::Preauth => Status::Preauth,
        _ => return None,
    })
}

fn kind(word: &[u8]) -> Untagged {
    let known = Untagged::ALL.iter().find(|kind| word.eq_ignore_ascii_case(kind.as_str().as_bytes()));
    known.copied().unwrap_or(Untagged::Other)
}

/// Whether a command with `verb` asks for data of `kind`.
pub(super) fn asks(verb: Verb, kind: Untagged) -> bool {
    use Verb as V;
    match kind {
        Untagged::Fetch | Untagged::UidFetch => {
            matches!(verb, V::Fetch | V::UidFetch | V::Store | V::UidStore | V::Select | V::Examine)
        }
        Untagged::Search => matches!(verb, V::Search | V::UidSearch),
        Untagged::Esearch => {
            matches!(verb, V::Search | V::UidSearch | V::Esearch | V::Sort | V::UidSort | V::Thread | V::UidThread)
        }
        Untagged::Sort => matches!(verb, V::Sort | V::UidSort),
        Untagged::Thread => matches!(verb, V::Thread | V::UidThread),
        Untagged::Expunge => {
            matches!(verb, V::Expunge | V::UidExpunge | V::Move | V::UidMove | V::Replace | V::UidReplace)
        }
        Untagged::Vanished => {
            matches!(verb, V::Select | V::Examine | V::UidFetch | V::Expunge | V::UidExpunge | V::Move | V::UidMove)
        }
        Untagged::Flags | Untagged::Exists | Untagged::Recent => matches!(verb, V::Select | V::Examine),
        // COPYUID and APPENDUID come so (RFC 6851 section 4.3, RFC 8508 section 3.3).
        Untagged::Ok => {
            matches!(verb, V::Select | V::Examine | V::Move | V::UidMove | V::Replace | V::UidReplace)
        }
        Untagged::List => matches!(verb, V::List | V::Rlist),
        Untagged::Lsub => matches!(verb, V::Lsub | V::Rlsub),
        Untagged::Xlist => verb == V::Xlist,
        Untagged::Status => matches!(verb, V::StatusCmd | V::List),
        Untagged::Capability => matches!(verb, V::Capability | V::Login | V::Authenticate),
        Untagged::Enabled => verb == V::Enable,
        Untagged::Namespace => verb == V::Namespace,
        Untagged::Id => verb == V::Id,
        Untagged::Bye => verb == V::Logout,
        Untagged::Acl => verb == V::GetAcl,
        Untagged::ListRights => verb == V::ListRights,
        Untagged::MyRights => matches!(verb, V::MyRights | V::List),
        Untagged::Quota => matches!(verb, V::GetQuota | V::GetQuotaRoot | V::SetQuota),
        Untagged::QuotaRoot => verb == V::GetQuotaRoot,
        Untagged::Metadata => matches!(verb, V::GetMetadata | V::List),
        Untagged::Annotation => verb == V::GetAnnotation,
        Untagged::Language => verb == V::Language,
        Untagged::Comparator => verb == V::Comparator,
        Untagged::GenUrlAuth => verb == V::GenUrlAuth,
        Untagged::UrlFetch => verb == V::UrlFetch,
        Untagged::Conversion => verb == V::Conversions,
        Untagged::Converted => matches!(verb, V::Convert | V::UidConvert),
        Untagged::JmapAccess => verb == V::GetJmapAccess,
        Untagged::XApplePush => verb == V::XApplePush,
        Untagged::Other | Untagged::No | Untagged::Bad | Untagged::Preauth => false,
    }
}

/// The tag that a response names as its command's (RFC 4466 section 2.6.2).
pub(super) fn correlator(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"(")?;
    let (name, rest) = lex::word(inner);
    let rest = rest.strip_prefix(b"\"").filter(|_| name.eq_ignore_ascii_case(b"TAG"))?;
    rest.get(..lex::quoted_end(rest)?)
}

/// Sets the response code and the text of a status response, `cap` octets of each at most.
pub(super) fn texts(text: &[u8], cap: usize, code: &mut Text, out: &mut Text) {
    let (found, rest) = lex::response_code(text);
    if let Some(found) = found {
        set_masked(code, found, cap);
    }
    set_masked(out, rest, cap);
}

/// A URL's authorization (RFC 4467) is a secret wherever it stands.
fn set_masked(out: &mut Text, text: &[u8], cap: usize) {
    const MARK: &[u8] = b";URLAUTH=";
    out.set(b"");
    let mut rest = text.get(..cap.min(text.len())).unwrap_or_default();
    while let Some(at) = rest.windows(MARK.len()).position(|w| w.eq_ignore_ascii_case(MARK)) {
        let (head, tail) = rest.split_at_checked(at + MARK.len()).unwrap_or((rest, b""));
        out.push(head);
        out.push(b"[redacted]");
        let end = tail.iter().position(|o| matches!(o, b' ' | b'"' | b']' | b'>')).unwrap_or(tail.len());
        rest = tail.get(end..).unwrap_or_default();
    }
    out.push(rest);
}

/// How an attempt ended that was answered with `status` and a response code (RFC 9051 section 7.1).
pub(super) fn auth_outcome(
    status: Status,
    code: &[u8],
    text: &[u8],
    cancelled: bool,
    login_disabled: bool,
    authenticated: bool,
) -> AuthOutcome {
    let (code, _) = lex::word(code);
    let is = |name: &[u8]| code.eq_ignore_ascii_case(name);
    let says = |name: &[u8]| text.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name));
    match status {
        Status::Ok => AuthOutcome::Success,
        _ if cancelled => AuthOutcome::Cancelled,
        _ if is(b"PRIVACYREQUIRED") || (login_disabled && !is(b"AUTHENTICATIONFAILED")) => AuthOutcome::NeedsTls,
        _ if is(b"UNAVAILABLE") || is(b"INUSE") || is(b"SERVERBUG") || is(b"LIMIT") => AuthOutcome::Temporary,
        _ if is(b"AUTHENTICATIONFAILED") || is(b"AUTHORIZATIONFAILED") || is(b"EXPIRED") => AuthOutcome::Failed,
        // For the session's state, not for a credential: only one login is valid (RFC 9051 section 6.2).
        _ if authenticated && (status == Status::Bad || says(b"already") || says(b"state")) => {
            AuthOutcome::RejectedMechanism
        }
        _ if is(b"CANNOT")
            || (says(b"mechanism") && (says(b"support") || says(b"unknown") || says(b"disabled") || says(b"weak"))) =>
        {
            AuthOutcome::RejectedMechanism
        }
        _ => AuthOutcome::Failed,
    }
}

/// Whether a BYE says that the server's patience was over.
pub(super) fn is_timeout(text: &[u8]) -> bool {
    [&b"inactiv"[..], b"idle", b"timeout", b"timed out", b"autologout"]
        .iter()
        .any(|word| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)))
}

/// Words of PREAUTH greetings that name nobody.
const COMMON: &[&str] = &[
    "a",
    "an",
    "and",
    "as",
    "at",
    "authenticated",
    "by",
    "connection",
    "courier-imap",
    "cyrus",
    "dovecot",
    "exchange",
    "external",
    "for",
    "from",
    "hello",
    "hi",
    "imap",
    "imap4",
    "imap4rev1",
    "imap4rev2",
    "in",
    "is",
    "logged",
    "login",
    "mail",
    "mailbox",
    "mailserver",
    "microsoft",
    "on",
    "ok",
    "pre-authenticated",
    "preauth",
    "preauthenticated",
    "ready",
    "server",
    "service",
    "session",
    "the",
    "to",
    "user",
    "version",
    "welcome",
    "with",
    "you",
];

/// Who a PREAUTH greeting may say that the client is: any word that is not a common one, those with a sign of a name last
/// (behind `as`, as in the example of RFC 9051 section 7.1.4, and addresses). Outputs that hide identities must find
/// them; no record takes them for one.
pub(super) fn names_in(text: &[u8]) -> Vec<&[u8]> {
    let is_separator = |byte: &u8| byte.is_ascii_whitespace() || b"\"'<>()[],;:!".contains(byte);
    let words = text.split(is_separator).map(|word| word.strip_suffix(b".").unwrap_or(word));
    let (mut names, mut others, mut behind_as) = (Vec::new(), Vec::new(), false);
    for word in words.filter(|word| !word.is_empty()) {
        let is_filler = behind_as && word.eq_ignore_ascii_case(b"user");
        if (behind_as && !is_filler) || word.contains(&b'@') {
            names.push(word);
        } else if word.len() > 1
            && word.iter().any(u8::is_ascii_alphabetic)
            && !COMMON.iter().any(|common| word.eq_ignore_ascii_case(common.as_bytes()))
        {
            others.push(word);
        }
        behind_as = is_filler || word.eq_ignore_ascii_case(b"as");
    }
    others.extend(names);
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_responses() {
        for (line, want) in [
            (&b"+"[..], Response::Continuation(b"")),
            (b"+ ", Response::Continuation(b"")),
            (b"+ go on", Response::Continuation(b"go on")),
            (b"+Ready", Response::Continuation(b"Ready")),
            (b"*  3   EXISTS", Response::Untagged(Some(3), Untagged::Exists, b"")),
            (b" a1  OK   in", Response::Tagged(b"a1", Status::Ok, b"in")),
            (b"a1\tNO\t[X] y", Response::Tagged(b"a1", Status::No, b"[X] y")),
            (b"* 3 EXISTS", Response::Untagged(Some(3), Untagged::Exists, b"")),
            (b"* list () \"/\" x", Response::Untagged(None, Untagged::List, b"() \"/\" x")),
            (b"* FOO", Response::Untagged(None, Untagged::Other, b"")),
            (b"a1 ok [X] y", Response::Tagged(b"a1", Status::Ok, b"[X] y")),
            (b"a1 BYE", Response::Other),
            (b" OK", Response::Other),
            (b"", Response::Other),
        ] {
            assert_eq!(parse(line), want, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn url_authorization_is_not_kept() {
        let (mut code, mut text) = (Text::default(), Text::default());
        texts(b"[REFERRAL imap://a/;URLAUTH=x:y:z] see ;urlauth=q", 99, &mut code, &mut text);
        assert_eq!(code.as_bytes(), b"REFERRAL imap://a/;URLAUTH=[redacted]");
        assert_eq!(text.as_bytes(), b"see ;urlauth=[redacted]");
    }

    #[test]
    fn a_greeting_of_success_names_the_client() {
        let names = |text: &'static str| names_in(text.as_bytes());
        assert_eq!(names("IMAP4rev1 server logged in as Smith"), [b"Smith"]);
        assert_eq!(names("Logged in as user ann."), [b"ann"]);
        assert_eq!(names("Welcome, <ann@x.org>"), [b"ann@x.org"]);
        assert_eq!(names("ann's mailbox is ready, ann.lee: welcome to mx1"), [&b"ann"[..], b"ann.lee", b"mx1"]);
        assert_eq!(names("as user ann, by proxy"), [&b"proxy"[..], b"ann"]);
        assert!(names("IMAP4rev1 Service Ready 3.2!").is_empty());
    }
}
