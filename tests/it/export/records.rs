//! Promise: tables of states and lines of events hold every entity, and every event that was asked for, as they are.
#![cfg(all(feature = "json", feature = "csv"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::states::record;
use panther_events::Shared;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::machine::{StateTable, TransitionPath, states};
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Context, Domain, EventId, EventKind, Identity, Level, Record, Symbol};
use panther_events::export::from_snapshot::{EventFile, write_entity_states};
use panther_events::export::summary::Summary;
use panther_events::export::{Overwrite, ResultDir};
use panther_events::observe::state::{StateOptions, StateReport, States};
use panther_events::observe::{Batch, Observer};
use panther_events::pipeline::{Builder, PipelineOptions, Snapshot, Topology};
use serde_json::{Value, json};
use std::collections::HashMap;

const DOOR: Domain = Domain::FIRST_USER;
const LIFT: Domain = Domain::new(Domain::FIRST_USER.number() + 1).unwrap();

const fn table(domain: Domain) -> StateTable {
    const NEXT: &[u32] = &[states(&[1]), states(&[0, 2]), states(&[])];
    const PATHS: &[TransitionPath] = &[
        TransitionPath::To(Shared::Static(&[1])),
        TransitionPath::To(Shared::Static(&[0])),
        TransitionPath::To(Shared::Static(&[2])),
    ];
    const NAMES: &[Shared<str>] = &[Shared::Static("shut"), Shared::Static("open"), Shared::Static("gone")];
    StateTable {
        domain,
        states: Shared::Static(NAMES),
        initial: 0,
        terminal: states(&[2]),
        next: Shared::Static(NEXT),
        paths: Shared::Static(PATHS),
    }
}

const DOORS: StateTable = table(DOOR);
const LIFTS: StateTable = table(LIFT);

fn domain(domain: Domain, name: &'static str, states: StateTable) -> DomainDef {
    const fn kind(domain: Domain, code: u8, name: &'static str) -> KindDef {
        KindDef {
            kind: EventKind::new(domain, code),
            name: Shared::Static(name),
            identity: Identity::Digest,
            sampled: true,
            fields: Shared::Static(&[]),
        }
    }
    const OF_DOORS: &[KindDef] = &[kind(DOOR, 0, "opened"), kind(DOOR, 1, "closed"), kind(DOOR, 2, "left")];
    const OF_LIFTS: &[KindDef] = &[kind(LIFT, 0, "opened"), kind(LIFT, 1, "closed"), kind(LIFT, 2, "left")];
    let kinds = if domain.number() == DOOR.number() { OF_DOORS } else { OF_LIFTS };
    DomainDef {
        domain,
        name: Shared::Static(name),
        kinds: Shared::Static(kinds),
        states: Some(Shared::Counted(states.into())),
    }
}

#[test]
fn states_csv_and_the_summary_hold_where_every_entity_is_and_since_when() {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.domain(&domain(DOOR, "door", DOORS)).domain(&domain(LIFT, "lift", LIFTS));
    let snapshot = builder.start().unwrap().shutdown();
    let name = |name| snapshot.symbols.intern(name).unwrap();
    let (hall, roof) = (name("hall, \"main\""), name("a roof"));
    let unnamed = Symbol::from_bits(0x00ab_cdef_0123_4567);
    let happened = [
        (LIFT, 0, hall, 100),
        (DOOR, 0, roof, 110),
        (DOOR, 1, hall, 120),
        (DOOR, 0, hall, 130),
        (DOOR, 1, roof, 140),
        (DOOR, 0, roof, 150),
        // Not allowed from where it is; it stays, and since then.
        (LIFT, 2, unnamed, 160),
        (DOOR, 2, hall, 170),
        (DOOR, 0, hall, 180),
        // It is there already.
        (DOOR, 0, roof, 190),
    ];
    let records: Vec<Record> = happened
        .iter()
        .map(|(domain, code, entity, time_ns)| {
            record(EventKind::new(*domain, *code), Identity::Content, *time_ns, *entity, [0; 24])
        })
        .collect();
    let mut observer = observer(&snapshot);
    observer.observe(&Batch::new(&records, &[Verdict::New; BATCH], u64::MAX)).unwrap();
    let report: StateReport = observer.report();
    let mut text = Vec::new();
    write_entity_states(&mut text, &report, &snapshot).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    // By domain, and in it by name. Other columns may stand beside these.
    let cells = |row: &Vec<String>| {
        ["domain", "entity", "state", "since_ns"]
            .map(|column| row[header.iter().position(|name| name == column).unwrap()].clone())
    };
    let expected = [
        ["door", "a roof", "open", "150"],
        ["door", "hall, \"main\"", "gone", "170"],
        ["lift", "#00abcdef01234567", "shut", "160"],
        ["lift", "hall, \"main\"", "open", "100"],
    ];
    assert_eq!(rows.iter().map(cells).collect::<Vec<_>>(), expected);

    let mut summary = Summary::new(&snapshot, "inline", 1.0);
    summary.add_states(&report);
    let found = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        found["states"],
        json!({
            "entities": 4,
            "final": { "door.open": 1, "door.gone": 1, "lift.shut": 1, "lift.open": 1 },
            "invalid_transitions": { "door": 1, "lift": 1 },
        })
    );
}

