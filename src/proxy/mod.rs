//! `mailtap proxy`: connections in, the same connections out, the log and metrics beside.

use crate::config::Proxy;
use crate::error::Error;

/// Forwards until a signal ends it.
pub fn run(ready: Proxy) -> Result<(), Error> {
    let _ = ready;
    Err(Error::Usage("proxy is not built yet".into()))
}
