//! A user's domain in a process that has never heard of it: what `cat`, `replay`, `export` and `recover` make of a journal, a
//! recorder and a run directory whose kinds, states and names are the user's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, Schema};
use panther_events::event::{Detail, Domain, EventKind, Symbol, Symbols};
use panther_events::journal::{Durability, JournalLog, JournalReader, Options, ReadOptions, RunId};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

const FLAP: EventKind = EventKind::new(Domain::FIRST_USER, 0);
const CHECKED: EventKind = EventKind::new(Domain::FIRST_USER, 4);

panther_events::payload! {
    struct Flap [FLAP] { rtt_ns: u64, via: Symbol, why: Detail }
}

panther_events::payload! {
    struct Checked [CHECKED] { good: u8 }
}

fn lab() -> DomainDef {
    let lab = r#"{"number":16,"name":"lab","initial":"up",
        "states":[{"name":"up","next":["down"],"terminal":false},{"name":"down","next":["up"],"terminal":true}],
        "kinds":[
            {"code":0,"name":"link.flap","identity":"occurrence","sampled":true,
             "fields":[{"name":"rtt_ns","type":"u64","offset":0},{"name":"via","type":"symbol","offset":8},
                       {"name":"why","type":"document","offset":16}],
             "path":["down"]},
            {"code":4,"name":"checked","identity":"occurrence","sampled":false,
             "fields":[{"name":"good","type":"u8","offset":0}],
             "path":{"by":"good","zero":["down"],"other":["up"]}}]}"#;
    DomainDef::from_json(lab).unwrap()
}

/// Two links flap and one is checked; in a journal, a recorder, or both.
fn events(builder: &mut Builder) {
    let pipeline = std::mem::take(builder).start().unwrap();
    let (symbols, mut first) = (Arc::clone(pipeline.symbols()), pipeline.emitter("first").unwrap());
    let mut second = pipeline.emitter("second").unwrap();
    let name = |name| symbols.intern(name).unwrap();
    for n in 0..10 {
        let why = symbols.details().intern(&format!("{{\"n\":{n}}}")).unwrap();
        let flap = Flap { rtt_ns: n * 1_000, via: name("core-1"), why };
        let emitter = if n % 3 == 0 { &mut second } else { &mut first };
        emitter.emit_at(1_000 + n, name(["east", "west"][n as usize % 2]), &flap).unwrap();
        while pipeline.poll() > 0 {}
    }
    first.emit_at(2_000, name("east"), &Checked { good: 1 }).unwrap();
    first.test("t").created("t", panther_events::Value::Null, Default::default()).unwrap();
    assert_eq!(pipeline.shutdown().account.unique, 12);
}

fn journal(path: &Path) {
    run(path, &lab());
}

/// One run in a journal, with `lab` defined so.
fn run(path: &Path, lab: &DomainDef) {
    let symbols = Arc::new(Symbols::new());
    let mut schema = Schema::new();
    schema.register(lab).unwrap();
    let options = Options::new(Durability::ProcessCrash);
    let log = JournalLog::open(path, RunId([7; 16]), options, Clock::cycles(), &symbols, &schema);
    let mut log = Some(log.unwrap());
    let mut builder = Builder::new(PipelineOptions { topology: Topology::Inline, ..Default::default() });
    builder.domain(lab).symbols(symbols);
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    events(&mut builder);
}

fn builder() -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology: Topology::Inline, ..Default::default() });
    builder.domain(&lab());
    builder
}

fn panther(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panther-events"));
    args.iter().for_each(|arg| {
        command.arg(arg.as_ref());
    });
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check_lines(lines: &[Value]) {
    let mut flaps: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "lab.link.flap").collect();
    flaps.sort_by_key(|flap| flap["time_ns"].as_u64());
    assert_eq!((flaps.len(), lines.len()), (10, 12), "{lines:?}");
    for (n, flap) in (0..).zip(flaps) {
        assert_eq!(flap["time_ns"], 1_000 + n);
        assert_eq!(flap["entity"], ["east", "west"][n as usize % 2]);
        let expected = serde_json::json!({"rtt_ns": n * 1_000, "via": "core-1", "why": {"n": n}});
        assert_eq!(flap["payload"], expected);
    }
    assert!(lines.iter().any(|line| line["kind"] == "lab.checked" && line["payload"]["good"] == 1));
}

