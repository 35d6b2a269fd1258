//! Who is meant: directory, aliases, replays.

use super::*;
use crate::alias::Aliases;

pub(super) const ID: &str = "0a1b2c3d-0000-4000-8000-00000000a11c";

impl World {
    /// What comes of a signal where one call never returns, once the time for it is over.
    async fn hanging(&self, signal: Signal, call: &str) -> Outcome {
        self.calls.plan(call, 1, crate::memory::Mishap::Hangs);
        let (before, revoker, run) = (self.calls.count(call), self.revoker(), self.run());
        let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
        until(|| self.calls.count(call) != before).await;
        self.clock.advance(crate::reconcile::admit::ADMISSION);
        working.await.unwrap().remove(0).outcome
    }

    pub(super) fn by_id(&self, action: Action) -> Signal {
        let about = vec![About::unresolved("identity-center", ID, true)];
        Signal { about, ..self.signal(action, "nobody-yet", "identity-center:e-1") }
    }

    pub(super) fn alias(&self, subject: &str, names: &[&str], remove: bool) -> Signal {
        let names = names.iter().map(|name| Name::new(name).unwrap()).collect();
        let id = format!("c-{remove}-{subject}");
        Signal {
            authority: Authority::command(),
            via: Via::Direct,
            ..self.signal(Action::Alias { names, remove }, subject, &id)
        }
    }
}

pub(super) const REVOKE: Action = Action::Revoke { expires_at: None };

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
    let second = ask("e-2");
    assert_eq!(world.one(second.clone()).await.outcome, Outcome::Unresolved, "too soon to be believed");
    assert!(world.is_locked("alice"));
    world.clock.advance(world.policy.settle);
    let receipt = world.one(second).await;
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
    world.user("alice@corp.example");
    let receipt = world.one(again).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(receipt.subjects[0].names, [Name::new("alice@corp.example").unwrap()]);
    assert_eq!(world.vpn.alive(Some("alice")).len(), 1, "a newer word about one of the names spares that name only");
    assert_eq!(world.alive(), 1);
    let entries = world.audit.chains().remove("alice@corp.example").unwrap();
    assert_eq!(entries.last().unwrap().attributes()["detail"]["let_in"], serde_json::json!(["alice"]));
}

#[tokio::test]
async fn a_name_that_is_let_in_while_connections_are_being_ended_is_told_as_such() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.user("alice@corp.example");
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice@corp.example"));
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.terminate") != 0).await;
    world.locks.put(Lock { version: 9, ..Lock::none(Name::new("alice").unwrap()) });
    let receipt = working.await.unwrap().remove(0);
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!(receipt.subjects[0].names, [Name::new("alice@corp.example").unwrap()]);
    let entries = world.audit.chains().remove("alice@corp.example").unwrap();
    assert_eq!(entries.last().unwrap().attributes()["detail"]["let_in"], serde_json::json!(["alice"]));
}

#[tokio::test]
async fn whose_own_name_was_let_in_meanwhile_is_not_completed_under_a_name_that_another_holds() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.command(REVOKE, "alice", "c-1")).await;
    world.user("alice@corp.example");
    let (revoker, run, signal) = (world.revoker(), world.run(), world.revoke("alice@corp.example"));
    let terminated = world.calls.count("vpn.terminate");
    let working = tokio::spawn(async move { revoker.handle(vec![signal], &run).await });
    until(|| world.calls.count("vpn.terminate") != terminated).await;
    let later = world.now().plus(Duration::from_secs(1));
    let back = Signal { as_of: later, ..world.restore("alice@corp.example") };
    assert_eq!(world.one(back).await.outcome, Outcome::Restored);
    assert_eq!(working.await.unwrap().remove(0).outcome, Outcome::Superseded);
    assert!(world.is_locked("alice"), "what a command said of it stands");
}

