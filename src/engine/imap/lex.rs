//! Words of IMAP: literal headers, strings, lists, response codes (RFC 9051 section 9).
//!
//! A logical line of the client is kept with its literals in it: since a line holds no LF, a literal is written as
//! LF, its length, LF, its octets (no length: the octets were not kept). Nothing here recurses or goes back.

use memchr::{memchr, memchr2, memchr3};

/// The header of a literal at the end of a line (RFC 9051 section 4.3, RFC 7888, RFC 3516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// How many octets follow.
    pub(super) octets: u64,
    /// The client waits for `+` first.
    pub(super) sync: bool,
    /// Where in the line the header begins.
    pub(super) start: usize,
}

/// The literal header that ends a line of data, below 2^63: whatever quotes are open before it, and with blanks behind it.
///
/// Clients count so, and so must an observer: a server that quotes badly would otherwise let the sender of a message
/// write lines of the protocol.
pub(super) fn literal(line: &[u8]) -> Option<Literal> {
    let inner = trim_end(line).strip_suffix(b"}")?;
    let (inner, sync) = inner.strip_suffix(b"+").map_or((inner, true), |inner| (inner, false));
    let digits = inner.iter().rev().take_while(|o| o.is_ascii_digit()).count();
    let (head, digits) = inner.split_at_checked(inner.len() - digits)?;
    let octets = number(digits).filter(|n| i64::try_from(*n).is_ok())?;
    let head = head.strip_suffix(b"{")?;
    let head = head.strip_suffix(b"~").unwrap_or(head);
    Some(Literal { octets, sync, start: head.len() })
}

/// The same in a line of a client. Inside an open quoted string it counts only if the client waits for the answer,
/// which then tells: servers refuse such a line, and would read what follows `{n+}` as commands.
pub(super) fn client_literal(line: &[u8]) -> Option<Literal> {
    literal(line).filter(|header| header.sync || !ends_quoted(line.get(..header.start).unwrap_or_default()))
}

/// Space or tab: what some peers put between words, more than once.
pub(super) fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// `text` without blanks at its head.
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|o| is_blank(**o)).count();
    text.get(blanks..).unwrap_or_default()
}

/// `text` without blanks at its end.
pub(super) fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|o| is_blank(**o)).count();
    text.get(..text.len() - blanks).unwrap_or_default()
}

/// How far the parentheses and quotes of a response are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) depth: u32,
    pub(super) quoted: bool,
}

impl Shape {
    /// Whether the response goes on: it may not end here.
    pub(super) fn is_open(self) -> bool {
        self.quoted || self.depth > 0
    }

