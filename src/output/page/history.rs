//! What a session did: its latest replies and transactions, which are shown when somebody opens its row.

use std::collections::VecDeque;
use std::sync::Arc;

use super::row::{MessageRow, StepRow};
use super::step::ServerStep;

/// Replies kept of a session.
pub(super) const STEPS: usize = 40;

/// Transactions kept of a session.
pub(super) const MESSAGES: usize = 8;

/// The latest of both.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) steps: VecDeque<StepRow>,
    pub(super) messages: VecDeque<Arc<MessageRow>>,
}

impl History {
    pub(super) fn step(&mut self, step: StepRow) {
        push(&mut self.steps, step, STEPS);
    }

    pub(super) fn message(&mut self, message: Arc<MessageRow>) {
        push(&mut self.messages, message, MESSAGES);
    }

    /// Adds what came later.
    pub(super) fn append(&mut self, later: Self) {
        later.steps.into_iter().for_each(|step| self.step(step));
        later.messages.into_iter().for_each(|message| self.message(message));
    }

    /// Commands in it.
    pub(super) fn commands(&self) -> usize {
        self.steps.iter().filter(|row| matches!(row.step, ServerStep::Command(_))).count()
    }
}

fn push<T>(rows: &mut VecDeque<T>, row: T, most: usize) {
    if rows.len() >= most {
        rows.pop_front();
    }
    rows.push_back(row);
}
