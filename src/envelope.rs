//! What Lambda delivers: an SQS batch, SNS records, or one payload.

use aws_lambda_events::event::sqs::SqsMessage;
use revocation::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An invoke, taken apart into messages.
#[derive(Debug)]
pub(crate) enum Envelope {
    /// An SQS batch; each message fails or succeeds by itself.
    Sqs(Vec<Message>),
    /// SNS records; they fail or succeed together.
    Sns(Vec<Message>),
    /// One payload: an EventBridge event, a command, or a producer's event.
    Single,
}

/// One message of several.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its id; without one it can't be reported as failed.
    pub(crate) id: Option<String>,
    /// What it holds, where that could be found.
    pub(crate) body: Option<String>,
    /// When it was sent, by the transport's word.
    pub(crate) sent_at: Option<Timestamp>,
}

/// Enough of a payload to see which it is. The records themselves are read one by one, so that one that is malformed
/// does not take the others with it.
#[derive(Deserialize)]
struct Probe {
    #[serde(rename = "Records", default)]
    records: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct RecordProbe {
    #[serde(rename = "eventSource")]
    sqs: Option<String>,
    #[serde(rename = "EventSource")]
    sns: Option<String>,
    #[serde(rename = "messageId")]
    message_id: Option<String>,
}

impl Envelope {
    pub(crate) fn of(payload: &[u8]) -> Self {
        let records = serde_json::from_slice::<Probe>(payload).map(|probe| probe.records).unwrap_or_default();
        let probes: Vec<Option<RecordProbe>> =
            records.iter().map(|record| serde_json::from_str(record.get()).ok()).collect();
        let any = |is: fn(&RecordProbe) -> bool| probes.iter().flatten().any(is);
        let pairs = || records.iter().zip(&probes);
        if any(|probe| probe.sqs.as_deref() == Some("aws:sqs")) {
            Self::Sqs(pairs().map(|(record, probe)| sqs(record, probe.as_ref())).collect())
        } else if any(|probe| probe.sns.as_deref() == Some("aws:sns")) {
            Self::Sns(records.iter().map(|record| sns(record)).collect())
        } else {
            Self::Single
        }
    }
}

fn sqs(record: &RawValue, probe: Option<&RecordProbe>) -> Message {
    match serde_json::from_str::<SqsMessage>(record.get()) {
        Ok(message) => Message {
            sent_at: message
                .attributes
                .get("SentTimestamp")
                .and_then(|millis| millis.parse().ok())
                .map(Timestamp::from_millis),
            id: message.message_id,
            body: message.body,
        },
        // Not as AWS writes it, in a field that nobody reads here.
        Err(_) => match serde_json::from_str::<BareRecord>(record.get()) {
            Ok(bare) => Message { sent_at: bare.attributes.sent_at(), id: bare.message_id, body: Some(bare.body) },
            Err(_) => Message { id: probe.and_then(|probe| probe.message_id.clone()), body: None, sent_at: None },
        },
    }
}

/// As much of an SQS record as is needed: a record must not be lost over a field that nobody reads.
#[derive(Deserialize)]
struct BareRecord {
    #[serde(rename = "messageId")]
    message_id: Option<String>,
    body: String,
    #[serde(default)]
    attributes: BareAttributes,
}

#[derive(Deserialize, Default)]
struct BareAttributes {
    #[serde(rename = "SentTimestamp", default)]
    sent_at: Value,
}

impl BareAttributes {
    fn sent_at(&self) -> Option<Timestamp> {
        let millis = self.sent_at.as_i64().or_else(|| self.sent_at.as_str()?.parse().ok());
        millis.map(Timestamp::from_millis)
    }
}

/// The same of an SNS record.
#[derive(Deserialize)]
struct SnsRecord {
    #[serde(rename = "Sns")]
    sns: SnsMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsMessage {
    message_id: Option<String>,
    message: Option<String>,
}

fn sns(record: &RawValue) -> Message {
    match serde_json::from_str::<SnsRecord>(record.get()) {
        Ok(SnsRecord { sns }) => Message { id: sns.message_id, body: sns.message, sent_at: None },
        Err(_) => Message { id: None, body: None, sent_at: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_malformed_record_leaves_the_others_readable() {
        let payload = json!({"Records": [
            {"eventSource": "aws:sqs", "messageId": "1", "body": "a", "attributes": {"SentTimestamp": "1772357399000"}},
            {"eventSource": "aws:sqs", "messageId": "2", "body": {"not": "a text"}},
            7,
        ]});
        let Envelope::Sqs(messages) = Envelope::of(payload.to_string().as_bytes()) else { panic!("no SQS batch") };
        let seen: Vec<(Option<&str>, Option<&str>)> =
            messages.iter().map(|m| (m.id.as_deref(), m.body.as_deref())).collect();
        assert_eq!(seen, [(Some("1"), Some("a")), (Some("2"), None), (None, None)]);
        assert_eq!(messages[0].sent_at.unwrap().to_string(), "2026-03-01T09:29:59.000Z");
    }

    #[test]
    fn a_record_is_not_lost_over_a_field_that_nobody_reads() {
        let odd = json!({"Records": [
            {"eventSource": "aws:sqs", "messageId": "1", "body": "a", "attributes": {"SentTimestamp": 1_772_357_399_000_u64}},
            {"eventSource": "aws:sqs", "messageId": "2", "body": "b", "attributes": {"SentTimestamp": "1772357399000"},
                "messageAttributes": {"note": {"dataType": "Binary", "binaryValue": "%"}}},
            {"eventSource": "aws:sqs", "messageId": "3", "body": "c", "awsRegion": 7},
        ]});
        let Envelope::Sqs(messages) = Envelope::of(odd.to_string().as_bytes()) else { panic!("no SQS batch") };
        let seen = messages.iter().map(|m| (m.id.as_deref(), m.body.as_deref(), m.sent_at.map(|at| at.to_string())));
        let sent = Some("2026-03-01T09:29:59.000Z".to_owned());
        let expected = [("1", "a", sent.clone()), ("2", "b", sent), ("3", "c", None)];
        assert!(seen.eq(expected.map(|(id, body, sent)| (Some(id), Some(body), sent))));
    }

    #[test]
    fn everything_else_is_one_payload() {
        for payload in [
            "{}",
            "[]",
            "not json",
            r#"{"Records":[]}"#,
            r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
            r#"{"Records":7}"#,
        ] {
            assert!(matches!(Envelope::of(payload.as_bytes()), Envelope::Single), "{payload}");
        }
    }
}
