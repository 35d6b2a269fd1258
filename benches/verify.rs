//! What `vpn-revoker audit verify` costs: time and peak memory, for trails of three sizes.
//!
//!     cargo bench --bench verify

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use revocation::audit::{Cause, Draft, Head, Kind};
use revocation::signal::{Authority, SignalId};
use revocation::time::Timestamp;
use serde_json::{Map, Value, json};

/// Entries of one subject.
const CHAIN: usize = 50;

fn main() {
    // `cargo test` runs benches once to see that they work.
    let sizes: &[usize] =
        if std::env::args().any(|argument| argument == "--bench") { &[10_000, 100_000, 1_000_000] } else { &[1_000] };
    println!("| entries | subjects | seconds | entries a second | peak memory |\n|---|---|---|---|---|");
    for &entries in sizes {
        let path = std::env::temp_dir().join(format!("vpn-revoker-bench-{}-{entries}.jsonl", std::process::id()));
        write(&path, entries);
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vpn-revoker"))
            .args(["audit", "verify", "--export"])
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let peak = peak_of(&mut child);
        let took = began.elapsed();
        assert!(child.wait().unwrap().success(), "the trail is whole");
        std::fs::remove_file(&path).unwrap();
        let rate = entries as f64 / took.as_secs_f64();
        println!(
            "| {entries} | {} | {:.2} | {rate:.0} | {:.1} MiB |",
            entries / CHAIN,
            took.as_secs_f64(),
            peak as f64 / 1024.0
        );
    }
}

/// The peak of a process's memory in KiB, looked at until it ends.
fn peak_of(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// An export of so many entries, with heads.
fn write(path: &Path, entries: usize) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let at = Timestamp::parse("2026-03-01T09:30:00Z").unwrap();
    let (authority, signal) = (Authority::producer("okta", Some("acme")), SignalId::new("okta:bench"));
    let detail: Map<String, Value> = match json!({"names": ["somebody@example.com"], "endpoints": ["cvpn-endpoint-0123456789abcdef0"], "mode": "enforce"})
    {
        Value::Object(detail) => detail,
        _ => Map::new(),
    };
    let cause = Cause {
        signal_id: &signal,
        authority: &authority,
        source: "bench",
        actor: None,
        reason: Some("user.lifecycle.deactivate"),
    };
    writeln!(out, r##"{{"#export":{{"of":"all"}}}}"##).unwrap();
    for number in 0..entries / CHAIN {
        let chain = format!("subject-{number}@example.com");
        let mut head = Head::genesis();
        for _ in 0..CHAIN {
            let entry = Draft::because(&cause, &chain, Kind::Incomplete, at, detail.clone()).seal(&head).unwrap();
            head = entry.head();
            serde_json::to_writer(&mut out, entry.attributes()).unwrap();
            out.write_all(b"\n").unwrap();
        }
        serde_json::to_writer(&mut out, &json!({"#head": chain, "seq": head.seq, "hash": head.hash})).unwrap();
        out.write_all(b"\n").unwrap();
    }
    let end = json!({"#end": {"entries": entries / CHAIN * CHAIN, "heads": entries / CHAIN}});
    writeln!(out, "{end}").unwrap();
    out.flush().unwrap();
}
