//! Promise: a journal written beside a run gives the same results again, and a damaged one is told of.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn panther(args: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panther-events")).args(args).output().unwrap()
}

macro_rules! run {
    ($($arg:expr),* $(,)?) => { panther(&[$(Path::new($arg)),*]) };
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A run over two captures with a journal beside it.
fn ingested(dir: &Path) -> (PathBuf, PathBuf) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let (out, journal) = (dir.join("first"), dir.join("journal"));
    let (client, server) = (data.join("client.pcap"), data.join("server.pcap"));
    let run = run!("ingest", &client, &server, "--out", &out, "--events", "all", "--journal", &journal);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    (out, journal)
}

/// The summary without what a replay cannot have in common: speed, inputs, memory, and the journal itself.
fn summary(out: &Path) -> Value {
    let mut summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    let members = summary.as_object_mut().unwrap();
    for member in ["throughput", "inputs", "warnings", "topology", "origin"] {
        members.remove(member).unwrap();
    }
    let dedup = members.get_mut("dedup").unwrap().as_object_mut().unwrap();
    dedup.retain(|name, _| !name.ends_with("_bytes"));
    members.get_mut("accounting").unwrap()["observers"].as_object_mut().unwrap().remove("journal");
    summary
}

fn metrics(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("metrics.om")).unwrap();
    let own = |line: &&str| !line.contains("observer=\"journal\"") && !line.contains("_bytes ");
    text.lines().filter(own).map(str::to_owned).collect()
}

#[test]
fn a_replay_gives_the_same_verdicts_and_metrics_as_the_first_run() {
    let dir = tempfile::tempdir().unwrap();
    let (first, journal) = ingested(dir.path());
    let before: Vec<_> =
        fs::read_dir(&journal).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    for topology in ["fused", "inline", "staged:1x1"] {
        let again = dir.path().join(topology.replace(':', "-"));
        let run =
            run!("replay", &journal, "--out", &again, "--events", "all", "--topology", topology, "--quiet");
        assert_eq!((status(&run), text(&run.stderr)), (0, String::new()), "{topology}");
        assert_eq!(summary(&first), summary(&again), "{topology}");
        assert_eq!(metrics(&first), metrics(&again), "{topology}");
        for file in ["paths.csv", "delay.hlog", "events.jsonl"] {
            assert!(
                fs::read(first.join(file)).unwrap() == fs::read(again.join(file)).unwrap(),
                "{topology}: {file}"
            );
        }
    }
    // The journal alone gives every event, with names and documents.
    let events = dir.path().join("events");
    let run = run!("export", &journal, "--format", "jsonl", "--events", "all", "--out", &events);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    let read = |dir: &Path| fs::read(dir.join("events.jsonl")).unwrap();
    assert!(read(&events) == read(&first), "events.jsonl of an export");
    let one = dir.path().join("one");
    let run = run!("export", &journal, "--format", "csv", "--out", &one);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert!(fs::read(one.join("paths.csv")).unwrap() == fs::read(first.join("paths.csv")).unwrap());
    assert!(!one.join("summary.json").exists());
    let after: Vec<_> =
        fs::read_dir(&journal).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(before == after, "reading changed the journal");
}

#[test]
fn what_an_earlier_run_journaled_is_a_duplicate_in_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (first, journal) = ingested(dir.path());
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/client.pcap");
    let out = dir.path().join("second");
    let refused = run!("ingest", &client, "--out", &out, "--journal", &journal);
    assert_eq!(status(&refused), 2);
    assert!(text(&refused.stderr).contains("--resume"), "{}", text(&refused.stderr));
    // The first run's digests covered what its captures had in common.
    let bytes = summary(&first)["packets"]["digest_bytes"].to_string();
    let run = run!(
        "ingest",
        &client,
        "--out",
        &out,
        "--journal",
        &journal,
        "--resume",
        "--digest-bytes",
        &bytes,
        "--quiet"
    );
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    let (first, second) = (summary(&first), summary(&out));
    assert_eq!(second["accounting"]["unique"], 0);
    assert_eq!(second["accounting"]["offered"], second["accounting"]["duplicates"]);
    let verified = run!("verify", &journal);
    assert_eq!(status(&verified), 0);
    let sum =
        first["accounting"]["offered"].as_u64().unwrap() + second["accounting"]["offered"].as_u64().unwrap();
    let cat = run!("cat", &journal);
    assert_eq!(text(&cat.stdout).lines().count() as u64, sum);
}

