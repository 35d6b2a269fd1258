//! Names that follow from a person's own by rule: whose they are where somebody else is called so, and what is given to them.

use super::identity::{ID, REVOKE};
use super::*;
use crate::alias::Aliases;

/// Who was `asmith` and is called otherwise by now, and somebody else who is called so now.
fn renamed_and_newcomer() -> World {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse(r"corp.example: {subject} {local} CORP\{local}").unwrap();
    world.directory.put(ID, &["ajones", "asmith@corp.example"], Some(false));
    world.directory.put("2", &["asmith", "adam.smith@corp.example"], Some(true));
    world
}

#[tokio::test]
async fn a_bystander_who_has_what_would_follow_from_an_address_by_rule_is_left_alone() {
    let world = renamed_and_newcomer();
    let bystander = world.user("asmith");
    world.user("asmith@corp.example");
    let receipt = world.one(world.by_id(REVOKE)).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    let said = receipt.subjects[0].error.as_deref();
    assert_eq!(said, Some("left alone, being somebody else's by now: asmith"));
    assert_eq!(world.vpn.alive(None), [bystander]);
    assert!(!world.is_locked("asmith") && world.is_locked(r"corp\asmith"), "nobody else has that one");
    let entries = world.audit.chains().remove("ajones").unwrap();
    assert_eq!(entries.last().unwrap().attributes()["detail"]["others_names"], serde_json::json!(["asmith"]));
}

#[tokio::test]
async fn whoever_is_enabled_opens_nothing_that_would_be_theirs_by_rule_and_is_anothers() {
    let world = renamed_and_newcomer();
    let of_newcomer = Signal {
        about: vec![About::unresolved("identity-center", "2", true)],
        id: SignalId::new("identity-center:e-2"),
        ..world.by_id(REVOKE)
    };
    assert_eq!(outcomes(&world.handle(vec![world.by_id(REVOKE), of_newcomer]).await), [Outcome::Completed; 2]);
    world.clock.advance(Duration::from_secs(60));
    let authority = world.by_id(REVOKE).authority;
    let lift = world.by_id(Action::Restore { authorities: Some(vec![authority]) });
    let lift = Signal { id: SignalId::new("identity-center:e-3"), as_of: world.now(), ..lift };
    assert_eq!(world.one(lift).await.outcome, Outcome::Restored);
    assert!(world.is_locked("asmith") && !world.is_locked("ajones") && !world.is_locked("asmith@corp.example"));
}

#[tokio::test]
async fn whoever_is_enabled_opens_no_user_name_of_somebody_deleted_that_is_theirs_by_rule_only() {
    for is_theirs in [false, true] {
        let world = renamed_and_newcomer();
        world.one(world.says(REVOKE, "2", "e-1")).await;
        world.directory.delete("2");
        world.later();
        world.directory.put(ID, &["ajones", "asmith@corp.example"], Some(true));
        if is_theirs {
            world.directory.put(ID, &["ajones", "asmith@corp.example", "asmith"], Some(true));
        }
        world.one(world.says(world.lift(), ID, "e-2")).await;
        assert_eq!(world.is_locked("asmith"), !is_theirs, "as the directory has it");
    }
}

impl World {
    /// What the directory's own events say of somebody by id, as of now.
    fn says(&self, action: Action, person: &str, event: &str) -> Signal {
        let about = vec![About::unresolved("identity-center", person, true)];
        let id = SignalId::new(&format!("identity-center:{event}"));
        Signal { about, id, as_of: self.now(), ..self.by_id(action) }
    }

    fn lift(&self) -> Action {
        Action::Restore { authorities: Some(vec![self.by_id(REVOKE).authority]) }
    }

    fn later(&self) {
        self.clock.advance(Duration::from_secs(60));
    }

    /// Who was locked as `asmith@corp.example`, and with it as `asmith`, and is called otherwise by now.
    async fn renamed_since() -> Self {
        let mut world = Self::new();
        world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
        world.directory.put(ID, &["asmith@corp.example"], Some(false));
        world.one(world.says(REVOKE, ID, "e-1")).await;
        assert!(world.is_locked("asmith"));
        world.directory.put(ID, &["ajones", "asmith@corp.example"], Some(true));
        world.later();
        world
    }
}

