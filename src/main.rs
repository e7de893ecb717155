//! mailtap
fn main() {}