#[test]
fn cat_filters_by_kind_entity_time_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let (_, journal) = ingested(dir.path());
    let all = text(&run!("cat", &journal).stdout);
    let events: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |args: &[&str]| {
        let mut whole = vec![Path::new("cat"), &journal];
        whole.extend(args.iter().map(Path::new));
        let output = panther(&whole);
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout).lines().count()
    };
    let entity = events[0]["entity"].as_str().unwrap();
    let of_entity = events.iter().filter(|event| event["entity"] == entity).count();
    assert!(of_entity > 0 && of_entity < events.len());
    assert_eq!(count(&["--entity", entity]), of_entity);
    let mut times: Vec<u64> = events.iter().map(|event| event["time_ns"].as_u64().unwrap()).collect();
    times.sort_unstable();
    let (since, until) = (times[times.len() / 3], times[times.len() / 2]);
    let within = times.iter().filter(|time| (since..=until).contains(time)).count();
    assert_eq!(count(&["--since", &since.to_string(), "--until", &until.to_string()]), within);
    assert_eq!(count(&["--kind", "packet"]), events.len());
    assert_eq!(count(&["--kind", "test"]), 0);
    assert_eq!((count(&["--source", "0"]), count(&["--source", "9"])), (events.len(), 0));
    assert_eq!(status(&run!("cat", &journal, "--kind", "no.such")), 2);
}

#[test]
fn damage_is_listed_and_repair_saves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (_, journal) = ingested(dir.path());
    let segment = journal.join("00000000.journal");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let verified = run!("verify", &journal);
    assert_eq!(status(&verified), 1, "{}", text(&verified.stdout));
    let list = text(&verified.stdout);
    assert!(list.contains("segment 0, offset ") && list.contains("records missing"), "{list}");
    let new = dir.path().join("repaired");
    let repaired = run!("repair", &journal, "--out", &new);
    assert_eq!(status(&repaired), 1, "{}", text(&repaired.stderr));
    assert!(fs::read(&segment).unwrap() == bytes, "the old journal was changed");
    let kept = text(&run!("cat", &new).stdout).lines().count();
    assert_eq!(kept, text(&run!("cat", &journal).stdout).lines().count());
    assert!(list.contains(&format!("{} records missing", 3853 - kept)), "{kept}: {list}");
    // The new one is whole, and says what was lost on the way.
    let told = run!("verify", &new);
    assert!(status(&told) == 1 && text(&told.stdout).contains("closed in order"), "{}", text(&told.stdout));
    assert_eq!(status(&run!("repair", &journal, "--out", &new)), 2);

    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for command in ["verify", "cat"] {
        assert_eq!(status(&run!(command, &empty)), 2);
        assert_eq!(status(&run!(command, &dir.path().join("nowhere"))), 2);
    }
    assert_eq!(status(&run!("repair", &empty, "--out", &dir.path().join("x"))), 2);
}

#[test]
fn damage_in_a_resumed_journal_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (first, journal) = ingested(dir.path());
    let segment = journal.join("00000000.journal");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/client.pcap");
    let (out, digest) = (dir.path().join("second"), summary(&first)["packets"]["digest_bytes"].to_string());
    let run =
        run!("ingest", &client, "--out", &out, "--journal", &journal, "--resume", "--digest-bytes", &digest);
    assert_eq!(status(&run), 1, "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("the earlier journal is damaged"), "{}", text(&run.stderr));
    let summary = fs::read_to_string(out.join("summary.json")).unwrap();
    assert!(summary.contains("the earlier journal is damaged"), "{summary}");
}

