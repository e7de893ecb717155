//! What a mode that stays running owes the system: few privileges, few files, and answers to whoever manages it.
//!
//! The order is: open what needs privileges, [`privileges`], [`sandbox`], then start threads. Capabilities and the
//! sandbox belong to a thread and are inherited by those it starts, so giving them up later would leave some behind;
//! [`privileges::drop_to`] refuses that. Nothing here knows what the mode does.

pub mod descriptors;
pub mod privileges;
pub mod readiness;
pub mod sandbox;
pub mod signals;

pub use privileges::{Account, Capability};
pub use sandbox::Sandbox;
pub use signals::{Signal, Signals, Waiter};

/// What the process may do once everything is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfineSettings {
    /// The user to run as.
    pub user: Option<String>,
    /// Confine the process where the kernel can.
    pub sandbox: bool,
}
