//! `doctor`: whether everything stands as it has to, and the next step where not.

mod credentials;
mod deployed;
mod probe;
mod queues;
mod tables;
mod vpn;

use clap::Args;
use serde::Serialize;

use super::aws::Aws;
use super::deployment::Deployment;
use super::output::{Format, Printer, Progress, Tone};
use super::{CliError, Outcome};
use probe::Probe;

/// Whether everything stands as it has to: credentials, function, tables, endpoints, permissions, queue, sweep
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vpn-revoker doctor
  vpn-revoker doctor --probe cvpn-endpoint-…
  vpn-revoker doctor --probe cvpn-endpoint-… --end cvpn-connection-…

It changes nothing: the function is asked for a dry run. --probe finds out what AWS does not document, on an endpoint of
yours: whether the user name is listed, whether a filter finds it, whether letter case matters; and with --end, of a
connection that you made for it, how long it takes to end and whether its client comes back.

Exit code 1 where something is wrong.")]
pub(super) struct Doctor {
    #[command(flatten)]
    probe: Probe,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it has to.
    Fine,
    /// Maybe as it is meant, maybe not.
    Look,
    /// Not as it has to.
    Wrong,
}

/// What was found out about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    found: String,
    next: Option<String>,
}

/// What was found out so far.
struct Findings {
    list: Vec<Finding>,
    progress: Progress,
}

impl Findings {
    fn note(&mut self, what: &str, state: State, found: String, next: Option<&str>) {
        let next = next.map(str::to_owned);
        self.list.push(Finding { what: what.to_owned(), state, found, next });
        self.progress.more(1);
    }

    fn fine(&mut self, what: &str, found: impl Into<String>) {
        self.note(what, State::Fine, found.into(), None);
    }

    fn look(&mut self, what: &str, found: impl Into<String>, next: &str) {
        self.note(what, State::Look, found.into(), Some(next));
    }

    fn wrong(&mut self, what: &str, found: impl Into<String>, next: &str) {
        self.note(what, State::Wrong, found.into(), Some(next));
    }

    /// Something could not be looked at. The error says what to do.
    fn failed(&mut self, what: &str, error: &dyn std::error::Error) {
        self.note(what, State::Wrong, error.to_string(), None);
    }
}

impl Doctor {
    pub(super) async fn run(self, deployment: &Deployment, aws: &Aws, printer: &Printer) -> Result<Outcome, CliError> {
        if let Some(endpoint) = &self.probe.probe {
            return self.probe.run(endpoint, deployment, aws, printer).await;
        }
        let mut findings = Findings { list: Vec::new(), progress: Progress::new("things looked at") };
        look_at_everything(&mut findings, deployment, aws).await;
        let Findings { list, progress } = findings;
        drop(progress);
        show(&list, printer)
    }
}

async fn look_at_everything(findings: &mut Findings, deployment: &Deployment, aws: &Aws) {
    credentials::look(findings, aws).await;
    deployed::look(findings, deployment, aws).await;
    tables::look(findings, deployment, aws).await;
    match deployment.scope(aws).await {
        Ok(settings) => vpn::look(findings, &settings, deployment, aws).await,
        Err(error) => {
            findings.failed("endpoints", &error);
            vpn::permissions(findings, deployment, aws).await;
        }
    }
    queues::look(findings, deployment, aws).await;
}

fn show(list: &[Finding], printer: &Printer) -> Result<Outcome, CliError> {
    let word = |state| match state {
        State::Fine => "fine",
        State::Look => "look",
        State::Wrong => "wrong",
    };
    let cells = |finding: &Finding| {
        vec![
            word(finding.state).to_owned(),
            finding.what.clone(),
            finding.found.clone(),
            finding.next.as_ref().map(|next| format!("-> {next}")).unwrap_or_default(),
        ]
    };
    let tone = |finding: &Finding| match finding.state {
        State::Fine => Tone::Good,
        State::Look => Tone::Plain,
        State::Wrong => Tone::Bad,
    };
    printer.toned(&["state", "what", "found", ""], list, cells, tone)?;
    let wrong = list.iter().filter(|finding| finding.state == State::Wrong).count();
    if printer.format == Format::Table {
        printer.line(&match wrong {
            0 => "Nothing is wrong.".to_owned(),
            1 => "1 thing is wrong.".to_owned(),
            many => format!("{many} things are wrong."),
        })?;
    }
    Ok(if wrong == 0 { Outcome::Fine } else { Outcome::Wrong })
}
