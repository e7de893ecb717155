//! A client's line: verb, path, parameters (RFC 5321 section 4.1). Borrowed, never failing.

use memchr::memchr;

use crate::event::Verb;

/// The verb of a line, and what follows it. An unknown one is [`Verb::Other`] with nothing to show.
pub(super) fn verb(line: &[u8]) -> (Verb, &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(|o| matches!(o, b' ' | b'\t')).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    match known(word) {
        Some(verb) => (verb, rest.trim_ascii_start()),
        None => (Verb::Other, &[]),
    }
}

/// The commands that are known, the frequent ones first.
const VERBS: &[Verb] = &[
    Verb::Rcpt,
    Verb::Mail,
    Verb::Data,
    Verb::Ehlo,
    Verb::Quit,
    Verb::Rset,
    Verb::Bdat,
    Verb::Auth,
    Verb::StartTls,
    Verb::Helo,
    Verb::Lhlo,
    Verb::Noop,
    Verb::Vrfy,
    Verb::Expn,
    Verb::Help,
    Verb::Burl,
    Verb::Etrn,
    Verb::Turn,
    Verb::Atrn,
    Verb::Send,
    Verb::Soml,
    Verb::Saml,
    Verb::Xclient,
    Verb::Xforward,
    Verb::Xexch50,
    Verb::XExps,
    Verb::XAnonymousTls,
    Verb::XLink2State,
    Verb::Onex,
    Verb::Verb,
    Verb::Tick,
    Verb::Debug,
    Verb::Wiz,
    Verb::Kill,
    Verb::Showq,
];

fn known(word: &[u8]) -> Option<Verb> {
    VERBS.iter().copied().find(|verb| word.eq_ignore_ascii_case(verb.as_str().as_bytes()))
}

/// The arguments of MAIL or RCPT, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// Mailbox without brackets and route; quoting kept. `None` if there is none, not even `<>`.
    pub(super) mailbox: Option<&'a [u8]>,
    /// Source route without its colon, such as `@a,@b`.
    pub(super) route: &'a [u8],
    /// Parameters.
    pub(super) params: &'a [u8],
}

/// Takes `FROM:<path> params` apart; `keyword` is `FROM:` or `TO:`. Blanks around the colon, missing brackets and a name
/// before the address are common in the field. `None` if the keyword is missing.
pub(super) fn path<'a>(args: &'a [u8], keyword: &[u8]) -> Option<Path<'a>> {
    let (word, rest) = args.split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    // Some clients forget the colon; without one, text may begin so.
    let rest = without_comment(rest.strip_prefix(b":").or_else(|| rest.starts_with(b"<").then_some(rest))?);
    let Some(inside) = rest.strip_prefix(b"<").or_else(|| behind_name(rest)) else {
        let blank = |at: &usize| matches!(rest.get(*at), Some(b' ' | b'\t'));
        let end = (0..rest.len()).find(|at| blank(at) && !is_quoted(rest, *at)).unwrap_or(rest.len());
        let (mailbox, params) = rest.split_at_checked(end)?;
        let mailbox = mailbox.strip_suffix(b">").unwrap_or(mailbox);
        // Parameters alone are no mailbox.
        let is_param = memchr(b'=', mailbox).is_some() && memchr(b'@', mailbox).is_none();
        let (mailbox, params) = if mailbox.is_empty() || is_param { (None, rest) } else { (Some(mailbox), params) };
        return Some(Path { mailbox, route: &[], params });
    };
    let end = unquoted(inside, b'>').unwrap_or(inside.len());
    let (mut path, after) = inside.split_at_checked(end)?;
    let mut params = after.strip_prefix(b">").unwrap_or(after);
    if let Some(at) = unquoted(path, b'<') {
        // `<Ann Example <ann@example.com>>`.
        path = path.get(at + 1..)?;
        params = params.trim_ascii_start().strip_prefix(b">").unwrap_or(params);
    }
    let path = without_comment(path);
    let colon = path.first().filter(|o| **o == b'@').and_then(|_| unquoted(path, b':'));
    let (route, mailbox) = match colon {
        Some(at) => (path.get(..at)?, path.get(at + 1..)?),
        None => (&[][..], path),
    };
    Some(Path { mailbox: Some(mailbox.trim_ascii()), route, params })
}

