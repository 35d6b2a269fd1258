//! `sessions`: who is connected, and who of them should not be.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use indicatif::DecimalBytes;
use revocation::connection::{EndpointId, Target};
use revocation::name::Name;
use revocation::ports::{ClientVpn, Clock, ReadLocks};
use serde::Serialize;

use super::aws::Aws;
use super::deployment::Deployment;
use super::locks::named;
use super::output::{Format, Printer, Progress, Tone, counted, note};
use super::targets::{Targets, place, trouble};
use super::{CliError, Outcome, interrupt};
use crate::ec2::Session;
use crate::{DynamoLocks, Ec2ClientVpn, SystemClock};

/// Who is connected: where, since when, from which address, how much traffic, and who of them is locked
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker sessions
  vpn-revoker sessions --user alice@example.com --output jsonl
  vpn-revoker sessions --endpoint cvpn-endpoint-… --watch

Exit code 1 where somebody is connected who is locked. (Whoever uses a certificate that is locked and shared is shown as
locked too, and left alone by every sweep.)")]
pub(super) struct Sessions {
    /// Only whose user name or common name this is, in whatever letter case
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only on this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Look again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How many seconds lie between one look and the next
    #[arg(long, value_name = "SECONDS", default_value = "5", requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// One connection, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    endpoint_id: String,
    #[serde(flatten)]
    session: Session,
    /// Those of its names that are locked; none where that could not be looked up.
    locked: Option<Vec<String>>,
}

const TITLES: [&str; 9] =
    ["user name", "common name", "endpoint", "since", "address", "sent", "received", "status", "locked"];

impl Row {
    fn is_locked(&self) -> bool {
        self.locked.as_ref().is_some_and(|names| !names.is_empty())
    }

    fn cells(&self) -> Vec<String> {
        let traffic = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| DecimalBytes(bytes).to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            text(&self.session.username),
            text(&self.session.common_name),
            self.endpoint_id.clone(),
            text(&self.session.established_at),
            text(if self.session.client_ip.is_some() { &self.session.client_ip } else { &self.session.client_ipv6 }),
            traffic(self.session.ingress_bytes),
            traffic(self.session.egress_bytes),
            self.session.status.clone(),
            self.locked.as_ref().map_or_else(|| "?".to_owned(), |names| names.join(", ")),
        ]
    }
}

/// What one look showed.
struct Seen {
    rows: Vec<Row>,
    /// What could not be looked at.
    troubles: Vec<String>,
}

impl Sessions {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let eyes = Eyes::open(&self, deployment, aws).await?;
        if self.watch {
            return self.keep_watching(&eyes, printer).await;
        }
        let progress = Progress::new("looking at connections");
        let seen = eyes.look(&progress).await?;
        drop(progress);
        seen.show(printer)?;
        Ok(seen.outcome())
    }

    async fn keep_watching(&self, eyes: &Eyes, printer: &Printer) -> Result<Outcome, CliError> {
        let _kept = interrupt::expected();
        loop {
            let seen = eyes.look(&Progress::none()).await;
            if printer.format == Format::Table {
                let fresh = if io::stdout().is_terminal() { "\u{1b}[H\u{1b}[J" } else { "" };
                printer.raw(&format!("{fresh}{}\n", SystemClock.now()))?;
            }
            match seen {
                Ok(seen) => seen.show(printer)?,
                // What is typed wrong stays wrong; everything else the next look may find mended.
                Err(error) if error.is_usage() => return Err(error),
                Err(error) => super::output::complain(&error),
            }
            if printer.is_unread() {
                return Ok(Outcome::Fine);
            }
            SystemClock.sleep(Duration::from_secs(self.every)).await;
        }
    }
}

