//! Parameters of Content-Type and Content-Disposition: quoted strings, and RFC 2231 continuations,
//! character sets and percent encoding.
//!
//! Reads what broken senders write, too: names with blanks and without quotes, encoded words inside quotes.

use super::decode;

/// Segments of one parameter looked at (`name*0` …): RFC 2231 knows no bound.
const SEGMENTS: usize = 256;

/// The first token: the media type, the disposition, the encoding. Blanks and comments around it are dropped.
pub(super) fn token(value: &[u8]) -> &[u8] {
    let mut value = value.trim_ascii_start();
    while value.first() == Some(&b'(') {
        value = skip_comment(value).trim_ascii_start();
    }
    let end = value.iter().position(|octet| matches!(octet, b';' | b'(') || octet.is_ascii_whitespace());
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

fn skip_comment(value: &[u8]) -> &[u8] {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, &octet) in value.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth <= 1 => return value.get(at + 1..).unwrap_or_default(),
            b')' => depth -= 1,
            _ => {}
        }
    }
    &[]
}

/// Appends the unquoted octets of parameter `name` to `out`; false if there is none. For boundaries: never decoded.
pub(super) fn octets(value: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(parameter) = Parameters::of(value).find(|parameter| parameter.name.eq_ignore_ascii_case(name)) else {
        return rfc2231(value, name, out).is_some();
    };
    let value = parameter.value;
    let blank = value.iter().position(u8::is_ascii_whitespace);
    let token = value.get(..blank.unwrap_or(value.len())).unwrap_or(value);
    unquote(if value.starts_with(b"\"") { value } else { token }, out);
    true
}

/// The decoded text of parameter `name`. The RFC 2231 form wins over the plain one.
pub(super) fn text(value: &[u8], name: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    if let Some(charset) = rfc2231(value, name, &mut out) {
        return Some(match charset {
            Some(charset) => decode::charset(charset, &out),
            None => decode::text(&out),
        });
    }
    let parameter = Parameters::of(value).find(|parameter| parameter.name.eq_ignore_ascii_case(name))?;
    unquote(parameter.value, &mut out);
    Some(decode::text(&out))
}

struct ParameterSegment<'a> {
    number: u32,
    extended: bool,
    value: &'a [u8],
}

/// Joins `name*`, `name*0`, `name*1*` … in order; the outer `Some` if there was any, the inner its character set.
fn rfc2231<'a>(value: &'a [u8], name: &[u8], out: &mut Vec<u8>) -> Option<Option<&'a [u8]>> {
    memchr::memchr(b'*', value)?;
    let mut segments: Vec<ParameterSegment<'a>> =
        Parameters::of(value).filter_map(|parameter| segment(&parameter, name)).take(SEGMENTS).collect();
    segments.sort_by_key(|segment| segment.number);
    segments.dedup_by_key(|segment| segment.number);
    let first = segments.first()?;
    let mut charset = None;
    if let (true, Some((name, rest))) = (first.extended, split_charset(first.value)) {
        charset = Some(name);
        percent_decode(rest, out);
    } else {
        append(first, out);
    }
    for segment in segments.iter().skip(1) {
        append(segment, out);
    }
    Some(charset)
}

fn segment<'a>(parameter: &Parameter<'a>, name: &[u8]) -> Option<ParameterSegment<'a>> {
    let (head, tail) = parameter.name.split_at_checked(name.len())?;
    let tail = tail.strip_prefix(b"*")?;
    if !head.eq_ignore_ascii_case(name) {
        return None;
    }
    let (number, extended) = match tail.strip_suffix(b"*") {
        Some(number) => (number, true),
        None => (tail, tail.is_empty()),
    };
    let number = match number {
        [] => 0,
        number => std::str::from_utf8(number).ok()?.parse().ok()?,
    };
    Some(ParameterSegment { number, extended, value: parameter.value })
}

fn append(segment: &ParameterSegment<'_>, out: &mut Vec<u8>) {
    if segment.extended {
        percent_decode(segment.value, out);
    } else {
        unquote(segment.value, out);
    }
}

/// `charset'language'rest`.
fn split_charset(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let mut parts = value.splitn(3, |&octet| octet == b'\'');
    let (charset, _, rest) = (parts.next()?, parts.next()?, parts.next()?);
    Some((charset, rest.strip_suffix(b"\"").unwrap_or(rest)))
}

fn percent_decode(value: &[u8], out: &mut Vec<u8>) {
    let mut value = value.strip_prefix(b"\"").map_or(value, |inner| inner.strip_suffix(b"\"").unwrap_or(inner));
    while let Some((&octet, rest)) = value.split_first() {
        value = rest;
        let escape = rest.split_at_checked(2).filter(|_| octet == b'%');
        match escape.and_then(|(digits, rest)| Some((decode::hex(digits)?, rest))) {
            Some((octet, rest)) => {
                out.push(octet);
                value = rest;
            }
            None => out.push(octet),
        }
    }
}

