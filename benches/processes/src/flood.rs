//! Many people off-boarded at once, under EC2's request limits: how long until nobody of them is connected, beside how
//! long the limits alone take.
//!
//! In real time: what takes long is waiting for AWS's buckets, and a thousand people take three minutes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Programs;
use crate::aws::Aws;
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};
use crate::queue::{DEACTIVATED, Queue, okta};

/// As `template.yaml` has them.
const CONCURRENCY: usize = 5;
const VISIBILITY: Duration = Duration::from_secs(150);

const ENDPOINTS: usize = 3;

/// EC2's bucket for terminate calls (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>).
const AT_ONCE: f64 = 50.0;
const A_SECOND: f64 = 5.0;

/// So many people, with so many connections each, on endpoints of their own.
pub type Size = (usize, usize);

/// Prints the table.
pub async fn table(given: &Programs, sizes: &[Size]) {
    println!(
        "| people | connections of each | the limits alone | nobody connected | beside | all verified | terminate calls | refused | listings | refused | delivered again |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut lines = ["EC2's limits alone", "nobody connected"].map(|name| Line { name, points: Vec::new() });
    for &(people, each) in sizes {
        let seconds = flood(given, (people, each)).await;
        if each == 1 {
            lines.iter_mut().zip(seconds).for_each(|(line, seconds)| line.points.push((people as f64, seconds)));
        }
    }
    if sizes.len() > 1 {
        picture("flood.svg", ("people off-boarded at once", "seconds"), &lines);
    }
}

/// Prints a row; how long the limits alone take, and how long it took.
async fn flood(given: &Programs, (people, each): Size) -> [f64; 2] {
    let aws = Arc::new(Aws::start(ENDPOINTS, Duration::ZERO, |emulator| emulator.buckets(true)).await);
    for number in 0..people {
        (0..each).for_each(|more| drop(aws.connect((number + more) % ENDPOINTS, &name(number))));
    }
    let mut queue = Queue::new(VISIBILITY);
    for number in 0..people {
        queue.send(okta(DEACTIVATED, number, &name(number), "2026-03-01T09:29:57.250Z"));
    }
    let queue = Arc::new(Mutex::new(queue));
    let begun = Instant::now();
    let watched = Arc::clone(&aws);
    let out = tokio::spawn(async move {
        while watched.emulator.connections().iter().any(|row| row.status.is_alive()) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        begun.elapsed()
    });
    let mut environments = Vec::new();
    for _ in 0..CONCURRENCY {
        environments.push(tokio::spawn(environment(given.revoker.clone(), Arc::clone(&aws), Arc::clone(&queue))));
    }
    for environment in environments {
        environment.await.expect("no environment ends early");
    }
    let verified = begun.elapsed();
    let out = out.await.expect("somebody watches").as_secs_f64();
    let alone = ((people * each) as f64 - AT_ONCE).max(0.0) / A_SECOND;
    let calls = |action: &str| {
        let requests = aws.emulator.requests();
        let all: Vec<_> = requests.into_iter().filter(|request| request.action == action).collect();
        let refused = all.iter().filter(|request| request.code.as_deref() == Some("RequestLimitExceeded")).count();
        format!("{} | {refused}", all.len())
    };
    println!(
        "| {people} | {each} | {alone:.0} s | {out:.0} s | {:.2} × | {:.0} s | {} | {} | {} |",
        out / alone,
        verified.as_secs_f64(),
        calls("TerminateClientVpnConnections"),
        calls("DescribeClientVpnConnections"),
        queue.lock().expect("no panic").again,
    );
    [alone, out]
}

/// One execution environment, for as long as there is anything in the queue.
async fn environment(program: std::path::PathBuf, aws: Arc<Aws>, queue: Arc<Mutex<Queue>>) {
    // So many at once are meant: the circuit breaker would stop at 50, unless whoever deploys it says so too.
    let variables = aws.variables(&[("VPN_REVOKER_MAX_SUBJECTS", "10000")]);
    let mut lambda: Option<Lambda> = None;
    loop {
        let event = {
            let mut queue = queue.lock().expect("no panic");
            if queue.is_empty() {
                return;
            }
            queue.receive()
        };
        let Some(event) = event else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let answer = match &mut lambda {
            Some(lambda) => lambda.try_ask(&event).await,
            None => Ok(lambda
                .insert(Lambda::start(command(std::slice::from_ref(&program), &variables), &event).await)
                .first_answer()
                .await),
        };
        // A function that fails leaves its whole batch in the queue.
        if let Ok(answer) = answer {
            queue.lock().expect("no panic").settle(&event, &answer.body);
        }
    }
}

fn name(number: usize) -> String {
    format!("leaver-{number}@example.com")
}
