//! The client's commands: their verbs, and which of their arguments may be shown.
//!
//! An argument is shown only if it is on the list here: never a search string, a credential, a value of ID or
//! METADATA, a URL, or anything of a verb that is on no list.

use super::lex;
use super::lex::{Token, Tokens};
use crate::event::Text;
use crate::event::Verb;

/// The verb at the head of `text` (after the tag), `UID` prefix included, and what follows it: a literal perhaps, with no
/// space before it.
pub(super) fn verb(text: &[u8]) -> (Verb, &[u8]) {
    let (mut word, mut rest) = lex::word(text);
    if rest.is_empty()
        && let Some(header) = lex::literal(word)
    {
        (word, rest) = word.split_at_checked(header.start).unwrap_or((word, rest));
    }
    if word.eq_ignore_ascii_case(b"UID") {
        let (word, rest) = lex::word(rest);
        return (known(word, true).unwrap_or_default(), rest);
    }
    (known(word, false).unwrap_or_default(), rest)
}

fn known(word: &[u8], uid: bool) -> Option<Verb> {
    let mut upper = [0; 20];
    let upper = upper.get_mut(..word.len())?;
    upper.copy_from_slice(word);
    upper.make_ascii_uppercase();
    Some(match (&*upper, uid) {
        (b"FETCH", false) => Verb::Fetch,
        (b"FETCH", true) => Verb::UidFetch,
        (b"STORE", false) => Verb::Store,
        (b"STORE", true) => Verb::UidStore,
        (b"SEARCH", false) => Verb::Search,
        (b"SEARCH", true) => Verb::UidSearch,
        (b"COPY", false) => Verb::Copy,
        (b"COPY", true) => Verb::UidCopy,
        (b"MOVE", false) => Verb::Move,
        (b"MOVE", true) => Verb::UidMove,
        (b"EXPUNGE", false) => Verb::Expunge,
        (b"EXPUNGE", true) => Verb::UidExpunge,
        (b"SORT", false) => Verb::Sort,
        (b"SORT", true) => Verb::UidSort,
        (b"THREAD", false) => Verb::Thread,
        (b"THREAD", true) => Verb::UidThread,
        (b"REPLACE", false) => Verb::Replace,
        (b"REPLACE", true) => Verb::UidReplace,
        (b"CONVERT", false) => Verb::Convert,
        (b"CONVERT", true) => Verb::UidConvert,
        (_, true) => return None,
        (b"CAPABILITY", _) => Verb::Capability,
        (b"NOOP", _) => Verb::Noop,
        (b"LOGOUT", _) => Verb::Logout,
        (b"STARTTLS", _) => Verb::StartTls,
        (b"AUTHENTICATE", _) => Verb::Authenticate,
        (b"LOGIN", _) => Verb::Login,
        (b"ENABLE", _) => Verb::Enable,
        (b"SELECT", _) => Verb::Select,
        (b"EXAMINE", _) => Verb::Examine,
        (b"CREATE", _) => Verb::Create,
        (b"DELETE", _) => Verb::Delete,
        (b"RENAME", _) => Verb::Rename,
        (b"SUBSCRIBE", _) => Verb::Subscribe,
        (b"UNSUBSCRIBE", _) => Verb::Unsubscribe,
        (b"LIST", _) => Verb::List,
        (b"LSUB", _) => Verb::Lsub,
        (b"XLIST", _) => Verb::Xlist,
        (b"NAMESPACE", _) => Verb::Namespace,
        (b"STATUS", _) => Verb::StatusCmd,
        (b"APPEND", _) => Verb::Append,
        (b"IDLE", _) => Verb::Idle,
        (b"CHECK", _) => Verb::Check,
        (b"CLOSE", _) => Verb::Close,
        (b"UNSELECT", _) => Verb::Unselect,
        (b"ESEARCH", _) => Verb::Esearch,
        (b"CANCELUPDATE", _) => Verb::CancelUpdate,
        (b"COMPRESS", _) => Verb::Compress,
        (b"UNAUTHENTICATE", _) => Verb::Unauthenticate,
        (b"NOTIFY", _) => Verb::Notify,
        (b"ID", _) => Verb::Id,
        (b"LANGUAGE", _) => Verb::Language,
        (b"COMPARATOR", _) => Verb::Comparator,
        (b"GETQUOTA", _) => Verb::GetQuota,
        (b"GETQUOTAROOT", _) => Verb::GetQuotaRoot,
        (b"SETQUOTA", _) => Verb::SetQuota,
        (b"GETACL", _) => Verb::GetAcl,
        (b"SETACL", _) => Verb::SetAcl,
        (b"DELETEACL", _) => Verb::DeleteAcl,
        (b"LISTRIGHTS", _) => Verb::ListRights,
        (b"MYRIGHTS", _) => Verb::MyRights,
        (b"GETMETADATA", _) => Verb::GetMetadata,
        (b"SETMETADATA", _) => Verb::SetMetadata,
        (b"GETANNOTATION", _) => Verb::GetAnnotation,
        (b"SETANNOTATION", _) => Verb::SetAnnotation,
        (b"GENURLAUTH", _) => Verb::GenUrlAuth,
        (b"RESETKEY", _) => Verb::ResetKey,
        (b"URLFETCH", _) => Verb::UrlFetch,
        (b"CONVERSIONS", _) => Verb::Conversions,
        (b"RLIST", _) => Verb::Rlist,
        (b"RLSUB", _) => Verb::Rlsub,
        (b"GETJMAPACCESS", _) => Verb::GetJmapAccess,
        (b"XAPPLEPUSHSERVICE", _) => Verb::XApplePush,
        _ => return None,
    })
}