/// What stands behind the `<` of an address with a name before it, such as `"Joe" <joe@example.com>`. The `<` of a
/// parameter (`AUTH=<>`) is none.
fn behind_name(rest: &[u8]) -> Option<&[u8]> {
    let at = unquoted(rest, b'<')?;
    let (name, inside) = (rest.get(..at)?, rest.get(at + 1..)?);
    let is_name = name.last().is_some_and(|o| *o != b'=') && unquoted(name, b'@').is_none();
    (is_name && unquoted(inside, b'>').is_some()).then_some(inside)
}

/// Without the comments at both ends, and blanks (RFC 5322 section 3.2.2).
fn without_comment(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    if text.starts_with(b"(")
        && let Some(end) = memchr(b')', text)
    {
        text = text.get(end + 1..).unwrap_or_default().trim_ascii_start();
    }
    if text.ends_with(b")")
        && let Some(begin) = unquoted(text, b'(')
    {
        text = text.get(..begin).unwrap_or_default().trim_ascii_end();
    }
    text
}

/// Whether position `at` of `text` is inside a quoted string.
fn is_quoted(text: &[u8], at: usize) -> bool {
    text.first() == Some(&b'"') && unquoted(text, b'@').is_some_and(|end| at < end)
}

/// Position of `wanted` outside a quoted string (RFC 5321 section 4.1.2).
fn unquoted(text: &[u8], wanted: u8) -> Option<usize> {
    let first = memchr(wanted, text)?;
    if memchr(b'"', text.get(..first)?).is_none() {
        return Some(first);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            o if *o == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The parameters in `params`: keyword and value. What has no keyword (RFC 5321 section 4.1.2) is no parameter: a second
/// address, a loose `>` or comma.
pub(super) fn params(params: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let words = params.split(|o| matches!(o, b' ' | b'\t')).filter(|word| !word.is_empty());
    let parts = words.map(|word| match memchr(b'=', word) {
        Some(at) => (word.get(..at).unwrap_or(word), word.get(at + 1..)),
        None => (word, None),
    });
    parts.filter(|(keyword, _)| is_keyword(keyword))
}

fn is_keyword(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphanumeric)
        && word.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'-' | b'_' | b'.'))
}

/// Whether the value of `keyword` is xtext (RFC 3461 section 4, RFC 4954 section 5).
pub(super) fn is_xtext(keyword: &[u8]) -> bool {
    [&b"ENVID"[..], b"ORCPT", b"AUTH"].iter().any(|k| keyword.eq_ignore_ascii_case(k))
}

/// Appends `text` to `out`, its `+HH` decoded (RFC 3461 section 4). What is no xtext stays as it is.
pub(super) fn decode_xtext(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(b'+', text) {
        out.extend_from_slice(text.get(..at).unwrap_or_default());
        let hex = text.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(octet) => {
                out.push(octet);
                text = text.get(at + 3..).unwrap_or_default();
            }
            None => {
                out.push(b'+');
                text = text.get(at + 1..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(text);
}

/// The arguments of BDAT (RFC 3030 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BdatArgs {
    /// Octets that follow.
    pub(super) size: u64,
    /// Whether they end the message.
    pub(super) last: bool,
    /// Whether that is all it says: servers differ on the rest.
    pub(super) clean: bool,
}

/// Takes the arguments of BDAT apart. `None` if there is no size.
pub(super) fn bdat(args: &[u8]) -> Option<BdatArgs> {
    let mut words = args.split(|o| matches!(o, b' ' | b'\t')).filter(|word| !word.is_empty());
    let size = number(words.next()?)?;
    let word = words.next();
    let last = word.is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
    let clean = (last || word.is_none()) && words.next().is_none();
    Some(BdatArgs { size, last, clean })
}

/// A decimal number without sign.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether `line` could be a SASL response: nothing but base64, or the cancel.
pub(super) fn is_base64(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line == b"*" || line.iter().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'+' | b'/' | b'='))
}

/// Whether the first line of `octets` is a command, and could hardly be text.
pub(super) fn begins_with_command(octets: &[u8]) -> bool {
    is_command(octets.split(|o| *o == b'\n').next().unwrap_or_default())
}

