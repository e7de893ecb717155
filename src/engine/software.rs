//! Which program speaks, as far as it says so: server products by the names that stand in greetings.

/// Products as they write themselves, where they name themselves at all.
const PRODUCTS: &[&str] = &[
    "Apache James",
    "CommuniGate Pro",
    "Courier-IMAP",
    "Courier",
    "Cyrus IMAP",
    "Cyrus LMTP",
    "Cyrus POP3",
    "Cyrus",
    "Dovecot",
    "Exim",
    "Gimap",
    "GreenMail",
    "Halon",
    "Haraka",
    "IceWarp",
    "JAMES",
    "Kerio Connect",
    "Lotus Domino",
    "MDaemon",
    "MailEnable",
    "MailHog",
    "Mailpit",
    "Mercury",
    "Microsoft ESMTP MAIL Service",
    "Microsoft Exchange",
    "OpenSMTPD",
    "Postfix",
    "PowerMTA",
    "QPOP",
    "Qpopper",
    "Sendmail",
    "Stalwart",
    "WildDuck",
    "Zimbra",
    "gsmtp",
    "hMailServer",
    "maddy",
    "qmail",
    "teapop",
];

/// The product that `greeting` names, and its version if one follows.
pub(super) fn of_greeting(greeting: &[u8]) -> Option<&[u8]> {
    let mut rest = greeting;
    while !rest.is_empty() {
        // Few begin with the same letter.
        for product in PRODUCTS.iter().filter(|product| product.as_bytes().first() == rest.first()) {
            let Some(behind) = rest.strip_prefix(product.as_bytes()) else { continue };
            if behind.first().is_none_or(|byte| !is_word(byte)) {
                return rest.get(..product.len() + version(behind));
            }
        }
        let word = rest.iter().take_while(|byte| is_word(byte)).count();
        let gap = rest.iter().skip(word).take_while(|byte| !is_word(byte)).count();
        rest = rest.get(word + gap..).unwrap_or_default();
    }
    None
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

/// Length of the version at the head of `text`: a blank, perhaps a `v`, then digits and dots.
fn version(text: &[u8]) -> usize {
    const LONGEST: usize = 40;
    let Some(number) = text.strip_prefix(b" ") else { return 0 };
    let digits = number.strip_prefix(b"v").unwrap_or(number);
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    let length = number.iter().take(LONGEST).take_while(|byte| is_word(byte) || matches!(byte, b'+' | b'_')).count();
    let dots = number.get(..length).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'.').count();
    1 + length - dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_found_with_their_versions() {
        for (greeting, product) in [
            ("mx.example.org ESMTP Postfix (Debian/GNU)", Some("Postfix")),
            ("mx.example.org ESMTP Exim 4.96 Mon, 1 Jan 2026 00:00:00 +0000", Some("Exim 4.96")),
            ("mx ESMTP Sendmail 8.17.1/8.17.1; Mon", Some("Sendmail 8.17.1")),
            ("mx Microsoft ESMTP MAIL Service ready at Mon", Some("Microsoft ESMTP MAIL Service")),
            ("Dovecot (Ubuntu) ready.", Some("Dovecot")),
            ("mail Cyrus IMAP v2.4.17. server ready", Some("Cyrus IMAP v2.4.17")),
            ("postfix.example.org ESMTP", None),
            ("Postfixed", None),
            ("", None),
        ] {
            let found = of_greeting(greeting.as_bytes()).map(|name| std::str::from_utf8(name).unwrap());
            assert_eq!(found, product, "{greeting}");
        }
    }
}
