//! What a directory says at a sweep of those who are connected.

use super::*;

const ID: &str = "0a1b2c3d-0000-4000-8000-00000000a11c";

fn asking() -> World {
    let mut world = World::new();
    world.policy.sweep_directory = 10;
    world
}

#[tokio::test]
async fn a_connected_user_whom_the_directory_reports_disabled_is_locked_and_ended() {
    let world = asking();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.directory.put("2", &["bob"], Some(true));
    world.directory.put("3", &["carol"], None);
    world.user("Alice@example.com");
    let others = [world.user("bob"), world.user("carol"), world.user("a-machine")];
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, receipt.subjects.len()), (Outcome::Completed, 1));
    assert_eq!(world.vpn.alive(None), others);
    assert!(world.is_locked("alice") && world.is_locked("alice@example.com"));
    assert_eq!(world.entries("alice")[0].text("authority"), Some("directory"));
}

#[tokio::test]
async fn who_is_gone_from_the_directory_is_locked_and_whom_it_never_knew_is_not() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(true));
    world.people().sync(&*world.clock, world.run().stop_at).await;
    world.directory.delete(ID);
    world.user("alice");
    let stranger = world.user("somebody-of-another-directory");
    assert_eq!(world.sweep().await.outcome, Outcome::Completed);
    assert_eq!(world.vpn.alive(None), [stranger]);
}

#[tokio::test]
async fn every_change_counts_however_many_there_are_in_a_day() {
    let world = asking();
    for hour in 0..3 {
        world.directory.put(ID, &["alice"], Some(false));
        world.user("alice");
        world.sweep().await;
        assert!(world.is_locked("alice") && world.alive() == 0, "disabled, hour {hour}");
        world.clock.advance(Duration::from_secs(1800));
        world.directory.put(ID, &["alice"], Some(true));
        world.sweep().await;
        assert!(!world.is_locked("alice"), "enabled, hour {hour}");
        world.clock.advance(Duration::from_secs(1800));
    }
}

#[tokio::test]
async fn who_is_enabled_again_is_let_in_and_nobody_elses_hold_is_lifted() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.directory.put(ID, &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.one(Signal { authority: Authority::named("siem"), id: SignalId::new("s-1"), ..world.revoke("alice") }).await;
    world.sweep().await;
    let lock = world.locks.stored(&Name::new("alice").unwrap()).unwrap();
    assert_eq!(lock.held_by(world.now()), [Authority::named("siem")]);
}

#[tokio::test]
async fn who_was_deleted_and_created_again_is_let_in() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.directory.delete(ID);
    world.directory.put("another-id", &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert!(!world.is_locked("alice"));
}

#[tokio::test]
async fn a_newcomer_with_a_deleted_persons_user_name_is_let_in_by_their_own_names_and_opens_no_other() {
    let world = asking();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.user("alice");
    world.sweep().await;
    world.directory.delete(ID);
    world.directory.put("another-id", &["alice", "alice@example.com"], Some(true));
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(60));
        let stolen = world.on(1, None, Some("laptop-7"));
        world.sweep().await;
        assert!(!world.is_locked("alice") && !world.is_locked("alice@example.com"));
        assert!(world.is_locked("laptop-7") && !world.vpn.alive(None).contains(&stolen));
    }
    assert_eq!(world.kinds("alice").iter().filter(|kind| *kind == "restored").count(), 1);
}

