//! What else a person is called on the VPN: names by rule of the subject's domain ([`Aliases`]).
//!
//! Names are expanded when a lock is written, one lock for each name. So two people can't fold into one, and whoever
//! reads a lock needs no knowledge of aliases.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::name::{Name, normal_form};

/// The placeholder for the whole subject, as received.
const SUBJECT: &str = "{subject}";
/// The placeholder for what stands before the domain.
const LOCAL: &str = "{local}";
/// The rule for subjects of every other domain, and of none.
const OTHERWISE: &str = "*";

/// What is wrong with a text of aliases.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AliasError {
    /// Not `domain: names`.
    #[error("`{0}` is not of the form `domain: name name …`")]
    Form(String),
    /// Something before the colon that is no domain.
    #[error("`{0}` is no domain; give one such as corp.example, or `*` for all others")]
    Domain(String),
    /// The same domain again.
    #[error("`{0}` is listed twice; remove one")]
    Twice(String),
    /// Without a domain there is no local part, and people of all domains would share the name.
    #[error("`{{local}}` without a domain would give people of different domains one name; name the domain")]
    LocalOfAnyDomain,
    /// People of two domains would share a name.
    #[error("`{0}` stands for people of several domains and would give two of them one name; keep it for one domain")]
    Shared(String),
    /// A fixed name would be locked with everybody.
    #[error("`{0}` holds neither {{subject}} nor {{local}}, so it would be everybody's name")]
    Fixed(String),
    /// Begins with `#`.
    #[error("`{0}` can never be a name, since names don't begin with `#`")]
    Never(String),
    /// Braces around something else.
    #[error("`{0}` holds a placeholder that is not known; there are {{subject}} and {{local}}")]
    Placeholder(String),
}

/// Names of a subject, by its domain: `corp.example: {subject} {local} CORP\{local}; *: {subject}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    by_domain: BTreeMap<String, Vec<String>>,
    otherwise: Vec<String>,
}

impl Aliases {
    /// Reads a text of the form above.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<AliasError>> {
        let mut aliases = Self::default();
        let mut wrong = Vec::new();
        for section in text.split(';').map(str::trim).filter(|section| !section.is_empty()) {
            let Some((domain, names)) = section.split_once(':') else {
                wrong.push(AliasError::Form(section.to_owned()));
                continue;
            };
            let domain = normal_form(domain);
            let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
            if names.is_empty() {
                wrong.push(AliasError::Form(section.to_owned()));
            }
            wrong.extend(names.iter().filter_map(|name| mistake(name, &domain)));
            if domain == OTHERWISE {
                if !aliases.otherwise.is_empty() {
                    wrong.push(AliasError::Twice(domain));
                }
                aliases.otherwise = names;
            } else if domain.is_empty() || domain.contains(['@', '*', '\\', ' ']) {
                wrong.push(AliasError::Domain(domain));
            } else if aliases.by_domain.insert(domain.clone(), names).is_some() {
                wrong.push(AliasError::Twice(domain));
            }
        }
        wrong.extend(aliases.shared().into_iter().map(AliasError::Shared));
        if wrong.is_empty() { Ok(aliases) } else { Err(wrong) }
    }

    /// Templates that don't tell domains apart and stand for several.
    fn shared(&self) -> Vec<String> {
        let templates = self.by_domain.values().flat_map(|names| names.iter().collect::<BTreeSet<_>>());
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for template in templates.filter(|template| !template.contains(SUBJECT)) {
            *times.entry(normal_form(template)).or_default() += 1;
        }
        times.into_iter().filter(|(_, times)| *times > 1).map(|(template, _)| template).collect()
    }

    /// The names of whoever has this one, without repetition, in the order in which they are written.
    ///
    /// The name itself stands first even where the rule leaves it out: whom a signal names is locked.
    #[must_use]
    pub fn names(&self, own: &Name) -> Vec<Name> {
        // A local part with a separator in it is none: somebody else's name could be made of it.
        let (local, domain) = own.as_str().rsplit_once('@').filter(|(local, _)| is_local(local)).unwrap_or_default();
        let templates = self.by_domain.get(domain).filter(|_| !local.is_empty()).unwrap_or(&self.otherwise);
        let mut names = vec![own.clone()];
        for template in templates {
            let text = fill(template, own.as_str(), local);
            // What can't be a name is nobody's: a local part such as `na`.
            if let Ok(name) = Name::new(&text)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }
}

fn is_local(text: &str) -> bool {
    !text.is_empty() && !text.contains(['@', '\\'])
}

