//! Many people off-boarded at once, under EC2's request limits: how long until nobody of them is connected, beside how
//! long the limits alone take.
//!
//! In real time: what takes long is waiting for AWS's buckets, and a thousand people take three minutes. The bench `flood`
//! of `vpn-revoker` is the same without the waiting.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Programs;
use crate::aws::Aws;
use crate::crowd::{self, CONCURRENCY, ENDPOINTS, Size};
use crate::lambda::{Lambda, command};
use crate::picture::{Line, picture};
use crate::queue::Queue;

/// Prints the table.
pub async fn table(given: &Programs, sizes: &[Size]) {
    println!("{}", crowd::HEAD);
    let mut lines = ["EC2's limits alone", "nobody connected"].map(|name| Line { name, points: Vec::new() });
    for &size in sizes {
        let seconds = [size.alone(), flood(given, size).await];
        if size.each == 1 {
            lines.iter_mut().zip(seconds).for_each(|(line, seconds)| line.points.push((size.people as f64, seconds)));
        }
    }
    if sizes.len() > 1 {
        picture("flood.svg", ("people off-boarded at once", "seconds"), &lines);
    }
}

/// Prints a row; how long it took, in seconds.
async fn flood(given: &Programs, size: Size) -> f64 {
    let aws = Arc::new(Aws::start(ENDPOINTS, Duration::ZERO, |emulator| emulator.buckets(true)).await);
    size.connections().for_each(|(endpoint, user)| drop(aws.connect(endpoint, &user)));
    let queue = Arc::new(Mutex::new(size.queue()));
    let begun = Instant::now();
    let watched = Arc::clone(&aws);
    let out = tokio::spawn(async move {
        while watched
            .emulator
            .connections()
            .iter()
            .any(|row| row.status.is_alive() && crowd::leaves(row.username.as_deref()))
        {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        begun.elapsed().as_secs_f64()
    });
    let mut environments = Vec::new();
    for _ in 0..CONCURRENCY {
        environments.push(tokio::spawn(environment(
            given.revoker.clone(),
            Arc::clone(&aws),
            Arc::clone(&queue),
            begun,
        )));
    }
    for environment in environments {
        environment.await.expect("no environment ends early");
    }
    let verified = begun.elapsed().as_secs_f64();
    let out = out.await.expect("somebody watches");
    let again = queue.lock().expect("no panic").again;
    println!("{}", crowd::row(size, [out, verified], &aws.emulator.requests(), again));
    out
}

/// One execution environment, for as long as there is anything in the queue.
async fn environment(program: std::path::PathBuf, aws: Arc<Aws>, queue: Arc<Mutex<Queue>>, begun: Instant) {
    // So many at once are meant: the circuit breaker would stop at 50, unless whoever deploys it says so too.
    let variables = aws.variables(&[("VPN_REVOKER_MAX_SUBJECTS", "10000")]);
    let mut lambda: Option<Lambda> = None;
    loop {
        let event = {
            let mut queue = queue.lock().expect("no panic");
            if queue.is_empty() {
                return;
            }
            queue.receive(begun.elapsed())
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
