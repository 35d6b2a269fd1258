//! EC2's request throttling: one token bucket per action.
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>

use std::collections::HashMap;

use crate::actions::Action;

/// The buckets of one account in one Region.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    levels: HashMap<Action, Level>,
}

/// Thousandths of a token, so that a millisecond refills a whole number of them.
#[derive(Debug)]
struct Level {
    millitokens: i64,
    at: i64,
}

impl Buckets {
    /// Takes one token; `false` when there is none.
    pub(crate) fn take(&mut self, action: Action, now: i64) -> bool {
        let (size, per_second) = limits(action);
        let full = size * 1_000;
        let level = self.levels.entry(action).or_insert(Level { millitokens: full, at: now });
        // A clock that was set back refills nothing.
        let elapsed = now.saturating_sub(level.at).max(0);
        level.millitokens = level.millitokens.saturating_add(elapsed.saturating_mul(per_second)).min(full);
        level.at = now;
        if level.millitokens < 1_000 {
            return false;
        }
        level.millitokens -= 1_000;
        true
    }
}

/// Size and refill per second: `Describe*` is "non-mutating", terminate and modify are "mutating".
fn limits(action: Action) -> (i64, i64) {
    match action {
        Action::DescribeEndpoints | Action::DescribeConnections => (100, 20),
        Action::Terminate | Action::ModifyEndpoint => (50, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(buckets: &mut Buckets, action: Action, now: i64) -> usize {
        (0..1_000).take_while(|_| buckets.take(action, now)).count()
    }

    #[test]
    fn fifty_terminations_pass_at_once_and_five_a_second_after_that() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, Action::Terminate, 0), 50);
        assert_eq!(taken(&mut buckets, Action::Terminate, 199), 0);
        assert_eq!(taken(&mut buckets, Action::Terminate, 200), 1);
        assert_eq!(taken(&mut buckets, Action::Terminate, 1_200), 5);
        assert_eq!(taken(&mut buckets, Action::Terminate, 1_000_000), 50);
    }

    #[test]
    fn each_action_has_its_own_bucket() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, Action::Terminate, 0), 50);
        assert_eq!(taken(&mut buckets, Action::DescribeConnections, 0), 100);
        assert_eq!(taken(&mut buckets, Action::DescribeEndpoints, 0), 100);
        assert_eq!(taken(&mut buckets, Action::ModifyEndpoint, 0), 50);
        assert_eq!(taken(&mut buckets, Action::ModifyEndpoint, 1_000), 5);
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let mut buckets = Buckets::default();
        assert_eq!(taken(&mut buckets, Action::Terminate, 10_000), 50);
        assert_eq!(taken(&mut buckets, Action::Terminate, 0), 0);
    }
}
