//! How things are shown. Text that comes from events is never obeyed: what would move the cursor, ring, or turn the
//! direction of writing is shown by its number.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::{CliError, interrupt};

/// How to show things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
}

/// Whether a character does something instead of being something.
fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || turns
}

/// A text as it may stand on a terminal, in one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match acts(c) {
            true => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            false => shown.push(c),
        }
        shown
    })
}

/// A JSON document with the same characters escaped as JSON escapes them. Line breaks between its parts stay: within
/// texts, JSON has escaped them already.
pub(super) fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, c| {
        match acts(c) && c != '\n' {
            true => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            false => escaped.push(c),
        }
        escaped
    })
}

/// Says on standard error what went wrong.
pub(super) fn complain(error: &CliError) {
    let _ = writeln!(io::stderr().lock(), "vpn-revoker: {}", shown(&error.to_string()));
}

/// Says on standard error what is worth knowing beside the output.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown(text));
}

/// What a line says of itself by its colour as well: on a terminal, and unless `NO_COLOR` is set. Nothing is said by the
/// colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    Plain,
    /// As it should be.
    Good,
    /// Wrong, or to be looked at.
    Bad,
}

impl Tone {
    /// Where something is to be looked at.
    pub(super) fn bad_if(bad: bool) -> Self {
        if bad { Self::Bad } else { Self::Plain }
    }

    fn paint(self, text: &str) -> String {
        let style = match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Writes to standard output.
#[derive(Debug)]
pub(super) struct Printer {
    pub(super) format: Format,
    /// Nobody reads on.
    unread: Cell<bool>,
}

impl Printer {
    pub(super) fn new(format: Format) -> Self {
        Self { format, unread: Cell::new(false) }
    }

    /// A text as it is. That nobody reads it to its end, as `head` does, changes nothing of what is found.
    pub(super) fn raw(&self, text: &str) -> Result<(), CliError> {
        self.write_whole(io::stdout().lock(), text)
    }

    /// Whether nobody reads what is written, as after `| head`.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Writes a text, and keeps an interruption waiting until it stands there whole.
    fn write_whole(&self, mut out: impl Write, text: &str) -> Result<(), CliError> {
        let _whole = interrupt::writing();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread.set(true);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// A line of text for people, in its tone.
    pub(super) fn toned_line(&self, tone: Tone, text: &str) -> Result<(), CliError> {
        self.write_whole(AutoStream::auto(io::stdout()).lock(), &format!("{}\n", tone.paint(text)))
    }

    /// A line of text for people.
    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        self.raw(&format!("{text}\n"))
    }

    /// Rows, each with its cells for people and its JSON for programs.
    pub(super) fn rows<T: Serialize>(
        &self,
        titles: &[&str],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        self.toned(titles, rows, cells, |_| Tone::Plain)
    }

    /// The same, each row in its tone.
    pub(super) fn toned<T: Serialize>(
        &self,
        titles: &[&str],
        rows: &[T],
        cells: impl Fn(&T) -> Vec<String>,
        tone: impl Fn(&T) -> Tone,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json => self.json(&rows),
            Format::Jsonl => rows.iter().try_for_each(|row| self.json(row)),
            Format::Table if rows.is_empty() => Ok(()),
            Format::Table => {
                // The title's line, then one for each row.
                let tones = [Tone::Plain].into_iter().chain(rows.iter().map(tone));
                let lines = table(titles, rows.iter().map(cells));
                lines.iter().zip(tones).try_for_each(|(line, tone)| self.toned_line(tone, line))
            }
        }
    }

    /// A JSON document, on one line for `jsonl`.
    pub(super) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CliError> {
        let text = match self.format {
            Format::Jsonl => serde_json::to_string(value),
            _ => serde_json::to_string_pretty(value),
        };
        self.line(&escaped(&text.map_err(io::Error::from)?))
    }
}

/// The lines of a table without rules, which copies and greps well.
fn table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| shown(cell)));
    }
    // Each line begins with the space that a border would follow.
    table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect()
}

/// A JSON value in few words: a text without its quotes.
pub(super) fn word(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// So many of something, in words.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Says on standard error, where that is a terminal, how far something has come that takes longer than a second.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(what: &str) -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {msg}: {human_pos}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.set_message(what.to_owned());
        // Also while nothing is counted, as during one long call; a second passes before it shows.
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    /// Nothing is said.
    pub(super) fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// So many more.
    pub(super) fn more(&self, count: usize) {
        self.0.inc(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_can_not_drive_the_terminal() {
        assert_eq!(shown("a\u{1b}[31mb\r\nc\u{7f}\u{9b}\u{202e}d"), r"a\u{1b}[31mb\u{d}\u{a}c\u{7f}\u{9b}\u{202e}d");
        assert_eq!(shown("Zoë Ångström 李"), "Zoë Ångström 李");
    }

    proptest! {
        #[test]
        fn escaped_json_is_the_same_document(text in any::<String>()) {
            let value = serde_json::json!({ "name": text, "list": [text] });
            let escaped = escaped(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert!(escaped.chars().all(|c| c == '\n' || !acts(c)));
            prop_assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }

        #[test]
        fn nothing_that_is_shown_acts(text in any::<String>()) {
            prop_assert!(!shown(&text).chars().any(acts));
        }
    }
}