#[test]
fn a_journal_or_recorder_in_place_of_a_result_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/client.pcap");
    let out = dir.path().join("out");
    for option in ["--journal", "--recorder"] {
        for name in ["summary.json", "MANIFEST", "./x/../events.jsonl"] {
            fs::create_dir_all(out.join("x")).unwrap();
            let run = run!("ingest", &client, "--out", &out, option, &out.join(name), "--digest-bytes", "60");
            assert_eq!(status(&run), 2, "{option} {name}");
            assert!(text(&run.stderr).contains("the run would replace it"), "{}", text(&run.stderr));
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn a_compressed_journal_replays_alike_and_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, plain) = ingested(dir.path());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let (client, server) = (data.join("client.pcap"), data.join("server.pcap"));
    let (out, journal) = (dir.path().join("second"), dir.path().join("packed"));
    let args = ["--events", "all", "--compress", "--quiet"];
    let run = run!(
        "ingest",
        &client,
        &server,
        "--out",
        &out,
        "--journal",
        &journal,
        args[0],
        args[1],
        args[2],
        args[3]
    );
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    let len = |path: &Path| fs::metadata(path).unwrap().len();
    let (packed, whole) = (journal.join("00000000.journal.zst"), plain.join("00000000.journal"));
    assert!(len(&packed) * 3 < len(&whole) * 2, "{} of {}", len(&packed), len(&whole));
    assert!(!journal.join("00000000.journal").exists());
    let run = run!("verify", &journal);
    assert_eq!(status(&run), 0, "{}", text(&run.stdout));
    let again = dir.path().join("again");
    let run = run!("replay", &journal, "--out", &again, "--events", "all", "--quiet");
    assert_eq!((status(&run), text(&run.stderr)), (0, String::new()));
    assert_eq!(summary(&first), summary(&again));
    assert_eq!(text(&run!("cat", &journal).stdout), text(&run!("cat", &plain).stdout));
    // It is seen as a journal, and known to the run that goes on with it.
    let third = dir.path().join("third");
    let run = run!("ingest", &client, &server, "--out", &third, "--journal", &journal, "--quiet");
    assert_eq!(status(&run), 2, "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("--resume"), "{}", text(&run.stderr));
    let run = run!("ingest", &client, &server, "--out", &third, "--journal", &journal, "--quiet", "--resume");
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert_eq!(summary(&third)["accounting"]["unique"], 0);
}

/// Under a key all is found as without, by a run that goes on with the journal too; the key stands there and is no option.
#[test]
fn keyed_digests_are_those_of_their_run() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = ingested(dir.path());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let (client, server) = (data.join("client.pcap"), data.join("server.pcap"));
    let journal = dir.path().join("keyed");
    let ingest = |out: &str, more: &[&str]| {
        let mut args: Vec<std::ffi::OsString> =
            vec!["ingest".into(), client.clone().into(), server.clone().into()];
        let out = dir.path().join(out);
        args.extend(["--out".into(), out.clone().into(), "--quiet".into()]);
        args.extend(more.iter().map(Into::into));
        (std::process::Command::new(env!("CARGO_BIN_EXE_panther-events")).args(args).output().unwrap(), out)
    };
    let kept = journal.to_str().unwrap();
    let (run, out) = ingest("second", &["--keyed-digests", "--journal", kept]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert_eq!(summary(&first)["packets"], summary(&out)["packets"]);
    let (run, out) = ingest("alone", &["--keyed-digests"]);
    assert_eq!((status(&run), &summary(&first)["packets"]), (0, &summary(&out)["packets"]));
    let ids = |out: &Path| fs::read_to_string(out.join("events.jsonl")).unwrap();
    assert_ne!(ids(&out), ids(&dir.path().join("second")), "each run draws a key of its own");
    let (run, out) = ingest("third", &["--keyed-digests", "--journal", kept, "--resume"]);
    assert_eq!(
        (status(&run), &summary(&out)["accounting"]["unique"]),
        (0, &0.into()),
        "{}",
        text(&run.stderr)
    );
    let (refused, _) = ingest("fourth", &["--journal", kept, "--resume"]);
    assert_eq!(status(&refused), 2);
    assert!(
        text(&refused.stderr).contains("and --keyed-digests as in its first run"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_replay_keeps_the_pace_it_is_told() {
    use panther_events::domain::packet::PacketSeen;
    use panther_events::event::{EventId, Record, Symbol};
    use panther_events::journal::{Durability, JournalWriter, Options, RunId};
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut writer =
        JournalWriter::open(&journal, RunId([1; 16]), Options::new(Durability::Buffered), 0).unwrap();
    writer.define(Symbol::of("flow"), "flow").unwrap();
    // Nine events over 0.8 s.
    let seen: PacketSeen = bytemuck::Zeroable::zeroed();
    for n in 0..9_u32 {
        let (id, time_ns) = (EventId::digest(&n.to_le_bytes()), u64::from(n) * 100_000_000);
        let record = Record::with_digest(id, time_ns, Symbol::of("flow"), &seen).numbered(1, n);
        assert_eq!(writer.append(&[record]).lost, 0);
    }
    writer.close().unwrap();
    let timed = |name: &str, speed: &str| {
        let (out, start) = (dir.path().join(name), std::time::Instant::now());
        let run = run!("replay", &journal, "--out", &out, "--speed", speed, "--quiet");
        assert_eq!((status(&run), text(&run.stderr)), (0, String::new()), "{speed}");
        start.elapsed().as_secs_f64()
    };
    // How much longer than that it takes is the machine's matter.
    assert!(timed("as-it-was", "1") >= 0.8);
    let half = timed("faster", "2");
    assert!(half >= 0.4);
    assert!(timed("at-once", "max") < half);
    for speed in ["0", "-1", "nan", "slow"] {
        let run = run!("replay", &journal, "--out", &dir.path().join("none"), "--speed", speed);
        assert_eq!(status(&run), 2, "{speed}");
    }
}

#[test]
fn every_format_is_exported_as_a_replay_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (first, journal) = ingested(dir.path());
    // An export without events has no observer that writes them.
    let whole = dir.path().join("whole");
    let run = run!("replay", &journal, "--out", &whole, "--events", "none", "--quiet");
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    for (format, files) in [
        ("summary", &["summary.json"][..]),
        ("openmetrics", &["metrics.om"]),
        ("hlog", &["delay.hlog"]),
        ("csv", &["paths.csv"]),
        ("jsonl", &["events.jsonl"]),
    ] {
        let out = dir.path().join(format);
        let run = run!("export", &journal, "--format", format, "--events", "all", "--out", &out);
        assert_eq!(status(&run), 0, "{format}: {}", text(&run.stderr));
        let mut names: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != "MANIFEST" && name != "schema.json");
        assert_eq!(names, files, "{format}");
        match format {
            "summary" => assert_eq!(summary(&whole), summary(&out)),
            "openmetrics" => assert_eq!(metrics(&whole), metrics(&out)),
            _ => assert!(
                fs::read(first.join(files[0])).unwrap() == fs::read(out.join(files[0])).unwrap(),
                "{format}"
            ),
        }
    }
}

/// A capture with the same packets again and again: some 40,000.
fn long_capture(dir: &Path) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let capture = fs::read(data.join("client.pcap")).unwrap();
    let (header, packets) = capture.split_at(24);
    let path = dir.join("long.pcap");
    fs::write(&path, [header, &packets.repeat(20)].concat()).unwrap();
    path
}

#[test]
fn segments_end_and_go_as_they_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let capture = long_capture(dir.path());
    let run = |name: &str, options: &[&str]| -> (usize, u64, usize) {
        let (out, journal) = (dir.path().join(name), dir.path().join(format!("{name}.journal")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
        command.arg("ingest").arg(&capture).arg("--quiet").arg("--out").arg(&out);
        let run = command.arg("--journal").arg(&journal).args(options).output().unwrap();
        assert_eq!(status(&run), 0, "{}", text(&run.stderr));
        let segments = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap());
        let segments = segments.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "journal"));
        let sizes: Vec<u64> = segments.map(|entry| entry.metadata().unwrap().len()).collect();
        let cat = run!("cat", &journal);
        (sizes.len(), sizes.iter().sum(), text(&cat.stdout).lines().count())
    };
    let (one, _, all) = run("one", &[]);
    assert!(one == 1 && all > 35_000, "{one} {all}");
    let (many, bytes, same) = run("many", &["--segment-size", "1MiB"]);
    assert!(many > 2 && same == all, "{many} segments, {same} of {all} records");
    let (kept, left, last) = run("kept", &["--segment-size", "1MiB", "--keep-size", "1.5 MB"]);
    assert!(
        kept < many && left < bytes && (1..all).contains(&last),
        "{kept} of {many} segments, {last} records"
    );
    for (option, value) in [
        ("--segment-size", "3"),
        ("--segment-size", "9999999999GB"),
        ("--keep-size", "much"),
        ("--keep-for", "0s"),
        ("--rotate-after", "soon"),
    ] {
        let (out, journal) = (dir.path().join("refused"), dir.path().join("refused.journal"));
        let refused = run!("ingest", &capture, "--out", &out, "--journal", &journal, option, value);
        assert_eq!(status(&refused), 2, "{option} {value}");
        assert!(text(&refused.stderr).contains(option), "{}", text(&refused.stderr));
        assert!(!out.exists() && !journal.exists());
    }
}