impl Seen {
    fn show(&self, printer: &Printer) -> Result<(), CliError> {
        printer.toned(&TITLES, &self.rows, Row::cells, |row| Tone::bad_if(row.is_locked()))?;
        let locked = self.rows.iter().filter(|row| row.is_locked()).count();
        if printer.format == Format::Table {
            let connections = counted(self.rows.len(), "connection", "connections");
            printer.line(&format!("{connections}, {locked} of them under a locked name"))?;
        }
        self.troubles.iter().for_each(|trouble| note(trouble));
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        match (self.troubles.is_empty(), self.rows.iter().any(Row::is_locked)) {
            (false, _) => Outcome::Partial,
            (true, true) => Outcome::Wrong,
            (true, false) => Outcome::Fine,
        }
    }
}

/// Whatever looks at Client VPN, and what it looks for.
struct Eyes {
    targets: Targets,
    locks: DynamoLocks,
    endpoint: Option<EndpointId>,
    user: Option<Name>,
}

impl Eyes {
    async fn open(wanted: &Sessions, deployment: &Deployment, aws: &Aws) -> Result<Self, CliError> {
        let user = wanted.user.as_deref().map(named).transpose()?;
        let targets = Targets::of(&deployment.scope(aws).await?, aws).await?;
        let locks = deployment.locks(aws).await?;
        let endpoint = wanted.endpoint.as_deref().map(EndpointId::new);
        Ok(Self { targets, locks, endpoint, user })
    }

    /// Every connection there is, of those that are looked for.
    async fn look(&self, progress: &Progress) -> Result<Seen, CliError> {
        let (doors, troubles) = self.targets.doors().await;
        let mut seen = Seen { rows: Vec::new(), troubles: troubles.iter().map(ToString::to_string).collect() };
        let wanted = |id: &EndpointId| self.endpoint.as_ref().is_none_or(|wanted| wanted == id);
        let doors: Vec<_> = doors.iter().filter(|(_, door)| wanted(&door.endpoint)).collect();
        for (vpn, door) in &doors {
            self.look_at(vpn, &door.endpoint, progress, &mut seen).await;
        }
        if let (true, true, Some(id)) = (doors.is_empty(), seen.troubles.is_empty(), &self.endpoint) {
            return Err(CliError::Usage(format!(
                "endpoint {id} is not there, or not in scope of this deployment; check it, --region and the function's ENDPOINTS"
            )));
        }
        if let Err(error) = self.hold_against_locks(&mut seen.rows).await {
            seen.troubles.push(format!("which of them are locked could not be looked up: {error}"));
        }
        seen.rows.sort_by(|one, other| one.session.username.cmp(&other.session.username));
        Ok(seen)
    }

    async fn look_at(&self, vpn: &Ec2ClientVpn, endpoint: &EndpointId, progress: &Progress, seen: &mut Seen) {
        let Target { region, account } = vpn.target();
        match vpn.sessions(endpoint, None, |count| progress.more(count)).await {
            Err(error) => {
                let at = format!("{endpoint} in {}", place(vpn.target()));
                seen.troubles.push(trouble(&at, &error).to_string());
            }
            Ok(sessions) => {
                let wanted = sessions.into_iter().filter(|session| self.wants(session));
                seen.rows.extend(wanted.map(|session| Row {
                    region: region.clone(),
                    account: account.clone(),
                    endpoint_id: endpoint.to_string(),
                    session,
                    locked: None,
                }));
            }
        }
    }

    fn wants(&self, session: &Session) -> bool {
        self.user.as_ref().is_none_or(|user| session.names().contains(user))
    }

    async fn hold_against_locks(&self, rows: &mut [Row]) -> Result<(), CliError> {
        let names: BTreeSet<&Name> = rows.iter().flat_map(|row| row.session.names()).collect();
        let names: Vec<Name> = names.into_iter().cloned().collect();
        let now = SystemClock.now();
        let locks = self.locks.read(&names).await?;
        let in_force: BTreeMap<&Name, bool> = names.iter().zip(locks.iter().map(|lock| lock.in_force(now))).collect();
        for row in rows {
            let names = row.session.names().iter();
            let locked = names.filter(|name| in_force.get(name).copied().unwrap_or_default());
            row.locked = Some(locked.map(ToString::to_string).collect());
        }
        Ok(())
    }
}
