//! mailtap

#![forbid(unsafe_code)]
fn main() {}
