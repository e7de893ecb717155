//! The words of POP3: command lines, status lines, what a refusal means (RFC 1939, 2449, 3206, 5034).

use crate::event::Verb;
use crate::event::{AuthOutcome, Reply, Status};
use memchr::memmem;

/// A command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandLine<'a> {
    pub(super) verb: Verb,
    /// Everything after the first space, spaces included.
    pub(super) rest: &'a [u8],
    /// There is a space after the verb, and nothing but spaces behind it.
    pub(super) trailing_space: bool,
}

/// Splits a command line; blanks before the verb are passed over.
pub(super) fn words(line: &[u8]) -> CommandLine<'_> {
    let line = trim_blanks(line);
    let space = line.iter().position(|o| *o == b' ' || *o == b'\t');
    let (verb, rest) = match space.and_then(|at| line.split_at_checked(at)) {
        Some((verb, rest)) => (verb, rest.get(1..).unwrap_or_default()),
        None => (line, &[][..]),
    };
    CommandLine { verb: verb_of(verb), rest, trailing_space: space.is_some() && rest.trim_ascii().is_empty() }
}

fn verb_of(word: &[u8]) -> Verb {
    const KNOWN: [Verb; 20] = [
        Verb::User,
        Verb::Pass,
        Verb::Apop,
        Verb::Auth,
        Verb::Capa,
        Verb::Stls,
        Verb::Stat,
        Verb::List,
        Verb::Retr,
        Verb::Dele,
        Verb::Top,
        Verb::Uidl,
        Verb::Noop,
        Verb::Rset,
        Verb::Quit,
        Verb::Last,
        Verb::Utf8,
        Verb::Lang,
        Verb::Xtnd,
        Verb::Xsender,
    ];
    let known = KNOWN.iter().find(|v| v.as_str().as_bytes().eq_ignore_ascii_case(word));
    known.copied().unwrap_or_default()
}

/// The arguments of `words` that may be shown: numbers and language tags, nothing a person chose.
pub(super) fn safe_args<'a>(words: &CommandLine<'a>) -> Option<&'a [u8]> {
    const LONGEST: usize = 64;
    let args = words.rest.trim_ascii();
    let safe = |octet: &u8| match words.verb {
        Verb::List | Verb::Retr | Verb::Dele | Verb::Top | Verb::Uidl | Verb::Xsender => {
            octet.is_ascii_digit() || *octet == b' '
        }
        Verb::Lang => octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'*'),
        _ => false,
    };
    (!args.is_empty() && args.len() <= LONGEST && args.iter().all(safe)).then_some(args)
}

/// `text` without blanks at its head.
pub(super) fn trim_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|o| matches!(o, b' ' | b'\t')).count();
    text.get(blanks..).unwrap_or_default()
}

/// What a line of the server begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indicator<'a> {
    /// `+OK`, and the text after it.
    Ok(&'a [u8]),
    /// `-ERR`, and the text after it.
    Err(&'a [u8]),
    /// `+`, and the challenge after it (RFC 5034 section 4).
    Challenge(&'a [u8]),
}

/// Reads a status or continuation line; `None` for anything else. Lower case is seen in the field.
pub(super) fn head(line: &[u8]) -> Option<Indicator<'_>> {
    if let Some(text) = after(line, b"+OK") {
        return Some(Indicator::Ok(text));
    }
    if let Some(text) = after(line, b"-ERR") {
        return Some(Indicator::Err(text));
    }
    match line {
        [b'+'] => Some(Indicator::Challenge(b"")),
        [b'+', b' ', text @ ..] => Some(Indicator::Challenge(text)),
        _ => None,
    }
}

/// The same where nothing but a reply can come: blanks before it, and text right behind it, are passed over.
pub(super) fn loose_head(line: &[u8], challenge: bool) -> Option<Indicator<'_>> {
    let line = trim_blanks(line);
    let glued = |word: &[u8]| line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    match line {
        _ if glued(b"+OK") => Some(Indicator::Ok(line.get(3..).unwrap_or_default().trim_ascii_start())),
        _ if glued(b"-ERR") => Some(Indicator::Err(line.get(4..).unwrap_or_default().trim_ascii_start())),
        [b'+', text @ ..] if challenge => Some(Indicator::Challenge(trim_blanks(text))),
        _ => None,
    }
}

