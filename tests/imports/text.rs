//! Rust as text: comments, what strings contain and what only tests compile are blanked; then every path behind `crate::`,
//! `mailtap::`, `super::` and `std::` is spelled out, use-groups included.

/// Every path of two names or more, from `crate` where it leads to this crate.
pub(crate) fn paths(code: &str, module: &[String]) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_name = tokens[at].starts_with(|first: char| first.is_alphabetic() || first == '_');
        let starts_path = is_name && tokens.get(at + 1).is_some_and(|next| next == "::");
        if !starts_path {
            at += 1;
            continue;
        }
        let before = found.len();
        at = tree(&tokens, at, String::new(), &mut found);
        for path in &mut found[before..] {
            *path = from_root(path, module);
        }
    }
    found
}

/// Reads the path, or use-tree, at `at`; gives the place behind it.
fn tree(tokens: &[String], mut at: usize, mut prefix: String, found: &mut Vec<String>) -> usize {
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = if tokens[at] == "," { at + 1 } else { tree(tokens, at, prefix.clone(), found) };
                }
                return at + 1;
            }
            Some("as") if prefix.ends_with("::") => return at + 2,
            Some(name) if name == "*" || name.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                prefix.push_str(name);
                at += 1;
            }
            // `<` of a turbofish, and whatever else ends a path.
            _ => {
                found.push(prefix.trim_end_matches("::").to_owned());
                return at + 1;
            }
        }
        if tokens.get(at).is_some_and(|token| token == "::") {
            prefix.push_str("::");
            at += 1;
        } else {
            found.push(prefix);
            let renamed = tokens.get(at).is_some_and(|token| token == "as");
            return if renamed { at + 2 } else { at };
        }
    }
}

fn from_root(path: &str, module: &[String]) -> String {
    if let Some(rest) = path.strip_prefix("mailtap::") {
        return format!("crate::{rest}");
    }
    let mut depth = module.len();
    let mut rest = path;
    if let Some(inner) = rest.strip_prefix("self::") {
        rest = inner;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(outer) = rest.strip_prefix("super::") {
        depth = depth.saturating_sub(1);
        rest = outer;
    }
    let above: Vec<&str> = module[..depth].iter().map(String::as_str).collect();
    ["crate"].into_iter().chain(above).chain([rest]).collect::<Vec<_>>().join("::")
}

/// Names, numbers, `::`, and every other character by itself.
pub(crate) fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = behind;
    }
    tokens
}

/// The code without comments, without what strings contain, and without what `#[cfg(test)]` stands before.
pub(crate) fn blank(text: &str) -> String {
    let code = without_comments(text);
    let mut kept = String::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(start);
        kept.push_str(before);
        rest = item.split_at(end_of_item(item)).1;
    }
    kept.push_str(rest);
    kept
}

fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (at, character) in item.char_indices() {
        match character {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, stand_in) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), " ")
        } else if let Some(length) = raw_string(rest, &kept) {
            (length, "\"\"")
        } else if first == '"' {
            (quoted(rest), "\"\"")
        } else if let Some(length) = character(rest) {
            (length, "' '")
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.push_str(stand_in);
        rest = &rest[length..];
    }
    kept
}

fn raw_string(rest: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' && c != 'c' || c == '_') {
        return None;
    }
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let body = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len()))
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// A character literal, as opposed to a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map(|end| end + 4);
    }
    let first = inner.chars().next()?;
    inner[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

#[test]
fn paths_are_spelled_out() {
    let code =
        blank("use crate::{a::{B, c::*}, d}; // crate::no\nlet x = \"crate::no\"; std::fs::read(super::super::e());");
    let found = paths(&code, &["wire", "packet"].map(str::to_owned));
    let expected = ["crate::a::B", "crate::a::c::*", "crate::d", "std::fs::read", "crate::e"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn tests_are_blanked() {
    let code = blank("fn a() { '\"'; }\n#[cfg(test)]\nmod tests {\n    fn b() { println!(\"}\") }\n}\nfn c<'a>() {}\n");
    assert!(!code.contains("println") && code.contains("fn c<'a>()"), "{code}");
}