    /// Takes the next text.
    pub(super) fn read(&mut self, text: &[u8]) {
        let mut rest = text;
        loop {
            if self.quoted {
                let Some(end) = quoted_end(rest) else { return };
                self.quoted = false;
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            let Some(at) = memchr3(b'"', b'(', b')', rest) else { return };
            match rest.get(at) {
                Some(b'(') => self.depth = self.depth.saturating_add(1),
                Some(b')') => self.depth = self.depth.saturating_sub(1),
                _ => self.quoted = true,
            }
            rest = rest.get(at + 1..).unwrap_or_default();
        }
    }
}

/// Whether a quoted string is open at the end of `text`.
pub(super) fn ends_quoted(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(open) = memchr(b'"', rest) {
        let inner = rest.get(open + 1..).unwrap_or_default();
        let Some(end) = quoted_end(inner) else { return true };
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    false
}

/// Where the quote is that closes a string whose inside begins with `text`.
pub(super) fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}

/// A decimal number without sign.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, o| {
        let digit = o.is_ascii_digit().then(|| u64::from(o - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// The first word of `text` and what follows it, without the blanks around.
pub(super) fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = trim_start(text);
    let end = memchr2(b' ', b'\t', text).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (word, trim_start(rest))
}

/// A response code in brackets and the text after it (RFC 9051 section 7.1). An open bracket is text.
pub(super) fn response_code(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(inner) = text.strip_prefix(b"[") else { return (None, text) };
    let Some(end) = bracket_end(inner) else { return (None, text) };
    (inner.get(..end), trim_start(inner.get(end + 1..).unwrap_or_default()))
}

/// Where the bracket is that closes one whose inside begins with `text`.
pub(super) fn bracket_end(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 1_u32);
    loop {
        let found = at + memchr3(b'"', b'[', b']', text.get(at..)?)?;
        match text.get(found)? {
            b'"' => at = found + 2 + quoted_end(text.get(found + 1..)?)?,
            b'[' => {
                depth = depth.saturating_add(1);
                at = found + 1;
            }
            _ => {
                depth -= 1;
                if depth == 0 {
                    return Some(found);
                }
                at = found + 1;
            }
        }
    }
}

/// Adds the head of a kept literal to a logical line; its octets are to follow.
pub(super) fn keep_literal(line: &mut Vec<u8>, octets: u64) {
    line.push(b'\n');
    line.extend_from_slice(octets.to_string().as_bytes());
    line.push(b'\n');
}

/// Adds a literal whose octets are not kept.
pub(super) fn drop_literal(line: &mut Vec<u8>) {
    line.extend_from_slice(b"\n\n");
}

/// A word of a logical line of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An atom, number, flag, set, …
    Atom(&'a [u8]),
    /// The inside of a quoted string, escapes in it.
    Quoted(&'a [u8]),
    /// A literal.
    Literal(&'a [u8]),
    /// A literal that was not kept.
    Dropped,
    /// `(`.
    Open,
    /// `)`.
    Close,
}

impl Token<'_> {
    /// Whether it is the atom `word`, whatever its case.
    pub(super) fn is(&self, word: &[u8]) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(word))
    }

    /// Makes `out` what the string says; false if it is none, or was not kept.
    pub(super) fn string(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        match self {
            Self::Atom(octets) | Self::Literal(octets) => out.extend_from_slice(octets),
            Self::Quoted(raw) => unquote(raw, |piece| out.extend_from_slice(piece)),
            Self::Dropped | Self::Open | Self::Close => return false,
        }
        true
    }
}

/// Hands on the inside of a quoted string without its escapes.
pub(super) fn unquote(mut raw: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(at) = memchr(b'\\', raw) {
        take(raw.get(..at).unwrap_or_default());
        take(raw.get(at + 1..at + 2).unwrap_or_default());
        raw = raw.get(at + 2..).unwrap_or_default();
    }
    take(raw);
}

/// The words of a logical line, in order.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, b""));
        self.rest = rest;
        head
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = trim_start(self.rest);
        match self.rest.first()? {
            b'(' => {
                self.take(1);
                Some(Token::Open)
            }
            b')' => {
                self.take(1);
                Some(Token::Close)
            }
            b'"' => {
                self.take(1);
                let end = quoted_end(self.rest).unwrap_or(self.rest.len());
                let inner = self.take(end);
                self.take(1);
                Some(Token::Quoted(inner))
            }
            b'\n' => {
                self.take(1);
                let end = memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                let length = number(self.take(end));
                self.take(1);
                match length.and_then(|n| usize::try_from(n).ok()) {
                    Some(length) => Some(Token::Literal(self.take(length))),
                    None => Some(Token::Dropped),
                }
            }
            _ => {
                let end = self.rest.iter().position(|o| matches!(o, b' ' | b'\t' | b'(' | b')' | b'\n'));
                Some(Token::Atom(self.take(end.unwrap_or(self.rest.len()))))
            }
        }
    }
}

/// Whether `tag` can be one: ASTRING-CHAR but `+` (RFC 9051 section 9).
pub(super) fn is_tag(tag: &[u8]) -> bool {
    !tag.is_empty()
        && tag
            .iter()
            .all(|o| o.is_ascii_graphic() && !matches!(o, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b'+'))
}

