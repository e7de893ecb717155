//! What of a client's line was not understood, so that a server that repeats it may repeat a secret.

use super::command;
use crate::engine::secret::Secrets;
use crate::event::Verb;

/// Gives the words of `line` that are no known safe argument to `secrets`.
pub(in crate::engine) fn suspect(line: &[u8], secrets: &mut Secrets) {
    let (verb, args) = command::verb(line);
    match verb {
        Verb::Other => secrets.suspect_unknown(line),
        Verb::Mail | Verb::Send | Verb::Soml | Verb::Saml if command::path(args, b"FROM").is_some() => {}
        Verb::Rcpt if command::path(args, b"TO").is_some() => {}
        Verb::Bdat if command::bdat(args).is_some_and(|chunk| chunk.clean) => {}
        // One word each, or a name for people; attributes of Postfix.
        Verb::Vrfy | Verb::Expn | Verb::Etrn | Verb::Xclient | Verb::Xforward => {}
        Verb::Ehlo | Verb::Helo | Verb::Lhlo => {
            let end = args.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(args.len());
            secrets.suspect(args.get(end..).unwrap_or_default());
        }
        _ => secrets.suspect(args),
    }
}
