//! Whether chains are whole.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::{Entry, Head, hash_of};

/// One thing that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Finding {
    /// An attribute was changed after the entry was written.
    #[error("entry {seq} of {chain} was changed: its attributes give another hash than it carries")]
    Changed {
        /// The chain.
        chain: String,
        /// The entry.
        seq: u64,
    },
    /// Entries are not there, though later ones are.
    #[error("{} of {chain} should stand here, before a later one", entries(*from, *to))]
    Missing {
        /// The chain.
        chain: String,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// A number that had its turn comes again.
    #[error("entry {seq} of {chain} comes after entry {last}: it is out of order, or the chain was forked there")]
    OutOfOrder {
        /// The chain.
        chain: String,
        /// The number that comes again; zero where an entry has none.
        seq: u64,
        /// The number before it.
        last: u64,
    },
    /// An entry does not follow from the one before it.
    #[error("entry {seq} of {chain} does not follow from the entry before it: one of the two was replaced")]
    Unlinked {
        /// The chain.
        chain: String,
        /// The later entry.
        seq: u64,
    },
    /// An entry of another chain stands in this one.
    #[error("entry {seq} of {chain} carries the subject `{found}`")]
    Foreign {
        /// The chain.
        chain: String,
        /// The entry.
        seq: u64,
        /// The subject it carries.
        found: String,
    },
    /// The head knows of entries that are not there, or of another last entry.
    #[error("{chain} ends with entry {last}, but its head stands at entry {head}: entries were cut off or added")]
    CutOff {
        /// The chain.
        chain: String,
        /// The last entry that is there; zero where there is none.
        last: u64,
        /// The last entry by the head.
        head: u64,
    },
    /// The last entry is not the one that the head names.
    #[error("entry {seq} of {chain} is not the one that the chain's head names: it was replaced")]
    Replaced {
        /// The chain.
        chain: String,
        /// The entry.
        seq: u64,
    },
    /// Entries stand beyond the head.
    #[error("entry {seq} of {chain} stands beyond the chain's head: something else than the functions added it")]
    Added {
        /// The chain.
        chain: String,
        /// The first of them.
        seq: u64,
    },
    /// The head is none that the functions write.
    #[error("the head of {chain} was changed: it is none that the functions write")]
    BadHead {
        /// The chain.
        chain: String,
    },
    /// A chain has entries and no head.
    #[error("{chain} ends with entry {last}, and its head is gone: whether entries were cut off can't be told")]
    Headless {
        /// The chain.
        chain: String,
        /// The last entry that is there.
        last: u64,
    },
    /// An earlier export has another entry in this place.
    #[error("entry {seq} of {chain} is another one than in the earlier export: the chain was rewritten since")]
    Rewritten {
        /// The chain.
        chain: String,
        /// The entry.
        seq: u64,
    },
    /// An earlier export has an entry that is gone, head or no head.
    #[error("entry {seq} of {chain} stands in the earlier export and is gone")]
    Removed {
        /// The chain.
        chain: String,
        /// The last entry of the earlier export.
        seq: u64,
    },
}

/// The subject of a sentence.
fn entries(from: u64, to: u64) -> String {
    if from == to { format!("entry {from}") } else { format!("entries {from} to {to}") }
}

impl Finding {
    /// A stable word for what is wrong.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::Missing { .. } => "missing",
            Self::OutOfOrder { .. } => "out-of-order",
            Self::Unlinked { .. } => "unlinked",
            Self::Foreign { .. } => "foreign",
            Self::CutOff { .. } => "cut-off",
            Self::Replaced { .. } => "replaced",
            Self::Added { .. } => "added",
            Self::BadHead { .. } => "bad-head",
            Self::Headless { .. } => "headless",
            Self::Rewritten { .. } => "rewritten",
            Self::Removed { .. } => "removed",
        }
    }

    /// The chain that it is wrong with.
    #[must_use]
    pub fn chain(&self) -> &str {
        match self {
            Self::Changed { chain, .. }
            | Self::Missing { chain, .. }
            | Self::OutOfOrder { chain, .. }
            | Self::Unlinked { chain, .. }
            | Self::Foreign { chain, .. }
            | Self::CutOff { chain, .. }
            | Self::Replaced { chain, .. }
            | Self::Added { chain, .. }
            | Self::BadHead { chain }
            | Self::Headless { chain, .. }
            | Self::Rewritten { chain, .. }
            | Self::Removed { chain, .. } => chain,
        }
    }

    /// The entry at which it shows; zero for what is wrong with a head.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Changed { seq, .. }
            | Self::OutOfOrder { seq, .. }
            | Self::Unlinked { seq, .. }
            | Self::Foreign { seq, .. }
            | Self::Replaced { seq, .. }
            | Self::Added { seq, .. }
            | Self::Rewritten { seq, .. }
            | Self::Removed { seq, .. } => *seq,
            Self::Missing { from, .. } => *from,
            Self::BadHead { .. } => 0,
            Self::CutOff { last, .. } | Self::Headless { last, .. } => last.saturating_add(1),
        }
    }
}

/// Where the walk along one chain stands.
#[derive(Debug, Clone)]
struct Link {
    last: Head,
    /// Whether the head was seen.
    has_head: bool,
}

impl Link {
    fn genesis() -> Self {
        Self { last: Head::genesis(), has_head: false }
    }

