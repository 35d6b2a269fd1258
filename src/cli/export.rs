//! `audit export`: the trail, to keep elsewhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use revocation::audit::Entry;
use serde_json::{Value, json};

use super::audit::Selection;
use super::aws::Aws;
use super::output::{Progress, note, word};
use super::tables::Tables;
use super::{CliError, Outcome};
use crate::DynamoAudit;

/// Under this key a line of an export holds a chain's name, beside the chain's last `seq` and `hash`. No entry has it.
pub(super) const HEAD: &str = "#head";

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
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS).map_err(io::Error::from)?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), CliError> {
        match self {
            Self::Lines(out) => line(out, &entry.attributes()),
            Self::Csv(writer) => {
                let cells = COLUMNS.map(|column| harmless(word(entry.attributes().get(column))));
                Ok(writer.write_record(cells).map_err(io::Error::from)?)
            }
        }
    }

    fn head(&mut self, head: &Value) -> Result<(), CliError> {
        match self {
            Self::Lines(out) => line(out, head),
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

fn line<T: serde::Serialize + ?Sized>(out: &mut impl Write, value: &T) -> Result<(), CliError> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// A cell that a spreadsheet takes for a text: a name may be `=cmd|…`
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn harmless(cell: String) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell,
    }
}

impl Export {
    pub(super) async fn run(self, tables: &Tables, aws: &Aws) -> Result<Outcome, CliError> {
        let trail = tables.audit(aws).await?;
        let Some(path) = &self.to_file else {
            self.write(&trail, BufWriter::new(io::stdout())).await?;
            return Ok(Outcome::Fine);
        };
        // Under another name until it is whole, so that half an export never looks like one.
        let part = part_of(path);
        let failed = |error| CliError::File { path: path.display().to_string(), error };
        let file = File::create(&part).map_err(failed)?;
        let written = self.write(&trail, BufWriter::new(file)).await;
        let moved = written.and_then(|count| std::fs::rename(&part, path).map(|()| count).map_err(failed));
        if moved.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        let count = moved?;
        note(&format!("{count} entries are in {}", path.display()));
        Ok(Outcome::Fine)
    }

    async fn write(&self, trail: &DynamoAudit, out: impl Write) -> Result<u64, CliError> {
        let progress = Progress::new("exporting entries");
        let mut sink = Sink::new(out, self.csv)?;
        let mut count = 0_u64;
        let mut take = |entries: Vec<Entry>| {
            progress.more(entries.len());
            count = count.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
            entries.iter().try_for_each(|entry| sink.entry(entry))
        };
        match self.selection.is_everything() {
            false => self.selection.read(trail, take).await?,
            true => {
                everything(trail, &mut take).await?;
                heads(trail, &mut sink).await?;
            }
        }
        sink.finish()?;
        Ok(count)
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn everything(
    trail: &DynamoAudit,
    take: &mut impl FnMut(Vec<Entry>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut after = None;
    loop {
        let (entries, next) = trail.page(after).await?;
        take(entries)?;
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn heads<W: Write>(trail: &DynamoAudit, sink: &mut Sink<W>) -> Result<(), CliError> {
    let mut after = None;
    loop {
        let (heads, next) = trail.heads(after).await?;
        for (chain, head) in heads {
            sink.head(&json!({ HEAD: chain, "seq": head.seq, "hash": head.hash }))?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}