/// Takes quotes and backslashes off a value, and line ends out of it.
fn unquote(value: &[u8], out: &mut Vec<u8>) {
    let Some(value) = value.strip_prefix(b"\"") else {
        out.extend(value.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
        return;
    };
    let mut octets = value.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return,
            b'\\' => out.extend(octets.next()),
            b'\r' | b'\n' => {}
            octet => out.push(octet),
        }
    }
}

/// One parameter as written: the value with its quotes.
struct Parameter<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// What follows the first token, parameter by parameter.
struct Parameters<'a>(&'a [u8]);

impl<'a> Parameters<'a> {
    fn of(value: &'a [u8]) -> Self {
        Self(value.get(end_of_value(value)..).unwrap_or_default())
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.strip_prefix(b";")?;
            let end = end_of_value(rest);
            let (parameter, after) = rest.split_at(end);
            self.0 = after;
            let Some(equals) = memchr::memchr(b'=', parameter) else {
                continue;
            };
            let (name, value) = parameter.split_at(equals);
            let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
            return Some(Parameter { name: name.trim_ascii(), value });
        }
    }
}

/// Where the next `;` outside quotes is, or the end. A quote that never closes runs to the end.
fn end_of_value(value: &[u8]) -> usize {
    let mut at = 0;
    while let Some(octet) = value.get(at) {
        match octet {
            b';' => return at,
            b'"' => at += end_of_quoted(value.get(at + 1..).unwrap_or_default()),
            _ => {}
        }
        at += 1;
    }
    value.len()
}

/// Octets up to and with the closing quote.
fn end_of_quoted(value: &[u8]) -> usize {
    let mut escaped = false;
    for (at, &octet) in value.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filename(value: &str) -> Option<String> {
        text(value.as_bytes(), b"filename")
    }

    #[test]
    fn plain_and_quoted() {
        assert_eq!(filename("attachment; filename=a.txt").as_deref(), Some("a.txt"));
        assert_eq!(filename("attachment; FileName=\"a; b\\\".txt\"; size=3").as_deref(), Some("a; b\".txt"));
        assert_eq!(filename("attachment; filename=my report (1).doc ; x=y").as_deref(), Some("my report (1).doc"));
        assert_eq!(filename("attachment;\r\n\tfilename = \"a\r\n b.txt\"").as_deref(), Some("a b.txt"));
        assert_eq!(filename("attachment; filename=\"open").as_deref(), Some("open"));
        assert_eq!(filename("attachment; name=x"), None);
        assert_eq!(filename("filename=x"), None, "the first token is no parameter");
    }

    /// The samples of RFC 2231 sections 3, 4 and 4.1.
    #[test]
    fn rfc_2231_samples() {
        let url = "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"";
        assert_eq!(
            text(url.as_bytes(), b"url").as_deref(),
            Some("ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar")
        );
        let title = "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A";
        assert_eq!(text(title.as_bytes(), b"title").as_deref(), Some("This is ***fun***"));
        let title = "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"";
        assert_eq!(text(title.as_bytes(), b"title").as_deref(), Some("This is even more ***fun*** isn't it!"));
    }

    #[test]
    fn continuations_out_of_order_and_split_characters() {
        assert_eq!(filename("a; filename*1*=%84.txt; filename*0*=utf-8''%C3").as_deref(), Some("Ä.txt"));
        assert_eq!(filename("a; filename=plain.txt; filename*=utf-8''%e2%82%ac.txt").as_deref(), Some("€.txt"));
        assert_eq!(filename("a; filename*=\"utf-8''%e2%82%ac.txt\"").as_deref(), Some("€.txt"));
        assert_eq!(filename("a; filename*=broken%zz").as_deref(), Some("broken%zz"));
        assert_eq!(filename("a; filename*0=\"=?utf-8?B?w4Q=?=\"; filename*1=\".txt\"").as_deref(), Some("Ä.txt"));
    }

    #[test]
    fn tokens() {
        assert_eq!(token(b" (c (d)) text/plain (x); charset=y"), b"text/plain");
        assert_eq!(token(b" base64\r\n"), b"base64");
        assert_eq!(token(b"((((((("), b"");
    }

    #[test]
    fn hostile_parameters_stay_linear() {
        let value = [b"a".to_vec(), b"; filename*0=\"".repeat(5000)].concat();
        assert!(text(&value, b"filename").is_some());
        let value = [b"a".to_vec(), b";filename*0=x".repeat(5000)].concat();
        assert_eq!(text(&value, b"filename").as_deref(), Some("x"));
    }
}