#[tokio::test]
async fn a_deleted_persons_address_is_not_opened_with_a_newcomers_user_name() {
    let world = asking();
    world.directory.put(ID, &["alice", "a.old@example.com"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.directory.delete(ID);
    world.directory.put("another-id", &["alice", "a.new@example.com"], Some(true));
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!((world.is_locked("alice"), world.is_locked("a.old@example.com")), (false, true));
    }
}

#[tokio::test]
async fn a_newcomer_who_has_somebodys_address_opens_nothing_that_would_follow_from_it_and_is_anothers() {
    let mut world = asking();
    world.policy.aliases = Aliases::parse("corp.example: {subject} {local}").unwrap();
    world.directory.put(ID, &["ajones", "asmith@corp.example"], Some(false));
    world.directory.put("3", &["asmith"], Some(false));
    for user in ["ajones", "asmith"] {
        world.user(user);
    }
    world.sweep().await;
    assert!(world.is_locked("asmith@corp.example") && world.is_locked("asmith"));
    world.directory.put("2", &["asmith@corp.example"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!((world.is_locked("asmith@corp.example"), world.is_locked("asmith")), (false, true));
}

#[tokio::test]
async fn whoever_is_enabled_opens_no_address_that_is_somebody_elses_user_name() {
    let world = asking();
    world.directory.put(ID, &["alice", "sales@example.com"], Some(false));
    world.directory.put("2", &["sales@example.com"], Some(false));
    for user in ["alice", "sales@example.com"] {
        world.user(user);
    }
    world.sweep().await;
    assert!(world.is_locked("alice") && world.is_locked("sales@example.com"));
    world.directory.put(ID, &["alice", "sales@example.com"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert!(!world.is_locked("alice") && world.is_locked("sales@example.com"));
}

#[tokio::test]
async fn who_is_enabled_again_is_let_in_by_one_word_for_all_names() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.one(world.alias("alice", &["laptop-7"], false)).await;
    world.user("alice");
    world.sweep().await;
    world.directory.put(ID, &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert!(!world.is_locked("alice") && !world.is_locked("laptop-7"));
    assert!(!world.audit.chains().contains_key("laptop-7"), "it is not one of its own");
}

#[tokio::test]
async fn a_former_address_that_is_somebody_elses_by_now_stays_as_they_are() {
    for kind in ["user name", "address"] {
        let world = asking();
        world.directory.put(ID, &["alice", "sales@example.com"], Some(false));
        world.user("alice");
        world.sweep().await;
        assert!(world.is_locked("sales@example.com"));
        world.directory.put(ID, &["alicia"], Some(true));
        let others: &[&str] = if kind == "user name" { &["sales@example.com"] } else { &["bob", "sales@example.com"] };
        world.directory.put("2", others, Some(false));
        world.directory.put("another-id", &["alice"], Some(true));
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(60));
            world.sweep().await;
            let locked = (world.is_locked("alice"), world.is_locked("sales@example.com"));
            assert_eq!(locked, (false, true), "somebody's {kind}");
        }
    }
}

#[tokio::test]
async fn who_was_renamed_and_is_enabled_is_let_in_by_what_else_was_theirs() {
    for is_on in [true, false] {
        let world = asking();
        world.directory.put(ID, &["alice"], Some(false));
        world.one(world.alias("alice", &["laptop-7"], false)).await;
        world.user("alice");
        world.sweep().await;
        world.directory.put(ID, &["alicia"], Some(false));
        world.directory.put("another-id", &["alice"], Some(is_on));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!((world.is_locked("alice"), world.is_locked("laptop-7")), (!is_on, true), "one is the newcomer's");
        world.directory.put(ID, &["alicia"], Some(true));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!((world.is_locked("alice"), world.is_locked("laptop-7")), (!is_on, false));
        let entries = world.audit.chains().values().map(Vec::len).sum::<usize>();
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!(world.audit.chains().values().map(Vec::len).sum::<usize>(), entries);
    }
}

#[tokio::test]
async fn a_newcomer_who_has_a_name_of_somebody_who_is_gone_is_let_in_by_it() {
    for is_on in [true, false] {
        let world = asking();
        world.directory.put(ID, &["alice", "a@example.com"], Some(false));
        world.user("alice");
        world.sweep().await;
        assert!(world.is_locked("alice") && world.is_locked("a@example.com"));
        world.directory.delete(ID);
        world.directory.put("another-id", &["a@example.com"], Some(is_on));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!((world.is_locked("alice"), world.is_locked("a@example.com")), (true, !is_on));
        // An address may be of several people: that does not let anybody in.
        world.directory.put("another-id", &["other", "a@example.com"], Some(true));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!(world.is_locked("a@example.com"), !is_on);
    }
}

#[tokio::test]
async fn a_name_that_is_new_in_a_persons_entry_is_locked_as_the_others_were() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.sweep().await;
    // Nothing was said of it, as nothing had been said of `alice` at the sweep before.
    world.directory.put(ID, &["alice", "a@example.com"], Some(false));
    world.user("a@example.com");
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert!(world.is_locked("a@example.com"));
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn a_newcomer_who_has_the_user_name_of_somebody_renamed_is_let_in_by_it() {
    for is_on in [true, false] {
        let world = asking();
        world.directory.put(ID, &["erin"], Some(false));
        world.user("erin");
        world.sweep().await;
        world.directory.put(ID, &["erin-before"], Some(false));
        world.directory.put("another-id", &["erin"], Some(is_on));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!(world.is_locked("erin"), !is_on);
        let entries = world.entries("erin");
        let reason = entries.last().and_then(|entry| entry.text("reason")).unwrap();
        assert_eq!(reason.contains("are enabled"), is_on, "{reason}");
    }
}

impl World {
    async fn let_in(&self, name: &str, id: &str) {
        let restore = self.command(Action::Restore { authorities: None }, name, id);
        assert_eq!(self.one(restore).await.outcome, Outcome::Restored);
    }
}

#[tokio::test]
async fn who_was_let_in_by_a_command_stays_in_whoever_had_locked() {
    for by_event in [false, true] {
        let world = asking();
        world.directory.put(ID, &["alice"], Some(false));
        if by_event {
            world.one(world.revoke("alice")).await;
        } else {
            world.user("alice");
            world.sweep().await;
        }
        world.clock.advance(Duration::from_secs(60));
        world.let_in("alice", "c-1").await;
        let back = world.user("alice");
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(86_400));
            world.sweep().await;
        }
        assert_eq!(world.vpn.alive(None), [back], "{by_event}");
    }
}

#[tokio::test]
async fn who_was_let_in_by_several_commands_or_by_the_producer_as_well_stays_in() {
    for again in 0..3 {
        let world = asking();
        world.directory.put(ID, &["alice"], Some(false));
        world.one(world.revoke("alice")).await;
        world.clock.advance(Duration::from_secs(60));
        world.let_in("alice", "c-1").await;
        world.clock.advance(Duration::from_secs(60));
        match again {
            0 => world.let_in("alice", "c-2").await,
            1 => {
                let revoke = Action::Revoke { expires_at: None };
                world.one(world.command(revoke, "alice", "c-2")).await;
                world.clock.advance(Duration::from_secs(60));
                world.let_in("alice", "c-3").await;
            }
            _ => drop(world.one(world.restore("alice")).await),
        }
        let back = world.user("alice");
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!(world.vpn.alive(None), [back], "{again}");
    }
}

#[tokio::test]
async fn a_commands_lock_that_lapsed_let_nobody_in_against_the_directory() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(true));
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.one(world.restore("alice")).await;
    let until = Some(world.now().plus(Duration::from_secs(600)));
    world.one(world.command(Action::Revoke { expires_at: until }, "alice", "c-1")).await;
    world.directory.put(ID, &["alice"], Some(false));
    world.clock.advance(Duration::from_secs(3_600));
    world.user("alice");
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (0, true));
}

