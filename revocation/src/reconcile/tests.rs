//! Whole runs over ports in memory, each named after what it holds.

mod ahead;
mod brakes;
mod by_rule;
mod former_names;
mod identity;
mod invariants;
mod mishaps;
mod namesakes;
mod old_ids;
mod orders;
mod rehearsals;
mod restores;
mod simulation;
mod sweeps;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::audit::{Entry, verify};
use crate::connection::{ConnectionId, EndpointId};
use crate::lock::Lock;
use crate::memory::{Calls, ManualClock, MemoryAudit, MemoryBreaker, MemoryDirectory, MemoryLocks, MemoryVpn};
use crate::name::{Name, Subject};
use crate::policy::{Mode, Protected};
use crate::receipt::Outcome;
use crate::signal::{About, Action, Authority, SignalId, Via};

/// A small company: Client VPN, the tables and a clock, all in memory, with one log of calls over all of them.
struct World {
    clock: Arc<ManualClock>,
    calls: Calls,
    vpn: MemoryVpn,
    locks: MemoryLocks,
    audit: MemoryAudit,
    breaker: MemoryBreaker,
    directory: MemoryDirectory,
    policy: Policy,
    endpoints: Vec<EndpointId>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-03-01T09:30:00Z").unwrap()));
        let calls = Calls::new();
        let vpn = MemoryVpn::new("eu-west-1", &clock, &calls, 1000, Duration::from_secs(3));
        let endpoints = vec![vpn.endpoint("cvpn-endpoint-a"), vpn.endpoint("cvpn-endpoint-b")];
        let (locks, audit) = (MemoryLocks::new(&calls), MemoryAudit::new(&calls));
        let directory = MemoryDirectory::new(&calls);
        let breaker = MemoryBreaker::new(&calls);
        Self { clock, calls, vpn, locks, audit, breaker, directory, policy: Policy::default(), endpoints }
    }

    /// A user's connection on the first endpoint.
    fn user(&self, username: &str) -> ConnectionId {
        self.vpn.connect(&self.endpoints[0], (Some(username), None), Duration::ZERO, None)
    }

    fn on(&self, endpoint: usize, username: Option<&str>, common_name: Option<&str>) -> ConnectionId {
        self.vpn.connect(&self.endpoints[endpoint], (username, common_name), Duration::ZERO, None)
    }

    fn revoker(&self) -> Revoker {
        Revoker {
            vpn: vec![Arc::new(self.vpn.clone())],
            locks: Arc::new(self.locks.clone()),
            aliases: Arc::new(self.locks.clone()),
            brake: crate::breaker::Brake::new(
                Arc::new(self.breaker.clone()),
                Arc::clone(&self.clock) as Arc<dyn crate::ports::Clock>,
            ),
            people: Some(self.people()),
            trail: Arc::new(self.audit.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn crate::ports::Clock>,
            policy: Arc::new(self.policy.clone()),
        }
    }

    fn people(&self) -> People {
        People { directory: Arc::new(self.directory.clone()), known: Arc::new(self.locks.clone()) }
    }

    fn run(&self) -> Run {
        let now = self.clock.now();
        Run {
            attempt: format!("attempt at {now}"),
            stop_at: now.plus(Duration::from_secs(240)),
            answer_by: now.plus(Duration::from_secs(250)),
        }
    }

    fn now(&self) -> Timestamp {
        use crate::ports::Clock;
        self.clock.now()
    }

    async fn handle(&self, signals: Vec<Signal>) -> Vec<Receipt> {
        let receipts = self.revoker().handle(signals, &self.run()).await;
        self.the_trail_is_whole().await;
        receipts
    }

    async fn one(&self, signal: Signal) -> Receipt {
        self.handle(vec![signal]).await.remove(0)
    }

    async fn the_trail_is_whole(&self) {
        for (chain, entries) in self.audit.chains() {
            let head = entries.last().map(Entry::head).unwrap();
            assert_eq!(verify(&chain, &entries, &head), vec![]);
        }
    }

    fn kinds(&self, chain: &str) -> Vec<String> {
        let entries = self.audit.chains().remove(chain).unwrap_or_default();
        entries.iter().map(|entry| entry.text("kind").unwrap().to_owned()).collect()
    }

    fn alive(&self) -> usize {
        self.vpn.alive(None).len()
    }

    fn is_locked(&self, name: &str) -> bool {
        self.locks.stored(&Name::new(name).unwrap()).is_some_and(|lock| lock.in_force(self.now()))
    }

    fn signal(&self, action: Action, subject: &str, id: &str) -> Signal {
        Signal {
            id: SignalId::new(id),
            action,
            about: vec![About::Subject(Subject::new(subject).unwrap())],
            authority: Authority::producer("okta", Some("acme")),
            as_of: self.now(),
            occurred_at: None,
            received_at: self.now(),
            source: "aws.partner/okta.com/acme/stream".to_owned(),
            actor: Some("admin@example.com".to_owned()),
            reason: Some("user.lifecycle.deactivate".to_owned()),
            dry_run: false,
            force: false,
            replay: None,
            via: Via::Event,
        }
    }

    fn revoke(&self, subject: &str) -> Signal {
        self.signal(Action::Revoke { expires_at: None }, subject, &format!("okta:revoke-{subject}"))
    }

    fn restore(&self, subject: &str) -> Signal {
        let authorities = Some(vec![Authority::producer("okta", Some("acme"))]);
        self.signal(Action::Restore { authorities }, subject, &format!("okta:restore-{subject}"))
    }

    /// A person's command, by a direct invoke.
    fn command(&self, action: Action, subject: &str, id: &str) -> Signal {
        Signal { authority: Authority::command(), via: Via::Direct, ..self.signal(action, subject, id) }
    }

    fn disconnect(&self, subject: &str) -> Signal {
        self.signal(Action::Disconnect, subject, &format!("okta:disconnect-{subject}"))
    }
}

/// A case as admission has it.
fn case(signal: Signal, names: &[&str]) -> Case {
    let about = signal.about[0].clone();
    let mut case = Case::new(Arc::new(signal), 0, about);
    case.names = names.iter().map(|name| Name::new(name).unwrap()).collect();
    case
}

/// Lets everything else run until it has come to this; fails where it never does.
async fn until(it_is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if it_is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to that");
}

fn outcomes(receipts: &[Receipt]) -> Vec<Outcome> {
    receipts.iter().map(|receipt| receipt.outcome).collect()
}
