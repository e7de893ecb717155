//! The summary's sections, from the whole to the particular; a section without content is left out.

use std::cmp::Reverse;

use super::page::{Item, Page, Style, Tone, number_of, octets, span, thousands};
use super::tally::{CLASSES, ProtocolTally, Recipients, RefusalReason, VariantCounts};
use super::{CaptureFacts, Report};
use crate::event::anomaly::Id;
use crate::event::{
    AuthOutcome, Missing, Other, Protocol, SessionOutcome, Severity, TlsMode, TransactionKind, TransactionOutcome,
};
use crate::output::record::Time;
use crate::time::Timestamp;

/// Reasons for refusal that are listed.
const REFUSALS: usize = 5;
/// Slowest steps that are listed.
const SLOWEST: usize = 8;
/// Protocols in the order of their sections.
const ORDER: [Protocol; 6] =
    [Protocol::Smtp, Protocol::Lmtp, Protocol::Pop3, Protocol::Imap, Protocol::ManageSieve, Protocol::Unknown];

pub(super) fn summary(report: &Report, style: Style) -> String {
    let mut page = Page::new(style);
    if let Some(read) = &report.capture {
        capture(&mut page, read);
    }
    let mut any = false;
    for which in ORDER {
        if let Some(tally) = report.protocols.get(which.index()).filter(|t| **t != ProtocolTally::default()) {
            any = true;
            page.space();
            protocol(&mut page, which, tally);
        }
    }
    if !any {
        page.space();
        page.line("No mail session.", Tone::Plain);
    }
    anomalies(&mut page, report);
    page.finish()
}

fn capture(page: &mut Page, read: &CaptureFacts) {
    let mut text =
        format!("{}, {}, {}", number_of(read.files, "file"), number_of(read.packets, "packet"), octets(read.octets));
    if let Some(elapsed) = read.elapsed.filter(|e| !e.is_zero()) {
        let rate = (read.octets as f64 / elapsed.as_secs_f64()) as u64;
        text = format!("{text}, read in {} ({}/s)", span(elapsed), octets(rate));
    }
    page.line(&text, Tone::Plain);
    if let (Some(first), Some(last)) = (read.first, read.last) {
        let lasted = last.since(first).map(|d| format!(", {}", span(d))).unwrap_or_default();
        page.line(&format!("{} to {} UTC{lasted}", moment(first), moment(last)), Tone::Plain);
    }
    for (packets, kind) in &read.not_understood {
        page.line(&format!("not understood: {} {kind}", number_of(*packets, "packet")), Tone::Warn);
    }
    for warning in &read.warnings {
        page.line(&format!("warning: {warning}"), Tone::Warn);
    }
}

/// `2026-01-31 09:00:00`.
fn moment(at: Timestamp) -> String {
    let text = Time(at).text();
    String::from_utf8_lossy(text.get(..19).unwrap_or_default()).replace('T', " ")
}

fn protocol(page: &mut Page, which: Protocol, tally: &ProtocolTally) {
    let name = match which {
        Protocol::Smtp => "SMTP",
        Protocol::Lmtp => "LMTP",
        Protocol::Pop3 => "POP3",
        Protocol::Imap => "IMAP",
        Protocol::ManageSieve => "ManageSieve",
        Protocol::Unknown => "Unknown, on mail ports",
    };
    page.line(&format!("{name}: {}", number_of(tally.sessions.total(), "session")), Tone::Title);
    row(page, "sessions", counted(&tally.sessions, SessionOutcome::ALL.iter().map(|o| (o.as_str(), session_tone(*o)))));
    row(page, "spoken", counted(&tally.other, Other::ALL.iter().map(|o| (o.as_str(), Tone::Plain))));
    if which != Protocol::Unknown {
        row(page, "encryption", counted(&tally.encryption, TlsMode::ALL.iter().map(|m| (encryption(*m), Tone::Plain))));
    }
    for kind in TransactionKind::ALL {
        transactions(page, tally, *kind);
    }
    recipients(page, &tally.recipients);
    authentication(page, tally);
    replies(page, tally);
    slowest(page, tally);
    incomplete(page, tally);
}

