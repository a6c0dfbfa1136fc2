//! Promise: all files of a result directory say of two captures what happened between them, each value for itself.
//!
//! A small path is played here, written as two captures, and reckoned by hand from what was played.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests")]

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const START_NS: u64 = 1_700_000_000_000_000_000;

/// A frame that was captured: when, and its bytes.
type Frame = (u64, Vec<u8>);

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What was played of one direction.
#[derive(Default)]
struct Played {
    sent: u64,
    lost: u64,
    duplicated: u64,
    /// Of first copies: when sent, when arrived.
    arrivals: Vec<(u64, u64)>,
}

impl Played {
    fn delays(&self) -> Vec<u64> {
        let mut delays: Vec<u64> = self.arrivals.iter().map(|(sent, arrived)| arrived - sent).collect();
        delays.sort_unstable();
        delays
    }

    fn reordered(&self) -> u64 {
        let mut arrivals = self.arrivals.clone();
        arrivals.sort_by_key(|(_, arrived)| *arrived);
        let later = |at: usize| arrivals[..at].iter().any(|(sent, _)| *sent > arrivals[at].0);
        (0..arrivals.len()).filter(|at| later(*at)).count() as u64
    }

    fn sum(&self) -> u128 {
        self.delays().into_iter().map(u128::from).sum()
    }
}

