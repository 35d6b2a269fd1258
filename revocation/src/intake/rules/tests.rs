use super::*;

fn mistakes(files: &[(&str, &str)], own: Option<(&str, &str)>) -> Vec<String> {
    Compiled::compile(files, own, Checked::Everything).err().unwrap().0
}

#[test]
fn the_built_in_table_compiles() {
    let (intake, replays) = Compiled::compile(&BUILT_IN, None, Checked::Everything).ok().unwrap();
    assert_eq!(replays, Replays::default());
    assert!(intake.rules.len() > 60 && intake.envelopes.len() > 4, "{}", intake.rules.len());
    for rule in &intake.rules {
        assert!(rule.name.starts_with(&rule.producer), "{}", rule.name);
        assert!(!rule.about.is_empty(), "{} says nothing about itself", rule.name);
    }
}

#[test]
fn the_table_is_compiled_when_an_event_needs_it_and_not_for_a_command() {
    use crate::intake::Delivery;
    use crate::signal::Via;
    use crate::time::Timestamp;

    let intake = Intake::with_rules(None).unwrap();
    let delivery = Delivery { via: Via::Direct, received_at: Timestamp::from_millis(0), id: "m".to_owned() };
    let read = |payload: &str| intake.read(payload.as_bytes(), &delivery);
    assert!(read(r#"{"action":"revoke","subjects":["a@example.com"],"reason":"x"}"#).is_ok());
    assert!(read(r#"{"action":"sweep"}"#).is_ok());
    assert!(intake.compiled.get().is_none(), "nothing needed it");
    assert!(matches!(read(r#"{"source":"my.app","detail-type":"x","detail":{}}"#), Err(Rejected::Unknown(_))));
    assert!(intake.compiled.get().is_some());
    let at_once = Intake::built_in().unwrap();
    assert_eq!(intake.rules().collect::<Vec<_>>(), at_once.rules().collect::<Vec<_>>());
    intake.prepare();
}

#[test]
fn every_mistake_of_a_table_is_listed_by_rule_and_field() {
    let table = r#"{"producer":"p","places":{"id":[{"path":"$.id","capture":"("}]},
        "rules":[{"name":"r-1","pattern":{"detail":"not an array"},"action":"ask","where":[{"path":"x","matches":"("}],"places":{
            "who":{"each":"detail.user","name":[{"path":"$.a["}],"id":[]},
            "occurred_at":[{"path":"$.at","capture":"no group"}]}},
            {"name":"r-1","pattern":{"detail":{"a":["b"]}},"action":"revoke"}]}"#;
    let found = mistakes(
        &[("mine.json", table), ("other.json", r#"{"rulez":[]}"#), ("third.json", r#"{"producer":"Not So"}"#)],
        None,
    );
    let expected = [
        "other.json",
        "producer `p`, id",
        "rule `r-1`, pattern",
        "rule `r-1`, occurred_at",
        "rule `r-1`, who.each",
        "rule `r-1`, who.name",
        "rule `r-1`, action",
        "rule `r-1`, where",
        "rule `r-1`, where",
        "rule `r-1`, name",
        "rule `r-1`, places.who",
        "producer `Not So`",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} for {expected}");
    }
}

#[test]
fn the_users_own_rules_switch_and_replace() {
    let own = r#"{"on":["okta-account-locked"],"off":["okta-user-out"],"tables":[{"producer":"okta","rules":[
        {"name":"okta-user-back","pattern":{"detail":{"a":["b"]}},"action":"ignore"}]}]}"#;
    let intake = Intake::with_rules(Some(("own.json", own))).unwrap();
    let rule = |name: &str| {
        intake.rules().filter(|rule| rule.name == name).map(|rule| (rule.on, rule.action)).collect::<Vec<_>>()
    };
    assert_eq!(rule("okta-account-locked"), [(true, "revoke")]);
    assert_eq!(rule("okta-user-out"), [(false, "revoke")]);
    assert_eq!(rule("okta-user-back"), [(true, "ignore")]);
}

#[test]
fn mistakes_of_the_users_own_rules_are_listed() {
    let own = r#"{"on":["nobody","okta-user-out"],"off":["okta-user-out"]}"#;
    let found = mistakes(&BUILT_IN, Some(("own.json", own)));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("`nobody`") && found[1].contains("both"));
    assert!(mistakes(&BUILT_IN, Some(("own.json", "{ rules"))).iter().any(|found| found.starts_with("own.json")));
}

#[test]
fn the_schema_of_rule_files_is_the_one_checked_in() {
    let schema = format!("{}\n", serde_json::to_string_pretty(&schemars::schema_for!(RulesFile)).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/schema.json");
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap_or_default() == schema, "UPDATE_SAMPLES=1 writes it");
}

#[test]
fn a_part_of_an_authority_is_lower_case_letters_digits_and_hyphens() {
    for word in ["okta", "entra-id", "b2b", "-", "7"] {
        assert!(is_word(word), "{word}");
    }
    for other in ["", "Okta", "a:b", "a/b", "a b", "é"] {
        assert!(!is_word(other), "{other}");
    }
}