#[tokio::test]
async fn what_was_locked_under_former_names_is_pursued_and_lifted_under_them_too() {
    let world = World::new();
    world.directory.put(ID, &["alice", "old@example.com"], Some(false));
    let mut there = vec![world.user("alice"), world.user("old@example.com")];
    world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    world.directory.put(ID, &["alice", "new@example.com"], Some(false));
    there.push(world.user("new@example.com"));
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0), "{receipt:?}");
    assert_eq!(receipt.subjects[0].connections.len(), there.len());

    world.clock.advance(Duration::from_secs(60));
    world.directory.put(ID, &["alice"], Some(true));
    let restore = Action::Restore { authorities: Some(vec![Authority::producer("okta", Some("acme"))]) };
    let back = Signal { id: SignalId::new("identity-center:e-9"), ..world.by_id(restore) };
    assert_eq!(world.one(back).await.outcome, Outcome::Restored);
    for name in ["alice", "old@example.com", "new@example.com"] {
        assert!(!world.is_locked(name), "{name}");
    }
}

#[tokio::test]
async fn who_was_let_in_and_renamed_since_is_not_locked_by_an_older_word() {
    for (is_older, was_called_so) in [(true, false), (false, false), (true, true)] {
        let world = World::new();
        if was_called_so {
            world.directory.put(ID, &["alicia"], Some(true));
            world.one(Signal { id: SignalId::new("identity-center:e-6"), ..world.by_id(REVOKE) }).await;
            world.clock.advance(Duration::from_secs(60));
            let lift = Action::Restore { authorities: Some(vec![world.by_id(REVOKE).authority]) };
            world.one(Signal { id: SignalId::new("identity-center:e-7"), ..world.by_id(lift) }).await;
            assert!(!world.is_locked("alicia"));
        }
        world.directory.put(ID, &["alice"], Some(true));
        let as_of = world.now().plus(Duration::from_secs(if is_older { 10 } else { 30 }));
        let late = Signal { id: SignalId::new("identity-center:e-8"), as_of, ..world.by_id(REVOKE) };
        let restore = Action::Restore { authorities: Some(vec![late.authority.clone()]) };
        let back = Signal { as_of: world.now().plus(Duration::from_secs(20)), ..world.by_id(restore) };
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(world.one(back).await.outcome, Outcome::Restored);
        world.directory.put(ID, &["alicia"], Some(is_older));
        world.user("alicia");
        let outcome = world.one(late).await.outcome;
        let expected = if is_older { (Outcome::Superseded, false, 1) } else { (Outcome::Completed, true, 0) };
        assert_eq!((outcome, world.is_locked("alicia"), world.alive()), expected);
    }
}

#[tokio::test]
async fn who_was_renamed_is_locked_though_somebody_else_who_shares_an_address_was_let_in() {
    let world = World::new();
    world.directory.put(ID, &["alice", "team@example.com"], Some(false));
    world.directory.put("2", &["bob", "team@example.com"], Some(true));
    let revoke = world.by_id(REVOKE);
    world.user("alice");
    world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    world.clock.advance(Duration::from_secs(60));
    let about = vec![About::unresolved("identity-center", "2", true)];
    let restore = Action::Restore { authorities: Some(vec![revoke.authority.clone()]) };
    let back = Signal { about, ..world.signal(restore, "nobody-yet", "identity-center:e-2") };
    assert_eq!(world.one(back).await.outcome, Outcome::Restored);
    world.directory.put(ID, &["zz-alice", "team@example.com"], Some(false));
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert_eq!((world.is_locked("zz-alice"), world.alive()), (true, 0));
}

#[tokio::test]
async fn who_was_renamed_is_locked_though_somebody_else_who_has_the_name_of_before_was_let_in() {
    let world = World::new();
    world.directory.put(ID, &["shared@example.com"], Some(false));
    let revoke = world.by_id(REVOKE);
    world.user("zz-alice");
    world.user("shared@example.com");
    world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    world.clock.advance(Duration::from_secs(60));
    world.directory.put(ID, &["zz-alice", "shared@example.com"], Some(false));
    world.directory.put("2", &["bob", "shared@example.com"], Some(true));
    let about = vec![About::unresolved("identity-center", "2", true)];
    let restore = Action::Restore { authorities: Some(vec![revoke.authority.clone()]) };
    world.one(Signal { about, ..world.signal(restore, "nobody-yet", "identity-center:e-2") }).await;
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert!(world.is_locked("zz-alice"));
}