/// Whether `text` begins with a status line; `None` if more of it must come to tell.
pub(super) fn is_status(text: &[u8]) -> Option<bool> {
    for word in [&b"+OK"[..], b"-ERR"] {
        let shown = text.get(..word.len()).unwrap_or(text);
        if word.get(..shown.len()).is_some_and(|head| head.eq_ignore_ascii_case(shown)) {
            return text.get(word.len()).map(|next| !next.is_ascii_alphanumeric());
        }
    }
    Some(false)
}

/// What follows `word`, which must stand alone.
fn after<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(word.len())?;
    let alone = rest.first().is_none_or(|o| !o.is_ascii_alphanumeric());
    (alone && head.eq_ignore_ascii_case(word)).then(|| rest.trim_ascii_start())
}

/// Fills `reply`. A response code is believed if the server announced such (`trusted`) or if it is a known one
/// (RFC 2449 section 8). At most `cap` octets of text are kept.
pub(super) fn fill(reply: &mut Reply, head: Indicator<'_>, trusted: bool, cap: usize) {
    let (status, mut text) = match head {
        Indicator::Ok(text) => (Some(Status::PopOk), text),
        Indicator::Err(text) => (Some(Status::PopErr), text),
        Indicator::Challenge(_) => (None, &[][..]),
    };
    reply.clear();
    reply.status = status;
    if let Some((code, rest)) = response_code(text, trusted) {
        reply.response_code.set(code);
        text = rest.trim_ascii_start();
    }
    reply.text.set(text.get(..cap).unwrap_or(text));
}

fn response_code(text: &[u8], trusted: bool) -> Option<(&[u8], &[u8])> {
    const KNOWN: [&[u8]; 6] = [b"LOGIN-DELAY", b"IN-USE", b"SYS/TEMP", b"SYS/PERM", b"AUTH", b"UTF8"];
    let inside = text.strip_prefix(b"[")?;
    let end = inside.iter().position(|o| *o == b']')?;
    let (code, rest) = inside.split_at_checked(end)?;
    let word = code.split(|o| *o == b' ').next().unwrap_or_default();
    let known = KNOWN.iter().any(|k| k.eq_ignore_ascii_case(word));
    let grammatical = !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    (known || (trusted && grammatical)).then_some((code, rest.get(1..).unwrap_or_default()))
}

/// What `-ERR` in answer to an attempt means. `fresh`: the server had asked for nothing yet, so that it may be the
/// mechanism it does not like.
pub(super) fn refusal(reply: &Reply, cancelled: bool, fresh: bool, logged_in: bool) -> AuthOutcome {
    let code = reply.response_code.as_bytes().to_ascii_uppercase();
    let text = reply.text.as_bytes().to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| memmem::find(&text, w.as_bytes()).is_some());
    let coded = |codes: &[&str]| codes.iter().any(|c| code.starts_with(c.as_bytes()));
    if cancelled {
        return AuthOutcome::Cancelled;
    }
    if coded(&["SYS/TEMP", "IN-USE", "LOGIN-DELAY"]) {
        return AuthOutcome::Temporary;
    }
    if says(&["tls", "ssl", "plaintext auth", "cleartext", "encrypt", "secure connection", "secure channel"]) {
        return AuthOutcome::NeedsTls;
    }
    if coded(&["AUTH", "SYS/PERM"]) {
        return AuthOutcome::Failed;
    }
    // For the session's state: only one login is valid (RFC 1939 section 4).
    if logged_in && says(&["already", "state", "unknown command", "unrecogni"]) {
        return AuthOutcome::RejectedMechanism;
    }
    if says(&["mechanism is too weak", "mechanism too weak"]) {
        return AuthOutcome::RejectedMechanism;
    }
    if fresh
        && says(&["mechanism", "unsupported", "not support", "unknown", "unimplemented", "unrecogni", "not enabled"])
    {
        return AuthOutcome::RejectedMechanism;
    }
    if says(&["temporar", "try again", "already locked", "is locked", "in use"]) {
        return AuthOutcome::Temporary;
    }
    AuthOutcome::Failed
}

/// Leading decimal number of `text`, and what follows it.
pub(super) fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|o| o.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    let value = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((value, rest))
}

