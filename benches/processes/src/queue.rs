//! Amazon SQS as a function sees it: what is not deleted comes again.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

/// As `template.yaml` has it.
pub const BATCH: usize = 10;

struct Message {
    id: String,
    body: String,
    /// Counted from the beginning, as every instant here.
    visible_at: Duration,
    received: usize,
}

pub struct Queue {
    messages: Vec<Message>,
    visibility: Duration,
    sent: usize,
    /// How often any message was received again.
    pub again: usize,
    /// How often the one was received that was received most often.
    pub most: usize,
}

impl Queue {
    pub fn new(visibility: Duration) -> Self {
        Self { messages: Vec::new(), visibility, sent: 0, again: 0, most: 0 }
    }

    pub fn send(&mut self, body: String) {
        self.sent += 1;
        let id = format!("message-{}", self.sent);
        self.messages.push(Message { id, body, visible_at: Duration::ZERO, received: 0 });
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The event of the next batch; nothing where no message may be had by now.
    pub fn receive(&mut self, now: Duration) -> Option<Value> {
        let mut records = Vec::new();
        for message in self.messages.iter_mut().filter(|message| message.visible_at <= now).take(BATCH) {
            message.visible_at = now + self.visibility;
            message.received += 1;
            self.again += usize::from(message.received > 1);
            self.most = self.most.max(message.received);
            records.push(record(message));
        }
        (!records.is_empty()).then(|| json!({ "Records": records }))
    }

    /// Deletes what the function does not want to see again.
    pub fn settle(&mut self, event: &Value, answer: &Value) {
        let ids = |list: &Value, key: &str| -> HashSet<String> {
            let list = list.as_array().expect("a list").iter();
            list.map(|item| item[key].as_str().expect("an id").to_owned()).collect()
        };
        let failed = ids(&answer["batchItemFailures"], "itemIdentifier");
        let received = ids(&event["Records"], "messageId");
        self.messages.retain(|message| !received.contains(&message.id) || failed.contains(&message.id));
    }
}

fn record(message: &Message) -> Value {
    json!({
        "messageId": message.id, "eventSource": "aws:sqs", "awsRegion": "eu-west-1", "receiptHandle": "r",
        "md5OfBody": "", "body": message.body, "messageAttributes": {},
        "attributes": {"ApproximateReceiveCount": message.received.to_string()},
        "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:vpn-revoker-signals",
    })
}

/// Okta's word about somebody, on its way through EventBridge.
pub fn okta(sample: &str, number: usize, name: &str, at: &str) -> String {
    let mut event: Value = serde_json::from_str(sample).expect("a sample");
    event["detail"]["uuid"] = json!(format!("5f0c2a1e-0d51-11f1-8c1e-demo{number:08}"));
    event["detail"]["published"] = json!(at);
    event["detail"]["target"][0]["alternateId"] = json!(name);
    event["detail"]["target"][0]["displayName"] = json!(name);
    event.to_string()
}

pub const DEACTIVATED: &str = include_str!("../../../events/okta/deactivate-eventbridge.json");
pub const UNSUSPENDED: &str = include_str!("../../../events/okta/unsuspend-eventbridge.json");