#[tokio::test]
async fn a_session_under_a_name_from_before_is_found_unless_the_name_is_anothers_now() {
    let world = World::new();
    world.directory.put(ID, &["asmith", "asmith@example.com"], Some(true));
    world.people().sync(&*world.clock, world.run().stop_at).await;
    world.directory.put(ID, &["ajones", "ajones@example.com"], Some(false));
    world.directory.put("2", &["other", "asmith@example.com"], Some(true));
    world.user("asmith");
    let bystander = world.user("asmith@example.com");
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [bystander]);
    let entries = world.audit.chains().remove("ajones").unwrap();
    let detail = &entries.last().unwrap().attributes()["detail"];
    assert_eq!(
        (&detail["directory_id"], &detail["others_names"]),
        (&ID.into(), &serde_json::json!(["asmith@example.com"]))
    );
}

#[tokio::test]
async fn nobody_is_meant_by_kept_names_that_are_all_anothers_now() {
    let world = World::new();
    world.directory.put(ID, &["asmith"], Some(true));
    world.people().sync(&*world.clock, world.run().stop_at).await;
    world.directory.delete(ID);
    world.directory.put("2", &["asmith"], Some(true));
    world.user("asmith");
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Unresolved);
    assert_eq!(world.alive(), 1);
}

#[tokio::test]
async fn one_signal_that_is_unresolved_stands_in_no_others_way() {
    let world = World::new();
    world.directory.put(ID, &["alice"], None);
    world.user("alice");
    let ask = Signal { id: SignalId::new("e-1"), ..world.by_id(Action::Ask) };
    let receipts = world.handle(vec![ask, world.revoke("alice")]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Unresolved, Outcome::Completed]);
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn of_several_whom_the_directory_is_asked_about_each_hears_what_stands_in_its_own_way() {
    let world = World::new();
    world.directory.put(ID, &["alice"], Some(false));
    let about = [ID, "id-of-nobody"].map(|id| About::unresolved("identity-center", id, true)).to_vec();
    let receipt = world.one(Signal { about, ..world.by_id(Action::Ask) }).await;
    assert_eq!((receipt.outcome, world.is_locked("alice")), (Outcome::Unresolved, false));
    let why = |number: usize| receipt.subjects[number].error.clone().unwrap();
    let [alice, nobody] = [why(0), why(1)];
    assert!(alice.contains("the directory does not say"), "{alice}");
    assert!(nobody.contains("id-of-nobody"), "{nobody}");

    world.directory.put("another-id", &["bob"], Some(true));
    let about = [ID, "another-id"].map(|id| About::unresolved("identity-center", id, true)).to_vec();
    let receipt = world.one(Signal { about, id: SignalId::new("e-2"), ..world.by_id(Action::Ask) }).await;
    assert_eq!(receipt.outcome, Outcome::Unresolved, "they can't all be meant by one word");
    assert!(!world.is_locked("alice") && !world.is_locked("bob"));
}

#[tokio::test]
async fn what_an_ask_cannot_read_of_the_trail_holds_no_neighbour_up() {
    let asked = || {
        let world = World::new();
        world.directory.put(ID, &["alice"], Some(true));
        world.user("bob");
        let ask = Signal { id: SignalId::new("e-1"), ..world.by_id(Action::Ask) };
        (world, ask)
    };
    let (world, ask) = asked();
    assert_eq!(world.hanging(ask, "audit.standing").await, Outcome::Unresolved);
    for mishap in [crate::memory::Mishap::Panics, crate::memory::Mishap::Fails] {
        let (world, ask) = asked();
        world.calls.plan("audit.standing", 1, mishap);
        let receipts = world.handle(vec![ask, world.revoke("bob")]).await;
        assert_eq!(outcomes(&receipts), [Outcome::Unresolved, Outcome::Completed], "{mishap:?}");
    }
}

