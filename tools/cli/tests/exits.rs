//! Promise: the exit status of every command says what was found: 0 all, 1 a part, 2 nothing, 3 not all passed where that is required.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::domain::packet::PacketSeen;
use panther_events::event::{EventId, Record, Symbol};
use panther_events::journal::{Durability, JournalWriter, Options, RunId};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn command(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
    command.args(args).current_dir(dir);
    command
}

fn run(args: &[&str], dir: &Path) -> Output {
    command(args, dir).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

/// Writes records `0..len` of source 0 in segments of a megabyte, and returns the writer.
fn writer(path: &Path, len: u32) -> JournalWriter {
    let options =
        Options { block_len: 64 << 10, segment_len: 1 << 20, ..Options::new(Durability::ProcessCrash) };
    let mut writer = JournalWriter::open(path, RunId([3; 16]), options, 7).unwrap();
    let entity = Symbol::of("entity");
    writer.define(entity, "entity").unwrap();
    let seen: PacketSeen = bytemuck::Zeroable::zeroed();
    let record = |seq: u32| {
        let id = EventId::digest(&seq.to_le_bytes());
        Record::with_digest(id, u64::from(seq), entity, &seen).numbered(0, seq)
    };
    let records: Vec<Record> = (0..len).map(record).collect();
    for part in records.chunks(500) {
        assert_eq!(writer.append(part).lost, 0);
    }
    writer
}

/// A journal of each state, by its name.
fn journals(dir: &Path) -> Vec<(&'static str, i32)> {
    writer(&dir.join("clean"), 20_000).close().unwrap();
    drop(writer(&dir.join("unclosed"), 20_000));
    // Closed, and a byte of an early block was changed.
    writer(&dir.join("damaged"), 20_000).close().unwrap();
    let change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = dir.join(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, &bytes).unwrap();
    };
    change("damaged/00000000.journal", &|bytes| bytes[300_000] ^= 4);
    // A segment in the middle is gone.
    writer(&dir.join("short"), 40_000).close().unwrap();
    fs::remove_file(dir.join("short/00000001.journal")).unwrap();
    // The last bytes are gone.
    writer(&dir.join("cut"), 2_000).close().unwrap();
    change("cut/00000000.journal", &|bytes| bytes.truncate(bytes.len() - 1));
    // More bytes than there were: nothing is missing.
    writer(&dir.join("longer"), 2_000).close().unwrap();
    change("longer/00000000.journal", &|bytes| bytes.extend([7; 100]));
    // The journal itself says that some did not reach it.
    let mut lossy = writer(&dir.join("lossy"), 100);
    lossy.note_upstream_loss(3);
    lossy.close().unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("foreign")).unwrap();
    fs::write(dir.join("foreign/00000000.journal"), vec![b'x'; 5_000]).unwrap();
    fs::write(dir.join("file"), "no journal").unwrap();
    vec![
        ("clean", 0),
        ("longer", 0),
        ("unclosed", 1),
        ("damaged", 1),
        ("short", 1),
        ("cut", 1),
        ("lossy", 1),
        ("empty", 2),
        ("foreign", 2),
        ("file", 2),
        ("missing", 2),
    ]
}

#[test]
fn every_command_over_a_journal_tells_its_state_by_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut number = 0;
    for (journal, expected) in journals(dir) {
        for args in [
            &["verify", "J"][..],
            &["verify", "J", "--quiet"],
            &["cat", "J"],
            &["cat", "J", "--source", "0"],
            &["cat", "J", "--follow"],
            &["cat", "J", "--salvage"],
            &["recover", "J"],
            &["recover", "J", "--salvage"],
            &["recover", "J", "--out", "OUT"],
            &["repair", "J", "--out", "OUT"],
            &["replay", "J", "--out", "OUT"],
            &["replay", "J", "--out", "OUT", "--quiet"],
            &["replay", "J", "--out", "OUT", "--json", "--topology", "inline"],
            &["export", "J", "--format", "summary", "--out", "OUT"],
            &["export", "J", "--format", "jsonl", "--format", "csv", "--out", "OUT"],
        ] {
            number += 1;
            let out = format!("out-{number}");
            let args: Vec<&str> = args
                .iter()
                .map(|arg| match *arg {
                    "J" => journal,
                    "OUT" => &out,
                    arg => arg,
                })
                .collect();
            let output = run(&args, dir);
            assert_eq!(output.status.code(), Some(expected), "{args:?}: {}", told(&output));
            let stderr = String::from_utf8_lossy(&output.stderr);
            match expected {
                2 => {
                    assert!(stderr.starts_with("error: "), "{args:?}: {stderr}");
                    assert!(!dir.join(&out).exists(), "{args:?}: something is left");
                }
                // What is missing is said, and not only by the status.
                1 => assert!(output.stdout.len() + output.stderr.len() > 20, "{args:?}"),
                _ => assert!(!told(&output).contains("error: "), "{args:?}: {}", told(&output)),
            }
        }
    }
}

