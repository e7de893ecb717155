//! The credentials that a client sends, found by the looks of its lines and by nothing that the engine knows.

use data_encoding::BASE64;

/// Every password, token, digest and SASL response in `lines`, the client's lines in order, as sent and as they decode.
pub(crate) fn credentials(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let (mut exchange, mut literal) = (false, false);
    for line in lines {
        let text = String::from_utf8_lossy(line).into_owned();
        let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let at = |n: usize| words.get(n).copied().unwrap_or_default();
        let is = |n: usize, verbs: &[&str]| verbs.iter().any(|verb| at(n).eq_ignore_ascii_case(verb));
        if std::mem::take(&mut literal) && !line.is_empty() {
            found.push(line.split(|byte| *byte == b' ').next().unwrap_or_default().to_vec());
        }
        match () {
            () if is(0, &["PASS"]) => found.push(text[4..].trim().as_bytes().to_vec()),
            () if is(0, &["APOP"]) && words.len() == 3 => found.push(at(2).as_bytes().to_vec()),
            () if is(1, &["LOGIN"]) && text.ends_with('}') => literal = words.len() > 3,
            () if is(1, &["LOGIN"]) && words.len() == 4 => found.push(at(3).trim_matches('"').as_bytes().to_vec()),
            () if is(0, &["AUTH", "X-EXPS"]) => {
                exchange = words.len() > 1;
                words.iter().skip(2).for_each(|word| response(at(1), word, &mut found));
            }
            () if is(1, &["AUTHENTICATE"]) => {
                exchange = words.len() > 2;
                words.iter().skip(3).for_each(|word| response(at(2), word, &mut found));
            }
            () if exchange && words.len() == 1 && at(0).len() >= 8 => response("", at(0), &mut found),
            () => {}
        }
    }
    found.retain(|credential| credential.len() >= 5);
    found
}

/// A SASL response and what of it is secret.
fn response(mechanism: &str, word: &str, found: &mut Vec<Vec<u8>>) {
    let Ok(decoded) = BASE64.decode(word.as_bytes()) else { return };
    if word.len() >= 8 {
        found.push(word.as_bytes().to_vec());
    }
    if decoded.iter().filter(|byte| **byte == 0).count() == 2 && !mechanism.eq_ignore_ascii_case("NTLM") {
        found.extend(decoded.split(|byte| *byte == 0).nth(2).map(<[u8]>::to_vec));
    }
    if let Some(at) = memchr::memmem::find(&decoded, b"Bearer ") {
        found.extend(decoded[at + 7..].split(|byte| *byte == 1).next().map(<[u8]>::to_vec));
    }
}

#[test]
fn credentials_are_found_by_their_looks() {
    let lines = |text: &str| text.lines().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    let all = |text: &str| {
        let found = credentials(&lines(text));
        found.iter().map(|credential| String::from_utf8_lossy(credential).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all("USER ann\nPASS my s3cret"), ["my s3cret"]);
    assert_eq!(all("AUTH PLAIN AGFubgBzM2NyZXQ="), ["AGFubgBzM2NyZXQ=", "s3cret"]);
    assert_eq!(all("a AUTHENTICATE PLAIN\nAGFubgBzM2NyZXQ=\nb NOOP"), ["AGFubgBzM2NyZXQ=", "s3cret"]);
    assert_eq!(all("a LOGIN ann \"hunter2\"\nb LOGIN ann {7}\nhunter3"), ["hunter2", "hunter3"]);
    assert_eq!(all("APOP ann c4c9334bac560ecc979e58001b3e22fb"), ["c4c9334bac560ecc979e58001b3e22fb"]);
    assert!(all("EHLO a\nMAIL FROM:<a@x.org>").is_empty());
}