/// Two decimal numbers at the head of `text`: a scan listing, a drop listing (RFC 1939 section 5).
pub(super) fn two_numbers(text: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = number(text)?;
    let (second, rest) = number(Some(trim_blanks(rest)).filter(|word| word.len() < rest.len())?)?;
    rest.first().is_none_or(u8::is_ascii_whitespace).then_some((first, second))
}

/// Whether `line` can stand in the answer to LIST or UIDL: a message number and one word (RFC 1939 sections 5 and 7).
pub(super) fn is_listing(line: &[u8]) -> bool {
    const LONGEST_ID: usize = 70;
    let Some((_, rest)) = number(line).filter(|_| !line.starts_with(b"0")) else { return false };
    let word = trim_blanks(rest);
    let word = if word.len() < rest.len() { word } else { &[] };
    (1..=LONGEST_ID).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic)
}

/// The size in `+OK 120 octets`.
pub(super) fn octets(text: &[u8]) -> Option<u64> {
    let (size, rest) = number(text.trim_ascii_start().strip_prefix(b"(").unwrap_or(text))?;
    let rest = rest.trim_ascii_start();
    let is = |unit: &[u8]| rest.get(..unit.len()).is_some_and(|head| head.eq_ignore_ascii_case(unit));
    (is(b"octet") || is(b"byte")).then_some(size)
}

/// The size that the answer to RETR tells: `120 octets`, or `120` alone.
pub(super) fn announced(text: &[u8]) -> Option<u64> {
    octets(text).or_else(|| number(text.trim_ascii()).filter(|(_, rest)| rest.is_empty()).map(|(size, _)| size))
}

/// Whether `text` is the answer to STAT or to LIST with a number: two numbers and nothing else.
pub(super) fn is_two_numbers(text: &[u8]) -> bool {
    let digits = |o: &u8| o.is_ascii_digit() || *o == b' ';
    two_numbers(text).is_some() && text.iter().all(digits)
}

/// Whether the server says that its patience is over.
pub(super) fn is_timeout(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    let says = |word: &[u8]| memmem::find(&text, word).is_some();
    says(b"idle") || says(b"timeout") || says(b"timed out") || says(b"inactiv") || says(b"autologout")
}

/// Whether a refusal may be the server's last word, which answers nothing.
pub(super) fn is_goodbye(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let says = |word: &[u8]| memmem::find(&lower, word).is_some();
    is_timeout(text) || lower.starts_with(b"[sys/") || says(b"going down") || says(b"shut")
}

/// Replaces the APOP timestamp `<…@…>` of a greeting: with it, an APOP digest can be guessed off line (RFC 1939 section 7).
pub(super) fn without_timestamp(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.iter().position(|o| *o == b'<').and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(before);
        let end = from.iter().position(|o| *o == b'>').map_or(from.len(), |at| at + 1);
        let (stamp, next) = from.split_at_checked(end).unwrap_or((from, &[]));
        out.extend_from_slice(if stamp.contains(&b'@') { b"[redacted]" } else { stamp });
        rest = next;
    }
    out.extend_from_slice(rest);
    out
}

