//! XML as JSON, so that patterns and paths reach into Windows events.
//!
//! An element becomes an object: attributes as `@name`, its text as `#text`, child elements as arrays under their
//! names, namespaces left out.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

/// How deeply elements may nest; a Windows event has four levels.
const MAX_DEPTH: usize = 32;

/// A document that can't be used; nothing of its content.
pub(super) type Problem = &'static str;

type Element = (String, Map<String, Value>);

/// Reads a document with one root element.
pub(super) fn to_json(text: &str) -> Result<Value, Problem> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![(String::new(), Map::new())];
    loop {
        match reader.read_event().map_err(|_| "is no well-formed XML")? {
            Event::Start(start) if open.len() > MAX_DEPTH || start.is_empty() => return Err("nests too deeply"),
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(empty) => close(element(&empty)?, &mut open),
            Event::End(_) => match open.pop() {
                Some(done) if !open.is_empty() => close(done, &mut open),
                _ => return Err("is no well-formed XML"),
            },
            Event::Text(text) => append(&mut open, &text.xml10_content()),
            Event::CData(data) => append(&mut open, &data.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let character = reference.resolve_char_ref().map_err(|_| "holds a wrong character reference")?;
                match (character, resolve_predefined_entity(&name)) {
                    (Some(character), _) => append(&mut open, character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => append(&mut open, text),
                    // An entity of a document type: nothing is ever fetched or expanded.
                    (None, None) => return Err("holds an entity that is not predefined"),
                }
            }
            Event::Eof => break,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err("has a document type, which is not read"),
        }
    }
    match open.pop() {
        // What stands beside the root element is of no account.
        Some((_, mut root)) if open.is_empty() => {
            root.remove("#text");
            let is_one = |(_, elements): (&String, &Value)| elements.as_array().is_some_and(|all| all.len() == 1);
            let well_formed = root.len() == 1 && root.iter().all(is_one);
            if well_formed { Ok(Value::Object(root)) } else { Err("has not exactly one root element") }
        }
        _ => Err("is no well-formed XML"),
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, Problem> {
    let mut fields = Map::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| "has a malformed attribute")?;
        let value =
            attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).map_err(|_| "has a malformed attribute")?;
        fields.insert(format!("@{}", attribute.key.local_name().as_ref()), Value::String(value.into_owned()));
    }
    Ok((start.local_name().as_ref().to_owned(), fields))
}

fn append(open: &mut [Element], text: &str) {
    let Some((_, fields)) = open.last_mut() else { return };
    if let Value::String(whole) = fields.entry("#text").or_insert_with(|| Value::String(String::new())) {
        whole.push_str(text);
    }
}

/// Puts a finished element under its parent. What is only space between elements is no text.
fn close((name, mut fields): Element, open: &mut [Element]) {
    if fields.get("#text").and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
        fields.remove("#text");
    }
    let Some((_, parent)) = open.last_mut() else { return };
    if let Value::Array(siblings) = parent.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        siblings.push(Value::Object(fields));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_windows_event_keeps_what_paths_need() {
        let text = r#"<?xml version="1.0"?><Event xmlns="urn:x"><System><EventID Qualifiers='0'>4725</EventID><Empty/></System>
            <EventData><Data Name="A">x &amp; <![CDATA[y]]> &#65;</Data><Data Name="B"/></EventData></Event>"#;
        let expected = json!({"Event": [{"@xmlns": "urn:x", "System": [{"EventID": [{"@Qualifiers": "0", "#text": "4725"}], "Empty": [{}]}],
            "EventData": [{"Data": [{"@Name": "A", "#text": "x & y A"}, {"@Name": "B"}]}]}]});
        let mut found = to_json(text).unwrap();
        found["Event"][0].as_object_mut().unwrap().remove("#text");
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_plain_document_is_an_error() {
        let deep = "<a>".repeat(200);
        for text in [
            "",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a>&x;</a>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
            "<a/><a/>",
            "<a/><b/>",
            &deep,
            "<a b=>",
        ] {
            assert!(to_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn elements_nest_down_to_a_depth_and_no_further() {
        let nested = |depth: usize| to_json(&format!("{}x{}", "<a>".repeat(depth), "</a>".repeat(depth)));
        assert!(nested(MAX_DEPTH).is_ok());
        assert_eq!(nested(MAX_DEPTH + 1), Err("nests too deeply"));
    }

    #[test]
    fn what_is_wrong_with_a_document_is_said() {
        assert_eq!(to_json("<a/><b/>"), Err("has not exactly one root element"));
        assert_eq!(to_json("<a/><a/>"), Err("has not exactly one root element"));
        assert_eq!(to_json("text"), Err("has not exactly one root element"));
        assert_eq!(to_json("<a>"), Err("is no well-formed XML"));
        assert_eq!(to_json("<a>&x;</a>"), Err("holds an entity that is not predefined"));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "[<>/a&;=\"'! \\[\\]\\-?]{0,60}") {
            let _ = to_json(&text);
        }
    }
}