#[tokio::test]
async fn a_command_that_was_taken_back_overruled_nobody() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(true));
    let revoke = Action::Revoke { expires_at: None };
    assert_eq!(world.one(world.command(revoke, "alice", "c-0")).await.outcome, Outcome::Completed);
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice", "c-1").await;
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (0, true), "no event came, and the directory says it");
}

#[tokio::test]
async fn a_commands_word_stands_until_the_directory_says_the_same() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice", "c-1").await;
    world.user("alice");
    world.directory.put(ID, &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!(world.alive(), 1);
    world.directory.put(ID, &["alice"], Some(false));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!(world.alive(), 0, "she was disabled anew");
}

#[tokio::test]
async fn what_a_clock_ahead_said_is_not_newer_for_ever_than_what_the_directory_says_now() {
    for is_on in [false, true] {
        let world = asking();
        let directory = Authority::producer("directory", None);
        let word = |action, number: i32, as_of| Signal {
            id: SignalId::new(&format!("directory:{ID}:{number}")),
            authority: directory.clone(),
            as_of,
            ..world.signal(action, "alice", "another sweep's")
        };
        let lift = Action::Restore { authorities: Some(vec![directory.clone()]) };
        let said = |is_on| if is_on { lift.clone() } else { Action::Revoke { expires_at: None } };
        world.one(word(said(is_on), 1, world.now())).await;
        world.clock.advance(Duration::from_secs(60));
        // By an environment whose clock is ahead; and then it changes.
        world.one(word(said(!is_on), 2, world.now().plus(Duration::from_secs(45)))).await;
        world.directory.put(ID, &["alice"], Some(is_on));
        world.user("alice");
        world.sweep().await;
        assert_eq!(world.is_locked("alice"), is_on, "the other word is newer");
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!(world.is_locked("alice"), !is_on);
    }
}

