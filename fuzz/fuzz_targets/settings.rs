//! What stands in the environment: aliases and protected names are taken or refused, and nobody is protected, or called
//! something, by accident.

#![no_main]

use libfuzzer_sys::fuzz_target;
use revocation::alias::Aliases;
use revocation::name::Name;
use revocation::policy::Protected;

fuzz_target!(|text: &str| {
    let somebody = Name::new("somebody@example.com").expect("a name");
    match Aliases::parse(text) {
        Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal says why"),
        Ok(aliases) => {
            for name in aliases.names(&somebody) {
                assert!(Name::new(name.as_str()).is_ok(), "what somebody is called can stand as a key");
            }
        }
    }
    match Protected::parse(text) {
        Err(mistakes) => assert!(!mistakes.is_empty(), "a refusal says why"),
        Ok(protected) => {
            let named = text
                .split(',')
                .any(|pattern| pattern.contains('*') || pattern.trim().to_lowercase() == somebody.as_str());
            assert!(named || !protected.covers(&somebody), "who is not named is not protected");
        }
    }
});
