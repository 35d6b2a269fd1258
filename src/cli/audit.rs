//! `audit`: what is recorded.

use clap::{Args, Subcommand};
use revocation::audit::{Entry, Kind};
use revocation::ports::{Clock, ReadTrail};
use revocation::time::Timestamp;

use super::aws::Aws;
use super::deployment::Deployment;
use super::export::Export;
use super::output::{Printer, Progress, word};
use super::verify::{Verify, chain_findings};
use super::{CliError, Outcome};
use crate::{DynamoAudit, SystemClock};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Entries, oldest first: of a subject, or of days (without either: of today)
    #[command(after_help = "Examples:
  vpn-revoker audit list alice@example.com
  vpn-revoker audit list --from 2026-03-01 --to 2026-03-07 --kind incomplete --kind refused")]
    List(Selection),
    /// One entry with all that it holds; exit code 1 where it is not there, or its chain is not whole
    #[command(after_help = "Example: vpn-revoker audit show alice@example.com 3 --output json")]
    Show {
        /// Whose chain
        subject: String,
        /// The entry's number
        seq: u64,
    },
    /// Entries to keep elsewhere, as JSON lines or CSV. The whole trail, if nothing is selected, comes with its heads, so
    /// that `verify --export` can check it without AWS
    #[command(after_help = "Examples:
  vpn-revoker audit export --to-file trail-$(date +%F).jsonl
  vpn-revoker audit export --from 2026-03-01 --to 2026-03-31 --csv --to-file march.csv")]
    Export(Export),
    /// Whether every chain is whole: nothing changed, missing, cut off, forked or out of order. Exit code 1 where not
    #[command(after_help = "Examples:
  vpn-revoker audit verify                               the tables
  vpn-revoker audit verify --against trail-2026-02.jsonl  and that nothing of an earlier export was rewritten since
  vpn-revoker audit verify --export trail-2026-03.jsonl   an export, without AWS

What it can't show: entries that somebody added who may write both tables; and without --against, a chain that was
rewritten or removed together with its head.")]
    Verify(Verify),
}

/// Which entries.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Whose chain
    #[arg(conflicts_with_all = ["from", "to"])]
    pub(super) subject: Option<String>,
    /// The first day, such as 2026-03-01 (UTC)
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(super) from: Option<Timestamp>,
    /// The last day; without it, today
    #[arg(long, value_name = "DAY", value_parser = day, requires = "from")]
    pub(super) to: Option<Timestamp>,
    /// Only entries of these kinds
    #[arg(long = "kind", value_name = "KIND", value_parser = Kind::ALL.map(Kind::word))]
    pub(super) kinds: Vec<String>,
    /// Only entries of this signal
    #[arg(long, value_name = "ID")]
    pub(super) signal: Option<String>,
}

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

pub(super) fn day(text: &str) -> Result<Timestamp, String> {
    let midnight = Timestamp::parse(&format!("{text}T00:00:00Z"));
    midnight.filter(|_| text.len() == 10).ok_or_else(|| "give a day such as 2026-03-01".to_owned())
}

impl Selection {
    /// Whether it means all subjects and days.
    pub(super) fn is_of_all_time(&self) -> bool {
        self.subject.is_none() && self.from.is_none()
    }

    /// Whether it means every entry there is.
    pub(super) fn is_everything(&self) -> bool {
        self.is_of_all_time() && self.kinds.is_empty() && self.signal.is_none()
    }

    /// Whether it means every entry of one chain.
    pub(super) fn is_a_chain(&self) -> bool {
        self.subject.is_some() && self.kinds.is_empty() && self.signal.is_none()
    }

    /// Whether an entry is among those of the kinds and the signal.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let kind = entry.text("kind").unwrap_or_default();
        let of_kind = self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind);
        of_kind && self.signal.as_deref().is_none_or(|signal| entry.text("signal_id") == Some(signal))
    }

    /// Every day that is meant, oldest first.
    fn days(&self) -> Result<Vec<String>, CliError> {
        let today = SystemClock.now();
        let (from, to) = (self.from.unwrap_or(today), self.to.unwrap_or(today).min(today));
        if from > today {
            return Err(CliError::Usage("--from is in the future".to_owned()));
        }
        if self.to.is_some_and(|to| to < from) {
            return Err(CliError::Usage("--to is a day before --from".to_owned()));
        }
        let all = std::iter::successors(Some(from), |day| Some(day.plus(DAY)));
        Ok(all.take_while(|at| at.day() <= to.day()).map(Timestamp::day).collect())
    }

    /// Hands over what is meant, a page at a time.
    pub(super) async fn read(
        &self,
        trail: &DynamoAudit,
        mut take: impl FnMut(Vec<Entry>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut take = |entries: Vec<Entry>| take(entries.into_iter().filter(|entry| self.takes(entry)).collect());
        if let Some(subject) = &self.subject {
            return take(trail.entries(&chain_of(subject)?).await?);
        }
        for day in self.days()? {
            let mut after = None;
            loop {
                let (entries, next) = trail.day(&day, after).await?;
                take(entries)?;
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A chain as somebody typed its subject. Those of connections and ids begin with `#` and are taken as they are.
pub(super) fn chain_of(subject: &str) -> Result<String, CliError> {
    match subject.starts_with('#') {
        true => Ok(subject.to_owned()),
        false => super::locks::named(subject).map(|name| name.to_string()),
    }
}

impl Audit {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::List(selection) => list(&selection, deployment, aws, printer).await,
            Self::Show { subject, seq } => show(&subject, seq, deployment, aws, printer).await,
            Self::Export(export) => export.run(deployment, aws).await,
            Self::Verify(verify) => verify.run(deployment, aws, printer).await,
        }
    }
}

async fn list(
    selection: &Selection,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let trail = deployment.audit(aws).await?;
    let progress = Progress::new("reading entries");
    let mut found = Vec::new();
    let read = selection.read(&trail, |entries| {
        progress.more(entries.len());
        found.extend(entries);
        Ok(())
    });
    read.await?;
    drop(progress);
    let titles = ["at", "kind", "subject", "seq", "authority", "reason", "signal"];
    printer.rows(&titles, &found, |entry| {
        let cell = |name| word(entry.attributes().get(name));
        ["at", "kind", "subject", "seq", "authority", "reason", "signal_id"].map(cell).to_vec()
    })?;
    Ok(Outcome::Fine)
}

async fn show(
    subject: &str,
    seq: u64,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let trail = deployment.audit(aws).await?;
    let chain = chain_of(subject)?;
    let (entries, findings) = chain_findings(&trail, &chain).await?;
    let Some(entry) = entries.iter().find(|entry| entry.seq() == Some(seq)) else {
        let last = entries.last().and_then(Entry::seq).unwrap_or_default();
        super::output::note(&format!("the chain has no entry {seq}; its last one is {last}"));
        return Ok(Outcome::Wrong);
    };
    printer.json(entry)?;
    for finding in &findings {
        super::output::note(&finding.to_string());
    }
    Ok(if findings.is_empty() { Outcome::Fine } else { Outcome::Wrong })
}