/// How much of the arguments may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ShownArguments {
    All,
    First(u8),
    Nothing,
}

/// Which of the arguments is a mailbox name, and how many may be shown.
fn shape(verb: Verb, line: &[u8]) -> (Option<usize>, ShownArguments) {
    match verb {
        Verb::Select | Verb::Examine | Verb::Create | Verb::Delete | Verb::Rename => (Some(0), ShownArguments::All),
        Verb::Subscribe | Verb::Unsubscribe | Verb::StatusCmd | Verb::GetAcl => (Some(0), ShownArguments::All),
        Verb::MyRights | Verb::GetQuotaRoot => (Some(0), ShownArguments::All),
        Verb::SetAcl | Verb::DeleteAcl | Verb::ListRights => (Some(0), ShownArguments::First(1)),
        Verb::SetMetadata | Verb::GetAnnotation | Verb::SetAnnotation => (Some(0), ShownArguments::First(1)),
        Verb::List | Verb::Lsub | Verb::Xlist | Verb::Rlist | Verb::Rlsub => (None, ShownArguments::All),
        Verb::Fetch | Verb::UidFetch | Verb::Store | Verb::UidStore => (None, ShownArguments::All),
        Verb::Enable if !names_extensions(line) => (None, ShownArguments::Nothing),
        Verb::Expunge | Verb::UidExpunge | Verb::Enable => (None, ShownArguments::All),
        Verb::Copy | Verb::UidCopy | Verb::Move | Verb::UidMove => (Some(1), ShownArguments::All),
        Verb::Convert | Verb::UidConvert => (None, ShownArguments::First(1)),
        _ => (None, ShownArguments::Nothing),
    }
}

/// Whether `line` is names of extensions that can be enabled (RFC 5161), and nothing that a client may have typed in error.
fn names_extensions(line: &[u8]) -> bool {
    const KNOWN: [&str; 9] = [
        "UTF8=ACCEPT",
        "UTF8=ONLY",
        "CONDSTORE",
        "QRESYNC",
        "IMAP4rev2",
        "METADATA",
        "METADATA-SERVER",
        "UIDONLY",
        "NOTIFY",
    ];
    let mut words = line.split(|byte| lex::is_blank(*byte)).filter(|word| !word.is_empty());
    words.all(|word| KNOWN.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())))
}

