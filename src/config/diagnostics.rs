//! What the program says about its own run: `--verbose`, or in its place `MAILTAP_LOG`.

use std::ffi::OsStr;

use crate::error::Error;

/// The environment variable.
pub const VARIABLE: &str = "MAILTAP_LOG";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter of diagnostics: what `variable` says, else as much as `verbose` asks for.
///
/// # Errors
/// `variable` is no list of `LEVEL` and `PART=LEVEL`.
pub fn diagnostics(variable: Option<&OsStr>, verbose: u8) -> Result<String, Error> {
    match variable.map(OsStr::to_string_lossy) {
        Some(text) if !text.is_empty() => match text.split(',').find(|one| !is_directive(one.trim())) {
            Some(wrong) => Err(Error::Usage(format!(
                "{VARIABLE}: `{}`: expected {} or PART=LEVEL, such as mailtap::proxy=debug; several with commas",
                wrong.escape_default(),
                LEVELS.join(", ")
            ))),
            None => Ok(text.into_owned()),
        },
        _ => Ok(match verbose {
            0 => "off",
            1 => "mailtap=debug",
            _ => "mailtap=trace",
        }
        .to_owned()),
    }
}

fn is_directive(text: &str) -> bool {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
    match text.split_once('=') {
        Some((part, level)) => is_part(part) && is_level(level),
        None => is_level(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_is_checked() {
        let of = |text: &str| diagnostics(Some(OsStr::new(text)), 1).map_err(|error| error.to_string());
        for text in ["trace", "OFF", "mailtap=warn", "warn,mailtap::proxy=debug, rustls=off"] {
            assert_eq!(of(text).as_deref(), Ok(text));
        }
        for text in ["verbose", "mailtap", "mailtap=", "=debug", "mailtap=debug,", "mailtap[span]=debug", "1"] {
            let told = of(text).unwrap_err();
            assert!(
                told.starts_with("MAILTAP_LOG: `") && told.contains("off, error, warn, info, debug, trace"),
                "{told}"
            );
        }
        assert_eq!(of("").as_deref(), Ok("mailtap=debug"));
        assert_eq!(diagnostics(None, 0).unwrap(), "off");
        assert_eq!(diagnostics(None, 2).unwrap(), "mailtap=trace");
    }
}
