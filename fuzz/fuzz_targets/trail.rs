//! Whatever stands in the audit table: verifying it ends in findings and not in a panic, stories are put together from
//! what is there, and a chain that was changed is never called whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use revocation::audit::{Entry, Times, Walk, stories, verify};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Value::Array(items)) = serde_json::from_slice(bytes) else { return };
    let entries: Vec<Entry> = items
        .into_iter()
        .filter_map(|item| match item {
            Value::Object(attributes) => Some(Entry::from_attributes(attributes)),
            _ => None,
        })
        .collect();
    let told = stories(&entries);
    assert!(told.len() <= entries.len(), "a story has an entry");
    let times = Times::of(&told);
    assert!(times.verified() + times.unverified <= told.len());
    let mut walk = Walk::default();
    entries.iter().for_each(|entry| drop(walk.entry(entry)));
    walk.end(true);
    if let Some(last) = entries.last() {
        let of_chain = entries.iter().filter(|entry| entry.chain() == last.chain());
        let whole = verify(last.chain(), of_chain.clone(), &last.head()).is_empty();
        let first = of_chain.clone().next().and_then(Entry::seq);
        assert!(!whole || first == Some(1), "a whole chain begins with its first entry");
    }
});