/// The form of a tag: clients count, so that tags have a prefix of one length, and digits or none.
pub(super) fn form(tag: &[u8]) -> (usize, bool) {
    let digits = tag.iter().rev().take_while(|o| o.is_ascii_digit()).count();
    (tag.len() - digits, digits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_header_stands_at_the_end() {
        let header = |octets, sync, start| Some(Literal { octets, sync, start });
        for (line, want) in [
            (&b"a LOGIN {3}"[..], header(3, true, 8)),
            (b"a LOGIN {003+}", header(3, false, 8)),
            (b"x ~{4}", header(4, true, 2)),
            (b"x ~{4+}", header(4, false, 2)),
            (b"{0}", header(0, true, 0)),
            (b"{9223372036854775807}", header(i64::MAX as u64, true, 0)),
            (b"{9223372036854775808}", None),
            (b"{99999999999999999999999}", None),
            (b"{}", None),
            (b"{-1}", None),
            (b"{4-}", None),
            (b"a {3} \t", header(3, true, 2)),
            (b"a SEARCH TEXT \"x {3}", header(3, true, 17)),
            (b"a SEARCH TEXT \"x {3+}", header(3, false, 17)),
            (b"a SEARCH TEXT \"x\\\\\" {3}", header(3, true, 20)),
        ] {
            assert_eq!(literal(line), want, "{}", line.escape_ascii());
        }
        assert_eq!(client_literal(b"a SEARCH TEXT \"x {3}"), header(3, true, 17), "the answer will tell");
        assert_eq!(client_literal(b"a SEARCH TEXT \"x {3+}"), None);
        assert_eq!(client_literal(b"a SEARCH TEXT \"x\" {3+}"), header(3, false, 18));
    }

    #[test]
    fn words_may_have_any_blanks_between() {
        assert_eq!(word(b"  a \t LOGIN  ann"), (&b"a"[..], &b"LOGIN  ann"[..]));
        assert_eq!(word(b"\t"), (&b""[..], &b""[..]));
        assert_eq!(response_code(b"[A]   text"), (Some(&b"A"[..]), &b"text"[..]));
        assert_eq!(Tokens::new(b" \tann\t pw ").collect::<Vec<_>>(), [Token::Atom(b"ann"), Token::Atom(b"pw")]);
    }

    #[test]
    fn a_response_is_open_while_a_list_or_a_string_is() {
        for (text, depth, quoted) in [
            (&b"1 2 3"[..], 0, false),
            (b"(a (b \")\" c", 2, false),
            (b"(a \"b", 1, true),
            (b"(\"a\\\"\")", 0, false),
            (b"))", 0, false),
        ] {
            let mut shape = Shape::default();
            shape.read(text);
            assert_eq!(shape, Shape { depth, quoted }, "{}", text.escape_ascii());
            assert_eq!(shape.is_open(), depth > 0 || quoted);
        }
    }

    #[test]
    fn response_codes_nest_and_quote() {
        assert_eq!(response_code(b"[A [b] \"]\" c] text"), (Some(&b"A [b] \"]\" c"[..]), &b"text"[..]));
        assert_eq!(response_code(b"[open text"), (None, &b"[open text"[..]));
        assert_eq!(response_code(b"plain [5]"), (None, &b"plain [5]"[..]));
    }

    #[test]
    fn tokens_of_a_logical_line() {
        let mut line = b"Sent (\\Seen) \"a\\\"b\" ".to_vec();
        keep_literal(&mut line, 4);
        line.extend_from_slice(b"x\n y)");
        drop_literal(&mut line);
        let tokens: Vec<_> = Tokens::new(&line).collect();
        let want = [
            Token::Atom(b"Sent"),
            Token::Open,
            Token::Atom(b"\\Seen"),
            Token::Close,
            Token::Quoted(b"a\\\"b"),
            Token::Literal(b"x\n y"),
            Token::Close,
            Token::Dropped,
        ];
        assert_eq!(tokens, want);
        let mut text = Vec::new();
        assert!(want[4].string(&mut text));
        assert_eq!(text, b"a\"b");
    }
}