#[tokio::test]
async fn an_ask_that_began_as_a_revocation_is_finished_as_one() {
    let world = World::new();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
    let ask = Signal { id: SignalId::new("e-1"), ..world.by_id(Action::Ask) };
    assert_eq!(world.one(ask.clone()).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    world.directory.put(ID, &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    let receipt = world.one(ask).await;
    assert_eq!((receipt.action.word(), receipt.outcome, world.alive()), ("revoke", Outcome::Completed, 0));
}

#[tokio::test]
async fn names_follow_from_every_name_that_the_directory_gives() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse(r"corp.example: {subject} CORP\{local}").unwrap();
    world.policy.protected = Protected::parse(r"svc-*, CORP\oncall").unwrap();
    world.one(world.alias("alice@corp.example", &["laptop-7"], false)).await;
    world.directory.put(
        ID,
        &["alice", "alice@corp.example", "svc-mail", "oncall@corp.example", "svc-2@corp.example"],
        Some(false),
    );
    for name in ["alice", r"corp\alice", "laptop-7"] {
        world.user(name);
    }
    let spared = ["svc-mail", r"corp\oncall", r"corp\svc-2"].map(|name| world.user(name));
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), spared, "a protected address does not protect the person");
}

impl World {
    /// Takes both signals at once, one of them some steps ahead of the other.
    async fn race(&self, signals: [Signal; 2], steps: i32) {
        let late = |steps: i32| async move {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
        };
        let [one, other] = signals.map(|signal| (self.revoker(), self.run(), signal));
        let first = tokio::spawn(async move {
            late(-steps).await;
            one.0.handle(vec![one.2], &one.1).await
        });
        late(steps).await;
        other.0.handle(vec![other.2], &other.1).await;
        first.await.unwrap();
    }
}

#[tokio::test]
async fn a_name_given_at_any_moment_of_a_revocation_is_locked_with_it() {
    for steps in -80..80 {
        let world = World::new();
        world.race([world.revoke("alice"), world.alias("alice", &["laptop-7"], false)], steps).await;
        assert!(world.is_locked("laptop-7"), "{steps} steps ahead");
    }
}

#[tokio::test]
async fn a_name_given_at_any_moment_of_a_restore_is_not_left_locked() {
    for steps in -80..80 {
        let world = World::new();
        world.one(world.revoke("alice")).await;
        world.clock.advance(Duration::from_secs(1));
        let restore = world.signal(Action::Restore { authorities: None }, "alice", "c-back");
        world.race([restore, world.alias("alice", &["laptop-7"], false)], steps).await;
        assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"), "{steps} steps ahead");
    }
}

