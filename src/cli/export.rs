//! `audit export`: the trail, to keep elsewhere.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use revocation::audit::Entry;
use revocation::ports::ReadTrail;
use serde_json::{Value, json};

use super::audit::Selection;
use super::aws::Aws;
use super::deployment::Deployment;
use super::file::Unfinished;
use super::output::{Progress, escaped, note, shown, word};
use super::{CliError, Outcome};
use crate::DynamoAudit;

/// Keys of the lines that are no entries; no entry has them. The first line says what the export is of, the last one how
/// much it holds, so that one that was cut off shows; between, after the entries, stand the heads of their chains.
pub(super) const EXPORT: &str = "#export";
pub(super) const HEAD: &str = "#head";
pub(super) const END: &str = "#end";

/// What an export of the whole trail is of.
pub(super) const ALL: &str = "all";

/// What an export of one whole chain is of.
pub(super) const CHAIN: &str = "chain";

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    selection: Selection,
    /// Comma-separated values for a spreadsheet, instead of JSON lines; can't be verified
    #[arg(long)]
    csv: bool,
    /// The file to write; without it, standard output
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
}

/// Attributes, in the order of columns.
const COLUMNS: [&str; 12] = [
    "at",
    "kind",
    "subject",
    "seq",
    "authority",
    "actor",
    "reason",
    "source",
    "signal_id",
    "detail",
    "prev_hash",
    "hash",
];

/// Where entries go.
enum Sink<W: Write> {
    Lines(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Sink<W> {
    fn new(out: W, csv: bool) -> Result<Self, CliError> {
        if !csv {
            return Ok(Self::Lines(out));
        }
        // Quoted throughout, so that no program takes another character for the one between cells.
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(out);
        writer.write_record(COLUMNS).map_err(failed)?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), CliError> {
        match self {
            Self::Lines(out) => line(out, &entry.attributes()),
            Self::Csv(writer) => {
                let cells = COLUMNS.map(|column| harmless(&shown(&word(entry.attributes().get(column)))));
                Ok(writer.write_record(cells).map_err(failed)?)
            }
        }
    }

    /// A line that is no entry.
    fn aside(&mut self, aside: &Value) -> Result<(), CliError> {
        match self {
            Self::Lines(out) => line(out, aside),
            Self::Csv(_) => Ok(()),
        }
    }

    fn finish(self) -> Result<(), CliError> {
        match self {
            Self::Lines(mut out) => Ok(out.flush()?),
            Self::Csv(mut writer) => Ok(writer.flush()?),
        }
    }
}

fn failed(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn line<T: serde::Serialize + ?Sized>(out: &mut impl Write, value: &T) -> Result<(), CliError> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    Ok(writeln!(out, "{}", escaped(&json))?)
}

/// A cell that a spreadsheet takes for a text: a name may be `=cmd|…`
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn harmless(cell: &str) -> String {
    match cell.starts_with(['=', '+', '-', '@']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

impl Export {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws) -> Result<Outcome, CliError> {
        let trail = deployment.audit(aws).await?;
        let Some(path) = &self.to_file else {
            self.write(&trail, BufWriter::new(io::stdout())).await?;
            return Ok(Outcome::Fine);
        };
        let unfinished = Unfinished::begin(path)?;
        let count = self.write(&trail, BufWriter::new(&unfinished.file)).await?;
        unfinished.finish()?;
        note(&format!("{count} entries are in {}", path.display()));
        Ok(Outcome::Fine)
    }

    async fn write(&self, trail: &DynamoAudit, out: impl Write) -> Result<u64, CliError> {
        let mut writing = Writing {
            sink: Sink::new(out, self.csv)?,
            progress: Progress::new("exporting entries"),
            standing: BTreeMap::new(),
            entries: 0,
            heads: 0,
        };
        let of = match (self.selection.is_everything(), self.selection.is_a_chain()) {
            (true, _) => ALL,
            (false, true) => CHAIN,
            (false, false) => "selection",
        };
        writing.sink.aside(&json!({ EXPORT: { "of": of } }))?;
        match self.selection.is_of_all_time() {
            false => self.selection.read(trail, |entries| writing.take(&entries)).await?,
            true => {
                let mut after = None;
                loop {
                    let (entries, next) = trail.page(after).await?;
                    let wanted: Vec<Entry> = entries.into_iter().filter(|entry| self.selection.takes(entry)).collect();
                    writing.take(&wanted)?;
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        if of == ALL {
            writing.heads(trail).await?;
        }
        writing.sink.aside(&json!({ END: { "entries": writing.entries, "heads": writing.heads } }))?;
        writing.sink.finish()?;
        Ok(writing.entries)
    }
}

/// An export on its way.
struct Writing<W: Write> {
    sink: Sink<W>,
    progress: Progress,
    /// The last entry of each chain that was written.
    standing: BTreeMap<String, u64>,
    entries: u64,
    heads: u64,
}

impl<W: Write> Writing<W> {
    fn take(&mut self, entries: &[Entry]) -> Result<(), CliError> {
        self.progress.more(entries.len());
        for entry in entries {
            self.entries = self.entries.saturating_add(1);
            let last = self.standing.entry(entry.chain().to_owned()).or_default();
            *last = entry.seq().unwrap_or_default().max(*last);
            self.sink.entry(entry)?;
        }
        Ok(())
    }

    /// The heads, each after what was added to its chain since its entries were read: the functions don't wait.
    async fn heads(&mut self, trail: &DynamoAudit) -> Result<(), CliError> {
        let mut after = None;
        loop {
            let (heads, next) = trail.heads(after).await?;
            for (chain, head) in heads {
                let written = self.standing.get(&chain).copied().unwrap_or_default();
                if head.as_ref().is_some_and(|head| head.seq > written) {
                    let upto = head.as_ref().map_or(0, |head| head.seq);
                    let since = trail.entries(&chain).await?.into_iter();
                    let since = since.filter(|entry| entry.seq().is_some_and(|seq| seq > written && seq <= upto));
                    self.take(&since.collect::<Vec<_>>())?;
                }
                let (seq, hash) = head.map_or((Value::Null, Value::Null), |head| (head.seq.into(), head.hash.into()));
                self.heads = self.heads.saturating_add(1);
                self.sink.aside(&json!({ HEAD: chain, "seq": seq, "hash": hash }))?;
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
