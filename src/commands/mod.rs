//! What the user may run: each command puts its parts together and runs them.

pub mod analyze;
pub mod proxy;
pub mod sniff;
