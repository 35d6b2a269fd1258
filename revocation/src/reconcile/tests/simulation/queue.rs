//! The queue, as SQS keeps it: at least once, in no order, again after the visibility timeout, and after some receives
//! into the dead-letter queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::Virtual;
use super::die::Die;
use super::events::Said;
use super::tally::Tally;
use crate::ports::Clock;
use crate::time::Timestamp;

/// As in `template.yaml`.
const VISIBILITY: Duration = Duration::from_secs(150);

/// Fewer messages than in `template.yaml`, so that more batches stand beside one another.
const BATCH: usize = 5;

/// How often a message is received before it is a dead letter: fewer times than in `template.yaml`, so that the queue
/// gives up often enough.
const RECEIVES: u64 = 3;

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) body: Arc<[u8]>,
    /// What it says, for whoever checks what was read.
    pub(super) said: Arc<[Said]>,
    /// How many of its items nobody can read.
    pub(super) noises: usize,
    pub(super) sent_at: Timestamp,
    visible_at: Timestamp,
    receives: u64,
    /// It was a dead letter before.
    pub(super) redriven: bool,
}

#[derive(Default)]
struct Kept {
    messages: Vec<Message>,
    dead: Vec<Message>,
    sent: u64,
}

pub(super) struct Queue {
    seed: u64,
    clock: Arc<Virtual>,
    tally: Arc<Mutex<Tally>>,
    kept: Mutex<Kept>,
    changed: Notify,
}

impl Queue {
    pub(super) fn new(seed: u64, clock: &Arc<Virtual>, tally: &Arc<Mutex<Tally>>) -> Self {
        Self {
            seed,
            clock: Arc::clone(clock),
            tally: Arc::clone(tally),
            kept: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn send(&self, body: Vec<u8>, said: Vec<Said>, noises: usize) -> u64 {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap();
        kept.sent += 1;
        let number = kept.sent;
        kept.messages.push(Message {
            number,
            body: body.into(),
            said: said.into(),
            noises,
            sent_at: now,
            visible_at: now,
            receives: 0,
            redriven: false,
        });
        drop(kept);
        self.changed.notify_waiters();
        number
    }

    /// Some of the messages that are visible, once there are any. They are invisible to others from now on.
    pub(super) async fn receive(&self) -> Vec<Message> {
        loop {
            let changed = self.changed.notified();
            let batch = self.receive_now();
            if !batch.is_empty() {
                return batch;
            }
            let next = self.kept.lock().unwrap().messages.iter().map(|message| message.visible_at).min();
            tokio::select! {
                biased;
                () = changed => {}
                () = self.next(next) => {}
            }
        }
    }

    async fn next(&self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.clock.reached(at).await,
            None => std::future::pending().await,
        }
    }

    fn receive_now(&self) -> Vec<Message> {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap();
        let Kept { messages, dead, .. } = &mut *kept;
        let given_up = |message: &mut Message| message.visible_at <= now && message.receives >= RECEIVES;
        for message in messages.extract_if(.., given_up) {
            self.tally.lock().unwrap().count("queue", "dead letter");
            dead.push(message);
        }
        // SQS keeps no order. Each message has a die of its own, so that another message more or less changes little.
        let die = |message: &Message, of: u64| Die::about(self.seed, &[message.number, message.receives, of]);
        let mut visible: Vec<&mut Message> = messages.iter_mut().filter(|message| message.visible_at <= now).collect();
        visible.sort_by_key(|message| die(message, 0).next());
        let most = visible.first().map_or(0, |first| 1 + die(first, 1).place(BATCH));
        let mut batch = Vec::new();
        for message in visible.into_iter().take(most) {
            let twice = die(message, 2).one_in(10);
            let again = if twice { die(message, 3).seconds(20) } else { VISIBILITY };
            message.visible_at = now.plus(again);
            message.receives += 1;
            let mut tally = self.tally.lock().unwrap();
            if message.receives > 1 {
                tally.count("queue", "delivered again");
            }
            if twice {
                tally.count("queue", "delivered twice at once");
            }
            batch.push(message.clone());
        }
        batch
    }

    /// A message is done with. One that is a dead letter by now stays one.
    pub(super) fn delete(&self, number: u64) {
        self.kept.lock().unwrap().messages.retain(|message| message.number != number);
    }

    /// Nothing waits, and nothing is being worked on.
    pub(super) fn is_idle(&self) -> bool {
        self.kept.lock().unwrap().messages.is_empty()
    }

    pub(super) fn dead(&self) -> Vec<Message> {
        self.kept.lock().unwrap().dead.clone()
    }

    /// A responder sends the dead letters once more. To SQS they are new messages.
    pub(super) fn redrive(&self) -> usize {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap();
        let dead = std::mem::take(&mut kept.dead);
        let redriven = dead.len();
        for message in dead {
            kept.sent += 1;
            let number = kept.sent;
            kept.messages.push(Message {
                number,
                sent_at: now,
                visible_at: now,
                receives: 0,
                redriven: true,
                ..message
            });
            self.tally.lock().unwrap().count("queue", "redriven");
        }
        drop(kept);
        self.changed.notify_waiters();
        redriven
    }
}
