//! The circuit breaker's counts in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Calls, Mishap, lock};
use crate::breaker::{Counted, Minute, Standing};
use crate::ports::{Breaker, StoreError};
use crate::signal::Authority;
use crate::time::Timestamp;

type Counts = BTreeMap<(u64, Minute), BTreeSet<Counted>>;

#[derive(Debug, Default)]
struct Kept {
    round: u64,
    opened_at: Option<Timestamp>,
    counts: Counts,
}

/// Counts in memory.
#[derive(Debug, Clone)]
pub struct MemoryBreaker {
    kept: Arc<Mutex<BTreeMap<Authority, Kept>>>,
    calls: Calls,
}

impl MemoryBreaker {
    /// Nothing counted.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self { kept: Arc::default(), calls: calls.clone() }
    }

    /// Since when an authority's breaker is open.
    #[must_use]
    pub fn opened_at(&self, authority: &Authority) -> Option<Timestamp> {
        lock(&self.kept).get(authority).and_then(|kept| kept.opened_at)
    }

    async fn change<T>(
        &self,
        call: &str,
        authority: &Authority,
        change: impl FnOnce(&mut Kept) -> T,
    ) -> Result<T, StoreError> {
        let mishap = self.calls.make(format!("breaker.{call} {authority}")).await;
        if mishap.is_some_and(|mishap| mishap != Mishap::AnswerLost) {
            return Err(StoreError::away("breaker", "planned to fail"));
        }
        let changed = change(lock(&self.kept).entry(authority.clone()).or_default());
        match mishap {
            None => Ok(changed),
            Some(_) => Err(StoreError::away("breaker", "the answer was lost, as planned")),
        }
    }
}

#[async_trait]
impl Breaker for MemoryBreaker {
    async fn standing(&self, authority: &Authority, minutes: &[Minute]) -> Result<Standing, StoreError> {
        if self.calls.make(format!("breaker.standing {authority}")).await.is_some() {
            return Err(StoreError::away("breaker", "planned to fail"));
        }
        let all = lock(&self.kept);
        let Some(Kept { round, opened_at, counts }) = all.get(authority) else { return Ok(Standing::default()) };
        let counted = minutes.iter().filter_map(|minute| counts.get(&(*round, *minute))).flatten().cloned().collect();
        Ok(Standing { round: *round, opened_at: *opened_at, counted })
    }

    async fn count(
        &self,
        authority: &Authority,
        round: u64,
        minute: Minute,
        holds: &[Counted],
    ) -> Result<BTreeSet<Counted>, StoreError> {
        self.change("count", authority, |kept| {
            let counted = kept.counts.entry((round, minute)).or_default();
            let until_then = counted.clone();
            counted.extend(holds.iter().cloned());
            until_then
        })
        .await
    }

    async fn open(&self, authority: &Authority, round: u64, at: Timestamp) -> Result<(), StoreError> {
        self.change("open", authority, |kept| {
            if kept.round == round {
                kept.opened_at.get_or_insert(at);
            }
        })
        .await
    }

    async fn close(&self, authority: &Authority) -> Result<(), StoreError> {
        self.change("close", authority, |kept| {
            kept.round += 1;
            kept.opened_at = None;
        })
        .await
    }
}
