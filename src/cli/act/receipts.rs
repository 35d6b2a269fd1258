//! Receipts, as people read them.

use serde_json::Value;

use crate::cli::output::{Format, Printer, Tone, shown, word};
use crate::cli::{CliError, Outcome};

/// What a receipt says where all is well.
const FINE: [&str; 4] = ["completed", "restored", "aliased", "planned"];

const TITLES: [&str; 5] = ["subject", "outcome", "found", "ended", "why"];

/// Whether all is well with all of them.
pub(in crate::cli) fn outcome(receipts: &[Value]) -> Outcome {
    if receipts.iter().all(is_fine) { Outcome::Fine } else { Outcome::Wrong }
}

fn is_fine(receipt: &Value) -> bool {
    FINE.contains(&word(receipt.get("outcome")).as_str())
}

/// Shows receipts: a line for each subject, and the times.
pub(in crate::cli) fn show(receipts: &[Value], printer: &Printer) -> Result<(), CliError> {
    match printer.format {
        Format::Json => return printer.json(receipts),
        Format::Jsonl => return receipts.iter().try_for_each(|receipt| printer.json(receipt)),
        Format::Table => {}
    }
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let subjects: Vec<Value> = receipts.iter().flat_map(|receipt| list(receipt, "subjects")).collect();
    let cells = |subject: &Value| {
        let connections = list(subject, "connections");
        let ended = connections.iter().filter(|row| word(row.get("current_status")) == "terminated").count();
        let [name, outcome, error] = ["subject", "outcome", "error"].map(|key| word(subject.get(key)));
        vec![name, outcome, connections.len().to_string(), ended.to_string(), error]
    };
    printer.toned(&TITLES, &subjects, cells, |subject| match is_fine(subject) {
        true => Tone::Good,
        false => Tone::Bad,
    })?;
    for receipt in receipts {
        let endpoints = list(receipt, "endpoints").len();
        let [signal, mode] = ["signal_id", "mode"].map(|key| shown(&word(receipt.get(key))));
        let mut line = format!("{signal}: mode {mode}, {endpoints} endpoints listed");
        for (key, label) in
            [("locked_at", "locked"), ("first_terminate_at", "first ended"), ("verified_at", "verified")]
        {
            if let Some(at) = receipt.get("timings").and_then(|timings| timings.get(key)).and_then(Value::as_str) {
                line.push_str(&format!(", {label} {}", shown(at)));
            }
        }
        printer.line(&line)?;
    }
    Ok(())
}
