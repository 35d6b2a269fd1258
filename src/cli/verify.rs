//! `audit verify`: whether every chain is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use revocation::audit::{Entry, Finding, Head, Walk, verify as verify_chain};
use revocation::ports::ReadTrail;
use serde::Serialize;
use serde_json::{Value, json};

use super::audit::chain_of;
use super::aws::Aws;
use super::deployment::Deployment;
use super::export::{ALL, CHAIN, END, EXPORT, HEAD};
use super::output::{Format, Printer, Progress, counted, shown};
use super::strict_json;
use super::{CliError, Outcome};
use crate::DynamoAudit;

/// How many findings are told one by one. Where a whole trail was tampered with, a million of them would not help.
const TOLD: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Only this subject's chain
    #[arg(conflicts_with_all = ["export", "against"])]
    subject: Option<String>,
    /// Check this export instead of the tables; needs no AWS
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// An earlier export of the whole trail, to compare today's with
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
#[derive(Default)]
struct Report {
    entries: u64,
    chains: usize,
    findings: Vec<Row>,
    /// How many there are beside those that are told.
    further: u64,
    /// What can't be told.
    not_shown: &'static str,
}

const OF_TABLES: &str = "a chain that was rewritten or removed together with its head (give --against); entries that somebody added who may write both tables";
const OF_CHAIN: &str = "a chain that was rewritten together with its head (verify the whole trail, with --against); entries that somebody added who may write both tables";
const OF_SELECTION: &str = "entries that were cut off at the ends of chains or left out of a selection, and chains that were rewritten as a whole: this export is not of the whole trail, and has no heads; entries that somebody added who may write both tables";
const SINCE: &str = "what is newer than the earlier export, if its heads were changed too; entries that somebody added who may write both tables";

impl Verify {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let earlier = self.against.as_deref().map(earlier).transpose()?;
        let against = earlier.is_some();
        let walk = Walk::against(earlier.unwrap_or_default());
        let mut report = match (&self.export, &self.subject) {
            (Some(path), _) => {
                let (report, all, _) = of_export(path, walk)?;
                if against && !all {
                    return Err(CliError::Unfit(format!(
                        "{} is not of the whole trail, so that what it leaves out would seem to be gone; verify it without --against",
                        path.display()
                    )));
                }
                report
            }
            (None, Some(subject)) => of_chain(&deployment.audit(aws).await?, &chain_of(subject)?).await?,
            (None, None) => of_tables(&deployment.audit(aws).await?, walk).await?,
        };
        if against {
            report.not_shown = SINCE;
        }
        report.print(printer)?;
        Ok(if report.findings.is_empty() { Outcome::Fine } else { Outcome::Wrong })
    }
}

impl Report {
    fn tell(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            match self.findings.len() < TOLD {
                true => self.findings.push(Row::from(&finding)),
                false => self.further = self.further.saturating_add(1),
            }
        }
    }

    /// Something that is wrong with all of it.
    fn tell_of_all(&mut self, finding: &'static str, says: &str) {
        self.findings.push(Row { subject: String::new(), seq: 0, finding, says: says.to_owned() });
    }

    fn print(&self, printer: &Printer) -> Result<(), CliError> {
        if printer.format != Format::Table {
            return printer.json(&json!({
                "entries": self.entries,
                "chains": self.chains,
                "whole": self.findings.is_empty(),
                "findings": self.findings,
                "further_findings": self.further,
                "not_shown": self.not_shown,
            }));
        }
        for row in &self.findings {
            printer.line(&format!("{}: {}", row.finding, shown(&row.says)))?;
        }
        let count = u64::try_from(self.findings.len()).unwrap_or(u64::MAX).saturating_add(self.further);
        let verdict = match count {
            0 => "every one follows from the one before".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            many => format!("{many} things are wrong"),
        };
        let entries = counted(usize::try_from(self.entries).unwrap_or(usize::MAX), "entry", "entries");
        let chains = counted(self.chains, "subject", "subjects");
        printer.line(&format!("{entries} of {chains}: {verdict}."))?;
        printer.line(&format!("Not shown: {}.", self.not_shown))
    }
}

