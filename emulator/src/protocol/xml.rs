//! Answers as XML.

use std::borrow::Cow;
use std::io::Result;

use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::error::ApiError;
use crate::actions::Action;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// A document that is being written.
pub(crate) type Xml = Writer<Vec<u8>>;

/// The elements that answers are made of.
pub(crate) trait Elements {
    /// Text within the element that is open.
    fn content(&mut self, text: &str) -> Result<()>;

    /// `<name>text</name>`.
    fn text(&mut self, name: &str, text: &str) -> Result<()>;

    /// The same, or nothing at all: an absent value has no element.
    fn maybe(&mut self, name: &str, text: Option<&str>) -> Result<()>;

    /// An element with others inside.
    fn nest(&mut self, name: &str, inside: impl FnOnce(&mut Xml) -> Result<()>) -> Result<()>;

    /// A list. Its entries are `<item>` in lower case: the AWS SDK for Rust reads no other spelling.
    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Xml, T) -> Result<()>,
    ) -> Result<()>;
}

impl Elements for Xml {
    fn content(&mut self, text: &str) -> Result<()> {
        self.write_event(Event::Text(BytesText::from_escaped(escaped(text))))
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        self.nest(name, |xml| xml.content(text))
    }

    fn maybe(&mut self, name: &str, text: Option<&str>) -> Result<()> {
        text.map_or(Ok(()), |text| self.text(name, text))
    }

    fn nest(&mut self, name: &str, inside: impl FnOnce(&mut Xml) -> Result<()>) -> Result<()> {
        self.create_element(name).write_inner_content(inside).map(drop)
    }

    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Xml, T) -> Result<()>,
    ) -> Result<()> {
        self.nest(name, |list| {
            for item in items {
                list.nest("item", |xml| each(xml, item))?;
            }
            Ok(())
        })
    }
}

/// The answer to an action that succeeded.
pub(crate) fn answer(
    action: Action,
    request_id: &str,
    inside: impl FnOnce(&mut Xml) -> Result<()>,
) -> std::result::Result<Vec<u8>, ApiError> {
    let mut xml = document()?;
    xml.create_element(format!("{action}Response")).with_attribute(("xmlns", NAMESPACE)).write_inner_content(
        |xml| {
            xml.text("requestId", request_id)?;
            inside(xml)
        },
    )?;
    Ok(xml.into_inner())
}

/// The answer to a request that was refused. The element is `RequestID` here and `requestId` in a success.
pub(crate) fn error(error: &ApiError, request_id: &str) -> Vec<u8> {
    let write = || -> Result<Vec<u8>> {
        let mut xml = document()?;
        xml.nest("Response", |xml| {
            xml.nest("Errors", |xml| {
                xml.nest("Error", |xml| {
                    xml.text("Code", &error.code)?;
                    xml.text("Message", &error.message)
                })
            })?;
            xml.text("RequestID", request_id)
        })?;
        Ok(xml.into_inner())
    };
    // Writing into memory does not fail; were it to, an empty body still carries the HTTP status.
    write().unwrap_or_default()
}

fn document() -> Result<Xml> {
    let mut xml = Writer::new(Vec::new());
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    Ok(xml)
}

/// Text that any XML 1.0 parser accepts: markup is escaped, a carriage return survives as a reference, and a
/// character that XML forbids even as a reference becomes U+FFFD. <https://www.w3.org/TR/xml/#charsets>
fn escaped(text: &str) -> String {
    let allowed: Cow<'_, str> =
        if text.contains(is_forbidden) { text.replace(is_forbidden, "\u{fffd}").into() } else { text.into() };
    escape(allowed).replace('\r', "&#13;")
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let body = answer(Action::Terminate, "id", |xml| xml.text("username", text)).unwrap();
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn an_answer_has_the_root_the_namespace_and_the_request_id() {
        assert_eq!(
            one("alice"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><TerminateClientVpnConnectionsResponse \
             xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>id</requestId><username>alice</username>\
             </TerminateClientVpnConnectionsResponse>"
        );
    }

    #[test]
    fn an_error_has_its_own_envelope() {
        let body = String::from_utf8(error(&ApiError::new(400, "C", "a < b"), "id")).unwrap();
        assert!(body.ends_with(
            "<Response><Errors><Error><Code>C</Code><Message>a &lt; b</Message></Error></Errors>\
             <RequestID>id</RequestID></Response>"
        ));
    }

    #[test]
    fn markup_in_a_name_is_escaped() {
        assert!(one("<b>&\"'").contains("<username>&lt;b&gt;&amp;&quot;&apos;</username>"));
    }

    #[test]
    fn characters_that_xml_forbids_become_the_replacement_character() {
        let body = one("a\0b\u{1b}c\u{ffff}d\re\tf");
        assert!(body.contains("<username>a\u{fffd}b\u{fffd}c\u{fffd}d&#13;e\tf</username>"), "{body}");
        quick_xml::Reader::from_str(&body).read_event().unwrap();
    }

    #[test]
    fn a_list_without_rows_is_an_empty_element() {
        let body =
            answer(Action::Terminate, "id", |xml| xml.list("rows", Vec::<&str>::new(), |xml, row| xml.text("r", row)));
        assert!(String::from_utf8(body.unwrap()).unwrap().contains("<rows></rows>"));
    }
}