#[test]
fn a_journal_tells_what_a_users_events_are() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out, exported, recovered) =
        (dir.path().join("j"), dir.path().join("out"), dir.path().join("x"), dir.path().join("r"));
    journal(&path);
    let all = lines(&panther(&[&"cat", &path]));
    check_lines(&all);
    for flap in all.iter().filter(|line| line["kind"] == "lab.link.flap") {
        let number = flap["time_ns"].as_u64().unwrap() - 1_000;
        assert_eq!(flap["emitter"], if number % 3 == 0 { "second" } else { "first" }, "{flap}");
    }
    let flaps = lines(&panther(&[&"cat", &path, &"--kind", &"lab.link"]));
    assert_eq!(flaps.len(), 10);
    // A replay knows states and figures, and leaves a directory that tells as much.
    let replay = panther(&[&"replay", &path, &"--out", &out, &"--json"]);
    let summary: Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert_eq!(summary["accounting"]["unique"], 12, "{summary}");
    let states: BTreeMap<String, u64> = serde_json::from_value(summary["states"]["final"].clone()).unwrap();
    let expected =
        [("lab.down", 1), ("lab.up", 1), ("test.created", 1)].map(|(state, n)| (state.to_owned(), n));
    assert_eq!(states, BTreeMap::from(expected));
    let schema = std::fs::read_to_string(out.join("schema.json")).unwrap();
    assert_eq!(Schema::from_json(&schema).unwrap().domain(Domain::FIRST_USER), Some(&lab()));
    let metrics = std::fs::read_to_string(out.join("metrics.om")).unwrap();
    assert!(metrics.contains(r#"kind="lab.link.flap",field="rtt_ns""#), "{metrics}");
    let run = panther(&[&"export", &path, &"--format", &"jsonl", &"--out", &exported]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(exported.join("events.jsonl")).unwrap();
    check_lines(&text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>());
    // So does a journal that is made of it.
    let run = panther(&[&"recover", &path, &"--out", &recovered]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    check_lines(&lines(&panther(&[&"cat", &recovered])));
}

#[test]
fn a_recorder_tells_what_a_users_events_are_and_when() {
    let dir = tempfile::tempdir().unwrap();
    let (path, kept) = (dir.path().join("x.flight"), dir.path().join("kept"));
    let options = RecorderOptions { slots: 64, tracks: 4, definition_bytes: 1 << 16 };
    let recorder = FlightRecorder::create(&path, &options, 0).unwrap();
    let mut builder = builder();
    builder.recorder(&recorder);
    events(&mut builder);
    drop((builder, recorder));
    // Two emitters' events come by time.
    let recovered = lines(&panther(&[&"recover", &path]));
    assert!(recovered.is_sorted_by_key(|line| line["time_ns"].as_u64()));
    check_lines(&recovered);
    let run = panther(&[&"recover", &path, &"--out", &kept]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    check_lines(&lines(&panther(&[&"cat", &kept])));
}

/// Every segment says by itself what its records are, and nothing of what they are not.
#[test]
fn each_segment_holds_what_its_records_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let symbols = Arc::new(Symbols::new());
    let mut schema = Schema::new();
    schema.register(&lab()).unwrap();
    let options =
        Options { segment_len: 256 << 10, block_len: 16 << 10, ..Options::new(Durability::ProcessCrash) };
    let log = JournalLog::open(&path, RunId([7; 16]), options, Clock::cycles(), &symbols, &schema);
    let (mut builder, mut log) = (builder(), Some(log.unwrap()));
    builder.symbols(Arc::clone(&symbols));
    builder.observer("journal", move |setup| {
        log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("first").unwrap();
    // More names and documents than the journal's thread keeps at a time.
    for n in 0..80_000_u64 {
        let entity = symbols.intern(&format!("link-{}", n / 2)).unwrap();
        let why = symbols.details().intern(&format!("{{\"n\":{n}}}")).unwrap();
        emitter.emit_at(n, entity, &Flap { rtt_ns: n, via: symbols.intern("core").unwrap(), why }).unwrap();
        if n % 64 == 0 {
            pipeline.poll();
            std::thread::yield_now();
        }
    }
    drop(emitter);
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.warnings, [""; 0]);
    let mut segments: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|segment| segment.extension().is_some_and(|extension| extension == "journal"));
    segments.sort();
    assert!(segments.len() > 20);
    let mut records = 0;
    for segment in &segments {
        // What lies before it is missing.
        let options = ReadOptions { salvage: true, ..ReadOptions::default() };
        let alone = tempfile::tempdir().unwrap();
        std::fs::copy(segment, alone.path().join(segment.file_name().unwrap())).unwrap();
        let mut reader = JournalReader::open(alone.path(), options).unwrap();
        let (mut names, mut documents) =
            (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        while let Some(block) = reader.next_block().unwrap().map(|block| block.records().to_vec()) {
            for record in block {
                let flap: Flap = record.payload().unwrap();
                let n = flap.rtt_ns;
                assert_eq!(reader.name(record.entity()), Some(&*format!("link-{}", n / 2)));
                assert_eq!(reader.name(flap.via), Some("core"));
                let why = reader.detail(u128::from(flap.why.bits())).unwrap();
                assert_eq!(why, format!("{{\"n\":{n}}}").as_bytes());
                names.extend([record.entity(), flap.via]);
                documents.insert(u128::from(flap.why.bits()));
                records += 1;
            }
        }
        assert_eq!(reader.schema().unwrap().domain(Domain::FIRST_USER), Some(&lab()));
        let of_events = |digest: &u128| u64::try_from(*digest).is_ok();
        assert_eq!(reader.names().count(), names.len());
        assert_eq!(reader.details().filter(|(digest, _)| of_events(digest)).count(), documents.len());
    }
    assert_eq!(records, 80_000);
}

/// What was entered before the first segment that is kept holds in those that are.
#[test]
fn contexts_from_before_the_kept_segments_are_known() {
    for retain_bytes in [None, Some(2 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        let (path, symbols) = (dir.path().join("journal"), Arc::new(Symbols::new()));
        let mut schema = Schema::new();
        schema.register(&lab()).unwrap();
        let options =
            Options { segment_len: 1 << 20, retain_bytes, ..Options::new(Durability::ProcessCrash) };
        let log = JournalLog::open(&path, RunId([7; 16]), options, Clock::cycles(), &symbols, &schema);
        let mut log = Some(log.unwrap());
        let mut builder = builder();
        builder.symbols(Arc::clone(&symbols));
        builder.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        emitter.enter(panther_events::event::Level::Test, "soak").unwrap();
        let entity = symbols.intern("link").unwrap();
        for n in 0..100_000 {
            emitter.emit_at(n, entity, &Checked { good: 1 }).unwrap();
            pipeline.poll();
        }
        drop(emitter);
        pipeline.shutdown().account.check().unwrap();
        let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        let mut reader = JournalReader::open(&path, ReadOptions::default()).unwrap();
        let kept = reader.for_each(|_| {}).unwrap() as usize;
        // The event that tells of the context is one.
        assert!(if retain_bytes.is_some() { (1..50_000).contains(&kept) } else { kept == 100_001 }, "{kept}");
        for (within, expected) in [("test=soak", kept), ("test=other", 0)] {
            let output = panther(&[&"cat", &path, &"--within", &within]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((lines(&output.stdout), output.status.code(), &*said), (expected, Some(0), ""));
            if within == "test=soak" {
                let first =
                    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
                assert!(first.contains(r#""context":{"test":"soak"}"#), "{first}");
            }
            for (command, format) in
                [("replay", &["--events", "all"][..]), ("export", &["--format", "jsonl"])]
            {
                let out = dir.path().join(format!("{command} {within}"));
                let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
                    vec![&command, &path, &"--out", &out, &"--within", &within];
                args.extend(format.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
                let output = panther(&args);
                assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
                assert_eq!(lines(&std::fs::read(out.join("events.jsonl")).unwrap()), expected, "{command}");
            }
        }
    }
}

/// Runs of one journal with several definitions of a domain: each run's events are shown by its own, and a replay, which has one
/// schema, refuses them unless the later ones only add to the first.
#[test]
fn a_domain_that_is_defined_anew_is_not_read_by_another_definition() {
    let dir = tempfile::tempdir().unwrap();
    let (path, grown, out) = (dir.path().join("j"), dir.path().join("grown"), dir.path().join("out"));
    let renamed = |field: &str| DomainDef::from_json(&lab().to_json().replace("rtt_ns", field)).unwrap();
    // The third run is as the first.
    for lab in [lab(), renamed("sent_ns"), lab()] {
        run(&path, &lab);
    }
    let events = lines(&panther(&[&"cat", &path, &"--kind", &"lab.link.flap"]));
    assert_eq!(events.len(), 30);
    for (at, event) in events.iter().enumerate() {
        let field = ["rtt_ns", "sent_ns", "rtt_ns"][at / 10];
        assert!(event["payload"][field].is_number(), "{at}: {event}");
    }
    let replay = panther(&[&"replay", &path, &"--out", &out]);
    let told = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert_eq!(replay.status.code(), Some(2), "{told}");
    assert!(told.contains("define the domain \"lab\"") && !out.exists(), "{told}");
    let added = lab().to_json().replacen(
        "\"kinds\":[",
        "\"kinds\":[{\"code\":9,\"name\":\"more\",\"identity\":\"content\",\"sampled\":true,\"fields\":[]},",
        1,
    );
    for lab in [lab(), DomainDef::from_json(&added).unwrap()] {
        run(&grown, &lab);
    }
    let replay = panther(&[&"replay", &grown, &"--out", &out]);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
}
