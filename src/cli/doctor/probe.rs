//! What AWS does not document, found out on an endpoint of the user's own.

use std::time::Duration;

use aws_sdk_ec2::types::Filter;
use clap::Args;
use revocation::connection::{Connection, ConnectionId, EndpointId, Status};
use revocation::name::Name;
use revocation::ports::{ClientVpn, Clock, VpnError, Which};
use revocation::time::Timestamp;
use serde::Serialize;

use crate::cli::act::confirm;
use crate::cli::aws::Aws;
use crate::cli::deployment::Deployment;
use crate::cli::error::cause;
use crate::cli::handler::find;
use crate::cli::output::{Printer, Progress};
use crate::cli::targets::Targets;
use crate::cli::{CliError, Outcome, interrupt};
use crate::ec2::{Door, Session};
use crate::{Ec2ClientVpn, SystemClock};

/// How often a connection that is being ended is looked at, and for how long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ENDED_IN: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// Find out on this endpoint what AWS does not document; reads only, unless --end is given
    #[arg(long, value_name = "ENDPOINT")]
    pub(super) probe: Option<String>,
    /// A connection on it, made for this, to be ended
    #[arg(long, value_name = "CONNECTION", requires = "probe")]
    end: Option<String>,
    /// How many seconds to look whether its client comes back
    #[arg(long, value_name = "SECONDS", default_value = "30", requires = "end")]
    wait: u64,
    /// Don't ask
    #[arg(long, short, requires = "end")]
    yes: bool,
}

/// One thing that was learned.
#[derive(Debug, Serialize)]
struct Learned {
    question: &'static str,
    answer: String,
}

/// What was learned so far.
#[derive(Default)]
struct Lessons(Vec<Learned>);

impl Lessons {
    fn add(&mut self, question: &'static str, answer: impl Into<String>) {
        self.0.push(Learned { question, answer: answer.into() });
    }
}

fn failed(what: &str, error: &VpnError) -> CliError {
    CliError::Aws { what: what.to_owned(), why: cause(error) }
}

/// What could not be done when a listing failed.
const LISTING: &str = "the endpoint's connections could not be listed";

impl Probe {
    pub(super) async fn run(
        &self,
        endpoint: &str,
        deployment: &Deployment,
        aws: &Aws,
        printer: &Printer,
    ) -> Result<Outcome, CliError> {
        let targets = Targets::of(&deployment.scope(aws).await?, aws).await?;
        let (vpn, door) = find(&targets, endpoint).await?;
        if let Some(id) = &self.end {
            let before = vpn.sessions(&door.endpoint, None, |_| {}).await.map_err(|error| failed(LISTING, &error))?;
            let session = connected(&before, &door.endpoint, &ConnectionId::new(id))?;
            let whose = whose(session.username.as_deref(), session.common_name.as_deref());
            let what = "to see how long that takes and whether its client comes back, end";
            confirm(self.yes, what, &[format!("{id}, which is {whose},")], &format!("on {endpoint}"))?;
        }
        let mut lessons = Lessons::default();
        let learned = self.learn(vpn, &door, &mut lessons).await;
        // What was learned is told also where something failed afterwards.
        printer.rows(&["question", "answer"], &lessons.0, |learned| {
            vec![learned.question.to_owned(), learned.answer.clone()]
        })?;
        learned.map(|()| Outcome::Fine)
    }

    async fn learn(&self, vpn: &Ec2ClientVpn, door: &Door, lessons: &mut Lessons) -> Result<(), CliError> {
        look(vpn, door, lessons).await?;
        match &self.end {
            None => Ok(()),
            Some(id) => end(vpn, &door.endpoint, &ConnectionId::new(id), Duration::from_secs(self.wait), lessons).await,
        }
    }
}