/// Whether `line` is a command, and could hardly be text: `Help is on the way` is not.
pub(super) fn is_command(line: &[u8]) -> bool {
    let (verb, args) = verb(line);
    let words = || args.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    match verb {
        Verb::Other => false,
        Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml => path(args, b"FROM").is_some(),
        Verb::Rcpt => path(args, b"TO").is_some(),
        Verb::Data | Verb::Rset | Verb::Quit | Verb::StartTls | Verb::Turn | Verb::XAnonymousTls => args.is_empty(),
        Verb::Bdat => bdat(args).is_some(),
        Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Vrfy | Verb::Expn | Verb::Etrn => words() == 1,
        Verb::Noop | Verb::Help | Verb::Kill | Verb::Verb | Verb::Tick | Verb::Debug | Verb::Wiz => words() <= 1,
        _ => true,
    }
}

/// Whether `head` may be the beginning of a command.
pub(super) fn may_begin_command(head: &[u8]) -> bool {
    let head = head.trim_ascii_start();
    let end = head.iter().position(u8::is_ascii_whitespace).unwrap_or(head.len());
    let (word, rest) = head.split_at_checked(end).unwrap_or((head, &[]));
    let begins =
        |verb: &Verb| verb.as_str().as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if rest.is_empty() { VERBS.iter().any(begins) } else { known(word).is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_in_any_case() {
        assert_eq!(verb(b" mail FROM:<a>"), (Verb::Mail, &b"FROM:<a>"[..]));
        assert_eq!(verb(b"x-exps  NTLM "), (Verb::XExps, &b"NTLM"[..]));
        assert_eq!(verb(b"MAILX secret"), (Verb::Other, &b""[..]));
        assert_eq!(verb(b""), (Verb::Other, &b""[..]));
    }

    #[test]
    fn paths_with_quotes_and_routes() {
        let p = path(b"FROM: <@h1,@h2:\"a> b\"@x.org> SIZE=100", b"FROM").unwrap();
        assert_eq!(
            (p.mailbox.unwrap(), p.route, p.params),
            (&b"\"a> b\"@x.org"[..], &b"@h1,@h2"[..], &b" SIZE=100"[..])
        );
        let p = path(b"to:b@y.org NOTIFY=NEVER", b"TO").unwrap();
        assert_eq!((p.mailbox.unwrap(), p.params), (&b"b@y.org"[..], &b" NOTIFY=NEVER"[..]));
        let p = path(b"FROM:<>", b"FROM").unwrap();
        assert_eq!(p.mailbox, Some(&b""[..]));
        assert_eq!(path(b"FORM:<a>", b"FROM"), None);
        for args in [&b"TO:b@y.org> NOTIFY=NEVER"[..], b"TO <b@y.org> NOTIFY=NEVER", b"TO<b@y.org> NOTIFY=NEVER"] {
            let p = path(args, b"TO").unwrap();
            assert_eq!((p.mailbox.unwrap(), p.params), (&b"b@y.org"[..], &b" NOTIFY=NEVER"[..]));
        }
        assert_eq!(path(b"from me to you", b"FROM"), None);
        assert_eq!(path(b"FROM:<a\\\"b", b"FROM").unwrap().mailbox, Some(&b"a\\\"b"[..]));
    }

    #[test]
    fn pieces_of_a_second_address_are_no_parameters() {
        let p = path(b"TO:<b@y.org>, <c@y.org> NOTIFY=NEVER", b"TO").unwrap();
        assert_eq!(p.mailbox, Some(&b"b@y.org"[..]));
        assert_eq!(params(p.params).collect::<Vec<_>>(), [(&b"NOTIFY"[..], Some(&b"NEVER"[..]))]);
        assert_eq!(params(b" > , <x> SMTPUTF8").collect::<Vec<_>>(), [(&b"SMTPUTF8"[..], None)]);
    }

    #[test]
    fn xtext_is_decoded() {
        let mut out = Vec::new();
        decode_xtext(b"q+3D1+2+zz", &mut out);
        assert_eq!(out, b"q=1+2+zz");
    }

    #[test]
    fn bdat_sizes() {
        assert_eq!(bdat(b"21"), Some(BdatArgs { size: 21, last: false, clean: true }));
        assert_eq!(bdat(b"0  last"), Some(BdatArgs { size: 0, last: true, clean: true }));
        assert_eq!(bdat(b"5 X"), Some(BdatArgs { size: 5, last: false, clean: false }));
        assert_eq!(bdat(b"+5"), None);
        assert_eq!(bdat(b"99999999999999999999"), None);
    }
}
