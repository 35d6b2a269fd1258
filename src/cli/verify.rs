//! `audit verify`: whether every chain is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use revocation::audit::{Entry, Finding, Head, Walk, verify as verify_chain};
use revocation::ports::{AuditTrail, ReadTrail};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::audit::chain_of;
use super::aws::Aws;
use super::export::HEAD;
use super::output::{Format, Printer, Progress, shown};
use super::tables::Tables;
use super::{CliError, Outcome};
use crate::DynamoAudit;

/// How often a chain is read again that grows while it is looked at.
const LOOKS: usize = 5;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Only this subject's chain
    #[arg(conflicts_with_all = ["export", "against"])]
    subject: Option<String>,
    /// Check this export instead of the tables; needs no AWS
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// An earlier export of the whole trail, to hold today's against
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Something that is wrong, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    subject: String,
    seq: u64,
    finding: &'static str,
    says: String,
}

impl From<&Finding> for Row {
    fn from(finding: &Finding) -> Self {
        Self {
            subject: finding.chain().to_owned(),
            seq: finding.seq(),
            finding: finding.word(),
            says: finding.to_string(),
        }
    }
}

/// What came of it.
struct Report {
    entries: u64,
    chains: usize,
    findings: Vec<Finding>,
    /// Whether heads were there to hold chains against.
    heads: bool,
}

impl Verify {
    pub(super) async fn run(self, tables: &Tables, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let earlier = self.against.as_deref().map(earlier).transpose()?;
        let against = earlier.is_some();
        let walk = Walk::against(earlier.unwrap_or_default());
        let report = match (&self.export, &self.subject) {
            (Some(path), _) => of_export(path, walk)?,
            (None, Some(subject)) => of_chain(&tables.audit(aws).await?, &chain_of(subject)?).await?,
            (None, None) => of_tables(&tables.audit(aws).await?, walk).await?,
        };
        report.print(printer, against)?;
        Ok(if report.findings.is_empty() { Outcome::Fine } else { Outcome::Wrong })
    }
}

impl Report {
    fn print(&self, printer: &Printer, against: bool) -> Result<(), CliError> {
        let rows: Vec<Row> = self.findings.iter().map(Row::from).collect();
        if printer.format != Format::Table {
            return printer.json(&json!({
                "entries": self.entries,
                "chains": self.chains,
                "heads": self.heads,
                "against": against,
                "whole": rows.is_empty(),
                "findings": rows,
            }));
        }
        for row in &rows {
            printer.line(&format!("{}: {}", row.finding, shown(&row.says)))?;
        }
        let verdict = match rows.len() {
            0 => "every one follows from the one before".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            many => format!("{many} things are wrong"),
        };
        printer.line(&format!("{} entries of {} subjects: {verdict}.", self.entries, self.chains))?;
        printer.line(self.limits(against))
    }

    /// What can't be told.
    fn limits(&self, against: bool) -> &'static str {
        match (self.heads, against) {
            (false, false) => {
                "Not shown: entries cut off at the end of a chain, since heads were not there; a chain that was rewritten or removed as a whole (give --against); entries added by whoever may write both tables."
            }
            (false, true) => {
                "Not shown: entries cut off since the earlier export, since heads were not there; entries added by whoever may write both tables."
            }
            (true, false) => {
                "Not shown: a chain that was rewritten or removed together with its head (give --against); entries added by whoever may write both tables."
            }
            (true, true) => {
                "Not shown: what happened to entries that are newer than the earlier export, if their heads were changed too; entries added by whoever may write both tables."
            }
        }
    }
}

