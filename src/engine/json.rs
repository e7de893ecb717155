//! One member of a small JSON object, as servers send it in a challenge (RFC 7628 section 3.2.2).
//!
//! Not a JSON parser: it reads strings and numbers that stand behind a key, never fails, and works in one pass.

/// The string or number that is the value of `key` in `object`, at any depth.
pub(super) fn member(object: &[u8], key: &str) -> Option<Vec<u8>> {
    let mut rest = object;
    loop {
        let from = memchr::memchr(b'"', rest)?;
        let (name, behind) = string(rest.get(from + 1..)?);
        let behind = behind.trim_ascii_start();
        rest = match behind.strip_prefix(b":").map(<[u8]>::trim_ascii_start) {
            Some(value) if name == key.as_bytes() => return scalar(value),
            Some(value) => value.strip_prefix(b"\"").map_or(value, |inside| string(inside).1),
            None => behind,
        };
    }
}

fn scalar(value: &[u8]) -> Option<Vec<u8>> {
    if let Some(inside) = value.strip_prefix(b"\"") {
        return Some(string(inside).0);
    }
    let length = value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    value.get(..length).filter(|number| !number.is_empty()).map(<[u8]>::to_vec)
}

/// The string whose inside begins `text`, and what follows its closing quote.
fn string(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => return (out, rest),
            b'\\' => rest = escape(rest, &mut out),
            _ => out.push(*byte),
        }
    }
    (out, rest)
}

/// Adds what the escape whose inside begins `text` stands for; what follows it.
fn escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some((kind, rest)) = text.split_first() else { return text };
    if let (b'u', Some((digits, behind))) = (kind, rest.split_at_checked(4)) {
        let code = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        return behind;
    }
    out.push(match kind {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        other => *other,
    });
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(object: &str, key: &str) -> Option<String> {
        member(object.as_bytes(), key).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn members_are_found() {
        let error = r#"{"schemes":"status","status" : "401", "scope":"https:\/\/mail\u002Ex.org\"","n":-1.5e3,"z":"#;
        assert_eq!(of(error, "status").as_deref(), Some("401"));
        assert_eq!(of(error, "scope").as_deref(), Some("https://mail.x.org\""));
        assert_eq!(of(error, "n").as_deref(), Some("-1.5e3"));
        assert_eq!(of(r#"{"status":400}"#, "status").as_deref(), Some("400"));
        for (object, key) in
            [(error, "z"), (error, "schem"), ("", "a"), ("{\"a", "a"), (r#"{"a":{}}"#, "a"), ("\"\\", "x")]
        {
            assert_eq!(of(object, key), None, "{object} {key}");
        }
    }
}