/// What can be seen without touching anything.
async fn look(vpn: &Ec2ClientVpn, door: &Door, lessons: &mut Lessons) -> Result<(), CliError> {
    let sessions = vpn.sessions(&door.endpoint, None, |_| {}).await.map_err(|error| failed(LISTING, &error))?;
    lessons.add("How do clients sign in?", door.authentication.join(" and "));
    lessons.add("How many are connected?", sessions.len().to_string());
    let of = |count: usize| format!("of {count} of {}", sessions.len());
    let named = |name: fn(&Session) -> &Option<String>| {
        let names = sessions.iter().filter_map(|session| name(session).as_deref());
        let real = names.clone().filter(|name| Name::found(Some(name)).is_some()).count();
        match names.clone().find(|name| Name::found(Some(name)).is_none()) {
            None => of(real),
            Some(placeholder) => format!("{}; elsewhere `{placeholder}` may stand, which is nobody's name", of(real)),
        }
    };
    lessons.add("Is the user name listed?", named(|session| &session.username));
    lessons.add("Is the common name listed?", named(|session| &session.common_name));
    let readable = sessions.iter().filter(|session| session.established_at.is_some()).count();
    lessons.add("Is the beginning listed readably?", of(readable));
    let real = |session: &&Session| Name::found(session.username.as_deref()).is_some();
    match sessions.iter().find(real).and_then(|session| session.username.clone()) {
        Some(name) => look_for(vpn, &door.endpoint, &name, lessons).await,
        None => lessons
            .add("Does the filter `username` find somebody?", "nobody with a user name is connected to try it with"),
    }
    let by_status = filtered(vpn, &door.endpoint, "status", "active").await;
    lessons.add(
        "Does the undocumented filter `status` work?",
        by_status.map_or_else(
            |error| format!("no: {error}"),
            |found| format!("it is accepted, and finds {} of {}", found.len(), sessions.len()),
        ),
    );
    Ok(())
}

/// Whether the filter finds a name, and in which spellings.
async fn look_for(vpn: &Ec2ClientVpn, endpoint: &EndpointId, name: &str, lessons: &mut Lessons) {
    let found_by = async |spelling: &str| match filtered(vpn, endpoint, "username", spelling).await {
        Err(error) => format!("it failed: {error}"),
        Ok(found) => match found.iter().any(|session| session.username.as_deref() == Some(name)) {
            true => format!("yes, `{spelling}` finds `{name}`"),
            false => format!("no, `{spelling}` does not find `{name}`"),
        },
    };
    lessons.add("Does the filter `username` find somebody?", found_by(name).await);
    match other_case(name) {
        Some(other) => lessons.add("In another letter case?", found_by(&other).await),
        None => lessons.add("In another letter case?", format!("`{name}` has no letters to try it with")),
    }
    let start: String = name.chars().take(1).collect();
    lessons.add("Is `*` a wildcard in it?", found_by(&format!("{start}*")).await);
}

fn other_case(name: &str) -> Option<String> {
    [name.to_uppercase(), name.to_lowercase()].into_iter().find(|other| other != name)
}

async fn filtered(
    vpn: &Ec2ClientVpn,
    endpoint: &EndpointId,
    name: &str,
    value: &str,
) -> Result<Vec<Session>, VpnError> {
    let filter = Filter::builder().name(name).values(value).build();
    vpn.sessions(endpoint, Some(vec![filter]), |_| {}).await
}

fn connected<'a>(all: &'a [Session], endpoint: &EndpointId, id: &ConnectionId) -> Result<&'a Session, CliError> {
    all.iter().find(|session| session.connection_id == id.as_str()).ok_or_else(|| {
        CliError::Usage(format!("{id} is not connected to {endpoint}; `vpn-revoker sessions` shows who is"))
    })
}

/// A wrong id would cut off somebody who is none of the trial's, so whoever confirms it reads the name.
fn whose(username: Option<&str>, common_name: Option<&str>) -> String {
    let name = Name::found(username).or_else(|| Name::found(common_name));
    name.map_or_else(|| "nobody's by name".to_owned(), |name| format!("{name}'s"))
}