/// Whether `line` looks like base64 of some length, not like words.
pub(super) fn is_base64(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    text.len() >= 8
        && text.len().is_multiple_of(4)
        && text.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stands_alone_and_in_any_case() {
        assert_eq!(head(b"+OK"), Some(Indicator::Ok(b"")));
        assert_eq!(head(b"+ok  hi"), Some(Indicator::Ok(b"hi")));
        assert_eq!(head(b"-ERR no"), Some(Indicator::Err(b"no")));
        assert_eq!(head(b"+"), Some(Indicator::Challenge(b"")));
        assert_eq!(head(b"+ YQ=="), Some(Indicator::Challenge(b"YQ==")));
        for no in [&b"+OKAY"[..], b"-ERROR", b"text", b"", b"-", b"+x", b"--=_next"] {
            assert_eq!(head(no), None);
        }
    }

    #[test]
    fn a_status_is_told_by_its_first_octets() {
        for (text, want) in [
            (&b""[..], None),
            (b"+", None),
            (b"-er", None),
            (b"+ok", None),
            (b"+OK\r", Some(true)),
            (b"-ERR no", Some(true)),
            (b"+OKAY", Some(false)),
            (b"+a", Some(false)),
            (b"x", Some(false)),
        ] {
            assert_eq!(is_status(text), want, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_status_may_have_blanks_before_it_and_text_behind_it() {
        assert_eq!(loose_head(b" +OKwelcome", false), Some(Indicator::Ok(b"welcome")));
        assert_eq!(loose_head(b"-ERRno", false), Some(Indicator::Err(b"no")));
        assert_eq!(loose_head(b"+YQ==", true), Some(Indicator::Challenge(b"YQ==")));
        assert_eq!(loose_head(b"+YQ==", false), None);
        assert_eq!(words(b" \tSTAT").verb, Verb::Stat);
        assert_eq!((two_numbers(b"1\t 20"), two_numbers(b"120")), (Some((1, 20)), None));
        assert!(is_two_numbers(b"2 320") && !is_two_numbers(b"2 320 octets") && !is_two_numbers(b"2"));
        assert_eq!(
            (announced(b"120"), announced(b"120 octets"), announced(b"120 messages")),
            (Some(120), Some(120), None)
        );
    }

    #[test]
    fn a_response_code_is_believed_when_known_or_announced() {
        let mut reply = Reply::default();
        fill(&mut reply, Indicator::Err(b"[IN-USE] wait"), false, 99);
        assert_eq!((reply.response_code.as_bytes(), reply.text.as_bytes()), (&b"IN-USE"[..], &b"wait"[..]));
        fill(&mut reply, Indicator::Err(b"[POP3] no"), false, 99);
        assert_eq!((reply.response_code.get(), reply.text.as_bytes()), (None, &b"[POP3] no"[..]));
        fill(&mut reply, Indicator::Err(b"[POP3] no"), true, 1);
        assert_eq!((reply.response_code.as_bytes(), reply.text.as_bytes()), (&b"POP3"[..], &b"n"[..]));
    }

    #[test]
    fn a_refusal_is_told_apart() {
        let cases: &[(&[u8], AuthOutcome)] = &[
            (b"[SYS/TEMP] later", AuthOutcome::Temporary),
            (b"[AUTH] bad password", AuthOutcome::Failed),
            (b"[AUTH] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", AuthOutcome::NeedsTls),
            (b"Unsupported authentication mechanism", AuthOutcome::RejectedMechanism),
            (b"maildrop already locked", AuthOutcome::Temporary),
            (b"no", AuthOutcome::Failed),
        ];
        for (text, expected) in cases {
            let mut reply = Reply::default();
            fill(&mut reply, Indicator::Err(text), false, 999);
            assert_eq!(refusal(&reply, false, true, false), *expected);
            assert_eq!(refusal(&reply, true, true, false), AuthOutcome::Cancelled);
        }
    }

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(two_numbers(b"2 320"), Some((2, 320)));
        assert_eq!(two_numbers(b"2 320 more"), Some((2, 320)));
        assert_eq!(two_numbers(b"2 abc"), None);
        assert_eq!(two_numbers(b"99999999999999999999999 1"), None);
        assert_eq!(octets(b"120 octets follow"), Some(120));
        assert_eq!(octets(b"2 messages"), None);
        assert!(is_listing(b"1 120") && is_listing(b"12 000000026b0627f3"));
        assert!(!is_listing(b"1 two words") && !is_listing(b"0123 abc") && !is_listing(b"7") && !is_listing(b"7 "));
    }

    #[test]
    fn the_timestamp_of_a_greeting_is_taken_out() {
        assert_eq!(without_timestamp(b"ready <1.2@h> <b>"), b"ready [redacted] <b>");
        assert_eq!(without_timestamp(b"ready <1.2@h"), b"ready [redacted]");
    }

    #[test]
    fn arguments_that_a_person_chose_are_not_shown() {
        assert_eq!(safe_args(&words(b"TOP 1 20")), Some(&b"1 20"[..]));
        assert_eq!(safe_args(&words(b"RETR hunter2")), None);
        assert_eq!(safe_args(&words(b"PASS 1")), None);
        assert!(words(b"list  ").trailing_space && !words(b"LIST").trailing_space);
        assert_eq!(words(b"PASS my s3cret  x ").rest, b"my s3cret  x ");
    }
}
