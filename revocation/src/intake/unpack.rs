//! Transports: what stands around an event before it is EventBridge's, a producer's, or a command.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

use super::{Delivery, REPLAY_NAME, Rejected, parse, xml};
use crate::signal::Via;
use crate::time::Timestamp;

/// How deeply transports may be packed into one another: SNS in SQS in a pipe's array is three.
const MAX_DEPTH: usize = 6;

/// The most that a batch of log lines may unfold to. CloudWatch Logs sends at most 1 MB; the limit is for what only
/// looks like it. 16 MiB.
const MAX_UNFOLDED: u64 = 1 << 24;

/// One payload, out of its transports.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) payload: Value,
    /// What it stood in, where its rules need it.
    pub(super) outer: Option<Value>,
    pub(super) via: Via,
    /// The transports, outermost first.
    pub(super) through: Vec<&'static str>,
    /// What SQS says of the message that it came in, where a pipe or a person brought the message whole.
    message: Option<Message>,
}

/// What SQS says of a message.
#[derive(Debug, Clone)]
struct Message {
    id: String,
    sent_at: Option<Timestamp>,
}

impl Unpacked {
    /// What is known of how it was delivered: by the message that it came in, else by the whole delivery.
    pub(super) fn delivery(&self, whole: &Delivery) -> Delivery {
        let whole = Delivery { via: self.via, ..whole.clone() };
        match self.message.clone() {
            None => whole,
            Some(Message { id, sent_at }) => {
                let received_at = sent_at.unwrap_or(whole.received_at).min(whole.received_at);
                Delivery { id, received_at, ..whole }
            }
        }
    }
}

/// Takes every payload out of what may be around it. One that can't be read leaves its neighbours readable.
pub(super) fn unpack(payload: Value, via: Via) -> Vec<Result<Unpacked, Rejected>> {
    let mut found = Vec::new();
    Step { via, through: Vec::new(), message: None }.take(payload, &mut found);
    found
}

/// Where the unpacking stands.
#[derive(Clone)]
struct Step {
    via: Via,
    through: Vec<&'static str>,
    message: Option<Message>,
}

impl Step {
    fn take(self, payload: Value, found: &mut Vec<Result<Unpacked, Rejected>>) {
        if self.through.len() >= MAX_DEPTH {
            found.push(Err(Rejected::Unreadable("it is packed too deeply".to_owned())));
            return;
        }
        match layer(payload) {
            Layer::None(payload) => found.push(Ok(self.unpacked(payload, None))),
            Layer::Array(items) => {
                let inside = self.inside("array", None);
                items.into_iter().for_each(|item| inside.clone().take(item, found));
            }
            Layer::Text(name, message, text) => match parse(text.as_bytes()) {
                Ok(inner) => self.inside(name, message).take(inner, found),
                Err(error) => found.push(Err(error)),
            },
            Layer::Broken(rejected) => found.push(Err(rejected)),
            Layer::Logs(logs, replay) => {
                let inside = self.inside("CloudWatch Logs", None);
                let lines = log_events(logs, replay.as_ref()).into_iter();
                found.extend(
                    lines.map(|line| line.map(|(payload, outer)| inside.clone().unpacked(payload, Some(outer)))),
                );
            }
        }
    }

    fn inside(&self, layer: &'static str, message: Option<Message>) -> Self {
        let through = [self.through.as_slice(), &[layer]].concat();
        Self { via: Via::Event, through, message: message.or_else(|| self.message.clone()) }
    }

    fn unpacked(self, payload: Value, outer: Option<Value>) -> Unpacked {
        Unpacked { payload, outer, via: self.via, through: self.through, message: self.message }
    }
}