#[tokio::test]
async fn what_followed_by_rule_before_it_was_anothers_is_lifted_with_the_person_it_was_locked_for() {
    let world = World::renamed_since().await;
    world.directory.put("2", &["asmith"], Some(true));
    assert_eq!(world.one(world.says(world.lift(), ID, "e-3")).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("asmith") && !world.is_locked("asmith@corp.example"), "a newcomer is not kept out");
    let own = world.locks.stored(&Name::new("ajones").unwrap()).unwrap();
    assert!(own.further_names(|_, _| true).iter().all(|name| name.as_str() != "asmith"), "nor is it hers from then on");
}

#[tokio::test]
async fn a_newcomers_own_restore_that_comes_late_stands_against_what_was_said_before_it() {
    let world = World::renamed_since().await;
    world.directory.put("2", &["asmith"], Some(true));
    let revoked = world.says(REVOKE, "2", "e-2");
    world.later();
    let restored = world.says(world.lift(), "2", "e-3");
    world.later();
    for signal in [world.says(world.lift(), ID, "e-4"), restored, revoked] {
        world.one(signal).await;
    }
    assert!(!world.is_locked("asmith"));
}

#[tokio::test]
async fn a_name_that_somebody_gave_counts_also_where_the_directory_has_it_as_anothers() {
    let world = World::renamed_since().await;
    world.directory.put("2", &["asmith"], Some(true));
    world.one(world.says(world.lift(), ID, "e-3")).await;
    world.one(world.alias("ajones", &["asmith"], false)).await;
    world.user("asmith");
    world.later();
    world.directory.put(ID, &["ajones", "asmith@corp.example"], Some(false));
    assert_eq!(world.one(world.says(REVOKE, ID, "e-4")).await.outcome, Outcome::Completed);
    assert!(world.is_locked("asmith") && world.alive() == 0);
}

#[tokio::test]
async fn a_newcomers_own_revocation_that_comes_late_is_no_old_news() {
    for own in [&["ajones", "asmith@corp.example"][..], &["asmith@corp.example"]] {
        let world = World::renamed_since().await;
        world.directory.put(ID, own, Some(true));
        world.directory.put("2", &["asmith"], Some(false));
        let late = world.says(REVOKE, "2", "e-2");
        world.later();
        for event in ["e-3", "e-3", "e-4"] {
            world.one(world.says(world.lift(), ID, event)).await;
        }
        assert!(!world.is_locked("asmith"));
        assert_eq!(world.one(late).await.outcome, Outcome::Completed);
        assert!(world.is_locked("asmith") && !world.is_locked(own[0]));
    }
}

#[tokio::test]
async fn what_was_said_of_a_name_by_itself_still_keeps_out_who_has_it_by_now() {
    let world = World::new();
    world.directory.put(ID, &["asmith@corp.example"], Some(false));
    world.one(world.says(REVOKE, ID, "e-1")).await;
    world.directory.put(ID, &["ajones"], Some(true));
    world.directory.put("2", &["bob", "asmith@corp.example"], Some(false));
    world.later();
    world.one(world.says(REVOKE, "2", "e-2")).await;
    world.later();
    world.one(world.says(world.lift(), ID, "e-3")).await;
    assert!(world.is_locked("bob") && world.is_locked("asmith@corp.example") && !world.is_locked("ajones"));
}

#[tokio::test]
async fn what_is_given_to_a_name_by_rule_is_lifted_with_the_person() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.directory.put(ID, &["frank", "lane@corp.example"], Some(false));
    world.one(world.by_id(REVOKE)).await;
    world.one(world.alias("lane", &["laptop-7"], false)).await;
    assert!(world.is_locked("lane") && world.is_locked("laptop-7"));
    world.clock.advance(Duration::from_secs(60));
    let everything = world.command(Action::Restore { authorities: None }, "frank", "c-2");
    assert_eq!(world.one(everything).await.outcome, Outcome::Restored);
    assert!(!world.is_locked("lane") && !world.is_locked("laptop-7"));
}

#[tokio::test]
async fn a_name_is_taken_away_by_whichever_name_it_was_given_to() {
    let mut world = World::new();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    let taken = world.one(world.alias("alice@corp.example", &["laptop-7", "alice", "laptop-9"], true)).await;
    assert_eq!(
        taken.subjects[0].error.as_deref(),
        Some(
            "laptop-7 (given to alice): no more the subject's; a lock that stands there stays until it is restored; \
             alice: by VPN_REVOKER_ALIASES, and still the subject's; \
             laptop-9: not given to the subject by any name of its own that is known here, or taken away before"
        )
    );
    world.one(world.revoke("alice@corp.example")).await;
    assert!(world.is_locked("alice") && !world.is_locked("laptop-7"));
}
