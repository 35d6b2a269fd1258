//! `locks`: who is kept out, by whom, since when.

use clap::Subcommand;
use revocation::lock::{Hold, HoldState, Lock};
use revocation::name::Name;
use revocation::ports::{AliasBook, Clock, Locks as _, ReadLocks};
use revocation::signal::Authority;
use revocation::time::Timestamp;
use serde::Serialize;

use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Printer, Progress, note};
use super::{CliError, Outcome};
use crate::SystemClock;

#[derive(Debug, Subcommand)]
pub(super) enum Locks {
    /// Everybody who is locked now
    #[command(after_help = "Example: vpn-revoker locks list --output jsonl | jq -r .name")]
    List,
    /// Every word that was said about somebody, lifted ones too; exit code 1 where nothing keeps the name out
    #[command(after_help = "Example: vpn-revoker locks show alice@example.com")]
    Show {
        /// User name, e-mail address or certificate common name
        name: String,
    },
    /// What else somebody is called, by explicit alias
    #[command(after_help = "Example: vpn-revoker locks alias alice@example.com")]
    Alias {
        /// The subject
        subject: String,
    },
}

/// One authority's word about one name.
#[derive(Debug, Serialize)]
struct HoldRow {
    name: String,
    state: &'static str,
    authority: String,
    as_of: String,
    expires_at: Option<String>,
    reason: Option<String>,
    signal_id: String,
    subject: String,
    person: Option<String>,
}

const TITLES: [&str; 6] = ["name", "state", "authority", "since", "until", "reason"];

impl HoldRow {
    fn new(lock: &Lock, authority: &Authority, hold: &Hold, now: Timestamp) -> Self {
        let lapsed = hold.expires_at.is_some_and(|until| until <= now);
        Self {
            name: lock.name.to_string(),
            state: if lapsed && hold.state == HoldState::Locked { "lapsed" } else { hold.state.word() },
            authority: authority.to_string(),
            as_of: hold.as_of.to_string(),
            expires_at: hold.expires_at.map(|until| until.to_string()),
            reason: hold.reason.clone(),
            signal_id: hold.signal_id.to_string(),
            subject: hold.subject.clone(),
            person: hold.person.as_ref().map(|person| person.as_str().to_owned()),
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.to_owned(),
            self.authority.clone(),
            self.as_of.clone(),
            self.expires_at.clone().unwrap_or_else(|| if self.state == "locked" { "restored" } else { "" }.to_owned()),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

fn rows(lock: &Lock, now: Timestamp) -> Vec<HoldRow> {
    lock.holds.iter().map(|(authority, hold)| HoldRow::new(lock, authority, hold, now)).collect()
}

impl Locks {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let locks = deployment.locks(aws).await?;
        let now = SystemClock.now();
        match self {
            Self::List => {
                let progress = Progress::new("reading locks");
                let (mut found, mut after, mut outcome) = (Vec::new(), None, Outcome::Fine);
                loop {
                    let (page, next) = locks.locked(after.as_ref()).await?;
                    progress.more(page.len());
                    for lock in page {
                        let lock = match lock {
                            Ok(lock) => lock,
                            Err(error) => {
                                note(error.cause());
                                outcome = Outcome::Wrong;
                                continue;
                            }
                        };
                        if lock.in_force(now) {
                            found.extend(rows(&lock, now).into_iter().filter(|row| row.state == "locked"));
                        }
                    }
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
                drop(progress);
                found.sort_by(|one, other| one.name.cmp(&other.name));
                printer.rows(&TITLES, &found, HoldRow::cells)?;
                Ok(outcome)
            }
            Self::Show { name } => {
                let name = named(&name)?;
                let lock = locks
                    .read(std::slice::from_ref(&name))
                    .await?
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Lock::none(name));
                printer.rows(&TITLES, &rows(&lock, now), HoldRow::cells)?;
                Ok(if lock.in_force(now) { Outcome::Fine } else { Outcome::Wrong })
            }
            Self::Alias { subject } => {
                let subject = named(&subject)?;
                let names = locks.names(&[subject]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
                let names: Vec<String> = names.into_iter().flatten().map(|name| name.to_string()).collect();
                printer.rows(&["name"], &names, |name| vec![name.clone()])?;
                Ok(Outcome::Fine)
            }
        }
    }
}

/// A name as somebody typed it, in normal form.
pub(super) fn named(text: &str) -> Result<Name, CliError> {
    Name::new(text).map_err(|error| CliError::Usage(format!("`{}`: {error}", super::output::shown(text))))
}
