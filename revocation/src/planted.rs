//! Faults that the simulation plants, to show that it would find them. Outside tests there are none.

/// A fault in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Only the first page of a listing is read.
    SkipLaterPages,
    /// A restore of the same instant lifts the lock.
    UnlockOnTie,
    /// The lock is not written.
    DropLock,
    /// A part of a name is enough.
    MatchBySubstring,
    /// A listing proves something before the settle time is over.
    CompleteEarly,
    /// A guarded write overwrites what somebody else wrote.
    #[cfg(any(test, feature = "test-util"))]
    LoseConditionalWrite,
    /// Every attempt counts against the circuit breaker.
    CountTwice,
    /// Nothing counts against the circuit breaker.
    NeverCount,
    /// The locks are not read again inside the loop.
    IgnoreRestore,
    /// What can't be read takes its neighbours in the same message with it.
    SpoilNeighbours,
    /// A message is acknowledged although something is left to do.
    AcknowledgeUnfinished,
    /// Nobody is cut off anywhere while one target can't be asked.
    WaitForEveryTarget,
    /// A target that can't be asked is forgotten.
    ForgetSilentTarget,
    /// Where the locks can't be read again, everything is asked again at once.
    AskWithoutPause,
    /// What an environment whose clock is ahead counted in the next minute is not seen.
    TrustOwnMinute,
    /// What a subject was called before is its own for good.
    KeepFormerNames,
    /// A lock that is lifted is lifted on the subject's own name only.
    ForgetFurtherNames,
    /// Names that are given to somebody who is locked wait for the next revocation.
    GiveWithoutLocking,
    /// Whoever was called so before is meant, whoever is called so now.
    MeanWhoeverWas,
    /// A sweep does not heed what the directory says of who is off.
    IgnoreDirectory,
    /// Shadow mode locks and ends as ever.
    ActInShadow,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault on this thread, or takes it away.
#[cfg(test)]
pub(crate) fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether a fault is planted.
#[cfg(test)]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether a fault is planted.
#[cfg(not(test))]
#[inline]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