/// Notes what may be known of the arguments `line` of `verb`; false if some of it is missing or beyond `cap`.
pub(super) fn arguments(verb: Verb, line: &[u8], cap: usize, args: &mut Text, mailbox: &mut Text) -> bool {
    let (position, shown) = shape(verb, line);
    if let Some(token) = position.and_then(|n| Tokens::new(line).nth(n)) {
        name(&token, mailbox);
    }
    let text = match shown {
        ShownArguments::Nothing => return true,
        ShownArguments::All => line,
        ShownArguments::First(count) => {
            let mut tokens = Tokens::new(line);
            for _ in 0..count {
                tokens.next();
            }
            line.get(..line.len() - tokens.rest().len()).unwrap_or_default()
        }
    };
    show(text, cap, args)
}

/// Where in the arguments `line` of `verb` begins what may not be shown.
pub(super) fn shown(verb: Verb, line: &[u8]) -> usize {
    match shape(verb, line).1 {
        ShownArguments::All => line.len(),
        ShownArguments::Nothing => 0,
        ShownArguments::First(count) => {
            let mut tokens = Tokens::new(line);
            (0..count).for_each(|_| _ = tokens.next());
            line.len() - tokens.rest().len()
        }
    }
}

/// Name and version of a program in the list of fields of ID (RFC 2971).
pub(super) fn software(fields: &[u8]) -> Option<Vec<u8>> {
    const LONGEST: usize = 128;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let (mut name, mut version) = (Vec::new(), Vec::new());
    let mut tokens = Tokens::new(fields).filter(|token| !matches!(token, Token::Open | Token::Close));
    while let (Some(field), Some(token)) = (tokens.next(), tokens.next()) {
        if !field.string(&mut key) || !token.string(&mut value) || token.is(b"NIL") {
            continue;
        }
        if key.eq_ignore_ascii_case(b"name") {
            std::mem::swap(&mut name, &mut value);
        } else if key.eq_ignore_ascii_case(b"version") {
            std::mem::swap(&mut version, &mut value);
        }
    }
    if !name.is_empty() && !version.is_empty() {
        name.push(b' ');
        name.append(&mut version);
    }
    name.truncate(LONGEST);
    (!name.is_empty()).then_some(name)
}

/// Makes `out` the mailbox that `token` names.
pub(super) fn name(token: &Token<'_>, out: &mut Text) {
    match token {
        Token::Atom(raw) | Token::Literal(raw) => super::mailbox::decode(raw, out),
        Token::Quoted(raw) if memchr::memchr(b'\\', raw).is_none() => super::mailbox::decode(raw, out),
        Token::Quoted(_) => {
            let mut plain = Vec::new();
            if token.string(&mut plain) {
                super::mailbox::decode(&plain, out);
            }
        }
        Token::Dropped | Token::Open | Token::Close => {}
    }
}

/// Adds `line` to `args`, its literals as quoted strings; false if not all of it could be.
pub(super) fn show(line: &[u8], cap: usize, args: &mut Text) -> bool {
    let line = lex::trim_end(lex::trim_start(line));
    if line.is_empty() {
        return true;
    }
    if memchr::memchr(b'\n', line).is_none() {
        args.push(line.get(..cap.min(line.len())).unwrap_or_default());
        return line.len() <= cap;
    }
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        args.push(rest.get(..at).unwrap_or_default());
        let mut tokens = Tokens::new(rest.get(at..).unwrap_or_default());
        let Some(Token::Literal(octets)) = tokens.next() else {
            // Not kept, or lost: what is left would be other arguments.
            args.clear();
            return false;
        };
        args.push(b"\"");
        args.push(octets);
        args.push(b"\"");
        rest = tokens.rest();
        if args.as_bytes().len() > cap {
            args.truncate(cap);
            return false;
        }
    }
    args.push(rest);
    let fits = args.as_bytes().len() <= cap;
    args.truncate(cap);
    fits
}

/// A message body that a FETCH asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// It asks for one.
    pub(super) body: bool,
    /// Length of a partial fetch from the first octet on.
    pub(super) head: Option<u64>,
}