#[tokio::test]
async fn a_restore_between_two_steps_of_giving_a_name_lifts_it_too() {
    let world = World::new();
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(1));
    let reading = r#"locks.read ["laptop-7"]"#;
    world.calls.plan(reading, 1, crate::memory::Mishap::Slow);
    let (revoker, run, giving) = (world.revoker(), world.run(), world.alias("alice", &["laptop-7"], false));
    let given = tokio::spawn(async move { revoker.handle(vec![giving], &run).await });
    until(|| world.calls.count(reading) != 0).await;
    let restore = world.signal(Action::Restore { authorities: None }, "alice", "c-back");
    let restore = Signal { authority: Authority::command(), via: Via::Direct, ..restore };
    assert_eq!(world.one(restore).await.outcome, Outcome::Restored);
    given.await.unwrap();
    assert!(!world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_is_given_also_where_somebody_else_writes_the_same_lock() {
    let (own, further) = (Name::new("alice").unwrap(), Name::new("laptop-7").unwrap());
    for raced in [&own, &further] {
        let world = World::new();
        world.one(world.revoke("alice")).await;
        let writing = format!("locks.write {raced}");
        let before = world.calls.count(&writing);
        world.calls.plan(&writing, 1, crate::memory::Mishap::Slow);
        let (revoker, run, giving) = (world.revoker(), world.run(), world.alias("alice", &["laptop-7"], false));
        let given = tokio::spawn(async move { revoker.handle(vec![giving], &run).await });
        until(|| world.calls.count(&writing) > before).await;
        let siem = Signal { authority: Authority::named("siem"), ..world.revoke(raced.as_str()) };
        let lock = world.locks.stored(raced).unwrap_or_else(|| Lock::none(raced.clone()));
        let crate::lock::Transition::Changed(theirs) = lock.apply(&siem, raced.as_str(), &[]) else { panic!() };
        world.locks.put(theirs);
        assert_eq!(outcomes(&given.await.unwrap()), [Outcome::Completed]);
        let okta = Authority::producer("okta", Some("acme"));
        let hold = |name: &Name| world.locks.stored(name).unwrap().hold_of(&okta).cloned();
        assert_eq!(hold(&own).unwrap().names, std::slice::from_ref(&further), "{raced}");
        assert!(hold(&further).is_some(), "{raced}");
        assert!(world.locks.stored(raced).unwrap().held_by(world.now()).contains(&siem.authority), "{raced}");
    }
}

#[tokio::test]
async fn a_lock_is_written_also_where_somebody_else_writes_it_at_the_same_time() {
    let world = World::new();
    let (alice, siem) = (Name::new("alice").unwrap(), Authority::named("siem"));
    world.user("alice");
    world.calls.plan("locks.write alice", 1, crate::memory::Mishap::Slow);
    let (revoker, run, revoking) = (world.revoker(), world.run(), world.revoke("alice"));
    let working = tokio::spawn(async move { revoker.handle(vec![revoking], &run).await });
    until(|| world.calls.count("locks.write alice") == 1).await;
    let theirs = Signal { authority: siem.clone(), ..world.revoke("alice") };
    let crate::lock::Transition::Changed(theirs) = Lock::none(alice.clone()).apply(&theirs, "alice", &[]) else {
        panic!("nothing stood against it")
    };
    world.locks.put(theirs);
    assert_eq!(outcomes(&working.await.unwrap()), [Outcome::Completed]);
    let held_by = world.locks.stored(&alice).unwrap().held_by(world.now());
    assert_eq!(held_by, [Authority::producer("okta", Some("acme")), siem]);
}

#[tokio::test]
async fn a_name_that_was_let_in_between_two_attempts_is_spared_by_the_second() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.user("alice@corp.example");
    let spared = world.user("alice");
    world.calls.plan("vpn.terminate", 1000, crate::memory::Mishap::Fails);
    let revoke = world.revoke("alice@corp.example");
    assert_eq!(world.one(revoke.clone()).await.outcome, Outcome::Incomplete);
    world.calls.forget();
    assert_eq!(world.one(world.restore("alice")).await.outcome, Outcome::Restored);
    assert_eq!(world.one(revoke).await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [spared]);
}

#[tokio::test]
async fn a_repeated_alias_command_undoes_no_later_one() {
    let world = World::new();
    let give = || world.alias("alice", &["laptop-7"], false);
    assert_eq!(world.one(give()).await.outcome, Outcome::Aliased);
    assert_eq!(world.one(world.alias("alice", &["laptop-7"], true)).await.outcome, Outcome::Aliased);
    world.one(give()).await;
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    assert!(!world.is_locked("laptop-7"));
    let entries = world.audit.chains().remove("alice").unwrap();
    let said = |entry: &Entry, key: &str| entry.attributes()["detail"].get(key).cloned();
    assert_eq!(said(&entries[0], "given"), Some(serde_json::json!(["laptop-7"])), "said before it is done");
    assert!(entries.iter().any(|entry| said(entry, "taken").is_some()));
}

#[tokio::test]
async fn two_subjects_never_share_a_name() {
    let world = World::new();
    assert_eq!(world.one(world.alias("alice", &["laptop-7"], false)).await.outcome, Outcome::Aliased);
    let receipt = world.one(world.alias("bob", &["laptop-7"], false)).await;
    assert_eq!(receipt.outcome, Outcome::Refused);
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("another name of `alice`"));
}

#[tokio::test]
async fn an_alias_counts_from_the_next_revocation_on_and_extends_a_lock_that_stands() {
    let world = World::new();
    let given = world.one(world.alias("alice", &["laptop-7"], false)).await;
    assert_eq!(given.outcome, Outcome::Aliased);
    assert_eq!(world.kinds("alice"), ["requested", "aliased"]);
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

    assert_eq!(world.one(world.alias("alice", &["laptop-7", "laptop-8"], true)).await.outcome, Outcome::Aliased);
    world.clock.advance(Duration::from_secs(1));
    let again = Signal { id: SignalId::new("okta:again"), ..world.revoke("alice") };
    assert_eq!(world.one(again).await.outcome, Outcome::Completed);
    assert!(!world.is_locked("laptop-7"));
}