enum Layer {
    None(Value),
    Array(Vec<Value>),
    Text(&'static str, Option<Message>, String),
    /// A batch of log lines, and the replay that it comes from, if it does.
    Logs(Value, Option<Value>),
    Broken(Rejected),
}

fn layer(payload: Value) -> Layer {
    let fields = match payload {
        Value::Array(items) => return Layer::Array(items),
        Value::Object(fields) => fields,
        other => return Layer::None(other),
    };
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    // https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    if let (Some("Notification"), Some(message), true) =
        (text("Type"), text("Message"), fields.contains_key("TopicArn"))
    {
        return Layer::Text("SNS", None, message.to_owned());
    }
    if let (Some("aws:sqs"), Some(body)) = (text("eventSource"), text("body")) {
        let sent_at = fields.get("attributes").and_then(|all| all.get("SentTimestamp")).and_then(Value::as_str);
        let sent_at = sent_at.and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis);
        let message = text("messageId").map(|id| Message { id: id.to_owned(), sent_at });
        return Layer::Text("SQS", message, body.to_owned());
    }
    if let (Some("aws:sns"), Some(message)) =
        (text("EventSource"), fields.get("Sns").and_then(|sns| sns.get("Message")))
    {
        return match message {
            Value::String(message) => Layer::Text("SNS", None, message.clone()),
            _ => Layer::Broken(Rejected::Unreadable(
                "an SNS record has no message, or one that is not a string".to_owned(),
            )),
        };
    }
    if let Some(Value::Array(records)) = fields.get("Records")
        && records.iter().any(is_transported)
    {
        return Layer::Array(records.clone());
    }
    // Bare, or in the event of a relay.
    let is_event = text("source").is_some() && text("detail-type").is_some();
    let relayed = || logs(fields.get("detail").filter(|_| is_event)?.as_object()?);
    let (found, replay) = match logs(&fields) {
        Some(bare) => (Some(bare), None),
        None => (relayed(), fields.get(REPLAY_NAME)),
    };
    match found {
        Some(Ok(logs)) => Layer::Logs(logs, replay.cloned()),
        Some(Err(rejected)) => Layer::Broken(rejected),
        None => Layer::None(Value::Object(fields)),
    }
}

/// A batch of CloudWatch Logs, plain or packed
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>).
fn logs(fields: &Map<String, Value>) -> Option<Result<Value, Rejected>> {
    if let Some(data) = fields.get("awslogs").and_then(|logs| logs.get("data")).and_then(Value::as_str) {
        return Some(unfolded(data));
    }
    let is_batch =
        fields.get("logEvents").is_some_and(Value::is_array) && fields.get("messageType").is_some_and(Value::is_string);
    is_batch.then(|| Ok(Value::Object(fields.clone())))
}

fn is_transported(record: &Value) -> bool {
    let is = |key: &str, value: &str| record.get(key).and_then(Value::as_str) == Some(value);
    is("eventSource", "aws:sqs") || is("EventSource", "aws:sns")
}

/// CloudWatch Logs' batch: gzip in base64.
fn unfolded(data: &str) -> Result<Value, Rejected> {
    let unreadable = |what: &str| Rejected::Unreadable(format!("a batch of CloudWatch Logs {what}"));
    let packed = STANDARD.decode(data).map_err(|_| unreadable("is no base64"))?;
    let mut bytes = Vec::new();
    let read = GzDecoder::new(packed.as_slice()).take(MAX_UNFOLDED + 1).read_to_end(&mut bytes);
    read.map_err(|_| unreadable("is no gzip"))?;
    if bytes.len() as u64 > MAX_UNFOLDED {
        return Err(unreadable("unfolds to more than 16 MB"));
    }
    parse(&bytes)
}

