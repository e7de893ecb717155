//! What of a client's line was not understood, so that a server that repeats it may repeat a secret.

use super::super::secret::Secrets;
use super::grammar;
use crate::event::Verb;

/// Gives the words of `line` that are no known safe argument to `secrets`.
pub(in crate::engine) fn suspect(line: &[u8], secrets: &mut Secrets) {
    let words = grammar::words(line);
    match words.verb {
        Verb::Other => secrets.suspect_unknown(line),
        Verb::User => {
            // The first word is the name; a password may follow it.
            let name = words.rest.trim_ascii();
            let end = name.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(name.len());
            secrets.suspect(name.get(end..).unwrap_or_default());
        }
        _ if grammar::safe_args(&words).is_some() => {}
        _ => secrets.suspect(words.rest),
    }
}
