//! Lines for people: labels, wrapping, units and colour. No line is longer than the page is wide.

use std::fmt::Write as _;
use std::time::Duration;

/// How a summary looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Write ANSI colours: for a terminal whose user did not set `NO_COLOR`.
    pub colour: bool,
    /// Columns; 40 at least.
    pub width: usize,
}

impl Default for Style {
    /// 80 columns, no colour.
    fn default() -> Self {
        Self { colour: false, width: 80 }
    }
}

/// What a piece of text means, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Label,
    Warn,
    Bad,
}

/// A piece of text in its tone.
#[derive(Clone, Debug)]
pub(super) struct Item {
    text: String,
    tone: Tone,
}

impl Item {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// `1,204 accepted`.
    pub(super) fn count(count: u64, word: &str, tone: Tone) -> Self {
        Self::new(format!("{} {}", thousands(count), word.replace('_', " ")), tone)
    }
}

/// Columns before the text of a row: two, a label, a space.
const MARGIN: usize = 15;
/// Between the items of a row.
const BETWEEN: &str = "   ";

/// A page that is being written.
pub(super) struct Page {
    style: Style,
    text: String,
}

impl Page {
    pub(super) fn new(style: Style) -> Self {
        Self { style: Style { width: style.width.max(40), ..style }, text: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An empty line, if anything stands above.
    pub(super) fn space(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A line of one piece; what does not fit goes on in the next, indented.
    pub(super) fn line(&mut self, text: &str, tone: Tone) {
        let mut indent = 0;
        let mut words: Vec<&str> = text.split(' ').collect();
        words.reverse();
        let mut line = String::new();
        while let Some(word) = words.pop() {
            let free = self.style.width - indent - columns(&line);
            let needed = columns(word) + usize::from(!line.is_empty());
            if needed <= free {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            } else if line.is_empty() {
                let cut = word.char_indices().nth(free).map_or(word.len(), |(at, _)| at);
                let (now, later) = word.split_at_checked(cut).unwrap_or((word, ""));
                self.end_line(indent, now, tone);
                words.push(later);
                indent = 2;
            } else {
                self.end_line(indent, &line, tone);
                line.clear();
                words.push(word);
                indent = 2;
            }
        }
        self.end_line(indent, &line, tone);
    }

    /// A label and what belongs to it; items that do not fit go on in the next line, under the first.
    pub(super) fn row(&mut self, label: &str, items: &[Item]) {
        self.label(label);
        let mut column = MARGIN;
        for (index, item) in items.iter().enumerate() {
            let needed = columns(&item.text);
            if index > 0 && column + BETWEEN.len() + needed > self.style.width {
                let _ = write!(self.text, "\n{:MARGIN$}", "");
                column = MARGIN;
            } else if index > 0 {
                self.text.push_str(BETWEEN);
                column += BETWEEN.len();
            }
            self.paint(&item.text, item.tone);
            column += needed;
        }
        self.text.push('\n');
    }

    /// A label and text set by the caller, who knows that it fits.
    pub(super) fn set(&mut self, label: &str, text: &str, tone: Tone) {
        self.label(label);
        self.paint(text.trim_end(), tone);
        self.text.push('\n');
    }

    fn label(&mut self, label: &str) {
        self.text.push_str("  ");
        self.paint(&format!("{label:<12}"), if label.is_empty() { Tone::Plain } else { Tone::Label });
        self.text.push(' ');
    }

    fn end_line(&mut self, indent: usize, text: &str, tone: Tone) {
        let _ = write!(self.text, "{:indent$}", "");
        self.paint(text, tone);
        self.text.push('\n');
    }

    /// Adds text. Control characters, which only names of files can bring here, are shown, not obeyed.
    fn paint(&mut self, text: &str, tone: Tone) {
        let code = match tone {
            _ if !self.style.colour => None,
            Tone::Plain => None,
            Tone::Title => Some("1"),
            Tone::Label => Some("2"),
            Tone::Warn => Some("33"),
            Tone::Bad => Some("31"),
        };
        let shown = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        match code {
            None => self.text.extend(shown),
            Some(code) => {
                let _ = write!(self.text, "\x1b[{code}m");
                self.text.extend(shown);
                self.text.push_str("\x1b[0m");
            }
        }
    }
}

/// Columns of text. Our own words are ASCII but for a sign of one column.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// `1,204`.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`.
pub(super) fn number_of(count: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// `12.3 MiB`.
pub(super) fn octets(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return number_of(count, "octet");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// Three digits and a unit: `850 µs`, `1.25 ms`, `12.3 s`; minutes, hours and days in two parts.
pub(super) fn span(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    // Limits are set where rounding would give a fourth digit.
    for (limit, unit, name) in [(999.5, 1.0, "ns"), (999.5e3, 1e3, "µs"), (999.5e6, 1e6, "ms"), (59.95e9, 1e9, "s")] {
        if nanos < limit {
            let value = nanos / unit;
            let decimals = if unit == 1.0 || value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            return format!("{value:.decimals$} {name}");
        }
    }
    let seconds = (nanos / 1e9).round() as u64;
    match seconds {
        ..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_at_a_glance() {
        for (count, expected) in [
            (0, "0 octets"),
            (1, "1 octet"),
            (1023, "1,023 octets"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(octets(count), expected);
        }
        for (nanos, expected) in [
            (0, "0 ns"),
            (850_000, "850 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (1_250_000, "1.25 ms"),
            (9_996_000, "10.0 ms"),
            (12_340_000_000, "12.3 s"),
            (59_960_000_000, "1 min 0 s"),
            (3_599_600_000_000, "1 h 0 min"),
            (90_000_000_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_nanos(nanos)), expected);
        }
        assert_eq!(
            [thousands(0), thousands(999), thousands(1000), thousands(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn what_does_not_fit_goes_on_below() {
        let mut page = Page::new(Style { colour: false, width: 40 });
        page.line(&format!("warning: {}", "x".repeat(70)), Tone::Warn);
        page.line("a\x1b[31mb", Tone::Plain);
        page.row("label", &vec![Item::count(1, "client_gone", Tone::Bad); 3]);
        assert_eq!(
            page.finish(),
            format!(
                "warning:\n  {}\n  {}\na\u{fffd}[31mb\n  label        1 client gone\n{m}1 client gone\n{m}1 client gone\n",
                "x".repeat(38),
                "x".repeat(32),
                m = " ".repeat(15)
            )
        );
    }

    #[test]
    fn colour_is_written_only_if_asked_for() {
        let mut page = Page::new(Style { colour: true, width: 80 });
        page.line("mail", Tone::Title);
        assert_eq!(page.finish(), "\x1b[1mmail\x1b[0m\n");
    }
}