/// Ends a connection, and looks how long that takes and what comes after.
async fn end(
    vpn: &Ec2ClientVpn,
    endpoint: &EndpointId,
    id: &ConnectionId,
    wait: Duration,
    lessons: &mut Lessons,
) -> Result<(), CliError> {
    let before = vpn.sessions(endpoint, None, |_| {}).await.map_err(|error| failed(LISTING, &error))?;
    let session = connected(&before, endpoint, id)?;
    let _kept = interrupt::tells(format!("{id} may have been ended"));
    let begun = SystemClock.now();
    let answer = vpn.terminate(endpoint, &Which::Id(id.clone())).await;
    let answer = answer.map_err(|error| failed(&format!("{id} could not be ended"), &error))?;
    let said = answer.first().and_then(|ended| ended.current.as_ref()).map_or("nothing", Status::code);
    lessons.add("What does ending a connection answer?", said);
    lessons.add("How long is it `terminating`?", until_ended(vpn, endpoint, id, begun).await);
    lessons.add("Does its client come back?", until_back(vpn, endpoint, session, &before, begun, wait).await);
    Ok(())
}

/// The connection, where any page shows it alive.
async fn alive(vpn: &Ec2ClientVpn, endpoint: &EndpointId, id: &ConnectionId) -> Result<Option<Connection>, VpnError> {
    let mut token = None;
    loop {
        let page = vpn.connections(endpoint, std::slice::from_ref(id), token.as_ref()).await?;
        let row = page.connections.into_iter().find(|row| row.id == *id && row.status.is_alive());
        token = page.next;
        if row.is_some() || token.is_none() {
            return Ok(row);
        }
    }
}

/// Looks until a connection has ended. A look that fails is made again.
async fn until_ended(vpn: &Ec2ClientVpn, endpoint: &EndpointId, id: &ConnectionId, begun: Timestamp) -> String {
    let progress = Progress::new("looks, until it has ended");
    let mut last = String::new();
    while SystemClock.now().since(begun) < ENDED_IN {
        match alive(vpn, endpoint, id).await {
            Err(error) => last = format!("; the last look failed: {error}"),
            Ok(row) => match row {
                None => {
                    let took = SystemClock.now().since(begun).as_secs_f64();
                    return format!("{took:.1} seconds, until it was listed as terminated or no more");
                }
                Some(row) => last = format!("; it was listed as {}", row.status.code()),
            },
        }
        progress.more(1);
        SystemClock.sleep(LOOK_EVERY).await;
    }
    format!("longer than {} seconds{last}", ENDED_IN.as_secs())
}

/// Looks for a connection under the same names that was not there before.
async fn until_back(
    vpn: &Ec2ClientVpn,
    endpoint: &EndpointId,
    gone: &Session,
    before: &[Session],
    begun: Timestamp,
    wait: Duration,
) -> String {
    let progress = Progress::new("looks, whether its client comes back");
    let until = SystemClock.now().plus(wait);
    let mut failed = String::new();
    loop {
        let now = match vpn.sessions(endpoint, None, |_| {}).await {
            Ok(now) => now,
            Err(error) => {
                failed = format!(", but not every look succeeded: {error}");
                Vec::new()
            }
        };
        let is_new = |session: &&Session| !before.iter().any(|old| old.connection_id == session.connection_id);
        let is_same = |session: &&Session| session.username == gone.username && session.common_name == gone.common_name;
        if let Some(back) = now.iter().filter(is_new).find(is_same) {
            let after = SystemClock.now().since(begun).as_secs_f64();
            let whose = match Name::found(gone.username.as_deref()) {
                Some(_) => "",
                None => " (or somebody else's with the same certificate)",
            };
            return format!("yes{whose}, {after:.1} seconds after the call, as {}", back.connection_id);
        }
        if SystemClock.now() >= until {
            return format!("not seen within {} seconds{failed}", wait.as_secs());
        }
        progress.more(1);
        SystemClock.sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_connection_is_is_said_by_the_user_name_else_by_the_certificate() {
        assert_eq!(whose(Some("Dana"), Some("laptop-7")), "dana's");
        assert_eq!(whose(Some("N/A"), Some("laptop-7")), "laptop-7's");
        assert_eq!(whose(None, None), "nobody's by name");
    }
}
