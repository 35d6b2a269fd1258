//! `report`: evidence for an auditor or an incident's file, one page that needs nothing else.

mod page;
mod picture;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use revocation::audit::{Entry, Finding, GOAL, Kind, Story, Times, stories};
use revocation::ports::Clock;
use revocation::time::Timestamp;
use serde_json::json;

use super::audit::{Selection, chain_of, day};
use super::aws::Aws;
use super::deployment::Deployment;
use super::file::Unfinished;
use super::output::{Format, Printer, Progress, Tone, counted, note};
use super::verify::chain_findings;
use super::{CliError, Outcome};
use crate::{DynamoAudit, SystemClock};

/// Evidence of what was done: one HTML page for an auditor or an incident's file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker report --subject alice@example.com --html alice.html
  vpn-revoker report --from 2026-03-01 --to 2026-03-31 --html march.html

The page has a summary, a picture of each revocation, how long they took, and every entry with its hash and whether that
holds. It needs no network, holds no program, and prints well. Exit code 1 where a chain is not whole.")]
pub(super) struct Report {
    /// Of one subject: everything that is recorded
    #[arg(long, value_name = "NAME", required_unless_present = "from", conflicts_with_all = ["from", "to"])]
    subject: Option<String>,
    /// The first day, such as 2026-03-01 (UTC)
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Timestamp>,
    /// The last day; without it, today
    #[arg(long, value_name = "DAY", value_parser = day, requires = "from")]
    to: Option<Timestamp>,
    /// The page to write; `-` for standard output
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// A chain, what is told of it, and what is wrong with it.
struct Chain {
    name: String,
    entries: Vec<Entry>,
    findings: Vec<Finding>,
}

/// Everything that is told.
struct Evidence {
    /// What it is of, in words.
    of: String,
    at: Timestamp,
    chains: Vec<Chain>,
    stories: Vec<Story>,
    times: Times,
}

impl Report {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let trail = deployment.audit(aws).await?;
        let progress = Progress::new("chains verified");
        let chains = match &self.subject {
            Some(subject) => of_subject(&trail, &chain_of(subject)?, &progress).await?,
            None => self.of_days(&trail, &progress).await?,
        };
        drop(progress);
        let stories = stories(chains.iter().flat_map(|chain| &chain.entries));
        let times = Times::of(&stories);
        let evidence = Evidence { of: self.words(), at: SystemClock.now(), chains, stories, times };
        let page = page::render(&evidence)?;
        match self.html.as_os_str() == "-" {
            true => printer.raw(&page)?,
            false => {
                let unfinished = Unfinished::begin(&self.html)?;
                (&unfinished.file).write_all(page.as_bytes())?;
                unfinished.finish()?;
                evidence.tell(printer)?;
                note(&format!("the page is {}", self.html.display()));
            }
        }
        Ok(if evidence.findings().next().is_none() { Outcome::Fine } else { Outcome::Wrong })
    }

    fn words(&self) -> String {
        match (&self.subject, self.from) {
            (Some(subject), _) => format!("everything about {}", subject.trim()),
            (None, from) => {
                let now = SystemClock.now();
                let [from, to] = [from, self.to].map(|at| at.unwrap_or(now).min(now).day());
                if from == to { from } else { format!("{from} to {to}") }
            }
        }
    }

    /// Every chain that has entries of these days: those entries, and what belongs to the same signals.
    async fn of_days(&self, trail: &DynamoAudit, progress: &Progress) -> Result<Vec<Chain>, CliError> {
        let selection = Selection { subject: None, from: self.from, to: self.to, kinds: Vec::new(), signal: None };
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let take = |entries: Vec<Entry>| {
            for entry in entries {
                let signals = wanted.entry(entry.chain().to_owned()).or_default();
                signals.insert(entry.text("signal_id").unwrap_or_default().to_owned());
            }
            Ok(())
        };
        selection.read(trail, take).await?;
        let mut chains = Vec::new();
        for (name, signals) in wanted {
            let (entries, findings) = chain_findings(trail, &name).await?;
            let told =
                entries.into_iter().filter(|entry| signals.contains(entry.text("signal_id").unwrap_or_default()));
            chains.push(Chain { name, entries: told.collect(), findings });
            progress.more(1);
        }
        Ok(chains)
    }
}

/// A subject's chain, and who was refused at the door under its further names.
async fn of_subject(trail: &DynamoAudit, name: &str, progress: &Progress) -> Result<Vec<Chain>, CliError> {
    let (entries, findings) = chain_findings(trail, name).await?;
    progress.more(1);
    if entries.is_empty() && findings.is_empty() {
        return Err(CliError::Unfit(format!("nothing is recorded of `{name}`; is that the name?")));
    }
    let others: BTreeSet<String> = stories(&entries).into_iter().flat_map(|story| story.names).collect();
    let mut chains = vec![Chain { name: name.to_owned(), entries, findings }];
    for other in others.into_iter().filter(|other| other != name) {
        let (entries, findings) = chain_findings(trail, &other).await?;
        let refused = entries.into_iter().filter(|entry| entry.text("kind") == Some(Kind::Denied.word()));
        let entries: Vec<Entry> = refused.collect();
        if !entries.is_empty() || !findings.is_empty() {
            chains.push(Chain { name: other, entries, findings });
        }
        progress.more(1);
    }
    Ok(chains)
}

impl Evidence {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.chains.iter().flat_map(|chain| &chain.findings)
    }

    fn entries(&self) -> usize {
        self.chains.iter().map(|chain| chain.entries.len()).sum()
    }

    /// Tells in short what the page holds.
    fn tell(&self, printer: &Printer) -> Result<(), CliError> {
        let (verified, within) = (self.times.verified(), self.times.within(GOAL));
        let millis = |percent| self.times.percentile(percent).map(|time| time.as_millis());
        if printer.format != Format::Table {
            return printer.json(&json!({
                "of": self.of,
                "entries": self.entries(),
                "chains": self.chains.len(),
                // Nothing proves nothing.
                "whole": (self.entries() > 0).then(|| self.findings().next().is_none()),
                "findings": self.findings().map(ToString::to_string).collect::<Vec<_>>(),
                "revocations_verified": verified,
                "revocations_unverified": self.times.unverified,
                "verified_within_5_minutes": within,
                "median_ms": millis(50),
                "p95_ms": millis(95),
                "longest_ms": millis(100),
                "stories": self.stories,
            }));
        }
        for finding in self.findings() {
            printer.toned_line(Tone::Bad, &super::output::shown(&finding.to_string()))?;
        }
        let whole = match (self.entries(), self.findings().next()) {
            (0, None) => "nothing was recorded",
            (_, None) => "every chain is whole",
            (_, Some(_)) => "not every chain is whole",
        };
        let entries = counted(self.entries(), "entry", "entries");
        let subjects = counted(self.chains.len(), "subject", "subjects");
        printer.line(&format!("{entries} of {subjects}: {whole}"))?;
        let revocations = counted(verified, "revocation", "revocations");
        printer
            .line(&format!("{revocations} verified, {within} within 5 minutes; {} not verified", self.times.unverified))
    }
}