#[tokio::test]
async fn where_a_commands_lock_lapsed_the_directorys_word_counts() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    let until = Some(world.now().plus(Duration::from_secs(60)));
    world.one(world.command(Action::Revoke { expires_at: until }, "alice", "c-1")).await;
    world.clock.advance(Duration::from_secs(120));
    world.user("alice");
    world.sweep().await;
    assert!(world.is_locked("alice") && world.alive() == 0);
}

#[tokio::test]
async fn a_commands_word_of_the_same_instant_as_the_directorys_does_not_outlast_it() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.directory.put(ID, &["alice"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    let lock = world.locks.stored(&Name::new("alice").unwrap()).unwrap();
    let as_of = lock.hold_of(&Authority::producer("directory", None)).unwrap().as_of;
    let restore = world.command(Action::Restore { authorities: None }, "alice", "c-1");
    world.one(Signal { as_of, ..restore }).await;
    world.user("alice");
    world.directory.put(ID, &["alice"], Some(false));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn nobody_is_let_in_by_what_the_directory_says_of_who_had_the_name_before() {
    for turn in 0..8 {
        let world = asking();
        for (id, name) in [(ID, "alice"), ("2", "bob")] {
            world.directory.put(id, &[name], Some(false));
            world.user(name);
        }
        world.sweep().await;
        let (bob, laptop) = (Name::new("bob").unwrap(), Name::new("laptop-7").unwrap());
        // What stands on a name that bob had: said of alice since, and still by the word about bob.
        let of_bob = world.locks.stored(&bob).unwrap();
        let directory = Authority::producer("directory", None);
        let hold = of_bob.hold_of(&directory).unwrap().clone();
        let hold = crate::lock::Hold { subject: "alice".to_owned(), ..hold };
        world.locks.put(Lock { name: laptop, version: 1, holds: [(directory, hold)].into() });
        world.directory.put("2", &["bob"], Some(true));
        world.clock.advance(Duration::from_secs(60 + turn));
        world.sweep().await;
        assert!(world.is_locked("alice"), "turn {turn}");
    }
}

#[tokio::test]
async fn one_question_without_an_answer_takes_no_others_answer_away() {
    let world = asking();
    for (id, name) in [("1", "alice"), ("2", "bob"), ("3", "carol")] {
        world.directory.put(id, &[name], Some(false));
        world.user(name);
    }
    world.calls.plan("directory.holder alice", 1, Mishap::Hangs);
    world.calls.plan("directory.holder bob", 1, Mishap::Fails);
    let (revoker, run, order) = (world.revoker(), world.run(), world.order());
    let sweeping = tokio::spawn(async move { revoker.sweep(&order, &run).await });
    until(|| world.calls.count("directory.find") != 0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(Duration::from_secs(15));
    sweeping.await.unwrap();
    assert!(world.is_locked("carol") && !world.is_locked("alice") && !world.is_locked("bob"));
    world.sweep().await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test]
async fn it_is_asked_about_so_many_and_each_has_its_turn() {
    let mut world = asking();
    world.policy.sweep_directory = 2;
    for n in 0..5 {
        world.directory.put(&format!("id-{n}"), &[&format!("user-{n}")], Some(true));
        world.user(&format!("user-{n}"));
    }
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let before = world.calls.made().len();
        world.sweep().await;
        let made = world.calls.made();
        let now: Vec<&String> = made[before..].iter().filter(|call| call.starts_with("directory.holder")).collect();
        assert!(now.len() <= 2, "{now:?}");
        asked.extend(now.into_iter().cloned());
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(asked.len(), 5);
}

#[tokio::test]
async fn it_is_not_asked_unless_that_is_switched_on_and_its_absence_harms_nobody() {
    let mut world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    let alice = world.user("alice");
    world.policy.sweep_directory = 0;
    assert!(world.revoker().directory_to_ask().is_none());
    world.sweep().await;
    assert_eq!((world.calls.count("directory."), world.vpn.alive(None)), (0, vec![alice.clone()]));
    world.policy.sweep_directory = 10;
    let without = Revoker { people: None, ..world.revoker() };
    assert!(without.directory_to_ask().is_none() && world.revoker().directory_to_ask().is_some());
    world.calls.plan("directory.holder", 1, Mishap::Fails);
    let receipt = world.sweep().await;
    assert_eq!((receipt.outcome, world.vpn.alive(None)), (Outcome::Incomplete, vec![alice]), "and nobody is locked");
    let why = receipt.subjects[0].error.as_deref().unwrap();
    assert!(
        why.starts_with("the directory could not be asked about everybody: ") && why.contains("next sweep"),
        "{why}"
    );
}

#[tokio::test]
async fn who_is_enabled_again_is_let_in_by_a_name_before_which_an_earlier_sweep_was_cut_off() {
    let world = asking();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.directory.put(ID, &["alice", "alice@example.com"], Some(true));
    world.clock.advance(Duration::from_secs(60));
    world.calls.plan("locks.write alice@example.com", 1, Mishap::Fails);
    world.sweep().await;
    assert!(!world.is_locked("alice") && world.is_locked("alice@example.com"));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert!(!world.is_locked("alice@example.com"));
}

#[tokio::test]
async fn a_commands_word_about_another_of_the_names_stands_until_the_directory_says_the_same_as_well() {
    let world = asking();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.user("alice@example.com");
    world.sweep().await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice@example.com", "c-1").await;
    world.user("alice@example.com");
    for enabled in [true, false] {
        assert_eq!(world.alive(), 1);
        world.directory.put(ID, &["alice", "alice@example.com"], Some(enabled));
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(60));
            world.sweep().await;
        }
    }
    assert_eq!((world.alive(), world.is_locked("alice@example.com")), (0, true), "she was disabled anew");
}

#[tokio::test]
async fn that_the_directory_says_the_same_counts_for_every_name_of_the_person() {
    let world = asking();
    let names = ["alice", "a.one@example.com", "a.two@example.com"];
    for (subject, id) in [(names[1], "okta:1"), (names[2], "okta:2")] {
        world.one(Signal { id: SignalId::new(id), ..world.revoke(subject) }).await;
    }
    world.clock.advance(Duration::from_secs(60));
    for (subject, id) in [(names[1], "c-1"), (names[2], "c-2")] {
        world.let_in(subject, id).await;
    }
    world.directory.put(ID, &names, Some(true));
    let alice = world.user(names[1]);
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    world.vpn.terminate(&world.endpoints[0], &crate::ports::Which::Id(alice)).await.unwrap();
    world.directory.put(ID, &names, Some(false));
    world.user(names[2]);
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked(names[2])), (0, true));
}

