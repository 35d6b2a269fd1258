//! Somebody who has a deleted person's user name by now, and none of their certificates.

use super::*;
use crate::name::PersonId;

const REVOKE: Action = Action::Revoke { expires_at: None };

impl World {
    /// What Okta says of a person, by their own id, about `alice`.
    fn okta(&self, action: Action, person: &str, id: &str) -> Signal {
        let alice = Subject::new("alice").unwrap().who_is(PersonId::new(person));
        Signal { about: vec![About::Subject(alice)], ..self.signal(action, "alice", id) }
    }

    /// Another command by which a name is given to `alice`.
    async fn gives(&self, name: &str) {
        let given = Signal { id: SignalId::new(&format!("c-{name}")), ..self.alias("alice", &[name], false) };
        assert!(matches!(self.one(given).await.outcome, Outcome::Aliased | Outcome::Completed));
    }

    /// The deleted person, whose laptop was given to her and perhaps taken away again.
    async fn deleted(&self, taken_away: bool) {
        self.one(self.alias("alice", &["laptop-7"], false)).await;
        assert_eq!(self.one(self.okta(REVOKE, "00u-Old", "r-1")).await.outcome, Outcome::Completed);
        if taken_away {
            self.one(self.alias("alice", &["laptop-7"], true)).await;
        }
        self.clock.advance(Duration::from_secs(60));
    }
}

fn lift() -> Action {
    Action::Restore { authorities: Some(vec![Authority::producer("okta", Some("acme"))]) }
}

#[tokio::test]
async fn a_newcomer_opens_none_of_the_other_names_of_whoever_was_called_so_before() {
    for taken_away in [false, true] {
        let world = World::new();
        world.deleted(taken_away).await;
        // Hired, disabled and enabled again.
        for (action, id) in [(lift(), "b-1"), (REVOKE, "r-2"), (lift(), "b-2")] {
            let receipt = world.one(world.okta(action, "00u-new", id)).await;
            assert!(matches!(receipt.outcome, Outcome::Restored | Outcome::Completed), "{receipt:?}");
            world.clock.advance(Duration::from_secs(60));
            assert!(world.is_locked("laptop-7"), "taken away: {taken_away}, {id}");
        }
        assert!(!world.is_locked("alice"));
        // Nor does a name that is given to the newcomer change that.
        world.gives("laptop-8").await;
        assert!(world.is_locked("laptop-7") && !world.is_locked("laptop-8"));
        let everything = world.command(Action::Restore { authorities: None }, "alice", "c-1");
        assert_eq!(world.one(everything).await.outcome, Outcome::Restored);
        assert!(!world.is_locked("laptop-7"), "a person's command does");
    }
}

#[tokio::test]
async fn whoever_is_let_in_as_a_newcomer_leaves_the_others_laptop_to_be_ended() {
    let world = World::new();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let newcomer = world.user("alice");
    world.user("laptop-7");
    let disabled = world.okta(REVOKE, "00u-Old", "r-1");
    let hired = Signal { as_of: disabled.as_of.plus(Duration::from_secs(60)), ..world.okta(lift(), "00u-new", "b-1") };
    world.clock.advance(Duration::from_secs(120));
    let receipts = world.handle(vec![disabled, hired]).await;
    assert_eq!(outcomes(&receipts), [Outcome::Completed, Outcome::Restored]);
    assert_eq!(receipts[0].subjects[0].names, [Name::new("laptop-7").unwrap()], "and not of the own name");
    assert_eq!(world.vpn.alive(None), [newcomer]);
}

