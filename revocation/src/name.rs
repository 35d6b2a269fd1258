//! What a person is called: a [`Subject`] as someone said it, and its [`Name`], the form in which names are compared.
//!
//! Matching is equality of normal forms and nothing else. A prefix, a substring or a wildcard would, sooner or
//! later, disconnect a bystander.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// The longest name: SAML NameIDs are cut at 255 characters by Client VPN
/// (<https://docs.aws.amazon.com/vpn/latest/clientvpn-admin/limits.html>).
pub const MAX_NAME_CHARS: usize = 255;

/// What stands in a name's place when there is none. Such a text names nobody.
const NO_IDENTITY: [&str; 7] = ["", "-", "na", "n/a", "none", "null", "unknown"];

/// Why a text can't name anyone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty, or a placeholder such as `N/A`.
    #[error("`{0}` is no identity; give the name that the person has on the VPN")]
    NoIdentity(String),
    /// Longer than [`MAX_NAME_CHARS`].
    #[error("a name of {0} characters is too long; Client VPN knows at most {MAX_NAME_CHARS}")]
    TooLong(usize),
    /// Holds a control character.
    #[error("a name can't hold control characters; remove them")]
    Control,
    /// Begins with `#`, which marks the project's own items in the tables.
    #[error("a name can't begin with `#`; that is reserved")]
    Reserved,
}

/// A name in normal form: trimmed, Unicode NFC, Unicode lower case.
///
/// Compatibility characters are not folded (`ａlice` is not `alice`), so that two people can't become one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The normal form of `text`.
    ///
    /// # Errors
    /// Where `text` names nobody or can't be a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let normal = normal_form(text);
        if NO_IDENTITY.contains(&normal.as_str()) {
            return Err(NameError::NoIdentity(text.trim().to_owned()));
        }
        if normal.starts_with('#') {
            return Err(NameError::Reserved);
        }
        if normal.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        match normal.chars().count() {
            length if length > MAX_NAME_CHARS => Err(NameError::TooLong(length)),
            _ => Ok(Self(normal.into())),
        }
    }

    /// The normal form of a name found on a connection; none where it is absent or a placeholder.
    ///
    /// What could not be a subject (too long, with a control character) is a name here all the same: it can't match,
    /// but somebody has it, and a certificate under it is not anonymous.
    #[must_use]
    pub fn found(text: Option<&str>) -> Option<Self> {
        let normal = normal_form(text?);
        (!NO_IDENTITY.contains(&normal.as_str())).then(|| Self(normal.into()))
    }

    /// Whether a lock can stand on it. One that was found on a connection may be none that a subject can have: keys that
    /// begin with `#` are the project's own, and `#head/alice` as a user name would be the head of a chain.
    #[must_use]
    pub fn is_lockable(&self) -> bool {
        Self::new(&self.0).is_ok()
    }

    /// The normal form as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Trimmed, NFC, lower case.
pub(crate) fn normal_form(text: &str) -> String {
    let text = text.trim();
    // As nearly every name is, and there is one or two in every row of every listing.
    if text.is_ascii() { text.to_ascii_lowercase() } else { composed(text) }
}

/// The same for any text. Composed once more at the end: lower case of a composed text need not be composed.
fn composed(text: &str) -> String {
    let composed: String = text.nfc().collect();
    composed.to_lowercase().nfc().collect()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The person or device whose access is in question: the identifier as received, and its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    received: Arc<str>,
    name: Name,
    also: Vec<Name>,
    others: Vec<Name>,
    person: Option<PersonId>,
}

/// A producer's own id of a person, in whichever case. A name may be given to somebody else one day, and an id is not.
#[derive(Debug, Clone, Eq)]
pub struct PersonId(Arc<str>);

impl PartialEq for PersonId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl PersonId {
    /// An id as the producer, or a table, has it.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.trim().into())
    }

    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands where a word was said of several people who were called alike. No producer has such an id.
    pub(crate) fn several() -> Self {
        Self("*".into())
    }

    /// The id, where it is one person's.
    pub(crate) fn one(&self) -> Option<&str> {
        (*self != Self::several()).then_some(&*self.0)
    }

    /// Whether two words of one authority are about different people, as far as both say about whom they are.
    pub(crate) fn differ(one: Option<&Self>, other: Option<&Self>) -> bool {
        one.zip(other).is_some_and(|(one, other)| one != other || one.one().is_none())
    }
}

impl Subject {
    /// A subject from an identifier as someone wrote it.
    ///
    /// # Errors
    /// Where the text names nobody or can't be a name.
    pub fn new(received: &str) -> Result<Self, NameError> {
        Ok(Self {
            name: Name::new(received)?,
            received: received.into(),
            also: Vec::new(),
            others: Vec::new(),
            person: None,
        })
    }

    /// The same subject, with further names that whoever knows the person gave.
    #[must_use]
    pub fn also_called(self, names: impl IntoIterator<Item = Name>) -> Self {
        let also = names.into_iter().filter(|name| *name != self.name).collect();
        Self { also, ..self }
    }

    /// The same subject, of whom whoever knows the person says that these names are somebody else's, so that no rule makes
    /// them the person's.
    #[must_use]
    pub fn not_called(self, names: impl IntoIterator<Item = Name>) -> Self {
        let others = names.into_iter().filter(|name| *name != self.name).collect();
        Self { others, ..self }
    }