/// A UDP datagram over IPv4 in an Ethernet frame; its `number` makes it another one.
fn frame(from: u8, to: u8, number: u64, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0];
    let data: Vec<u8> = number.to_be_bytes().into_iter().chain(std::iter::repeat_n(7, len)).collect();
    let mut ip = vec![0x45, 0];
    ip.extend((28 + data.len() as u16).to_be_bytes());
    ip.extend([number as u8, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
    frame.extend(ip);
    frame.extend([0x13, 0x89, 0x13, 0x89]);
    frame.extend((8 + data.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(data);
    frame
}

fn pcap(mut frames: Vec<Frame>) -> Vec<u8> {
    frames.sort_by_key(|(time_ns, _)| *time_ns);
    // Little-endian, with nanoseconds, of Ethernet.
    let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (time_ns, frame) in frames {
        file.extend(((time_ns / 1_000_000_000) as u32).to_le_bytes());
        file.extend(((time_ns % 1_000_000_000) as u32).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend(frame);
    }
    file
}

/// Packets at each end of what is played that all arrive: more than are sent in twice the longest delay.
const EDGE: u64 = 40;

/// Plays `count` packets from one side to the other.
fn play(rng: &mut Rng, from: u8, to: u8, count: u64, near: &mut Vec<Frame>, far: &mut Vec<Frame>) -> Played {
    let mut played = Played::default();
    let mut time_ns = START_NS + u64::from(from);
    for number in 0..count {
        // Times of the two directions never meet: one has all even ones, the other all odd ones.
        time_ns += 2 * (1 + rng.below(1_500_000));
        let frame = frame(from, to, number, rng.below(900) as usize);
        near.push((time_ns, frame.clone()));
        played.sent += 1;
        // What is lost where the far capture may not have looked yet, or no longer, is undetermined: see `captures_right`.
        let is_within = (EDGE..count - EDGE).contains(&number);
        if rng.below(20) == 0 && is_within {
            played.lost += 1;
            continue;
        }
        let arrived = time_ns + 2 * (1_000_000 + rng.below(3_000_000));
        far.push((arrived, frame.clone()));
        played.arrivals.push((time_ns, arrived));
        if rng.below(25) == 0 {
            played.duplicated += 1;
            far.push((arrived + 2 * (1 + rng.below(500_000)), frame));
        }
    }
    played
}

/// The value of the nearest rank in a histogram of three digits.
fn quantile(delays: &[u64], q: f64) -> u64 {
    let rank = ((q * delays.len() as f64).round() as usize).clamp(1, delays.len());
    let value = delays[rank - 1];
    value | ((1 << (64 - value.leading_zeros()).saturating_sub(11)) - 1)
}

fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|letter| *letter == c).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// One of the paths: its names, and what was played there.
type Way<'a> = (&'a str, &'a str, &'a Played);

fn check_summary(summary: &Value, ways: &[Way<'_>], frames: u64, unique: u64) {
    let accounting = &summary["accounting"];
    for (name, count) in [
        ("offered", frames),
        ("accepted", frames),
        ("unique", unique),
        ("duplicates", frames - unique),
        ("dropped_full", 0),
        ("rejected", 0),
        ("in_flight", 0),
    ] {
        assert_eq!(accounting[name], count, "{name}");
    }
    let sightings = &accounting["observers"]["sightings"];
    assert_eq!((&sightings["handled"], &sightings["duplicates"]), (&json!(unique), &json!(frames - unique)));
    let packets = &summary["packets"];
    assert_eq!((&packets["flows"], &packets["digest_bytes"]), (&json!(2), &json!(null)));
    assert_eq!(packets["paths"].as_array().unwrap().len(), ways.len());
    for (from, to, played) in ways {
        let is = |path: &&Value| path["from"] == *from && path["to"] == *to;
        let path = packets["paths"].as_array().unwrap().iter().find(is).unwrap();
        let delays = played.delays();
        for (name, count) in [
            ("sent", played.sent),
            ("lost", played.lost),
            ("duplicated", played.duplicated),
            ("reordered", played.reordered()),
        ] {
            assert_eq!(path[name], count, "{from} {name}");
        }
        let (max, count) = (*delays.last().unwrap(), delays.len() as u128);
        let shown = |q| quantile(&delays, q).min(max);
        assert_eq!(
            path["delay_ns"],
            json!({
                "count": delays.len(), "min": delays[0], "p50": shown(0.5), "p90": shown(0.9),
                "p99": shown(0.99), "p999": shown(0.999), "max": max,
                "mean": ((2 * played.sum() + count) / (2 * count)) as u64,
            })
        );
    }
}

fn check_paths(text: &str, ways: &[Way<'_>]) {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let mut rows: BTreeMap<(String, String), BTreeMap<&str, &str>> = BTreeMap::new();
    for line in lines {
        assert_eq!(line.len(), header.len());
        let row: BTreeMap<&str, &str> = header.iter().copied().zip(line).collect();
        rows.insert((row["from"].to_owned(), row["to"].to_owned()), row);
    }
    assert_eq!(rows.len(), ways.len());
    for (from, to, played) in ways {
        let row = &rows[&((*from).to_owned(), (*to).to_owned())];
        let delays = played.delays();
        let (max, count) = (*delays.last().unwrap(), delays.len() as u128);
        for (name, value) in [
            ("sent", played.sent),
            ("lost", played.lost),
            ("duplicated", played.duplicated),
            ("reordered", played.reordered()),
            ("delay_count", delays.len() as u64),
            ("delay_min_ns", delays[0]),
            ("delay_p50_ns", quantile(&delays, 0.5).min(max)),
            ("delay_p90_ns", quantile(&delays, 0.9).min(max)),
            ("delay_p99_ns", quantile(&delays, 0.99).min(max)),
            ("delay_p999_ns", quantile(&delays, 0.999).min(max)),
            ("delay_max_ns", max),
            ("delay_mean_ns", ((2 * played.sum() + count) / (2 * count)) as u64),
        ] {
            assert_eq!(row[name], value.to_string(), "{from} {name}");
        }
    }
}

fn check_metrics(text: &str, ways: &[Way<'_>], inputs: &[(&str, u64)], kind: (u64, u64), sizes: &[u64]) {
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no sample {name}")).parse().unwrap()
    };
    let near = |name: String, expected: f64| {
        let found = value(&name);
        assert!((found - expected).abs() <= expected.abs() * 1e-12, "{name}: {found}, expected {expected}");
    };
    for (vantage, frames) in inputs {
        for (name, count) in [("records", *frames), ("rejected", 0), ("non_ip", 1)] {
            near(format!("panther_input_{name}_total{{vantage=\"{vantage}\"}}"), count as f64);
        }
    }
    near("panther_events_by_kind_total{kind=\"packet.seen\",verdict=\"new\"}".into(), kind.0 as f64);
    near("panther_events_by_kind_total{kind=\"packet.seen\",verdict=\"duplicate\"}".into(), kind.1 as f64);
    let measure = "kind=\"packet.seen\",field=\"wire_len_bytes\"";
    near(format!("panther_payload_bytes_count{{{measure}}}"), sizes.len() as f64);
    near(format!("panther_payload_bytes_sum{{{measure}}}"), sizes.iter().sum::<u64>() as f64);
    near(format!("panther_payload_bytes{{{measure},quantile=\"0.9\"}}"), quantile(sizes, 0.9) as f64);
    for (from, to, played) in ways {
        let labels = format!("from=\"{from}\",to=\"{to}\"");
        for (name, count) in [
            ("sent", played.sent),
            ("lost", played.lost),
            ("duplicated", played.duplicated),
            ("reordered", played.reordered()),
        ] {
            near(format!("panther_path_{name}_total{{{labels}}}"), count as f64);
        }
        let delays = played.delays();
        for q in [0.5, 0.9, 0.99, 0.999] {
            let name = format!("panther_path_delay_seconds{{{labels},quantile=\"{q}\"}}");
            near(name, quantile(&delays, q) as f64 / 1e9);
        }
        near(format!("panther_path_delay_seconds_count{{{labels}}}"), delays.len() as f64);
        near(format!("panther_path_delay_seconds_sum{{{labels}}}"), played.sum() as f64 / 1e9);
    }
}

fn check_delays(log: &[u8], ways: &[Way<'_>], first_ns: u64, last_ns: u64) {
    let entries: Vec<_> = IntervalLogIterator::new(log).map(Result::unwrap).collect();
    let millis = |ns: u64| Duration::from_millis(ns / 1_000_000);
    let intervals = entries.iter().filter_map(|entry| match entry {
        LogEntry::StartTime(start) | LogEntry::BaseTime(start) => {
            assert_eq!(*start, millis(first_ns));
            None
        }
        LogEntry::Interval(interval) => Some(interval),
    });
    let mut tags = Vec::new();
    for interval in intervals {
        let tag = interval.tag().unwrap().as_str();
        tags.push(tag.to_owned());
        let (_, _, played) = ways.iter().find(|(from, to, _)| format!("{from}->{to}") == tag).unwrap();
        assert_eq!(
            (interval.start_timestamp(), interval.duration()),
            (Duration::ZERO, millis(last_ns - first_ns))
        );
        let delays = played.delays();
        // In milliseconds, and to three digits.
        let max_ms = quantile(&delays, 1.0) as f64 / 1e6;
        assert!((interval.max() - max_ms).abs() <= 0.001, "{tag}: {} ms, not {max_ms}", interval.max());
        let bytes = unbase64(interval.encoded_histogram());
        let found: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let mut expected = Histogram::<u64>::new(3).unwrap();
        delays.iter().for_each(|delay| expected.record(*delay).unwrap());
        let counts = |histogram: &Histogram<u64>| -> Vec<(u64, u64)> {
            histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
        };
        assert_eq!(counts(&found), counts(&expected), "{tag}");
    }
    tags.sort();
    assert_eq!(tags, ["client->server", "server->client"]);
}

/// Every frame, in order of its own time at each vantage point: size, verdict, and when it was first seen.
fn check_events(text: &str, vantages: [(&str, &[Frame]); 2]) {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ids: BTreeMap<String, &Vec<u8>> = BTreeMap::new();
    for (vantage, frames) in vantages {
        let mut frames = frames.to_vec();
        frames.sort_by_key(|(time_ns, _)| *time_ns);
        let here = lines.iter().filter(|line| line["payload"]["vantage"] == vantage);
        let found: Vec<(u64, u64, u64)> = here
            .map(|line| {
                let number = |value: &Value| value.as_u64().unwrap();
                let payload = &line["payload"];
                assert_eq!((&line["kind"], &payload["protocol"]), (&json!("packet.seen"), &json!(17)));
                (
                    number(&line["time_ns"]),
                    number(&payload["wire_len_bytes"]),
                    number(&payload["captured_len_bytes"]),
                )
            })
            .collect();
        let expected: Vec<(u64, u64, u64)> = frames
            .iter()
            .map(|(time_ns, frame)| (*time_ns, frame.len() as u64, frame.len() as u64))
            .collect();
        assert_eq!(found, expected, "{vantage}");
    }
    // One id for equal frames, other ids for others; only the first of them is new.
    let of = |line: &Value| {
        let time_ns = line["time_ns"].as_u64().unwrap();
        let here = vantages.into_iter().find(|(vantage, _)| line["payload"]["vantage"] == *vantage).unwrap();
        here.1.iter().find(|frame| frame.0 == time_ns).map(|frame| &frame.1).unwrap()
    };
    let mut first: BTreeMap<&Vec<u8>, u64> = BTreeMap::new();
    for line in &lines {
        let (frame, id) = (of(line), line["id"].as_str().unwrap().to_owned());
        assert_eq!(*ids.entry(id).or_insert(frame), frame);
        match first.get(frame) {
            None => assert_eq!(line["verdict"], "new"),
            Some(time_ns) => {
                assert_eq!(
                    (&line["verdict"], &line["first_time_ns"]),
                    (&json!("duplicate"), &json!(time_ns))
                );
            }
        }
        first.entry(frame).or_insert(line["time_ns"].as_u64().unwrap());
    }
    assert_eq!(ids.len(), first.len());
}

#[test]
fn every_file_says_what_happened_between_two_captures() {
    let given = std::env::var("PANTHER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    println!("PANTHER_SEED={seed}");
    let mut rng = Rng(seed);
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let there = play(&mut rng, 1, 2, 900, &mut client, &mut server);
    let back = play(&mut rng, 2, 1, 400, &mut server, &mut client);
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, frames: &[Frame]| {
        // One frame that holds no IP packet.
        let mut frames = frames.to_vec();
        let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
        frames.push((START_NS + 1_000_000, arp));
        let path = temp.path().join(name);
        fs::write(&path, pcap(frames)).unwrap();
        path
    };
    let files = [write("client.pcap", &client), write("server.pcap", &server)];
    let (frames, unique) = ((client.len() + server.len()) as u64, there.sent + back.sent);
    let ways = [("client", "server", &there), ("server", "client", &back)];
    let mut sizes: Vec<u64> = Vec::new();
    // Each packet once: at the side that sent it.
    for (frames, from) in [(&client, 1), (&server, 2)] {
        sizes.extend(
            frames.iter().filter(|(_, frame)| frame[11] == from).map(|(_, frame)| frame.len() as u64),
        );
    }
    sizes.sort_unstable();
    assert_eq!(sizes.len() as u64, unique);
    for topology in ["inline", "fused", "staged:2x2"] {
        let out = temp.path().join(topology.replace(':', "-"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
        command.arg("ingest").args(&files).arg("--out").arg(&out);
        let output = command.args(["--events", "all", "--topology", topology]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{topology} seed {seed}: {stderr}");
        let text = |name: &str| fs::read_to_string(Path::new(&out).join(name)).unwrap();
        let summary: Value = serde_json::from_str(&text("summary.json")).unwrap();
        check_summary(&summary, &ways, frames, unique);
        check_paths(&text("paths.csv"), &ways);
        let inputs = [("client", client.len() as u64 + 1), ("server", server.len() as u64 + 1)];
        check_metrics(&text("metrics.om"), &ways, &inputs, (unique, frames - unique), &sizes);
        let times = || client.iter().chain(&server).map(|(time_ns, _)| *time_ns);
        let (first_ns, last_ns) = (times().min().unwrap(), times().max().unwrap());
        check_delays(text("delay.hlog").as_bytes(), &ways, first_ns, last_ns);
        check_events(&text("events.jsonl"), [("client", &client), ("server", &server)]);
    }
}