/// The tables, while the functions write to them.
async fn of_tables(trail: &DynamoAudit, mut walk: Walk) -> Result<Report, CliError> {
    let progress = Progress::new("verifying entries");
    // Chains at which something looked wrong. Each is read again by itself: it may have grown meanwhile, and only a
    // reading of one chain is promised to come in order.
    let mut suspects = BTreeSet::new();
    let mut report = Report { not_shown: OF_TABLES, ..Report::default() };
    let mut sort = |findings: Vec<Finding>, report: &mut Report| {
        for finding in findings {
            match finding {
                Finding::Rewritten { .. } | Finding::Removed { .. } => report.tell([finding]),
                other => {
                    suspects.insert(other.chain().to_owned());
                }
            }
        }
    };
    let mut after = None;
    loop {
        let (entries, next) = trail.page(after).await?;
        progress.more(entries.len());
        for entry in &entries {
            sort(walk.entry(entry), &mut report);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let (heads, next) = trail.heads(after).await?;
        for (chain, head) in &heads {
            sort(walk.head(chain, head.as_ref()).into_iter().collect(), &mut report);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    sort(walk.end(true), &mut report);
    for chain in suspects {
        report.tell(chain_findings(trail, &chain).await?.1);
    }
    (report.entries, report.chains) = (walk.entries(), walk.chains());
    if report.chains == 0 {
        report.tell_of_all("empty", "there is no trail: is it the right table, or was everything removed?");
    }
    Ok(report)
}

/// One chain: its entries, and what is wrong with it. Entries come after the head is read, so there are at
/// least those that it names; those beyond it are right if the head has moved on since.
pub(super) async fn chain_findings(trail: &DynamoAudit, chain: &str) -> Result<(Vec<Entry>, Vec<Finding>), CliError> {
    let before = trail.stored_head(chain).await?;
    let entries = trail.entries(chain).await?;
    let last = entries.last().map_or(0, |entry| entry.head().seq);
    let mut walk = Walk::default();
    let findings = match before {
        Some(Some(head)) if head.seq > 0 => {
            let now = trail.stored_head(chain).await?.flatten().map_or(0, |head| head.seq);
            let grown = last > head.seq && now >= last;
            let known = entries.iter().filter(|entry| !grown || entry.seq().is_none_or(|seq| seq <= head.seq));
            let findings = verify_chain(chain, known, &head);
            match entries.last() {
                // What was added since follows from it, or is told.
                Some(entry) if grown && findings.is_empty() => verify_chain(chain, &entries, &entry.head()),
                _ => findings,
            }
        }
        Some(_) => {
            let mut findings: Vec<Finding> = entries.iter().flat_map(|entry| walk.entry(entry)).collect();
            findings.push(Finding::BadHead { chain: chain.to_owned() });
            findings
        }
        None => {
            let mut findings: Vec<Finding> = entries.iter().flat_map(|entry| walk.entry(entry)).collect();
            if !entries.is_empty() && trail.stored_head(chain).await?.is_none() {
                findings.push(Finding::Headless { chain: chain.to_owned(), last });
            }
            findings
        }
    };
    Ok((entries, findings))
}

async fn of_chain(trail: &DynamoAudit, chain: &str) -> Result<Report, CliError> {
    let (entries, findings) = chain_findings(trail, chain).await?;
    let count = entries.len();
    let entries = u64::try_from(count).unwrap_or(u64::MAX);
    let mut report = Report { entries, chains: usize::from(count > 0), not_shown: OF_CHAIN, ..Report::default() };
    if count == 0 && findings.is_empty() {
        report.tell_of_all("empty", &format!("nothing is recorded of `{}`; is that the name?", shown(chain)));
    }
    report.tell(findings);
    Ok(report)
}

/// A line of an export.
enum Line {
    /// What it is of; the first line.
    Export {
        of: String,
    },
    Entry(Entry),
    Head(String, Option<Head>),
    /// How much it holds; the last line.
    End {
        entries: Option<u64>,
        heads: Option<u64>,
    },
}

impl Line {
    fn read(text: &str) -> Result<Self, String> {
        let fields = strict_json::object(text)?;
        let texts = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(export) = fields.get(EXPORT) {
            return Ok(Self::Export { of: texts(export, "of").unwrap_or_default() });
        }
        if let Some(end) = fields.get(END) {
            let number = |key: &str| end.get(key).and_then(Value::as_u64);
            return Ok(Self::End { entries: number("entries"), heads: number("heads") });
        }
        if let Some(chain) = fields.get(HEAD).and_then(Value::as_str) {
            let chain = chain.to_owned();
            let fields = Value::Object(fields);
            let seq = fields.get("seq").and_then(Value::as_u64);
            return Ok(Self::Head(chain, seq.zip(texts(&fields, "hash")).map(|(seq, hash)| Head { seq, hash })));
        }
        match fields.contains_key("subject") {
            true => Ok(Self::Entry(Entry::from_attributes(fields))),
            false => Err("is neither an entry nor a head".to_owned()),
        }
    }
}

/// Reads an export, line by line.
fn lines(path: &Path, mut each: impl FnMut(Line)) -> Result<(), CliError> {
    let failed = |error| CliError::File { path: path.display().to_string(), error };
    let reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut is_export = false;
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let problem = |problem: String| CliError::Line {
            path: path.display().to_string(),
            line: number,
            problem: format!("{problem}; give a file that `audit export` wrote as JSON lines"),
        };
        let line = Line::read(&line).map_err(problem)?;
        if is_export == matches!(line, Line::Export { .. }) {
            return Err(problem("is not where an export has it".to_owned()));
        }
        is_export = true;
        each(line);
    }
    match is_export {
        true => Ok(()),
        false => Err(CliError::Unfit(format!("{} is empty, and no export", path.display()))),
    }
}

/// An export, and whether it is of the whole trail.
fn of_export(path: &Path, mut walk: Walk) -> Result<(Report, bool, Walk), CliError> {
    let progress = Progress::new("verifying entries");
    let mut report = Report { not_shown: OF_SELECTION, ..Report::default() };
    let (mut all, mut is_selection, mut heads, mut ended) = (false, false, 0_u64, None);
    lines(path, |line| {
        let is_after_end = ended.is_some();
        match line {
            Line::Export { of } => {
                all = of == ALL;
                is_selection = !all && of != CHAIN;
                if is_selection {
                    walk.of_selection();
                }
            }
            Line::Entry(entry) => {
                progress.more(1);
                report.tell(walk.entry(&entry));
            }
            Line::Head(chain, head) => {
                heads = heads.saturating_add(1);
                report.tell(walk.head(&chain, head.as_ref()));
            }
            Line::End { entries, heads: counted } => ended = Some((entries, counted)),
        }
        if is_after_end {
            ended = Some((None, None));
        }
    })?;
    report.tell(walk.end(all));
    (report.entries, report.chains) = (walk.entries(), walk.chains());
    if ended != Some((Some(report.entries), Some(heads))) {
        report.tell_of_all("truncated", "the export is not as long as its last line says, or has no last line");
    }
    if report.entries == 0 && !is_selection && report.findings.is_empty() {
        report.tell_of_all(
            "empty",
            "the export holds no entry: was it taken from the right table and of the right name, or was everything removed?",
        );
    }
    if all {
        report.not_shown = OF_TABLES;
    }
    Ok((report, all, walk))
}

/// Where each chain stood in an earlier export, which has to be of the whole trail, and whole, to prove anything.
fn earlier(path: &Path) -> Result<BTreeMap<String, Head>, CliError> {
    let unfit = |why: &str| CliError::Unfit(format!("{} proves nothing: {why}", path.display()));
    let (report, all, walk) = of_export(path, Walk::default())?;
    match report.findings.first() {
        Some(row) => Err(unfit(&shown(&row.says))),
        None if !all => Err(unfit("it is of a selection; give an export of the whole trail")),
        None => Ok(walk.standing()),
    }
}