    /// The same subject, of whom the producer's own id is known.
    #[must_use]
    pub fn who_is(self, person: PersonId) -> Self {
        Self { person: Some(person), ..self }
    }

    /// The same subject, whoever that is.
    pub(crate) fn whoever_it_is(self) -> Self {
        Self { person: None, ..self }
    }

    /// The producer's own id of the person, where it is known.
    #[must_use]
    pub fn person(&self) -> Option<&PersonId> {
        self.person.as_ref()
    }

    /// Further names that whoever knows the person gave: a directory, or the event itself.
    #[must_use]
    pub fn also(&self) -> &[Name] {
        &self.also
    }

    /// Names that are known to be somebody else's, though they may follow from the subject's own.
    pub(crate) fn others(&self) -> &[Name] {
        &self.others
    }

    /// The identifier as received.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.received
    }

    /// Its normal form, the key of its lock and of its audit chain.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_the_same_in_whichever_case_and_kept_as_it_came() {
        let (one, same, other) = (PersonId::new(" 00uA "), PersonId::new("00Ua"), PersonId::new("00uB"));
        assert!(one == same && one != other && one.as_str() == "00uA");
        assert!(PersonId::differ(Some(&one), Some(&other)) && !PersonId::differ(Some(&one), Some(&same)));
        assert!(!PersonId::differ(Some(&one), None) && !PersonId::differ(None, None), "of whom nothing is known");
        let several = PersonId::several();
        assert!(
            PersonId::differ(Some(&several), Some(&several)) && several.one().is_none() && one.one() == Some("00uA")
        );
    }

    #[test]
    fn case_space_and_composition_fold() {
        let alice = Name::new("alice@example.com").unwrap();
        for same in ["ALICE@example.com", "  alice@Example.COM\t"] {
            assert_eq!(Name::new(same).unwrap(), alice);
        }
        assert_eq!(Name::new("Rene\u{301}e").unwrap(), Name::new("RENÉE").unwrap());
    }

    #[test]
    fn nothing_else_folds() {
        let alice = Name::new("alice@example.com").unwrap();
        for other in [
            "malice@example.com",
            "alice@example.com.evil",
            "alice",
            "al*",
            "alice@example.co",
            "аlice@example.com",
            "ａlice@example.com",
            "a\u{200d}lice@example.com",
        ] {
            assert_ne!(Name::new(other).unwrap(), alice, "{other}");
        }
    }

    #[test]
    fn placeholders_are_no_identity() {
        for placeholder in ["", "  ", "-", "NA", "n/a", "None", "NULL", "Unknown"] {
            assert!(matches!(Name::new(placeholder), Err(NameError::NoIdentity(_))), "{placeholder:?}");
            assert_eq!(Name::found(Some(placeholder)), None);
        }
        assert_eq!(Name::found(None), None);
    }

    #[test]
    fn what_cannot_be_a_name_says_why() {
        assert_eq!(Name::new("#head/alice"), Err(NameError::Reserved));
        assert_eq!(Name::new("al\u{7}ice"), Err(NameError::Control));
        assert_eq!(Name::new(&"a".repeat(256)), Err(NameError::TooLong(256)));
        assert!(Name::new(&"é".repeat(255)).is_ok());
    }

    #[test]
    fn a_name_is_written_in_normal_form() {
        let alice = Name::new(" Alice").unwrap();
        assert_eq!((alice.to_string(), serde_json::json!(alice)), ("alice".to_owned(), serde_json::json!("alice")));
    }

    #[test]
    fn a_subjects_own_name_is_none_of_its_further_names() {
        let further = ["ALICE", "laptop-7"].map(|text| Name::new(text).unwrap());
        let subject = Subject::new("Alice").unwrap().also_called(further.clone());
        assert_eq!(subject.also(), &further[1..]);
        assert_eq!((subject.received(), subject.name().as_str()), ("Alice", "alice"));
    }

    #[test]
    fn the_form_as_received_is_kept() {
        let subject = Subject::new(" Alice@Example.com").unwrap();
        assert_eq!(subject.received(), " Alice@Example.com");
        assert_eq!(subject.name().as_str(), "alice@example.com");
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own_normal_form(text in "\\PC{1,40}") {
            if let Ok(name) = Name::new(&text) {
                prop_assert_eq!(Name::new(name.as_str()).unwrap(), name);
            }
        }

        #[test]
        fn a_name_of_ascii_is_no_other_than_by_unicodes_rules(text in "[\\x00-\\x7f]{0,40}") {
            prop_assert_eq!(normal_form(&text), composed(text.trim()));
        }

        #[test]
        fn any_text_gets_an_answer(text in any::<String>()) {
            let _ = Name::new(&text);
        }

        #[test]
        fn a_longer_name_is_another_name(base in "[a-z]{3,10}", more in "[a-z@.]{1,10}") {
            let longer = Name::new(&format!("{base}{more}")).unwrap();
            let prefixed = Name::new(&format!("{more}{base}")).unwrap();
            let base = Name::new(&base);
            prop_assert_ne!(&Ok(longer), &base);
            prop_assert_ne!(&Ok(prefixed), &base);
        }
    }
}
