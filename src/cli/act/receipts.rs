//! Receipts, as people read them.

use serde_json::Value;

use crate::cli::output::{Format, Printer, Tone, shown, word};
use crate::cli::{CliError, Outcome};

/// What a receipt says where all is well.
const FINE: [&str; 4] = ["completed", "restored", "aliased", "planned"];

const TITLES: [&str; 5] = ["subject", "outcome", "found", "ended", "why"];

/// Whether all is well with all of them.
pub(in crate::cli) fn outcome(receipts: &[Value]) -> Outcome {
    let permitted = |receipt: &Value| objections(receipt).is_empty();
    if receipts.iter().all(|receipt| is_fine(receipt) && permitted(receipt)) { Outcome::Fine } else { Outcome::Wrong }
}

/// What is in the way on each endpoint: a listing that failed, or a permission that EC2's dry run did not find.
fn objections(receipt: &Value) -> Vec<String> {
    let objection = |endpoint: &Value| {
        let [id, error] = ["endpoint_id", "error"].map(|key| shown(&word(endpoint.get(key))));
        match endpoint.get("permitted") == Some(&Value::Bool(false)) {
            true => Some(format!("{id}: EC2 would not permit it: {error}")),
            false if !error.is_empty() => Some(format!("{id}: {error}")),
            false => None,
        }
    };
    receipt.get("endpoints").and_then(Value::as_array).into_iter().flatten().filter_map(objection).collect()
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
        // What EC2 would not permit was listed all the same.
        let has = |of: &Value, key: &str| of.get(key).is_some_and(|at| !at.is_null());
        let listed = |endpoint: &&Value| !has(endpoint, "error") || has(endpoint, "permitted");
        let endpoints = list(receipt, "endpoints").iter().filter(listed).count();
        let [signal, mode] = ["signal_id", "mode"].map(|key| shown(&word(receipt.get(key))));
        let mut line = format!("{signal}: mode {mode}, {endpoints} endpoints listed");
        for (key, label) in
            [("locked_at", "locked"), ("first_terminate_at", "first ended"), ("verified_at", "verified")]
        {
            if let Some(at) = receipt.get("timings").and_then(|timings| timings.get(key)).and_then(Value::as_str) {
                line.push_str(&format!(", {label} {}", shown(at)));
            }
        }
        let permitted = receipt.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        let permitted = permitted.filter(|endpoint| endpoint.get("permitted") == Some(&Value::Bool(true))).count();
        if permitted > 0 {
            line.push_str(&format!(", EC2 would permit it on {permitted}"));
        }
        printer.line(&line)?;
        objections(receipt).iter().try_for_each(|objection| printer.toned_line(Tone::Bad, objection))?;
    }
    Ok(())
}
