//! Promise: what a dead process left comes out, in order, with what is missing named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::event::{EventKind, Identity, Record, Symbol};
use panther_events::journal::format::{BlockHeader, BlockKind};
use panther_events::journal::{Durability, JournalWriter, Options, RunId};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn panther(args: &[&dyn AsRef<OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panther-events"))
        .args(args.iter().map(|arg| arg.as_ref()))
        .output()
        .unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Emitter `first` wrote 13 events into 8 slots, `second` wrote 3; then the process died.
fn flight() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/recorder/v1.flight")
}

fn lines(output: &Output) -> Vec<(u64, u64)> {
    let events = text(&output.stdout);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| (event["source"].as_u64().unwrap(), event["seq"].as_u64().unwrap())).collect()
}

#[test]
fn a_recorders_events_are_printed_in_order_and_gaps_named() {
    let run = panther(&[&"recover", &flight()]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    // The second one's were earlier.
    let expected: Vec<_> = (0..3).map(|seq| (1, seq)).chain((5..13).map(|seq| (0, seq))).collect();
    assert_eq!(lines(&run), expected);
    let told = text(&run.stderr);
    for line in [
        "its process died",
        "first: the last 8 of 13 events, 5 overwritten",
        "second: the last 3 of 3 events, 0 overwritten",
        "source 0: no events with numbers 0 to 4",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    // The kind is a user's, and this program has never heard of it.
    assert!(text(&run.stdout).contains(r#""entity":"entity","kind":"lab.sample""#), "{}", text(&run.stdout));
}

#[test]
fn a_recovered_journal_is_one_and_recovers_again() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let run = panther(&[&"recover", &flight(), &"--out", &first]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert!(text(&run.stdout).starts_with("11 records written"), "{}", text(&run.stdout));
    let cat = panther(&[&"cat", &first]);
    assert_eq!(lines(&cat), lines(&panther(&[&"recover", &flight()])));
    let told = text(&cat.stderr);
    assert_eq!(status(&cat), 0, "what is overwritten by design is no error: {told}");
    assert!(told.contains("note: of a flight recorder, which 5 earlier events were no longer in"), "{told}");
    assert_eq!(status(&panther(&[&"verify", &first])), 0);
    // A second time there is nothing to do, and nothing is done.
    let again = panther(&[&"recover", &flight(), &"--out", &first]);
    assert_eq!(status(&again), 2);
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    // A journal recovers too, to a journal and to lines.
    let run = panther(&[&"recover", &first, &"--out", &second]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    assert_eq!(text(&panther(&[&"cat", &second]).stdout), text(&cat.stdout));
    assert_eq!(text(&panther(&[&"recover", &second]).stdout), text(&cat.stdout));
}

#[test]
fn damage_is_told_and_what_is_no_recorder_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.flight");
    let mut bytes = fs::read(flight()).unwrap();
    // In a slot of the first shard: behind header, shard headers and a page of names.
    bytes[3 * 4096 + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = panther(&[&"recover", &path]);
    assert_eq!((status(&run), lines(&run).len()), (1, 10));
    assert!(text(&run.stderr).contains("first: 1 events are damaged"), "{}", text(&run.stderr));
    assert!(fs::read(&path).unwrap() == bytes, "the file was changed");
    fs::write(&path, &bytes[..5000]).unwrap();
    let run = panther(&[&"recover", &path]);
    assert_eq!(status(&run), 2);
    assert!(text(&run.stderr).contains("5000 of its 20480 bytes"), "{}", text(&run.stderr));
    for other in [Path::new("nowhere"), dir.path()] {
        assert_eq!(status(&panther(&[&"recover", &other])), 2);
    }
}

panther_events::payload! {
    /// A sample.
    struct Sample [EventKind::new(panther_events::event::Domain::FIRST_USER, 1)] {
        value: u64,
    }
}

/// Writes a journal of one segment, each record about an entity of its own; its writer dies unless `close`.
fn journal(path: &Path, numbers: impl Iterator<Item = u32>, close: bool) {
    let options = Options { block_len: 8 << 10, ..Options::new(Durability::Buffered) };
    let mut writer = JournalWriter::open(path, RunId::random(), options, 7).unwrap();
    for seq in numbers {
        let name = format!("entity-{seq}");
        let _ = writer.define(Symbol::of(&name), &name);
        let value = u64::from(seq);
        let record = Record::new(Identity::Occurrence, value, Symbol::of(&name), &Sample { value });
        assert_eq!(writer.append(&[record.numbered(0, seq)]).lost, 0);
    }
    if close {
        writer.close().unwrap();
    }
}

fn segment(journal: &Path) -> (PathBuf, Vec<u8>, Vec<BlockHeader>) {
    let path = journal.join("00000000.journal");
    let bytes = fs::read(&path).unwrap();
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(Ok(header)) = bytes.get(at..).map(BlockHeader::decode) {
        at = header.end().offset as usize;
        blocks.push(header);
    }
    (path, bytes, blocks)
}

#[test]
fn lost_names_are_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    journal(&path, 0..5_000, true);
    for command in ["verify", "cat"] {
        assert_eq!(status(&panther(&[&command, &path])), 0, "{command}");
    }
    let (file, sound, blocks) = segment(&path);
    let of_names: Vec<_> = blocks.iter().filter(|block| block.kind == BlockKind::Definitions).collect();
    assert!(of_names.len() > 5, "{}", of_names.len());
    let names = of_names[of_names.len() / 2];
    // In a header nothing tells what was there; in a body, the header does.
    for offset in
        [names.at.offset as usize + 20, (names.at.offset + u64::from(names.header_len)) as usize + 5]
    {
        let mut bytes = sound.clone();
        bytes[offset] ^= 4;
        fs::write(&file, &bytes).unwrap();
        for command in ["verify", "cat", "recover"] {
            let run = panther(&[&command, &path]);
            let told = text(&run.stderr) + &text(&run.stdout);
            assert_eq!(status(&run), 1, "{command}");
            assert!(told.contains("names or documents may be missing"), "{command}");
        }
    }
}

#[test]
fn numbers_that_do_not_rise_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    journal(&path, (0..100).chain(50..60), true);
    let run = panther(&[&"verify", &path]);
    assert_eq!(status(&run), 1);
    assert!(text(&run.stdout).contains("the numbers of a source do not rise"), "{}", text(&run.stdout));
}

#[test]
fn a_salvage_to_lines_reads_behind_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    journal(&path, 0..5_000, false);
    let (file, mut bytes, blocks) = segment(&path);
    let records: Vec<_> = blocks.iter().filter(|block| block.kind == BlockKind::Records).collect();
    bytes[records[records.len() / 2].at.offset as usize + 400] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let count = |args: &[&dyn AsRef<OsStr>]| lines(&panther(args)).len();
    let (plain, salvaged) = (count(&[&"recover", &path]), count(&[&"recover", &path, &"--salvage"]));
    assert!(plain > 0 && plain + 500 < salvaged, "{plain}, {salvaged}");
}

#[test]
fn a_recorder_over_cut_captures_holds_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let (client, server, out) = (data.join("client.pcap"), data.join("server.pcap"), dir.path().join("out"));
    let file = dir.path().join("run.flight");
    let run = panther(&[&"ingest", &client, &server, &"--out", &out, &"--recorder", &file]);
    assert_eq!(status(&run), 0, "{}", text(&run.stderr));
    let told = panther(&[&"recover", &file]);
    let numbers = lines(&told);
    let unique: BTreeSet<_> = numbers.iter().collect();
    assert!(!numbers.is_empty() && unique.len() == numbers.len(), "{} of {}", unique.len(), numbers.len());
    assert_eq!(text(&told.stderr).matches("ingest: the last").count(), 1, "{}", text(&told.stderr));
}

#[test]
#[cfg(unix)]
fn a_pipe_is_no_recorder() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // It would wait for a writer for ever.
    let run = panther(&[&"recover", &pipe]);
    assert_eq!(status(&run), 2);
    assert!(text(&run.stderr).contains("is no flight recorder"), "{}", text(&run.stderr));
}
