//! Statements of two authorities about one person, in every order, late, repeated and swapped: what holds in the end is
//! the newest of each, and what is connected follows from that.

use proptest::prelude::*;

use super::*;
use crate::lock::HoldState;

/// What is said, by whom, and as of when; in steps, so that ties come up.
#[derive(Debug, Clone, Copy)]
struct Said {
    what: What,
    by: u8,
    step: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Revoke,
    /// A revocation that lapses after some steps, long before the end.
    RevokeForAWhile,
    Restore,
    Disconnect,
}

const STEP: Duration = Duration::from_secs(10);

/// All statements are of the first steps; everything is delivered after them.
const STEPS: u64 = 4;

impl Said {
    fn signal(self, number: usize, start: Timestamp, world: &World) -> Signal {
        let authority = Authority::named(if self.by == 0 { "okta:acme" } else { "siem" });
        let as_of = start.plus(STEP * u32::try_from(self.step).unwrap());
        let action = match self.what {
            What::Revoke => Action::Revoke { expires_at: None },
            What::RevokeForAWhile => Action::Revoke { expires_at: Some(start.plus(STEP * 8)) },
            What::Restore => Action::Restore { authorities: Some(vec![authority.clone()]) },
            What::Disconnect => Action::Disconnect,
        };
        Signal { authority, as_of, ..world.signal(action, "alice", &format!("s-{number}")) }
    }
}

/// What an authority said last: on a tie the revocation.
fn last(said: &[Said], by: u8) -> Option<HoldState> {
    let decides = said.iter().filter(|said| said.by == by && said.what != What::Disconnect);
    let newest = decides.max_by_key(|said| (said.step, said.what != What::Restore))?;
    Some(if newest.what == What::Restore { HoldState::Released } else { HoldState::Locked })
}

/// Whether somebody certainly locks for good: the last word of an authority is a revocation that does not lapse.
fn is_locked_for_good(said: &[Said]) -> bool {
    (0..2).any(|by| {
        let restored =
            said.iter().filter(|s| s.by == by && s.what == What::Restore).map(|s| s.step + 1).max().unwrap_or(0);
        said.iter().any(|s| s.by == by && s.what == What::Revoke && s.step + 1 >= restored)
    })
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    shorter.iter().flat_map(|order| (0..n).map(move |at| [&order[..at], &[n - 1], &order[at..]].concat())).collect()
}

/// Delivers in this order, with repeats and a sweep in between, and checks what it came to.
async fn play(said: &[Said], order: &[usize], repeat: usize, sweep_after: usize) {
    let world = World::new();
    let start = world.now();
    world.clock.advance(STEP * u32::try_from(STEPS).unwrap());
    world.user("alice");
    let bystander = world.user("alice2");
    for (turn, &which) in order.iter().enumerate() {
        world.one(said[which].signal(which, start, &world)).await;
        if turn == sweep_after {
            world.sweep().await;
        }
        let again = order[repeat % order.len()];
        if order[..=turn].contains(&again) {
            world.one(said[again].signal(again, start, &world)).await;
        }
    }
    // Every hold that lapses has lapsed; then a client comes that is younger than every statement.
    world.clock.advance(STEP * 60);
    let young = world.user("alice");
    for (which, said) in said.iter().enumerate() {
        world.one(said.signal(which, start, &world)).await;
    }
    world.sweep().await;
    let lock = world.locks.stored(&Name::new("alice").unwrap());
    for (by, authority) in ["okta:acme", "siem"].into_iter().enumerate() {
        let found = lock.as_ref().and_then(|lock| lock.hold_of(&Authority::named(authority)).map(|hold| hold.state));
        assert_eq!(found, last(said, u8::try_from(by).unwrap()), "{authority} in {order:?} of {said:?}");
    }
    let locked = world.is_locked("alice");
    assert!(locked || !is_locked_for_good(said), "{order:?} of {said:?}");
    let alive = world.vpn.alive(None);
    assert!(alive.contains(&bystander));
    assert_eq!(alive.contains(&young), !locked, "{order:?} of {said:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn in_every_order_the_newest_word_of_each_authority_holds(
        said in prop::collection::vec(
            (prop::sample::select(vec![What::Revoke, What::RevokeForAWhile, What::Restore, What::Disconnect]), 0..2_u8, 0..STEPS)
                .prop_map(|(what, by, step)| Said { what, by, step }),
            1..5,
        ),
        repeat in 0..4_usize,
        sweep_after in 0..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for order in permutations(said.len()) {
            runtime.block_on(play(&said, &order, repeat, sweep_after));
        }
    }
}