fn transactions(page: &mut Page, tally: &ProtocolTally, kind: TransactionKind) {
    let label = match kind {
        TransactionKind::Delivery => "deliveries",
        TransactionKind::Retrieval => "retrievals",
        TransactionKind::Append => "appends",
    };
    if let Some(outcomes) = tally.transactions.get(kind.index()) {
        row(page, label, counted(outcomes, TransactionOutcome::ALL.iter().map(|o| (o.as_str(), outcome_tone(*o)))));
    }
    if let Some(mail) = tally.mail.get(kind.index()).filter(|m| m.messages > 0) {
        let mut items = vec![
            Item::new(number_of(mail.messages, "message"), Tone::Plain),
            Item::new(octets(mail.octets), Tone::Plain),
        ];
        if mail.partial > 0 {
            items.push(Item::count(mail.partial, "not seen whole", Tone::Warn));
        }
        row(page, "", items);
    }
}

fn recipients(page: &mut Page, recipients: &Recipients) {
    let Recipients { accepted, refused, unanswered, beyond, refusals } = recipients;
    let items = [
        (*accepted, "accepted", Tone::Plain),
        (*refused, "refused", Tone::Bad),
        (*unanswered, "unanswered", Tone::Warn),
        (*beyond, "beyond the cap", Tone::Warn),
    ];
    row(
        page,
        "recipients",
        items.iter().filter(|(n, ..)| *n > 0).map(|(n, word, tone)| Item::count(*n, word, *tone)).collect(),
    );
    let mut reasons: Vec<(&RefusalReason, &u64)> = refusals.iter().collect();
    reasons.sort_by_key(|(refusal, count)| (Reverse(**count), **refusal));
    let mut items: Vec<Item> = reasons
        .iter()
        .take(REFUSALS)
        .map(|(refusal, count)| Item::count(**count, &reason(refusal), Tone::Plain))
        .collect();
    if let Some(more) = reasons.len().checked_sub(REFUSALS).filter(|n| *n > 0) {
        let count = reasons.iter().skip(REFUSALS).map(|(_, n)| **n).sum();
        items.push(Item::count(count, &format!("for {}", number_of(more as u64, "other reason")), Tone::Plain));
    }
    row(page, "refused with", items);
}

/// `× 550 5.1.1`.
fn reason(refusal: &RefusalReason) -> String {
    match refusal.enhanced {
        Some((class, subject, detail)) => format!("× {} {class}.{subject}.{detail}", refusal.code),
        None => format!("× {}", refusal.code),
    }
}

fn authentication(page: &mut Page, tally: &ProtocolTally) {
    for (index, (way, outcomes)) in tally.auth.iter().enumerate() {
        let mut items = vec![Item::new(format!("{:<13}", way.name()), Tone::Plain)];
        items.extend(counted(outcomes, AuthOutcome::ALL.iter().map(|o| (o.as_str(), auth_tone(*o)))));
        row(page, if index == 0 { "logins" } else { "" }, items);
    }
}

fn replies(page: &mut Page, tally: &ProtocolTally) {
    let tone = |class: &str| match class {
        "4yz" => Tone::Warn,
        "5yz" | "-ERR" | "NO" | "BAD" => Tone::Bad,
        _ => Tone::Plain,
    };
    let mut items = counted(&tally.replies, CLASSES.iter().map(|c| (*c, tone(c))));
    if tally.unanswered > 0 {
        items.push(Item::count(tally.unanswered, "unanswered", Tone::Warn));
    }
    row(page, "replies", items);
}

fn slowest(page: &mut Page, tally: &ProtocolTally) {
    let mut steps: Vec<_> = tally.latency.iter().map(|(step, h)| (*step, h, h.percentile(95))).collect();
    steps.sort_by_key(|(step, h, p95)| (Reverse(*p95), Reverse(h.max()), *step));
    if steps.is_empty() {
        return;
    }
    let head = if steps.len() > SLOWEST { format!("{SLOWEST} of {}", steps.len()) } else { String::new() };
    page.set("slowest", &columns(&head, ["count", "median", "95 %", "max"].map(str::to_owned)), Tone::Label);
    for (step, histogram, p95) in steps.iter().take(SLOWEST) {
        let values = [thousands(histogram.count()), span(histogram.percentile(50)), span(*p95), span(histogram.max())];
        page.set("", &columns(step.name(), values), Tone::Plain);
    }
}

