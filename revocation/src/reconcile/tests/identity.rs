//! Who is meant: directory, aliases, replays.

use super::*;
use crate::alias::Aliases;

const ID: &str = "0a1b2c3d-0000-4000-8000-00000000a11c";

impl World {
    /// What comes of a signal where one call never returns, once the time for it is over.
    async fn hanging(&self, signal: Signal, call: &str) -> Outcome {
        self.calls.plan(call, 1, crate::memory::Mishap::Hangs);
        let (before, revoker, run) = (self.calls.count(call), self.revoker(), self.run());
        let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
        while self.calls.count(call) == before {
            tokio::task::yield_now().await;
        }
        self.clock.advance(crate::reconcile::admit::ADMISSION);
        working.await.unwrap().remove(0).outcome
    }

    fn by_id(&self, action: Action) -> Signal {
        let about = vec![About::unresolved("identity-center", ID, true)];
        Signal { about, ..self.signal(action, "nobody-yet", "identity-center:e-1") }
    }

    fn alias(&self, subject: &str, names: &[&str], remove: bool) -> Signal {
        let names = names.iter().map(|name| Name::new(name).unwrap()).collect();
        let id = format!("c-{remove}-{subject}");
        Signal {
            authority: Authority::command(),
            via: Via::Direct,
            ..self.signal(Action::Alias { names, remove }, subject, &id)
        }
    }
}

const REVOKE: Action = Action::Revoke { expires_at: None };

#[tokio::test]
async fn an_id_becomes_the_name_that_the_directory_has_and_is_kept() {
    let world = World::new();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.user("alice@example.com");
    world.user("bob");
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(receipt.subjects[0].names, [Name::new("alice").unwrap(), Name::new("alice@example.com").unwrap()]);
    assert_eq!(world.alive(), 1);
    assert!(world.is_locked("alice") && world.is_locked("alice@example.com"));

    world.directory.delete(ID);
    let delete = Signal { id: SignalId::new("identity-center:e-2"), ..world.by_id(REVOKE) };
    assert_eq!(world.one(delete).await.outcome, Outcome::Completed, "the kept answer says who it was");
}

#[tokio::test]
async fn a_deletion_is_resolved_from_a_copy_of_the_directory() {
    let world = World::new();
    for (id, name) in [(ID, "alice"), ("1", "bob"), ("2", "carol")] {
        world.directory.put(id, &[name], Some(true));
    }
    let synced = world.people().sync(&*world.clock, world.run().stop_at).await;
    assert_eq!((synced.outcome, synced.people), ("completed", 3));
    world.directory.delete(ID);
    world.user("alice");
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
}

#[tokio::test]
async fn a_copy_that_does_not_reach_its_end_says_so() {
    let world = World::new();
    world.directory.put("1", &["bob"], None);
    world.directory.put("2", &["carol"], None);
    world.calls.plan("people.keep", 1, crate::memory::Mishap::Fails);
    let synced = world.people().sync(&*world.clock, world.run().stop_at).await;
    assert_eq!((synced.outcome, synced.people), ("incomplete", 0));
    assert!(synced.error.is_some());
}

#[tokio::test]
async fn an_id_that_nobody_knows_is_unresolved_and_tried_again() {
    let world = World::new();
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!(receipt.outcome, Outcome::Unresolved);
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("sync_directory"));
    assert_eq!(world.kinds(&format!("#id/identity-center/{ID}")), ["unresolved"]);

    world.directory.put(ID, &["alice"], Some(false));
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
    assert_eq!(world.kinds("alice"), ["requested", "completed"]);
}

#[tokio::test]
async fn a_directory_that_is_away_is_no_answer() {
    let world = World::new();
    world.directory.put(ID, &["alice"], Some(false));
    world.people().sync(&*world.clock, world.run().stop_at).await;
    world.calls.plan("directory.find", 1, crate::memory::Mishap::Fails);
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!(receipt.outcome, Outcome::Unresolved, "what was kept may be out of date");
    assert!(!world.is_locked("alice"));
    assert_eq!(world.hanging(world.by_id(REVOKE), "directory.find").await, Outcome::Unresolved);
    world.calls.plan("directory.find", 1, crate::memory::Mishap::Panics);
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Unresolved);
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn where_the_event_hides_it_the_directory_says_whether_to_revoke_or_restore() {
    let world = World::new();
    let ask = |id: &str| Signal { id: SignalId::new(id), ..world.by_id(Action::Ask) };
    world.directory.put(ID, &["alice"], Some(false));
    let receipt = world.one(ask("e-1")).await;
    assert_eq!((receipt.action.word(), receipt.outcome), ("revoke", Outcome::Completed));
    assert!(world.is_locked("alice"));

    world.clock.advance(Duration::from_secs(60));
    world.directory.put(ID, &["alice"], Some(true));
    let receipt = world.one(ask("e-2")).await;
    assert_eq!((receipt.action.word(), receipt.outcome), ("restore", Outcome::Restored));
    assert!(!world.is_locked("alice"));

    world.directory.put(ID, &["alice"], None);
    assert_eq!(world.one(ask("e-3")).await.outcome, Outcome::Unresolved, "a directory that does not say");

    world.clock.advance(Duration::from_secs(60));
    world.directory.delete(ID);
    assert_eq!(world.one(ask("e-4")).await.action.word(), "revoke", "who is gone is out");
    assert!(world.is_locked("alice"));
}

