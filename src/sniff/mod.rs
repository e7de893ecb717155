//! `mailtap sniff`: packets of live interfaces in, the log and metrics out.

use crate::config::Sniff;
use crate::error::Error;

/// Watches until a signal ends it.
pub fn run(ready: Sniff) -> Result<(), Error> {
    let _ = ready;
    Err(Error::Usage("sniff is not built yet".into()))
}
