//! `explain` and `rules`: what the function would make of an event, and whether rules of one's own are right.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use revocation::intake::{Delivery, Explained, Intake, Reading};
use revocation::ports::Clock;
use revocation::signal::Via;
use serde_json::Value;

use super::output::{Format, Printer, shown, word};
use super::{CliError, Outcome};
use crate::SystemClock;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker explain event.json
  aws sqs receive-message --queue-url … --query 'Messages[0].Body' --output text | vpn-revoker explain - --by event

Exit code 1 where nothing would be done.")]
pub(super) struct Explain {
    /// The event, a file with JSON; `-` for standard input
    file: PathBuf,
    /// A file of further intake rules, as for VPN_REVOKER_RULES
    #[arg(long, value_name = "FILE", env = "VPN_REVOKER_RULES")]
    rules: Option<PathBuf>,
    /// How it would come: a bare command counts only in a direct invoke
    #[arg(long, value_enum, default_value = "invoke")]
    by: By,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum By {
    /// The payload of an invoke, whatever it holds
    Invoke,
    /// A message of the queue, or an event of a rule
    Event,
}

impl By {
    pub(super) fn via(self) -> Via {
        match self {
            Self::Invoke => Via::Direct,
            Self::Event => Via::Event,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Rules {
    /// Whether a file of intake rules is right; exit code 1 where not, with every mistake by rule and field
    #[command(after_help = "Example: vpn-revoker rules check rules.json")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Every rule that there is, and whether it is on
    #[command(after_help = "Example: vpn-revoker rules list --rules rules.json")]
    List {
        /// A file of further intake rules
        #[arg(long, value_name = "FILE", env = "VPN_REVOKER_RULES")]
        rules: Option<PathBuf>,
    },
}

pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let failed = |error| CliError::File { path: path.display().to_string(), error };
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map_err(failed)?,
        false => {
            text = std::fs::read_to_string(path).map_err(failed)?;
            text.len()
        }
    };
    Ok(text)
}

fn intake(rules: Option<&Path>) -> Result<Intake, CliError> {
    let own = rules.map(|path| read(path).map(|text| (path.display().to_string(), text))).transpose()?;
    let own = own.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    Intake::with_rules(own).map_err(|error| CliError::Unfit(error.to_string()))
}

impl Explain {
    pub(super) fn run(self, printer: &Printer) -> Result<Outcome, CliError> {
        let intake = intake(self.rules.as_deref())?;
        let event = read(&self.file)?;
        let delivery = Delivery { via: self.by.via(), received_at: SystemClock.now(), id: "explained".to_owned() };
        let explanation = intake
            .explain(event.as_bytes(), &delivery)
            .map_err(|rejected| CliError::Unfit(format!("{}: {rejected}", self.file.display())))?;
        let counts = match intake.read(event.as_bytes(), &delivery) {
            Ok(Reading::Events { signals, sweeps, .. }) => !signals.is_empty() || !sweeps.is_empty(),
            Ok(_) => true,
            Err(_) => false,
        };
        match printer.format {
            Format::Table => explanation.events.iter().try_for_each(|event| tell(event, printer))?,
            _ => printer.json(&explanation)?,
        }
        Ok(if counts { Outcome::Fine } else { Outcome::Wrong })
    }
}

fn tell(event: &Explained, printer: &Printer) -> Result<(), CliError> {
    let through = event.through.iter().map(|layer| format!("{layer}, in it ")).collect::<String>();
    printer.line(&format!("{through}{}", shown(&event.event)))?;
    for rule in &event.rules {
        let on = if rule.on { "on" } else { "off" };
        printer.line(&format!("  rule {} ({on}, {}): {}", shown(&rule.rule), rule.action, shown(&rule.about)))?;
        for person in &rule.people {
            let what = if person.named { "who" } else { "who, by id" };
            printer.line(&format!("    {what}: {}, from {}", shown(&person.subject), shown(&person.path)))?;
        }
        for (what, text) in [("by", &rule.authority), ("as of", &rule.as_of), ("signal", &rule.signal_id)] {
            if let Some(text) = text {
                printer.line(&format!("    {what}: {}", shown(text)))?;
            }
        }
    }
    for near in &event.near {
        printer.line(&format!("  rule {} comes near: {}", shown(&near.rule), shown(&near.about)))?;
        for misfit in &near.misfits {
            let found: Vec<String> = misfit.found.iter().map(|found| shown(&word(Some(found)))).collect();
            let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
            let wanted = shown(&misfit.wanted.to_string());
            printer.line(&format!("    {}: wanted {wanted}, found {found}", shown(&misfit.field)))?;
        }
    }
    printer.line(&format!("  => {}", shown(&event.result)))
}

impl Rules {
    pub(super) fn run(self, printer: &Printer) -> Result<Outcome, CliError> {
        match self {
            Self::Check { file } => {
                let text = read(&file)?;
                let path = file.display().to_string();
                let mistakes = match Intake::with_rules(Some((&path, &text))) {
                    Ok(_) => Vec::new(),
                    Err(error) => error.mistakes().to_vec(),
                };
                printer.rows(&["mistake"], &mistakes, |mistake| vec![mistake.clone()])?;
                if mistakes.is_empty() && printer.format == Format::Table {
                    printer.line(&format!("{}: the rules are right", shown(&path)))?;
                }
                Ok(if mistakes.is_empty() { Outcome::Fine } else { Outcome::Wrong })
            }
            Self::List { rules } => {
                let intake = intake(rules.as_deref())?;
                let rules: Vec<Value> = intake.rules().map(|rule| serde_json::json!({
                    "rule": rule.name, "producer": rule.producer, "action": rule.action, "on": rule.on, "about": rule.about,
                })).collect();
                printer.rows(&["producer", "rule", "does", "on", "when"], &rules, |rule| {
                    ["producer", "rule", "action", "on", "about"].map(|key| word(rule.get(key))).to_vec()
                })?;
                Ok(Outcome::Fine)
            }
        }
    }
}
