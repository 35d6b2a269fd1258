//! `handler`: which connect handler each endpoint asks; attaching ours, and taking it away again.

use std::time::Duration;

use clap::{Args, Subcommand};
use revocation::connection::Target;
use revocation::ports::{ClientVpn, Clock};
use serde::Serialize;

use super::act::confirm;
use super::aws::Aws;
use super::deployment::Deployment;
use super::error::cause;
use super::our_handlers::{Handlers, admits_somebody};
use super::output::{Printer, Progress, Tone, note};
use super::targets::{Targets, place};
use super::{CliError, Outcome, interrupt};
use crate::ec2::Door;
use crate::{Ec2ClientVpn, SystemClock};

/// How long a change may take to come into force, and how often that is looked at.
const APPLIED_IN: Duration = Duration::from_secs(5 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum Handler {
    /// Which connect handler each endpoint has, and whether it is ours; exit code 1 where one lets the locked back in
    #[command(after_help = "Example: vpn-revoker handler status")]
    Status {
        #[command(flatten)]
        ours: Ours,
    },
    /// Let an endpoint ask our connect handler before it admits anybody. Nobody is disconnected by it
    #[command(after_help = "Examples:
  vpn-revoker handler attach cvpn-endpoint-…
  vpn-revoker handler attach cvpn-endpoint-… --handler arn:aws:lambda:eu-west-1:111122223333:function:AWSClientVPN-vpn-revoker

It refuses where another function stands, and where ours does not answer as it should to somebody who is not locked.")]
    Attach(Attach),
    /// Let an endpoint ask nobody any more: whoever is locked can come back until a sweep finds them
    #[command(after_help = "Example: vpn-revoker handler detach cvpn-endpoint-…")]
    Detach(Change),
}

/// Which handlers are ours.
#[derive(Debug, Args)]
pub(super) struct Ours {
    /// The connect handler's ARN (output ConnectHandlerArn of the stack); without it, those that read the same locks
    #[arg(long = "handler", value_name = "ARN")]
    handlers: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// The endpoint's id
    endpoint: String,
    #[command(flatten)]
    ours: Ours,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    #[command(flatten)]
    change: Change,
    /// Don't ask the handler about somebody who is not locked first, as where you may not invoke it
    #[arg(long)]
    untested: bool,
}

/// How one endpoint's door stands.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    endpoint_id: String,
    description: Option<String>,
    authentication: Vec<String>,
    handler: Option<String>,
    pub(super) state: &'static str,
}

const TITLES: [&str; 5] = ["endpoint", "region", "signs in by", "state", "handler"];

impl Row {
    pub(super) fn new(vpn: &Ec2ClientVpn, door: &Door, ours: &Handlers) -> Self {
        Self {
            region: vpn.target().region.clone(),
            account: vpn.target().account.clone(),
            endpoint_id: door.endpoint.to_string(),
            description: door.description.clone(),
            authentication: door.authentication.clone(),
            handler: door.handler.clone(),
            state: state(door, vpn.target(), ours),
        }
    }

    fn cells(&self) -> Vec<String> {
        let kinds = self.authentication.iter().map(|kind| kind.trim_end_matches("-authentication"));
        let at = place(&Target { region: self.region.clone(), account: self.account.clone() });
        vec![
            self.endpoint_id.clone(),
            at,
            kinds.collect::<Vec<_>>().join(", "),
            self.state.to_owned(),
            self.handler.clone().unwrap_or_default(),
        ]
    }
}

/// Ours and in force.
pub(super) const OURS: &str = "ours";

/// Ours, and in shadow mode: whoever is locked gets in.
pub(super) const WATCHING: &str = "ours, in shadow mode";

fn state(door: &Door, target: &Target, ours: &Handlers) -> &'static str {
    match &door.handler {
        None => "none",
        Some(arn) if ours.include(arn) && door.applying => "applying",
        Some(arn) if ours.only_watches(arn) => WATCHING,
        Some(arn) if ours.include(arn) => OURS,
        // Ours may be there as well, and nobody here knows it.
        Some(_) if !ours.any_in(target) => "unchecked",
        Some(_) => "another",
    }
}

impl Handler {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        let targets = Targets::of(&deployment.scope(aws).await?, aws).await?;
        match self {
            Self::Status { ours } => {
                // Who is asked can be seen all the same.
                let known = ours.known(deployment, aws).await.unwrap_or_else(|error| {
                    note(&format!("which handler is ours was not found out: {error}"));
                    Handlers::unknown()
                });
                status(&targets, &known, printer).await
            }
            Self::Attach(change) => attach(&targets, &change, deployment, aws, printer).await,
            Self::Detach(change) => detach(&targets, &change, deployment, aws, printer).await,
        }
    }
}

impl Ours {
    async fn known(&self, deployment: &Deployment, aws: &Aws) -> Result<Handlers, CliError> {
        match self.handlers.is_empty() {
            false => Handlers::named(&self.handlers),
            true => Handlers::of(deployment, aws).await,
        }
    }
}

async fn status(targets: &Targets, ours: &Handlers, printer: &Printer) -> Result<Outcome, CliError> {
    let (doors, troubles) = targets.doors().await;
    let rows: Vec<Row> = doors.iter().map(|(vpn, door)| Row::new(vpn, door, ours)).collect();
    printer.toned(&TITLES, &rows, Row::cells, |row| if row.state == OURS { Tone::Good } else { Tone::Bad })?;
    troubles.iter().for_each(|trouble| note(&trouble.to_string()));
    let unchecked = rows.iter().any(|row| row.state == "unchecked");
    Ok(match (troubles.is_empty() && !unchecked, rows.iter().all(|row| row.state == OURS)) {
        (false, _) => Outcome::Partial,
        (true, true) => Outcome::Fine,
        (true, false) => Outcome::Wrong,
    })
}