/// Each log event's message as a payload, and beside it the batch's own words about it and the replay it comes from.
fn log_events(logs: Value, replay: Option<&Value>) -> Vec<Result<(Value, Value), Rejected>> {
    let Value::Object(mut logs) = logs else {
        return vec![Err(Rejected::Unreadable("a batch of CloudWatch Logs is no object".to_owned()))];
    };
    let events = logs.remove("logEvents").unwrap_or_default();
    let batch: Map<String, Value> =
        logs.into_iter().filter(|(key, _)| ["owner", "logGroup", "logStream"].contains(&key.as_str())).collect();
    let read = |event: &Value| {
        let message =
            event.get("message").and_then(Value::as_str).unwrap_or_default().trim_start_matches('\u{feff}').trim();
        let payload = match message.chars().next() {
            Some('{') => parse(message.as_bytes())?,
            Some('<') => {
                xml::to_json(message).map_err(|problem| Rejected::Unreadable(format!("a log line {problem}")))?
            }
            _ => json!({ "message": message }),
        };
        let mut outer = batch.clone();
        outer.extend(replay.map(|replay| (REPLAY_NAME.to_owned(), replay.clone())));
        for key in ["id", "timestamp"] {
            outer.insert(key.to_owned(), event.get(key).cloned().unwrap_or_default());
        }
        Ok((payload, Value::Object(outer)))
    };
    match events.as_array().map(Vec::as_slice) {
        Some([]) | None => vec![Err(Rejected::Unknown("a batch of CloudWatch Logs without a line".to_owned()))],
        Some(events) => events.iter().map(read).collect(),
    }
}

/// Whether a payload is a signed token, or carries one where its claims are wanted.
pub(super) fn carries_token(payload: &Value) -> bool {
    match payload {
        Value::String(text) => is_token(text),
        Value::Object(fields) => fields.values().any(|value| value.as_str().is_some_and(is_token)),
        _ => false,
    }
}

/// Whether a text has the form of a signed token (RFC 7519): three parts in URL-safe base64, the first of which
/// begins a JSON object.
pub(super) fn is_token(text: &str) -> bool {
    let text = text.trim();
    let url_safe = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    text.starts_with("eyJ") && text.split('.').count() == 3 && text.split('.').all(url_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_three_parts_in_url_safe_base64_of_which_the_first_begins_an_object() {
        for token in ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", " eyJh-_0.eyJ9.", "eyJh.b.c"] {
            assert!(is_token(token), "{token}");
        }
        for other in ["eyJh.b", "eyJh.b.c.d", "abc.def.ghi", "eyJh.b.c/d", "eyJh.b+.c", "eyJh b.c.d", "", ".."] {
            assert!(!is_token(other), "{other}");
        }
        let carries = |payload: Value| carries_token(&payload);
        assert!(carries(json!("eyJh.b.c")) && carries(json!({"events": 1, "token": "eyJh.b.c"})));
        assert!(!carries(json!("alice")) && !carries(json!({"token": "none"})) && !carries(json!(["eyJh.b.c"])));
    }

    /// One payload in so many arrays, each within the other.
    fn nested(arrays: usize) -> Vec<Result<Unpacked, Rejected>> {
        unpack((0..arrays).fold(json!({"a": 1}), |inner, _| json!([inner])), Via::Direct)
    }

    #[test]
    fn transports_are_taken_off_down_to_a_depth_and_no_further() {
        let deepest = nested(MAX_DEPTH - 1).remove(0).unwrap();
        assert_eq!((deepest.through.len(), deepest.via, deepest.payload), (5, Via::Event, json!({"a": 1})));
        assert!(matches!(nested(MAX_DEPTH).remove(0), Err(Rejected::Unreadable(why)) if why.contains("too deeply")));
    }

    #[test]
    fn only_what_sqs_or_sns_brought_is_a_list_of_records() {
        let sqs = |body: &str| json!({"eventSource": "aws:sqs", "messageId": "m-1", "body": body});
        let sns = json!({"EventSource": "aws:sns", "Sns": {"Message": "{\"a\":2}"}});
        let both = unpack(json!({"Records": [sqs("{\"a\":1}"), sns]}), Via::Event);
        let payloads: Vec<Value> = both.into_iter().map(|one| one.unwrap().payload).collect();
        assert_eq!(payloads, [json!({"a": 1}), json!({"a": 2})]);
        for other in [json!({"Records": [{"eventSource": "aws:s3"}]}), json!({"Records": []}), json!({"records": [1]})]
        {
            let whole = unpack(other.clone(), Via::Event).remove(0).unwrap();
            assert_eq!((whole.payload, whole.through.len()), (other, 0));
        }
        let wordless = json!({"EventSource": "aws:sns", "Sns": {"Message": 7}});
        assert!(unpack(wordless, Via::Event).remove(0).is_err());
    }
}