    /// Goes on to the next entry; in a selection, others may be left out before it.
    fn follow(&mut self, chain: &str, entry: &Entry, is_selection: bool) -> Vec<Finding> {
        let chain = || chain.to_owned();
        let mut findings = Vec::new();
        let seq = entry.seq().unwrap_or_default();
        let expected = self.last.seq.saturating_add(1);
        let is_apart = is_selection && seq != expected && seq != self.last.seq && seq != 0;
        if is_apart {
            // It can only be judged by itself.
        } else if seq < expected {
            findings.push(Finding::OutOfOrder { chain: chain(), seq, last: self.last.seq });
        } else if seq > expected {
            findings.push(Finding::Missing { chain: chain(), from: expected, to: seq - 1 });
        } else if entry.text("prev_hash") != Some(self.last.hash.as_str()) {
            findings.push(Finding::Unlinked { chain: chain(), seq });
        }
        match hash_of(entry.attributes()) {
            Ok(hash) if entry.text("hash") == Some(hash.as_str()) && entry.attributes().values().all(is_exact) => {}
            _ => findings.push(Finding::Changed { chain: chain(), seq }),
        }
        // One that comes again must not make all that follow it look wrong.
        if seq >= expected || is_apart {
            self.last = entry.head();
        }
        findings
    }

    fn check(&self, chain: &str, head: &Head) -> Option<Finding> {
        let (chain, last) = (chain.to_owned(), self.last.seq);
        match head.seq.cmp(&last) {
            Ordering::Greater => Some(Finding::CutOff { chain, last, head: head.seq }),
            Ordering::Less => Some(Finding::Added { chain, seq: head.seq.saturating_add(1) }),
            Ordering::Equal if head.hash != self.last.hash => Some(Finding::Replaced { chain, seq: last }),
            Ordering::Equal => None,
        }
    }
}

/// The largest whole number that RFC 8785, whose numbers are those of JavaScript, tells from its neighbours.
const LARGEST: u64 = 1 << 53;

/// Whether the hash covers all of a value: of larger numbers it covers the beginning only.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (None, None) => true,
            (unsigned, signed) => unsigned.or(signed.map(i64::unsigned_abs)).is_some_and(|size| size <= LARGEST),
        },
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

/// Checks a whole chain, in order, against its head; an empty answer means that it is whole.
///
/// What this can't detect: a chain and its head rewritten together by someone who may write both tables. An export
/// kept elsewhere detects that.
pub fn verify<'a>(chain: &str, entries: impl IntoIterator<Item = &'a Entry>, head: &Head) -> Vec<Finding> {
    let mut link = Link::genesis();
    let mut findings = Vec::new();
    for entry in entries {
        if entry.chain() != chain {
            let found = entry.chain().to_owned();
            findings.push(Finding::Foreign { chain: chain.to_owned(), seq: entry.seq().unwrap_or_default(), found });
        }
        findings.extend(link.follow(chain, entry, false));
    }
    findings.extend(link.check(chain, head));
    findings
}

/// A walk over the entries of many chains, each chain in its order, whatever the order of the chains.
///
/// It keeps of each chain where it stands and nothing else, so its memory grows with subjects and not with entries.
#[derive(Debug, Default)]
pub struct Walk {
    chains: BTreeMap<String, Link>,
    /// Where the chains stood in an earlier export, as far as that was not met yet.
    earlier: BTreeMap<String, Head>,
    entries: u64,
    is_selection: bool,
}

impl Walk {
    /// A walk that also compares each chain with where it stood earlier, such as by [`Walk::standing`] of an export.
    #[must_use]
    pub fn against(earlier: BTreeMap<String, Head>) -> Self {
        Self { earlier, ..Self::default() }
    }

    /// From here on entries may be left out, and days and kinds stand in no order: what is there is checked against its own
    /// hash, and against the entry before it where that one is there too.
    pub fn of_selection(&mut self) {
        self.is_selection = true;
    }

    /// How many entries were walked over.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// How many chains there are.
    #[must_use]
    pub fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Goes on to an entry.
    pub fn entry(&mut self, entry: &Entry) -> Vec<Finding> {
        self.entries = self.entries.saturating_add(1);
        let chain = entry.chain();
        let link = self.chains.entry(chain.to_owned()).or_insert_with(Link::genesis);
        let mut findings = link.follow(chain, entry, self.is_selection);
        let here = entry.head();
        if self.earlier.get(chain).is_some_and(|earlier| earlier.seq == here.seq)
            && self.earlier.remove(chain).is_some_and(|earlier| earlier.hash != here.hash)
        {
            findings.push(Finding::Rewritten { chain: chain.to_owned(), seq: here.seq });
        }
        findings
    }

    /// Holds a chain against its head, once its entries were walked over; `None` for a head that can't be read.
    pub fn head(&mut self, chain: &str, head: Option<&Head>) -> Option<Finding> {
        let link = self.chains.entry(chain.to_owned()).or_insert_with(Link::genesis);
        link.has_head = true;
        match head {
            // The functions write a head with its first entry.
            Some(head) if head.seq > 0 => link.check(chain, head),
            _ => Some(Finding::BadHead { chain: chain.to_owned() }),
        }
    }

    /// What shows only at the end: with `heads`, chains without one; and what an earlier export has and is gone.
    pub fn end(&self, heads: bool) -> Vec<Finding> {
        let without = self.chains.iter().filter(|(_, link)| heads && !link.has_head);
        let headless = without.map(|(chain, link)| Finding::Headless { chain: chain.clone(), last: link.last.seq });
        let removed =
            self.earlier.iter().map(|(chain, earlier)| Finding::Removed { chain: chain.clone(), seq: earlier.seq });
        headless.chain(removed).collect()
    }

    /// Where each chain stands.
    #[must_use]
    pub fn standing(self) -> BTreeMap<String, Head> {
        self.chains.into_iter().map(|(chain, link)| (chain, link.last)).collect()
    }
}
