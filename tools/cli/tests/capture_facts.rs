//! Promise: what of a capture cannot be believed is told, once for each kind, and what it dropped stands in the summary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/captures").join(name)
}

/// Runs `ingest` over captures at `a`, `b`, …, and returns the summary and the warnings printed, each of which is in the summary too.
fn ingest(files: &[PathBuf]) -> (Value, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
    command.arg("ingest").arg("--out").arg(&out);
    for (file, name) in files.iter().zip('a'..) {
        command.arg("--vantage").arg(format!("{name}={}", file.display()));
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let summary = fs::read(out.join("summary.json")).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    let told: Vec<String> =
        stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect();
    let kept = summary["warnings"].as_array().unwrap();
    assert_eq!(kept.iter().filter_map(Value::as_str).collect::<Vec<_>>(), told, "{stderr}");
    (summary, told)
}

/// Returns the warnings on the capture `name`, given together with one of which nothing is to be told.
fn told_of(name: &str) -> Vec<String> {
    let (_, told) = ingest(&[file(name), file("base_b.pcap")]);
    let (of_it, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|told| told.contains(name));
    assert!(!others.iter().any(|told| told.contains("base_b")), "{others:?}");
    of_it
}

#[test]
fn each_kind_of_stamp_that_cannot_be_believed_is_told_once() {
    let cases = [
        ("c04_spb.pcapng", "40 of 40 packets have no time", "Enhanced Packet Blocks"),
        ("no_times/client.pcapng", "209 of 209 packets have no time", "Enhanced Packet Blocks"),
        ("c05_zero_time.pcap", "all times are 0 (40 of 40 packets", "as it was written"),
        ("c14_neg.pcap", "4 of 40 packets have times before 1970", "capture once it is"),
        (
            "c15_ns_in_us.pcap",
            "fraction of 39 of 40 records is 1 s or more: nanoseconds under a microsecond magic?",
            "4d 3c b2 a1",
        ),
        ("c23_unpadded_name.pcapng", "40 of 40 packets have times that lie after 2554", "padded"),
        ("c24_ns_no_tsresol.pcapng", "40 of 40 packets have times that lie after 2554", "if_tsresol"),
    ];
    for (name, evidence, remedy) in cases {
        let told = told_of(name);
        let stamps: Vec<_> = told.iter().filter(|told| told.contains(evidence)).collect();
        assert_eq!(stamps.len(), 1, "{name}: {told:?}");
        assert!(stamps[0].contains(remedy), "{told:?}");
        let nothing = told.iter().filter(|told| told.contains("no packet could be used")).count();
        let is_without = name != "c14_neg.pcap";
        assert_eq!((nothing, told.len()), (usize::from(is_without), 1 + usize::from(is_without)), "{told:?}");
    }
}

#[test]
fn the_remedy_for_a_wrong_magic_number_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c15_ns_in_us.pcap");
    let mut bytes = fs::read(file("c15_ns_in_us.pcap")).unwrap();
    bytes[..4].copy_from_slice(&[0x4d, 0x3c, 0xb2, 0xa1]);
    fs::write(&path, &bytes).unwrap();
    let (summary, told) = ingest(&[path, file("base_b.pcap")]);
    assert_eq!(told, Vec::<String>::new());
    for path in summary["packets"]["paths"].as_array().unwrap() {
        assert_eq!((path["sent"].as_u64(), path["lost"].as_u64()), (Some(20), Some(0)), "{path}");
    }
}

#[test]
fn a_capture_of_which_nothing_can_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pcap");
    fs::write(&empty, []).unwrap();
    let cases = [
        (file("c44_header_only.pcap"), "the file holds none"),
        (file("c64_arp_only.pcap"), "40 of 40 frames hold no IP packet"),
        (file("c05_zero_time.pcap"), "40 of 40 frames have no time that can be used"),
        (empty, "none could be read"),
    ];
    for (path, why) in cases {
        let (_, told) = ingest(&[path.clone(), file("base_b.pcap")]);
        let named: Vec<_> = told.iter().filter(|told| told.contains("no packet could be used")).collect();
        assert_eq!(named.len(), 1, "{told:?}");
        assert!(named[0].contains("vantage point \"a\"") && named[0].contains(why), "{told:?}");
        assert!(named[0].starts_with(&format!("no-packets: {}", path.display())), "{told:?}");
    }
}

#[test]
fn packets_without_a_time_make_no_delay() {
    for files in [
        [file("no_times/client.pcapng"), file("no_times/server.pcapng")],
        [file("c05_zero_time.pcap"), file("base_b.pcap")],
        [file("c04_spb.pcapng"), file("base_b.pcap")],
    ] {
        let (summary, _) = ingest(&files);
        for path in summary["packets"]["paths"].as_array().unwrap() {
            assert_eq!(path["delay_ns"]["count"], 0, "{path}");
        }
        let used = summary["accounting"]["offered"].as_u64().unwrap();
        assert_eq!(used, if files[1].ends_with("base_b.pcap") { 40 } else { 0 }, "{files:?}");
    }
}

/// Both were set back by 100 ms, the second 150 ms after the first: the times of neither serve to tell those of the other, and delays of 5 ms
/// come out as 105 ms between both steps.
#[test]
fn where_both_clocks_were_set_back_no_delay_claims_to_be_known() {
    let (summary, told) = ingest(&[file("set_back_a.pcap"), file("set_back_b.pcap")]);
    assert!(
        told.iter()
            .any(|told| told.starts_with("clock-step") && told.contains("delays around that may be off")),
        "{told:?}"
    );
    for path in summary["packets"]["paths"].as_array().unwrap() {
        assert!(path["delay_uncertainty_ns"].is_null(), "{path}");
    }
    let reference = &summary["packets"]["vantages"][0];
    assert_eq!(reference["name"], "a");
    assert!(reference["clock"]["uncertainty_ns"].is_null(), "{reference}");
}

#[test]
fn what_a_capture_dropped_stands_with_its_input_where_it_tells() {
    let (summary, _) = ingest(&[file("capture_drops/client.pcapng"), file("capture_drops/server.pcapng")]);
    let dropped = |summary: &Value, at: usize| summary["inputs"][at].get("capture_dropped").cloned();
    assert_eq!(dropped(&summary, 0), Some(0.into()));
    assert_eq!(dropped(&summary, 1), Some(21.into()));
    let (summary, _) = ingest(&[file("c41_capture_drops.pcapng"), file("base_b.pcap")]);
    assert_eq!(dropped(&summary, 0), Some(5.into()));
    assert_eq!(dropped(&summary, 1), None, "a capture that does not tell has no such member");
}