/// Fills a template in one pass, so that what a name holds is never taken for a placeholder.
fn fill(template: &str, subject: &str, local: &str) -> String {
    let mut parts = template.split(SUBJECT);
    let first = parts.next().unwrap_or_default().replace(LOCAL, local);
    parts.fold(first, |text, part| format!("{text}{subject}{}", part.replace(LOCAL, local)))
}

fn mistake(name: &str, domain: &str) -> Option<AliasError> {
    let rest = name.replace(SUBJECT, "").replace(LOCAL, "");
    if name.starts_with('#') {
        Some(AliasError::Never(name.to_owned()))
    } else if rest.contains(['{', '}']) {
        Some(AliasError::Placeholder(name.to_owned()))
    } else if name.contains(LOCAL) && domain == OTHERWISE {
        Some(AliasError::LocalOfAnyDomain)
    } else if rest == name {
        Some(AliasError::Fixed(name.to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(aliases: &str, subject: &str) -> Vec<String> {
        let aliases = Aliases::parse(aliases).unwrap();
        aliases.names(&Name::new(subject).unwrap()).iter().map(Name::to_string).collect()
    }

    const CORP: &str = r"corp.example: {subject} {local} CORP\{local}; *: {subject}";

    #[test]
    fn names_go_by_the_subjects_domain() {
        assert_eq!(names(CORP, "Alice@Corp.Example"), ["alice@corp.example", "alice", r"corp\alice"]);
        assert_eq!(names(CORP, "alice@other.example"), ["alice@other.example"]);
        assert_eq!(names(CORP, "alice@sub.corp.example"), ["alice@sub.corp.example"]);
        assert_eq!(names(CORP, "alice"), ["alice"]);
        assert_eq!(names(CORP, "corp.example"), ["corp.example"]);
        assert_eq!(names(CORP, "@corp.example"), ["@corp.example"]);
        assert_eq!(names("", "alice"), ["alice"]);
        assert_eq!(names(r"corp.example: {local}", "alice@corp.example"), ["alice@corp.example", "alice"]);
        assert_eq!(names(r"*: {subject} {subject}.vpn", "alice"), ["alice", "alice.vpn"]);
        assert_eq!(names(CORP, "na@corp.example"), ["na@corp.example", r"corp\na"], "no identity, no name");
    }

    #[test]
    fn what_a_name_holds_is_never_filled_in() {
        assert_eq!(names(CORP, "bo{local}b"), ["bo{local}b"]);
        assert_eq!(
            names(CORP, "x{subject}@corp.example"),
            ["x{subject}@corp.example", "x{subject}", r"corp\x{subject}"]
        );
        assert_eq!(names(CORP, "bob@corp.example@corp.example"), ["bob@corp.example@corp.example"]);
        assert_eq!(names(CORP, r"corp\bob@corp.example"), [r"corp\bob@corp.example"]);
    }

    #[test]
    fn every_mistake_is_said() {
        let wrong = |text: &str| Aliases::parse(text).unwrap_err();
        assert_eq!(wrong("*: {local}"), [AliasError::LocalOfAnyDomain]);
        assert_eq!(wrong("*: admin"), [AliasError::Fixed("admin".to_owned())]);
        assert_eq!(wrong("a.example {subject}"), [AliasError::Form("a.example {subject}".to_owned())]);
        assert_eq!(wrong("a.example:"), [AliasError::Form("a.example:".to_owned())]);
        assert_eq!(wrong("*: {user}"), [AliasError::Placeholder("{user}".to_owned())]);
        assert_eq!(wrong("a.example: #{local}"), [AliasError::Never("#{local}".to_owned())]);
        assert_eq!(
            wrong("a.example: {local}; b.example: {LOCAL} {local}").len(),
            2,
            "a placeholder, and a shared name"
        );
        assert_eq!(
            wrong(r"a.example: X\{local}; b.example: {subject} x\{local}"),
            [AliasError::Shared(r"x\{local}".to_owned())]
        );
        assert_eq!(wrong("x@y: {local}; *.example: {local}").len(), 2);
        assert_eq!(wrong("a: {local}; A: {subject}; *: {subject}; *: {subject}").len(), 2);
    }

    proptest! {
        /// Whoever has a name of somebody's by a rule has the same local part and domain.
        #[test]
        fn two_people_of_one_domain_never_share_a_name(a in "[a-z.]{1,8}", b in "[a-z.]{1,8}") {
            prop_assume!(a != b);
            let (one, other) = (names(CORP, &format!("{a}@corp.example")), names(CORP, &format!("{b}@corp.example")));
            prop_assert!(one.iter().all(|name| !other.contains(name)), "{one:?} {other:?}");
        }

        #[test]
        fn any_text_gets_an_answer(text in any::<String>()) {
            let _ = Aliases::parse(&text);
        }
    }
}