/// A name and four figures: 62 columns, which fit 80 with the margin.
fn columns(name: &str, [count, median, p95, max]: [String; 4]) -> String {
    format!("{name:<17}{count:>9}{median:>12}{p95:>12}{max:>12}")
}

fn incomplete(page: &mut Page, tally: &ProtocolTally) {
    if tally.incomplete == 0 && tally.lost == 0 {
        return;
    }
    let mut items = vec![Item::new(format!("{}:", number_of(tally.incomplete, "session")), Tone::Warn)];
    items.extend(counted(&tally.missing, Missing::ALL.iter().map(|m| (m.as_str(), Tone::Plain))));
    if tally.lost > 0 {
        items.push(Item::new(format!("{} lost", octets(tally.lost)), Tone::Plain));
    }
    row(page, "incomplete", items);
}

fn anomalies(page: &mut Page, report: &Report) {
    let mut rows = Vec::new();
    for (id, seen) in Id::ALL.iter().zip(&report.anomalies) {
        for severity in Severity::ALL {
            let records = seen.records.of(severity.index());
            if records > 0 {
                rows.push((
                    Reverse(severity.index()),
                    Reverse(records),
                    id.index(),
                    *severity,
                    *id,
                    seen.times.of(severity.index()),
                ));
            }
        }
    }
    rows.sort_by_key(|(severity, records, id, ..)| (*severity, *records, *id));
    if rows.is_empty() {
        return;
    }
    page.space();
    page.line("Anomalies", Tone::Title);
    page.set("severity", &format!("{:<38}{:>10}{:>12}", "what", "records", "times"), Tone::Label);
    for (_, Reverse(records), _, severity, id, times) in rows {
        let tone = match severity {
            Severity::High => Tone::Bad,
            Severity::Medium => Tone::Warn,
            Severity::Low | Severity::Info => Tone::Plain,
        };
        page.set(
            severity.as_str(),
            &format!("{:<38}{:>10}{:>12}", id.as_str(), thousands(records), thousands(times)),
            tone,
        );
    }
}

/// A row, if there is anything in it.
fn row(page: &mut Page, label: &str, items: Vec<Item>) {
    if !items.is_empty() {
        page.row(label, &items);
    }
}

/// An item for each count that is not zero; `words` in the order of the counts.
fn counted<const N: usize>(counts: &VariantCounts<N>, words: impl Iterator<Item = (&'static str, Tone)>) -> Vec<Item> {
    words
        .enumerate()
        .filter(|(index, _)| counts.of(*index) > 0)
        .map(|(index, (word, tone))| Item::count(counts.of(index), word, tone))
        .collect()
}

fn encryption(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::None => "in clear",
        TlsMode::StartTls => "STARTTLS",
        TlsMode::Implicit => "implicit TLS",
    }
}

fn session_tone(outcome: SessionOutcome) -> Tone {
    match outcome {
        SessionOutcome::Ok | SessionOutcome::Encrypted | SessionOutcome::CaptureEnd => Tone::Plain,
        SessionOutcome::RefusedAtConnect
        | SessionOutcome::ServerShutdown
        | SessionOutcome::ServerGone
        | SessionOutcome::TlsFailed => Tone::Bad,
        SessionOutcome::ClientGone | SessionOutcome::Timeout | SessionOutcome::Reset | SessionOutcome::Unparseable => {
            Tone::Warn
        }
    }
}

fn outcome_tone(outcome: TransactionOutcome) -> Tone {
    match outcome {
        TransactionOutcome::Accepted
        | TransactionOutcome::Complete
        | TransactionOutcome::Encrypted
        | TransactionOutcome::Unknown => Tone::Plain,
        TransactionOutcome::RejectedPermanent
        | TransactionOutcome::ServerClosed
        | TransactionOutcome::ConnectionLost
        | TransactionOutcome::Error => Tone::Bad,
        TransactionOutcome::Partial
        | TransactionOutcome::RejectedTemporary
        | TransactionOutcome::Aborted
        | TransactionOutcome::TimedOut => Tone::Warn,
    }
}

fn auth_tone(outcome: AuthOutcome) -> Tone {
    match outcome {
        AuthOutcome::Success => Tone::Plain,
        AuthOutcome::Failed => Tone::Bad,
        _ => Tone::Warn,
    }
}