/// The tables, while others write to them.
async fn of_tables(trail: &DynamoAudit, mut walk: Walk) -> Result<Report, CliError> {
    let progress = Progress::new("verifying entries");
    let mut findings = Vec::new();
    let mut after = None;
    loop {
        let (entries, next) = trail.page(after).await?;
        progress.more(entries.len());
        findings.extend(entries.iter().flat_map(|entry| walk.entry(entry)));
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut unsure = Vec::new();
    let mut after = None;
    loop {
        let (heads, next) = trail.heads(after).await?;
        unsure.extend(heads.iter().filter_map(|(chain, head)| walk.head(chain, head)));
        after = next;
        if after.is_none() {
            break;
        }
    }
    unsure.extend(walk.end(true));
    for finding in unsure {
        // A chain that grew meanwhile looks cut off; what an earlier export says is not about growing.
        match finding {
            Finding::CutOff { chain, .. } | Finding::Headless { chain, .. } => {
                findings.extend(settled(trail, &chain).await?.1);
            }
            other => findings.push(other),
        }
    }
    Ok(Report { entries: walk.entries(), chains: walk.chains(), findings, heads: true })
}

/// One chain with its head, read again while it grows, so that a moment between two reads is no finding.
async fn settled(trail: &DynamoAudit, chain: &str) -> Result<(Vec<Entry>, Vec<Finding>), CliError> {
    let mut before = trail.head(chain).await?;
    for _ in 0..LOOKS {
        let entries = trail.entries(chain).await?;
        let head = trail.head(chain).await?;
        if head == before {
            let findings = match head.seq {
                0 if !entries.is_empty() => {
                    let last = entries.last().map_or(0, |entry| entry.head().seq);
                    vec![Finding::Headless { chain: chain.to_owned(), last }]
                }
                _ => verify_chain(chain, &entries, &head),
            };
            return Ok((entries, findings));
        }
        before = head;
    }
    Err(CliError::Usage(format!("the chain of {} grows all the time; try again", shown(chain))))
}

async fn of_chain(trail: &DynamoAudit, chain: &str) -> Result<Report, CliError> {
    let (entries, findings) = settled(trail, chain).await?;
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    Ok(Report { entries: count, chains: usize::from(count > 0), findings, heads: true })
}

/// A line of an export.
enum Line {
    Entry(Entry),
    Head(String, Head),
}

/// Reads an export, line by line.
fn lines(path: &Path, mut each: impl FnMut(Line) -> Result<(), CliError>) -> Result<(), CliError> {
    let failed = |error| CliError::File { path: path.display().to_string(), error };
    let reader = BufReader::new(File::open(path).map_err(failed)?);
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let problem = |problem: &str| CliError::Line {
            path: path.display().to_string(),
            line: number,
            problem: format!("{problem}; give a file that `audit export` wrote as JSON lines"),
        };
        let attributes: Map<String, Value> = serde_json::from_str(&line).map_err(|_| problem("is no JSON object"))?;
        let text = |key: &str| attributes.get(key).and_then(Value::as_str).map(str::to_owned);
        match text(HEAD) {
            Some(chain) => {
                let seq = attributes.get("seq").and_then(Value::as_u64);
                let (Some(seq), Some(hash)) = (seq, text("hash")) else {
                    return Err(problem("is a head without seq or hash"));
                };
                each(Line::Head(chain, Head { seq, hash }))?;
            }
            None if attributes.contains_key("subject") => each(Line::Entry(Entry::from_attributes(attributes)))?,
            None => return Err(problem("is neither an entry nor a head")),
        }
    }
    Ok(())
}

fn of_export(path: &Path, mut walk: Walk) -> Result<Report, CliError> {
    let progress = Progress::new("verifying entries");
    let (mut findings, mut heads) = (Vec::new(), Vec::new());
    lines(path, |line| {
        match line {
            Line::Entry(entry) => {
                progress.more(1);
                findings.extend(walk.entry(&entry));
            }
            Line::Head(chain, head) => heads.push((chain, head)),
        }
        Ok(())
    })?;
    findings.extend(heads.iter().filter_map(|(chain, head)| walk.head(chain, head)));
    findings.extend(walk.end(!heads.is_empty()));
    Ok(Report { entries: walk.entries(), chains: walk.chains(), findings, heads: !heads.is_empty() })
}

/// Where each chain stood in an earlier export, which has to be whole itself to prove anything.
fn earlier(path: &Path) -> Result<BTreeMap<String, Head>, CliError> {
    let mut walk = Walk::default();
    let mut wrong = None;
    lines(path, |line| {
        if let Line::Entry(entry) = line {
            wrong = wrong.take().or(walk.entry(&entry).into_iter().next());
        }
        Ok(())
    })?;
    match wrong {
        None => Ok(walk.standing()),
        Some(finding) => Err(CliError::Usage(format!(
            "{} is not whole itself and proves nothing: {}",
            path.display(),
            shown(&finding.to_string())
        ))),
    }
}