#[tokio::test]
async fn without_a_directory_the_answer_says_what_to_configure() {
    let world = World::new();
    let revoker = Revoker { people: None, ..world.revoker() };
    let receipt = revoker.handle(vec![world.by_id(REVOKE)], &world.run()).await.remove(0);
    assert_eq!(receipt.outcome, Outcome::Unresolved);
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("VPN_REVOKER_IDENTITY_STORE_ID"));
}

#[tokio::test]
async fn every_name_gets_a_lock_of_its_own() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse(r"corp.example: {subject} {local} CORP\{local}").unwrap();
    let mine = [world.user("alice@corp.example"), world.user(r"corp\Alice"), world.on(1, None, Some("ALICE"))];
    let others = [world.user("alice@other.example"), world.user("malice"), world.user(r"corp\alice2")];
    let receipt = world.one(world.revoke("Alice@corp.example")).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(receipt.subjects[0].connections.len(), mine.len());
    assert_eq!(world.alive(), others.len());
    for name in ["alice@corp.example", "alice", r"corp\alice"] {
        assert!(world.is_locked(name), "{name}");
    }
    assert_eq!(world.kinds("alice@corp.example"), ["requested", "completed"], "one chain tells it");
    assert!(world.kinds("alice").is_empty());

    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.one(world.restore("alice@corp.example")).await.outcome, Outcome::Restored);
    assert!(!["alice@corp.example", "alice", r"corp\alice"].iter().any(|name| world.is_locked(name)));
}

#[tokio::test]
async fn a_protected_alias_protects_the_subject() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.policy.protected = Protected::parse("alice").unwrap();
    world.user("alice@corp.example");
    assert_eq!(world.one(world.revoke("alice@corp.example")).await.outcome, Outcome::Refused);
    assert_eq!(world.alive(), 1);
}

#[tokio::test]
async fn a_name_that_was_let_in_again_by_itself_is_spared() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    assert_eq!(world.one(world.revoke("alice@corp.example")).await.outcome, Outcome::Completed);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    world.user("alice");
    let again = Signal {
        id: SignalId::new("another"),
        as_of: world.now().minus(Duration::from_secs(100)),
        ..world.revoke("alice@corp.example")
    };
    assert_eq!(world.one(again).await.outcome, Outcome::Superseded, "an older word about one of the names");
    assert_eq!(world.alive(), 1);
}

#[tokio::test]
async fn an_alias_counts_from_the_next_revocation_on_and_extends_a_lock_that_stands() {
    let world = World::new();
    let planned = world.one(world.alias("alice", &["laptop-7"], false)).await;
    assert_eq!(planned.outcome, Outcome::Planned);
    assert_eq!(world.kinds("alice"), ["requested"]);
    assert!(!world.is_locked("laptop-7"));

    world.on(0, None, Some("laptop-7"));
    world.on(0, None, Some("laptop-8"));
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert!(world.is_locked("laptop-7") && world.alive() == 1);

    world.clock.advance(Duration::from_secs(1));
    let extended = Signal { id: SignalId::new("c-2"), ..world.alias("alice", &["laptop-8"], false) };
    assert_eq!(world.one(extended).await.outcome, Outcome::Completed);
    assert!(world.is_locked("laptop-8") && world.alive() == 0);

    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("laptop-7") && !world.is_locked("laptop-8"), "what an authority locks it can lift");

    assert_eq!(world.one(world.alias("alice", &["laptop-7", "laptop-8"], true)).await.outcome, Outcome::Planned);
    world.clock.advance(Duration::from_secs(1));
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    assert_eq!(world.one(again).await.outcome, Outcome::Completed);
    assert!(!world.is_locked("laptop-7"));
}

#[tokio::test]
async fn where_the_aliases_cannot_be_read_nobody_is_half_locked() {
    let world = World::new();
    world.user("alice");
    world.calls.plan("aliases.names", 1, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Incomplete);
    assert_eq!(world.hanging(world.revoke("alice"), "aliases.names").await, Outcome::Incomplete);
    assert!(!world.is_locked("alice"));
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_replay_is_audited_and_changes_nothing() {
    let world = World::new();
    world.user("alice");
    let replay = || Signal { replay: Some("last-week".to_owned()), ..world.revoke("alice") };
    let receipt = world.one(replay()).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Shadowed, 1));
    assert!(!world.is_locked("alice"));
    let entries = world.audit.chains().remove("alice").unwrap();
    assert_eq!(entries.len(), 1);
    let detail = &entries[0].attributes()["detail"];
    assert_eq!(
        (&detail["replay"], &detail["would_be"], &detail["mode"]),
        (&"last-week".into(), &"completed".into(), &"shadow".into())
    );

    world.one(replay()).await;
    assert_eq!(world.kinds("alice"), ["shadowed"], "and once");
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed, "the event itself still counts");
}