#[tokio::test]
async fn that_the_directory_says_the_same_of_who_is_connected_under_no_name_counts_for_a_name_that_a_command_let_in() {
    let world = asking();
    let names = ["alice", "alice@example.com"];
    world.directory.put(ID, &names, Some(false));
    world.user("alice");
    world.sweep().await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice@example.com", "c-1").await;
    for enabled in [true, false] {
        world.directory.put(ID, &names, Some(enabled));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert!(!world.is_locked("alice"), "lifted, and nobody is connected");
    }
    world.user("alice@example.com");
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (0, true), "she was disabled anew");
}

#[tokio::test]
async fn whom_a_command_let_in_stays_in_under_a_new_name_whichever_producer_had_locked_that_person() {
    let world = asking();
    world.directory.put(ID, &["alice"], Some(false));
    world.one(world.by_id(super::super::identity::REVOKE)).await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice", "c-1").await;
    world.directory.put(ID, &["alice", "alicia@example.com"], Some(false));
    world.user("alicia@example.com");
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (1, false));
}

#[tokio::test]
async fn whoever_has_a_user_name_that_a_command_let_in_for_another_is_locked_by_the_directorys_word() {
    let world = asking();
    world.one(world.revoke("alice")).await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice", "c-1").await;
    world.directory.put("2", &["alice", "alice.b@example.com"], Some(false));
    world.user("alice.b@example.com");
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (0, true));
}

#[tokio::test]
async fn who_was_let_in_by_a_command_stays_in_under_a_name_that_it_did_not_know() {
    let world = asking();
    world.directory.put(ID, &["alice", "alice@example.com"], Some(false));
    world.user("alice");
    world.sweep().await;
    world.clock.advance(Duration::from_secs(60));
    world.let_in("alice", "c-1").await;
    let names = ["alice", "alice@example.com", "alicia@example.com"];
    world.directory.put(ID, &names, Some(false));
    world.user("alicia@example.com");
    for enabled in [false, true] {
        world.directory.put(ID, &names, Some(enabled));
        world.clock.advance(Duration::from_secs(60));
        world.sweep().await;
        assert_eq!((world.alive(), world.is_locked("alice")), (1, false));
    }
    world.directory.put(ID, &names, Some(false));
    world.clock.advance(Duration::from_secs(60));
    world.sweep().await;
    assert_eq!((world.alive(), world.is_locked("alice")), (0, true), "the directory had said the same by then");
}