#[tokio::test]
async fn what_is_completed_by_an_alias_is_so_for_the_whole_subject() {
    let world = World::new();
    assert_eq!(world.one(world.revoke("alice")).await.outcome, Outcome::Completed);
    world.user("alice");
    world.on(0, None, Some("laptop-8"));
    let receipt = world.one(world.alias("alice", &["laptop-8"], false)).await;
    assert_eq!((receipt.outcome, world.alive()), (Outcome::Completed, 0));
    assert_eq!(receipt.subjects[0].names, [Name::new("alice").unwrap(), Name::new("laptop-8").unwrap()]);
}

#[tokio::test]
async fn names_of_a_further_name_are_not_the_subjects_whichever_was_given_first() {
    let give_all = async |world: &World, is_locked_first: bool| {
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        if is_locked_first {
            world.one(world.revoke("alice")).await;
        }
        assert_eq!(world.one(world.alias("laptop-7", &["bob"], false)).await.outcome, Outcome::Aliased);
        if !is_locked_first {
            world.one(world.revoke("alice")).await;
        }
    };
    for is_locked_first in [false, true] {
        let world = World::new();
        let bobs = world.user("bob");
        give_all(&world, is_locked_first).await;
        assert!(world.is_locked("laptop-7") && !world.is_locked("bob"), "locked first: {is_locked_first}");
        assert_eq!(world.vpn.alive(None), [bobs]);
        // What is said of the further name itself is said of its own names as well.
        let of_itself = Signal { id: SignalId::new("okta:itself"), ..world.revoke("laptop-7") };
        assert_eq!(world.one(of_itself).await.outcome, Outcome::Completed);
        assert!(world.is_locked("bob"));
    }
}

#[tokio::test]
async fn what_is_said_of_who_had_a_name_before_goes_no_further() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.one(world.revoke("alice")).await;
    world.one(world.alias("alice", &["laptop-7"], true)).await;
    let bobs = world.user("bob");
    assert_eq!(world.one(world.alias("laptop-7", &["bob"], false)).await.outcome, Outcome::Aliased);
    assert!(world.is_locked("laptop-7") && !world.is_locked("bob"));
    assert_eq!(world.vpn.alive(None), [bobs]);
}

#[tokio::test]
async fn a_name_that_is_given_to_a_name_of_the_directorys_is_locked_with_the_person() {
    let world = World::new();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
    world.on(0, None, Some("laptop-7"));
    let given = world.one(world.alias("alice@example.com", &["laptop-7"], false)).await;
    assert_eq!((given.outcome, world.alive()), (Outcome::Completed, 0));
    assert!(world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_that_is_given_to_what_the_directory_called_somebody_before_is_locked_with_the_person() {
    for is_anothers in [false, true] {
        let world = World::new();
        world.directory.put(ID, &["asmith"], Some(true));
        world.people().sync(&*world.clock, world.run().stop_at).await;
        world.directory.put(ID, &["ajones"], Some(false));
        assert_eq!(world.one(world.by_id(REVOKE)).await.outcome, Outcome::Completed);
        assert!(world.is_locked("asmith"));
        if is_anothers {
            world.directory.put("newcomer", &["asmith"], Some(true));
        }
        world.one(world.alias("asmith", &["laptop-7"], false)).await;
        assert_eq!(world.is_locked("laptop-7"), !is_anothers);
    }
}

#[tokio::test]
async fn a_name_that_is_given_to_a_name_by_rule_is_the_subjects_whichever_came_first() {
    for is_locked_first in [false, true] {
        let mut world = World::new();
        world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
        if is_locked_first {
            world.one(world.revoke("alice@corp.example")).await;
        }
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        if !is_locked_first {
            world.one(world.revoke("alice@corp.example")).await;
        }
        assert!(world.is_locked("laptop-7"), "locked first: {is_locked_first}");
    }
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
