//! Whether a chain is whole.

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
    /// A sequence number is missing, repeated, or out of order.
    #[error("{chain} has entry {found} where entry {expected} should stand")]
    OutOfSequence {
        /// The chain.
        chain: String,
        /// The number that should stand there.
        expected: u64,
        /// The number that does; zero where there is none.
        found: u64,
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
}

/// Checks a whole chain, in order, against its head; an empty answer means that it is whole.
///
/// What this can't detect: a chain and its head rewritten together by someone who may write both tables. An export
/// kept elsewhere detects that.
pub fn verify<'a>(chain: &str, entries: impl IntoIterator<Item = &'a Entry>, head: &Head) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut last = Head::genesis();
    for entry in entries {
        let expected = last.seq.saturating_add(1);
        let seq = entry.seq().unwrap_or_default();
        if seq != expected {
            findings.push(Finding::OutOfSequence { chain: chain.to_owned(), expected, found: seq });
        } else if entry.text("prev_hash") != Some(last.hash.as_str()) {
            findings.push(Finding::Unlinked { chain: chain.to_owned(), seq });
        }
        if entry.chain() != chain {
            findings.push(Finding::Foreign { chain: chain.to_owned(), seq, found: entry.chain().to_owned() });
        }
        match hash_of(entry.attributes()) {
            Ok(hash) if entry.text("hash") == Some(hash.as_str()) => {}
            _ => findings.push(Finding::Changed { chain: chain.to_owned(), seq }),
        }
        last = entry.head();
    }
    if last != *head {
        findings.push(Finding::CutOff { chain: chain.to_owned(), last: last.seq, head: head.seq });
    }
    findings
}