/// A journal whose writer dies between the two times that it is read: the first one saw nothing wrong.
#[cfg(target_os = "linux")]
#[test]
fn a_journal_whose_writer_dies_while_it_is_verified_is_not_closed() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let writer = writer(&journal, 120_000);
        let files = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let bytes: u64 = files.sum();
        let mut verify = command(&["verify", "journal"], dir.path());
        let child = verify.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let counts = format!("/proc/{}/io", child.id());
        // Once it has read more than all of it, it reads for the second time.
        let read = || {
            let counts = fs::read_to_string(&counts).ok()?;
            counts.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse::<u64>().ok()
        };
        while read().is_some_and(|read| read < bytes + bytes / 10) {
            std::thread::yield_now();
        }
        drop(writer);
        let output = child.wait_with_output().unwrap();
        let told = told(&output);
        if told.contains("being written by") || told.contains("error: ") {
            // It died too late, or too early.
            continue;
        }
        assert!(told.contains("not closed"), "{told}");
        assert_eq!(output.status.code(), Some(1), "{told}");
        return;
    }
    panic!("no writer died at the right time");
}

#[test]
fn a_journal_that_is_being_written_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = writer(&dir.path().join("journal"), 5_000);
    for args in [&["verify", "journal"][..], &["cat", "journal"], &["replay", "journal", "--out", "out"]] {
        let output = run(args, dir.path());
        // A replay takes it as it is: without an end.
        let expected = i32::from(args[0] == "replay");
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {}", told(&output));
    }
}

#[test]
fn an_ingest_tells_by_its_status_what_became_of_its_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let capture = fs::read(data("client.pcap")).unwrap();
    fs::write(dir.join("whole.pcap"), &capture).unwrap();
    fs::write(dir.join("cut.pcap"), &capture[..capture.len() - 1]).unwrap();
    fs::write(dir.join("head.pcap"), &capture[..24]).unwrap();
    fs::write(dir.join("none.pcap"), "this is no capture at all").unwrap();
    fs::write(dir.join("empty.pcap"), "").unwrap();
    let lines = fs::read_to_string(data("panther-lifecycle.jsonl")).unwrap();
    fs::write(dir.join("good.jsonl"), &lines).unwrap();
    fs::write(dir.join("mixed.jsonl"), format!("{lines}no event\n")).unwrap();
    fs::create_dir(dir.join("full")).unwrap();
    fs::write(dir.join("full/notes"), "mine").unwrap();
    let panther = ["--format", "panther"];
    for (files, more, expected) in [
        (&["whole.pcap"][..], &[][..], 0),
        (&["head.pcap"], &[], 1),
        (&["cut.pcap"], &[], 1),
        (&["whole.pcap", "cut.pcap"], &[], 1),
        // What is not there is a mistake in the arguments, and told before anything is done.
        (&["whole.pcap", "missing.pcap"], &[], 2),
        (&["whole.pcap", "none.pcap"], &[], 1),
        (&["none.pcap"], &[], 2),
        (&["empty.pcap"], &[], 2),
        (&["missing.pcap"], &[], 2),
        (&["whole.pcap"], &["--no-such-option"], 2),
        (&["whole.pcap"], &["--durability", "buffered"], 2),
        (&["good.jsonl"], &panther, 0),
        (&["mixed.jsonl"], &panther, 1),
        (&["good.jsonl", "missing.jsonl"], &panther, 2),
        (&["missing.jsonl"], &panther, 2),
    ] {
        let _ = fs::remove_dir_all(dir.join("out"));
        let output = run(&[&["ingest", "--out", "out"], files, more].concat(), dir);
        assert_eq!(output.status.code(), Some(expected), "{files:?} {more:?}: {}", told(&output));
        assert_eq!(dir.join("out/MANIFEST").exists(), expected < 2, "{files:?} {more:?}");
        if expected == 2 {
            assert!(!dir.join("out").exists() && output.stdout.is_empty(), "{files:?} {more:?}");
        }
    }
    let output = run(&["ingest", "whole.pcap", "--out", "full"], dir);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert_eq!(fs::read_to_string(dir.join("full/notes")).unwrap(), "mine");
    for (file, expected) in [("good.jsonl", 0), ("mixed.jsonl", 1), ("missing.jsonl", 2)] {
        let output = run(&["panther-id", file], dir);
        assert_eq!(output.status.code(), Some(expected), "{file}: {}", told(&output));
    }
}