#[tokio::test]
async fn a_newcomers_restore_is_done_though_the_others_laptop_stays_locked() {
    let world = World::new();
    world.deleted(false).await;
    let back = world.okta(lift(), "00u-new", "b-1");
    assert_eq!(world.one(back.clone()).await.outcome, Outcome::Restored);
    let receipt = world.one(back).await;
    assert!(receipt.subjects[0].error.as_deref().unwrap().contains("a repeated delivery"), "{receipt:?}");
    assert!(world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_revocation_without_an_id_makes_no_name_the_newcomers() {
    let world = World::new();
    world.deleted(false).await;
    let without_id = world.signal(REVOKE, "alice", "r-2");
    for signal in [world.okta(lift(), "00u-new", "b-1"), without_id, world.okta(lift(), "00u-new", "b-2")] {
        let signal = Signal { as_of: world.now(), ..signal };
        world.one(signal).await;
        world.clock.advance(Duration::from_secs(60));
        assert!(world.is_locked("laptop-7"));
    }
    assert!(!world.is_locked("alice"));
}

#[tokio::test]
async fn in_whichever_order_two_people_are_heard_of_the_names_are_whose_they_were() {
    for late in [false, true] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        let of_old = world.okta(REVOKE, "00u-old", "r-1");
        world.clock.advance(Duration::from_secs(60));
        let of_new = world.okta(REVOKE, "00u-new", "r-2");
        for signal in if late { [of_new, of_old] } else { [of_old, of_new] } {
            world.one(signal).await;
        }
        world.gives("laptop-8").await;
        assert!(world.is_locked("laptop-8"));
        world.clock.advance(Duration::from_secs(60));
        world.one(world.okta(lift(), "00u-new", "b-2")).await;
        let locked = ["alice", "laptop-7", "laptop-8"].map(|name| world.is_locked(name));
        assert_eq!(locked, [false, true, false], "late: {late}");
    }
}

#[tokio::test]
async fn a_retry_and_a_late_word_about_the_newcomer_make_no_name_theirs() {
    let world = World::new();
    world.deleted(false).await;
    let suspended = world.okta(REVOKE, "00u-new", "r-2");
    world.clock.advance(Duration::from_secs(60));
    let stuck = world.user("alice");
    world.vpn.stick(&stuck);
    let deactivated = world.okta(REVOKE, "00u-new", "r-3");
    assert_eq!(world.one(deactivated.clone()).await.outcome, Outcome::Incomplete);
    // What was asked for before, and the same once more.
    world.one(suspended).await;
    assert_eq!(world.one(deactivated).await.outcome, Outcome::Incomplete);
    world.clock.advance(Duration::from_secs(60));
    world.one(world.okta(lift(), "00u-new", "b-1")).await;
    assert_eq!((world.is_locked("alice"), world.is_locked("laptop-7")), (false, true));
}

#[tokio::test]
async fn the_answer_to_a_newcomers_restore_says_what_stays_locked() {
    let world = World::new();
    world.deleted(false).await;
    let receipt = world.one(world.okta(lift(), "00u-new", "b-1")).await;
    assert_eq!(receipt.outcome, Outcome::Restored);
    assert_eq!(receipt.subjects[0].error.as_deref(), Some("still locked by okta:acme"));
}

#[tokio::test]
async fn whoever_is_enabled_again_is_let_in_by_all_names_whichever_event_gives_the_id() {
    for (out, back) in [(Some("00u-Old"), Some("00u-old")), (None, Some("00u-old")), (Some("00u-old"), None)] {
        let world = World::new();
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        let said = |action: Action, person: Option<&str>, id: &str| match person {
            Some(person) => world.okta(action, person, id),
            None => world.signal(action, "alice", id),
        };
        for id in ["r-1", "r-2"] {
            world.one(Signal { as_of: world.now(), ..said(REVOKE, out, id) }).await;
            world.clock.advance(Duration::from_secs(60));
            assert!(world.is_locked("laptop-7"));
        }
        world.clock.advance(Duration::from_secs(60));
        world.one(said(lift(), back, "b-1")).await;
        assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"), "{out:?}, {back:?}");
    }
}

#[tokio::test]
async fn names_that_follow_from_the_own_one_are_the_newcomers() {
    let mut world = World::new();
    world.policy.aliases = crate::alias::Aliases::parse("*: {subject} CORP\\{subject}").unwrap();
    world.deleted(false).await;
    assert!(world.is_locked("corp\\alice"));
    world.one(world.okta(lift(), "00u-new", "b-1")).await;
    assert!(!world.is_locked("alice") && !world.is_locked("corp\\alice") && world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_that_goes_to_somebody_else_goes_with_them() {
    for (id, alias_first) in [(true, true), (false, true), (true, false), (false, false)] {
        let world = World::new();
        world.deleted(true).await;
        let bob = Subject::new("bob").unwrap().who_is(PersonId::new("00u-bob"));
        let of_bob = |signal: Signal| Signal { about: vec![About::Subject(bob.clone())], ..signal };
        let revocation = world.signal(REVOKE, "bob", "r-bob");
        let (given, revocation) =
            (world.alias("bob", &["laptop-7"], false), if id { of_bob(revocation) } else { revocation });
        for signal in if alias_first { [given, revocation] } else { [revocation, given] } {
            world.one(signal).await;
        }
        assert!(world.is_locked("bob") && world.is_locked("laptop-7"));
        world.clock.advance(Duration::from_secs(60));
        world.one(of_bob(world.signal(lift(), "bob", "b-bob"))).await;
        assert!(!world.is_locked("bob") && !world.is_locked("laptop-7"), "id: {id}, alias first: {alias_first}");
    }
}