/// What the FETCH with `args` asks for.
pub(super) fn asked(args: &[u8]) -> Asked {
    let mut rest = lex::word(args).1;
    let mut asked = Asked::default();
    while let Some(at) = rest.iter().position(|o| matches!(o, b'[' | b'R' | b'r')) {
        let (head, tail) = rest.split_at_checked(at).unwrap_or((rest, b""));
        if !tail.starts_with(b"[") {
            let end = tail.iter().position(|o| matches!(o, b' ' | b')' | b'(')).unwrap_or(tail.len());
            let item = tail.get(..end.max(1)).unwrap_or_default();
            asked.body |= item.eq_ignore_ascii_case(b"RFC822") || item.eq_ignore_ascii_case(b"RFC822.TEXT");
            let skip = if head.is_empty() || head.ends_with(b" ") || head.ends_with(b"(") { item.len() } else { 1 };
            rest = tail.get(skip..).unwrap_or_default();
            continue;
        }
        let inner = tail.get(1..).unwrap_or_default();
        let Some(end) = lex::bracket_end(inner) else { return asked };
        let section = inner.get(..end).unwrap_or_default();
        rest = inner.get(end + 1..).unwrap_or_default();
        if super::fetch::is_header(section) || ends_with(head, b"SIZE") {
            continue;
        }
        asked.body = true;
        let partial = rest.strip_prefix(b"<0.").and_then(|p| p.split(|o| *o == b'>').next());
        asked.head = asked.head.or_else(|| partial.and_then(lex::number));
    }
    asked
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len().checked_sub(end.len()).and_then(|at| text.get(at..)).is_some_and(|t| t.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &[u8]) -> (String, String) {
        let (verb, rest) = verb(command);
        let (mut args, mut mailbox) = (Text::default(), Text::default());
        arguments(verb, rest, 100, &mut args, &mut mailbox);
        let text = |t: &Text| String::from_utf8_lossy(t.as_bytes()).into_owned();
        (format!("{} {}", verb.as_str(), text(&args)), text(&mailbox))
    }

    #[test]
    fn only_safe_arguments_are_shown() {
        for (command, want, mailbox) in [
            (&b"select \"A b\" (CONDSTORE)"[..], "SELECT \"A b\" (CONDSTORE)", "A b"),
            (b"UID fetch 1:* (FLAGS BODY.PEEK[])", "UID FETCH 1:* (FLAGS BODY.PEEK[])", ""),
            (b"UID COPY 1,2 Tr&-ash", "UID COPY 1,2 Tr&-ash", "Tr&ash"),
            (b"SETACL INBOX ann lrs", "SETACL INBOX", "INBOX"),
            (b"SEARCH TEXT secret", "SEARCH ", ""),
            (b"LOGIN ann s3cret", "LOGIN ", ""),
            (b"ID (\"name\" \"x\")", "ID ", ""),
            (b"FROB a b", "OTHER ", ""),
            (b"UID LOGIN a b", "OTHER ", ""),
            (b"LIST \"\" *", "LIST \"\" *", ""),
            (b"ENABLE condstore UTF8=ACCEPT", "ENABLE condstore UTF8=ACCEPT", ""),
            (b"ENABLE s3cret", "ENABLE ", ""),
            (b"select\t INBOX  ", "SELECT INBOX", "INBOX"),
            (b"SELECT \n\n", "SELECT ", ""),
            (b"SELECT \n3\na\nb x", "SELECT \"a\nb\" x", "a\nb"),
        ] {
            assert_eq!(shown(command), (want.to_owned(), mailbox.to_owned()));
        }
    }

    #[test]
    fn what_a_fetch_asks_for() {
        for (args, body, head) in [
            (&b"1 (FLAGS UID)"[..], false, None),
            (b"1 BODY[]", true, None),
            (b"1 BODY.PEEK[HEADER]", false, None),
            (b"1 (BODY.PEEK[HEADER.FIELDS (From To)] BODY[1.2])", true, None),
            (b"1 (BODY[1.MIME] RFC822.SIZE)", false, None),
            (b"1 RFC822", true, None),
            (b"1 (RFC822.HEADER rfc822.text)", true, None),
            (b"1 BINARY.SIZE[1]", false, None),
            (b"7 BODY.PEEK[]<0.4096>", true, Some(4096)),
            (b"7 BODY.PEEK[]<4096.4096>", true, None),
            (b"7 BODY[", false, None),
        ] {
            assert_eq!(asked(args), Asked { body, head }, "{}", args.escape_ascii());
        }
    }
}
