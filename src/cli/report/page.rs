//! The page. Every value is escaped by the template, and what would turn the direction of writing is shown by its number.

use askama::Template;
use revocation::audit::{Entry, Finding, GOAL, Story};

use super::picture::{Bar, Scale, Tick, Timeline, distribution, said};
use super::{Chain, Evidence};
use crate::cli::CliError;
use crate::cli::output::{counted, shown, word};

/// What the page can't show, since nobody could from the tables alone.
const NOT_SHOWN: &str = "a chain that was rewritten together with its head (compare it with an export kept elsewhere: vpn-revoker audit verify --against), entries that somebody added who may write both tables, and chains that have no entry in this report";

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    of: String,
    at: String,
    version: &'static str,
    not_shown: &'static str,
    is_empty: bool,
    /// How many there are, in words.
    entries: String,
    subjects: String,
    findings: Vec<String>,
    outcomes: Vec<(String, usize)>,
    verified: usize,
    within: usize,
    unverified: usize,
    median: Option<String>,
    p95: Option<String>,
    longest: Option<String>,
    bars: Vec<Bar>,
    goal_x: usize,
    ticks: Vec<Tick>,
    told: Vec<Told>,
    chains: Vec<Listed>,
}

/// One revocation.
struct Told {
    number: usize,
    subject: String,
    action: String,
    outcome: String,
    is_fine: bool,
    facts: Vec<(&'static str, String)>,
    timeline: Timeline,
    took: String,
}

/// One chain with its entries.
struct Listed {
    name: String,
    verdict: String,
    is_whole: bool,
    rows: Vec<Row>,
}

/// One entry.
struct Row {
    seq: String,
    /// Its time in two parts, between which a line may end.
    day: String,
    time: String,
    kind: String,
    authority: String,
    actor: String,
    reason: String,
    hash: String,
    verdict: String,
    is_whole: bool,
    json: String,
}

pub(super) fn render(evidence: &Evidence) -> Result<String, CliError> {
    let mut revocations: Vec<&Story> = evidence.stories.iter().filter(|story| story.ends_connections()).collect();
    revocations.sort_by_key(|story| story.begun_at());
    let scale = Scale::of(&revocations);
    let (bars, goal_x) = distribution(&evidence.times);
    let percentile = |percent| evidence.times.percentile(percent).map(said);
    let page = Page {
        of: shown(&evidence.of),
        at: evidence.at.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        not_shown: NOT_SHOWN,
        is_empty: evidence.entries() == 0,
        entries: counted(evidence.entries(), "entry", "entries"),
        subjects: counted(evidence.chains.len(), "subject", "subjects"),
        findings: evidence.findings().map(|finding| shown(&finding.to_string())).collect(),
        outcomes: outcomes(&evidence.stories),
        verified: evidence.times.verified(),
        within: evidence.times.within(GOAL),
        unverified: evidence.times.unverified,
        median: percentile(50),
        p95: percentile(95),
        longest: percentile(100),
        bars,
        goal_x,
        ticks: scale.ticks(),
        told: revocations.iter().enumerate().map(|(number, story)| told(number + 1, story, &scale)).collect(),
        chains: evidence.chains.iter().map(listed).collect(),
    };
    page.render().map_err(|error| CliError::Unfit(format!("the page could not be made: {error}")))
}

/// How many stories came to what.
fn outcomes(stories: &[Story]) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for story in stories {
        let count: &mut usize = counts.entry(shown(&story.outcome)).or_default();
        *count += 1;
    }
    counts.into_iter().collect()
}

fn told(number: usize, story: &Story, scale: &Scale) -> Told {
    let mut facts = vec![("signal", shown(&story.signal_id)), ("on the word of", shown(&story.authority))];
    let mut fact = |what, text: &Option<String>| facts.extend(text.as_ref().map(|text| (what, shown(text))));
    fact("caused by", &story.actor);
    fact("reason", &story.reason);
    fact("why it came to this", &story.why);
    let names = (!story.names.is_empty()).then(|| story.names.join(", "));
    fact("sought as", &names);
    fact("connections", &Some(story.connections.to_string()));
    for (what, at) in [
        ("occurred", story.occurred_at),
        ("received", story.received_at),
        ("locked", story.locked_at),
        ("first terminate", story.first_terminate_at),
        ("verified", story.verified_at),
    ] {
        fact(what, &at.map(|at| at.to_string()));
    }
    if !story.refused_at.is_empty() {
        let times: Vec<String> = story.refused_at.iter().map(ToString::to_string).collect();
        fact("returns refused, on record", &Some(times.join(", ")));
    }
    Told {
        number,
        subject: shown(&story.subject),
        action: shown(&story.action),
        outcome: shown(&story.outcome),
        is_fine: story.outcome == "completed",
        facts,
        timeline: scale.timeline(story),
        took: story.took().map_or_else(|| "not verified".to_owned(), |took| format!("verified after {}", said(took))),
    }
}

fn listed(chain: &Chain) -> Listed {
    let verdict = match chain.findings.len() {
        0 => "whole: every entry has its hash, follows from the one before, and the head agrees".to_owned(),
        1 => "not whole: 1 thing is wrong".to_owned(),
        many => format!("not whole: {many} things are wrong"),
    };
    Listed {
        name: shown(&chain.name),
        verdict,
        is_whole: chain.findings.is_empty(),
        rows: chain.entries.iter().map(|entry| row(entry, &chain.findings)).collect(),
    }
}

fn row(entry: &Entry, findings: &[Finding]) -> Row {
    let cell = |name: &str| shown(&word(entry.attributes().get(name)));
    let own = findings.iter().find(|finding| Some(finding.seq()) == entry.seq());
    let verdict = match (own, findings.is_empty()) {
        (Some(finding), _) => finding.word().to_owned(),
        (None, false) => "its chain is not whole".to_owned(),
        (None, true) => "whole".to_owned(),
    };
    let at = cell("at");
    let (day, time) = at.split_once('T').unwrap_or((&at, ""));
    let json = serde_json::to_string_pretty(entry.attributes()).unwrap_or_default();
    Row {
        seq: cell("seq"),
        day: if time.is_empty() { day.to_owned() } else { format!("{day}T") },
        time: time.to_owned(),
        kind: cell("kind"),
        authority: cell("authority"),
        actor: cell("actor"),
        reason: cell("reason"),
        hash: cell("hash"),
        verdict,
        is_whole: findings.is_empty(),
        json: crate::cli::output::escaped(&json),
    }
}
