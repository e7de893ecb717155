//! `--verbose` and `MAILTAP_LOG`: what the program says about its own run, one line each beside its notes and warnings.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use crate::config;
use crate::console::{self, Level};
use crate::error::Error;

/// Sends diagnostics to standard error, as far as they are asked for.
pub(super) fn trace(verbose: u8) -> Result<(), Error> {
    let filter = config::diagnostics(std::env::var_os(config::VARIABLE).as_deref(), verbose)?;
    registry().with(EnvFilter::new(filter)).with(Diagnostics).init();
    Ok(())
}

/// Writes `mailtap: debug: proxy::dial: cannot dial: target=192.0.2.25:25, error=…`: no colours, which a file or a journal
/// would keep, and no time, which those add.
struct Diagnostics;

impl<S: Subscriber> Layer<S> for Diagnostics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        };
        let part = metadata.target();
        let mut line = Line { text: part.strip_prefix("mailtap::").unwrap_or(part).to_owned(), fields: String::new() };
        event.record(&mut line);
        line.text.push_str(&line.fields);
        console::print(level, &line.text);
    }
}

/// An event as text: its message first, then its fields.
struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, ": {value:?}"),
            name => {
                let before = if self.fields.is_empty() { ": " } else { ", " };
                write!(self.fields, "{before}{name}={value:?}")
            }
        };
    }
}