fn observer(snapshot: &Snapshot) -> States {
    States::new(&snapshot.schema, &snapshot.symbols, &snapshot.contexts, StateOptions::default())
}

panther_events::payload! {
    struct Keyed [EventKind::new(Domain::FIRST_USER, 0)] { number: u64, size_bytes: u32, zero: u32 }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Keyed>("keyed", Identity::Digest)]),
    states: None,
};

#[test]
fn events_jsonl_holds_the_events_that_were_asked_for_with_their_verdicts() {
    let seed = crate::support::random::seed();
    for (duplicates, within) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut rng = crate::support::random::Rng::new(seed);
        let temp = tempfile::tempdir().unwrap();
        let dir = ResultDir::create(temp.path().join("out"), Overwrite::Refuse).unwrap();
        let mut builder =
            Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
        builder.domain(&LAB);
        let mut file = EventFile::new(dir.file("events.jsonl").unwrap());
        if within {
            file = file.within(Context::NONE.entered(Level::Test, Symbol::of("inner")));
        }
        let log = file.clone();
        builder.observer("events", move |setup| log.observer(setup, duplicates));
        let pipeline = builder.start().unwrap();
        let mut emitters = [pipeline.emitter("a").unwrap(), pipeline.emitter("b").unwrap()];
        let mut first: HashMap<u64, (u64, usize)> = HashMap::new();
        let mut expected = Vec::new();
        let entity = pipeline.symbols().intern("entity").unwrap();
        for time_ns in 1_000..1_400 {
            let (at, id, is_inner) = (rng.below(2) as usize, rng.below(120), rng.below(2) == 0);
            let context = if is_inner { "inner" } else { "outer" };
            let digest = EventId::digest(&id.to_le_bytes());
            let payload = Keyed { number: id * 1_000_003, size_bytes: id as u32 + 7, zero: 0 };
            let mut emitter = emitters[at].within(Level::Test, context).unwrap();
            emitter.emit_digest(digest, time_ns, entity, &payload).unwrap();
            drop(emitter);
            // In the order in which they were emitted, whoever emitted them.
            while pipeline.poll() > 0 {}
            let is_new = !first.contains_key(&id);
            let (first_ns, first_at) = *first.entry(id).or_insert((time_ns, at));
            let mut line = json!({
                "id": digest.uuid().hyphenated().to_string(), "time_ns": time_ns, "entity": "entity",
                "kind": "lab.keyed", "source": at, "verdict": if is_new { "new" } else { "duplicate" },
                "context": { "test": context },
                "payload": { "number": id * 1_000_003, "size_bytes": id + 7, "zero": 0 },
            });
            if !is_new {
                line["first_time_ns"] = json!(first_ns);
                line["first_source"] = json!(first_at);
            }
            if (is_new || duplicates) && (is_inner || !within) {
                expected.push(line);
            }
        }
        let sources = [emitters[0].source(), emitters[1].source()];
        drop(emitters);
        let snapshot = pipeline.shutdown();
        file.commit().unwrap();
        dir.commit().unwrap();
        let text = std::fs::read_to_string(temp.path().join("out/events.jsonl")).unwrap();
        let mut last: HashMap<u64, u64> = HashMap::new();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.retain(|line| line["kind"] == "lab.keyed");
        for line in &mut lines {
            // Numbers rise with each event of an emitter; what else it emitted is its own affair.
            let seq = line.as_object_mut().unwrap().remove("seq").unwrap().as_u64().unwrap();
            let source = line["source"].as_u64().unwrap();
            assert!(last.insert(source, seq).is_none_or(|before| before < seq), "seed {seed}");
        }
        assert_eq!(sources, [0, 1]);
        assert_eq!(lines, expected, "duplicates {duplicates}, within {within}, seed {seed}");
        // To the account, what was left out is handled as well.
        let (_, delivery) = snapshot.account.observers[0];
        assert_eq!((delivery.handled, delivery.failed), (snapshot.account.unique, 0));
        let taken = if duplicates { snapshot.account.duplicates } else { 0 };
        assert_eq!((delivery.duplicates, snapshot.account.duplicates > 100), (taken, true));
    }
}