/// The endpoint's door, and where it is.
pub(super) async fn find<'a>(targets: &'a Targets, id: &str) -> Result<(&'a Ec2ClientVpn, Door), CliError> {
    let (doors, troubles) = targets.doors().await;
    let found = doors.into_iter().find(|(_, door)| door.endpoint.as_str() == id);
    found.ok_or_else(|| match troubles.first() {
        Some(trouble) => CliError::Unfit(format!("endpoint {id} was not found; {trouble}")),
        None => CliError::Usage(format!(
            "endpoint {id} is not there; check its id, --region and the function's TARGETS and ENDPOINTS"
        )),
    })
}

async fn attach(
    targets: &Targets,
    Attach { change, untested }: &Attach,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let (vpn, door) = find(targets, &change.endpoint).await?;
    let ours = change.ours.known(deployment, aws).await?;
    let handler = ours.the_one_in(vpn.target())?;
    match &door.handler {
        Some(arn) if *arn == handler && !door.applying => {
            note(&format!("{} asks it already", door.endpoint));
            return status_of(vpn, &change.endpoint, &ours, printer).await;
        }
        Some(arn) if !ours.include(arn) => {
            return Err(CliError::Unfit(format!(
                "{} asks {arn} already, which may keep somebody out for other reasons; look at it, and detach it first: vpn-revoker handler detach {} --handler {arn}",
                door.endpoint, door.endpoint
            )));
        }
        _ => {}
    }
    confirm(
        change.yes,
        &format!("from now on ask {handler} before anybody is admitted to"),
        std::slice::from_ref(&change.endpoint),
        &format!("in {}", place(vpn.target())),
    )?;
    if !untested {
        admits_somebody(&handler, aws).await?;
    }
    let undo = match &door.handler {
        Some(before) => format!("vpn-revoker handler attach {} --handler {before}", door.endpoint),
        None => format!("vpn-revoker handler detach {}", door.endpoint),
    };
    set(vpn, &door, Some(&handler), &undo).await?;
    status_of(vpn, &change.endpoint, &ours, printer).await
}

async fn detach(
    targets: &Targets,
    change: &Change,
    deployment: &Deployment,
    aws: &Aws,
    printer: &Printer,
) -> Result<Outcome, CliError> {
    let (vpn, door) = find(targets, &change.endpoint).await?;
    let ours = change.ours.known(deployment, aws).await?;
    let Some(handler) = &door.handler else {
        return Err(CliError::Unfit(format!("{} asks no connect handler; there is nothing to detach", door.endpoint)));
    };
    if !ours.include(handler) {
        return Err(CliError::Unfit(format!(
            "{} asks {handler}, which is not ours; to detach it all the same, add --handler {handler}",
            door.endpoint
        )));
    }
    confirm(
        change.yes,
        "let whoever is locked come back until a sweep finds them, on",
        std::slice::from_ref(&change.endpoint),
        &format!("in {}", place(vpn.target())),
    )?;
    let undo = format!("vpn-revoker handler attach {} --handler {handler}", door.endpoint);
    set(vpn, &door, None, &undo).await?;
    status_of(vpn, &change.endpoint, &ours, printer).await.map(|_| Outcome::Fine)
}

/// Changes it, and waits until that is in force.
async fn set(vpn: &Ec2ClientVpn, door: &Door, handler: Option<&str>, undo: &str) -> Result<(), CliError> {
    let endpoint = &door.endpoint;
    let _kept = interrupt::tells(format!(
        "the change of {endpoint} may have been accepted, and then comes into force by itself; vpn-revoker handler status shows it, and this undoes it: {undo}"
    ));
    vpn.set_handler(endpoint, handler)
        .await
        .map_err(|error| CliError::Aws { what: format!("{endpoint} could not be changed"), why: cause(&error) })?;
    note(&format!("EC2 has accepted it; to undo it: {undo}"));
    let progress = Progress::new("looks, until it is applied");
    let until = SystemClock.now().plus(APPLIED_IN);
    loop {
        // A look that fails changes nothing of what was accepted.
        let now = vpn.doors().await.unwrap_or_default().into_iter().find(|found| found.endpoint == *endpoint);
        if now.is_some_and(|now| !now.applying && now.handler.as_deref() == handler) {
            return Ok(());
        }
        if SystemClock.now() >= until {
            return Err(CliError::Unfit(format!(
                "EC2 accepted the change of {endpoint}, and after five minutes it was not seen in force; look again with vpn-revoker handler status"
            )));
        }
        progress.more(1);
        SystemClock.sleep(LOOK_EVERY).await;
    }
}

async fn status_of(vpn: &Ec2ClientVpn, id: &str, ours: &Handlers, printer: &Printer) -> Result<Outcome, CliError> {
    let doors = vpn
        .doors()
        .await
        .map_err(|error| CliError::Aws { what: format!("{id} could not be looked at"), why: error.to_string() })?;
    let rows: Vec<Row> =
        doors.iter().filter(|door| door.endpoint.as_str() == id).map(|door| Row::new(vpn, door, ours)).collect();
    printer.rows(&TITLES, &rows, Row::cells)?;
    // Whoever attaches one in shadow mode means to watch first.
    Ok(match rows.iter().all(|row| [OURS, WATCHING].contains(&row.state)) {
        true => Outcome::Fine,
        false => Outcome::Wrong,
    })
}
