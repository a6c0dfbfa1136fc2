//! PANTHER's files become records that lose nothing: id, entity, time, kind, class, numbers and the whole data; and
//! a whole experiment ends in the states that it is known to end in.
#![cfg(feature = "panther")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::domain::{DataType, Schema, StepOutcome, variants};
use panther_events::event::payload::{FieldType, FieldValue as Read};
use panther_events::event::{Detail, Domain, Identity, Record, Symbol, Symbols};
use panther_events::ingest::panther::{
    Limits, PantherEvent, PantherReader, PantherRecords, PythonVersion, RecordError, panther_uuid,
};
use serde_json::{Value as Tree, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn records() -> (PantherRecords, Arc<Symbols>) {
    let symbols = Arc::new(Symbols::new());
    (PantherRecords::new(Arc::clone(&symbols), PythonVersion::default()), symbols)
}

fn parse(line: &str) -> PantherEvent {
    PantherEvent::from_json(line.as_bytes(), &Limits::default()).unwrap()
}

fn line(entity_type: &str, name: &str, data: &Tree) -> String {
    let line = json!({
        "id": "c81d6fd0-a50b-52ae-949e-94fe6d88436a", "name": name, "type": "x", "entity_type": entity_type,
        "entity_id": "e", "timestamp": "2026-11-23T22:43:47.988657", "data": data,
    });
    line.to_string()
}

fn field<'a>(schema: &'a Schema, record: &Record, name: &str) -> Option<Read<'a>> {
    let fields = schema.fields(record.kind()).unwrap();
    fields.iter().find(|field| field.name == name)?.read(record.payload_bytes())
}

fn document(schema: &Schema, record: &Record, symbols: &Symbols) -> String {
    match field(schema, record, "detail") {
        Some(Read::Detail(Detail::NONE)) => "{}".into(),
        Some(Read::Detail(detail)) => symbols.details().text(detail).unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_line_of_panthers_files_is_a_record_that_holds_it_whole() {
    let schema = Schema::new();
    let (mut lines, mut placed, mut classes) = (0, 0, HashSet::new());
    for name in ["panther-dev.jsonl", "panther-odd.jsonl"] {
        let (mut records, symbols) = records();
        let mut unplaced = 0;
        for text in std::fs::read_to_string(fixture(name)).unwrap().lines() {
            let event = parse(text);
            let record = records.record(&event).unwrap();
            let full_name = format!("{}.{}", event.entity_type, event.name);
            assert_eq!(schema.name(record.kind()), Some(&*full_name));
            assert_eq!(symbols.name(record.entity()).as_deref(), Some(&*event.entity_id));
            assert_eq!((record.time_ns(), record.identity()), (event.time_ns, Some(Identity::Digest)));
            assert_eq!(panther_uuid(&record), event.id);
            let document = document(&schema, &record, &symbols);
            // serde refuses what Python writes for NaN, infinities and lone surrogates.
            let Ok(theirs) = serde_json::from_str::<Tree>(text) else { continue };
            let theirs = &theirs["data"];
            assert_eq!(&serde_json::from_str::<Tree>(&document).unwrap(), theirs);
            lines += 1;
            let several = variants(record.kind()).count() > 1;
            let class = match field(&schema, &record, "variant") {
                Some(Read::Name(method)) => variants(record.kind()).find(|variant| variant.method == method),
                _ => variants(record.kind()).next(),
            }
            .unwrap();
            let fields: HashSet<&str> = class.data().map(|field| field.name).collect();
            let members: HashSet<&str> = theirs.as_object().unwrap().keys().map(String::as_str).collect();
            let exact = variants(record.kind())
                .any(|other| other.data().map(|field| field.name).collect::<HashSet<_>>() == members);
            assert!(!exact || !several || fields == members, "{text} is no {}", class.class);
            classes.insert(class.class);
            for data in class.data() {
                let Some(place) = data.place else { continue };
                let read = field(&schema, &record, place);
                let theirs = &theirs[data.name];
                let expected = match read {
                    None if theirs.is_null() || data.ty == DataType::Any && !theirs.is_number() => continue,
                    // Odd values need not fit; PANTHER's usual ones do.
                    None if name == "panther-odd.jsonl" => {
                        unplaced += 1;
                        continue;
                    }
                    None => panic!("{}.{} of {theirs} has no value", class.class, data.name),
                    Some(Read::Unsigned(value)) if place.ends_with("_ns") => {
                        let per_unit = if data.name.ends_with("_ms") { 1e6 } else { 1e9 };
                        let theirs_ns = theirs.as_f64().unwrap() * per_unit;
                        assert!((value as f64 - theirs_ns).abs() <= 1.0 + theirs_ns * 1e-15, "{theirs}");
                        theirs.clone()
                    }
                    Some(Read::Unsigned(port)) if place == "first_port" => {
                        assert_eq!(theirs[0], port);
                        theirs.clone()
                    }
                    Some(Read::Unsigned(value)) => value.into(),
                    Some(Read::Signed(value)) => value.into(),
                    Some(Read::Bool(value)) => value.into(),
                    Some(Read::Float(value)) => {
                        assert_eq!(Some(value), theirs.as_f64());
                        theirs.clone()
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(&expected, theirs, "{}.{}", class.class, data.name);
                placed += 1;
            }
        }
        assert_eq!(records.id_mismatches(), 0);
        // Some of them stand in lines that serde refuses.
        assert!(unplaced <= records.unplaced());
    }
    assert!(lines > 100 && placed > 50 && classes.len() > 60, "{lines} {placed} {}", classes.len());
}

#[test]
fn what_json_cannot_hold_is_told_in_words() {
    let schema = Schema::new();
    let (mut records, symbols) = records();
    let data = r#"{"config":{"a":NaN,"b":-Infinity,"c":"\ud800\u0001\"x","d":123456789012345678901234567890,"e":1e300}}"#;
    let text = line("experiment", "initialized", &json!("DATA")).replace("\"DATA\"", data);
    let record = records.record(&parse(&text)).unwrap();
    let expected = r#"{"config":{"a":"NaN","b":"-Infinity","c":"\ud800\u0001\"x","d":123456789012345678901234567890,"e":1e300}}"#;
    assert_eq!(document(&schema, &record, &symbols), expected);
}

#[test]
fn the_class_is_the_one_that_fits_best() {
    let schema = Schema::new();
    let cases = [
        (json!({"service_name": "s", "duration_seconds": 1.5, "artifacts": {}}), "preparation_completed"),
        (
            json!({"service_name": "s", "phase": "p", "command": "c", "command_type": null}),
            "command_generated",
        ),
        (json!({"success": true}), "docker_build_completed"),
        (json!({"service_name": "s", "action": "command_modified"}), "command_modified"),
        (json!({}), "preparation_completed"),
    ];
    for (data, method) in cases {
        let (mut records, _) = records();
        let record = records.record(&parse(&line("service", "preparation_completed", &data))).unwrap();
        assert_eq!(field(&schema, &record, "variant"), Some(Read::Name(method)), "{data}");
    }
}

#[test]
fn values_of_another_type_stay_in_the_document_and_are_counted() {
    let schema = Schema::new();
    let (mut records, symbols) = records();
    let data = json!({"success_count": "three", "failure_count": -1, "total_count": 16_777_215, "duration_seconds": -2.0});
    let record = records.record(&parse(&line("experiment", "execution_completed", &data))).unwrap();
    for place in schema.fields(record.kind()).unwrap() {
        if place.ty != FieldType::Detail {
            assert_eq!(place.read(record.payload_bytes()), None, "{}", place.name);
        }
    }
    assert_eq!(records.unplaced(), 4);
    let tree: Tree = serde_json::from_str(&document(&schema, &record, &symbols)).unwrap();
    assert_eq!(tree, data);
}

#[test]
fn what_is_not_panthers_is_refused_with_its_name() {
    let (mut records, symbols) = records();
    let mut refuse = |entity_type: &str, name: &str| {
        records.record(&parse(&line(entity_type, name, &json!({})))).unwrap_err()
    };
    let error = refuse("packet", "seen");
    assert!(matches!(error, RecordError::UnknownEntityType(_)), "{error}");
    assert!(error.to_string().contains("experiment, test"), "{error}");
    let error = refuse("test", "exploded\u{1b}");
    assert_eq!(
        error.to_string(),
        "the event \"exploded\\u{1b}\" of a test is unknown; look for its name in PANTHER's catalogue"
    );
    // A type that is another event's makes the line two events; any other text is nobody's.
    let line_of = |event_type: &str| {
        line("test", "step_completed", &json!({})).replace("\"x\"", &format!("{event_type:?}"))
    };
    for other in ["test.step_failed", "step.execution_completed"] {
        let error = records.record(&parse(&line_of(other))).unwrap_err();
        assert!(matches!(error, RecordError::TwoEvents { .. }), "{error}");
        assert!(error.to_string().contains(other), "{error}");
    }
    for same in ["test.step_completed", "step_completed", "StepCompleted", "x", ""] {
        records.record(&parse(&line_of(same))).unwrap();
    }
    let before = records.id_mismatches();
    let foreign = line("test", "teardown_started", &json!({})).replace("-52ae-", "-42ae-");
    let record = records.record(&parse(&foreign)).unwrap();
    assert_eq!(records.id_mismatches(), before + 1);
    assert_ne!(panther_uuid(&record), parse(&foreign).id);
    let long = line("test", "created", &json!({"config": vec!["x".repeat(1 << 16); 20]}));
    assert!(matches!(records.record(&parse(&long)), Err(RecordError::Detail(_))));
    assert_eq!(symbols.len(), 1);
}

#[test]
fn a_whole_experiment_ends_in_the_known_states() {
    let expected = std::fs::read_to_string(fixture("panther-lifecycle.expected.json")).unwrap();
    let expected: Tree = serde_json::from_str(&expected).unwrap();
    let path = fixture("panther-lifecycle.jsonl");
    let schema = Schema::new();
    let (mut records, symbols) = records();
    let mut seen = HashSet::new();
    let mut states: HashMap<(Domain, Symbol), u8> = HashMap::new();
    let mut invalid: BTreeMap<&str, u64> = BTreeMap::new();
    for event in PantherReader::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap()), &path) {
        let record = records.record(&event.unwrap()).unwrap();
        if !seen.insert(record.id()) {
            continue;
        }
        let domain = record.kind().domain();
        let table = schema.states(domain).unwrap();
        let state = states.entry((domain, record.entity())).or_insert(table.initial);
        match table.step(*state, record.kind().code(), record.payload_bytes()) {
            StepOutcome::Moved(to) => *state = to,
            StepOutcome::Unchanged => {}
            StepOutcome::Invalid { .. } => {
                *invalid.entry(schema.domain_name(domain).unwrap()).or_default() += 1
            }
        }
    }
    assert_eq!(seen.len() as u64, expected["unique"]);
    assert_eq!(json!(invalid), expected["invalid_transitions"]);
    let ours: BTreeMap<String, String> = states
        .iter()
        .map(|((domain, entity), state)| {
            let name = schema.domain_name(*domain).unwrap();
            let state = schema.states(*domain).unwrap().name(*state).unwrap();
            (format!("{name}:{}", symbols.name(*entity).unwrap()), state.to_string())
        })
        .collect();
    assert_eq!(json!(ours), expected["states"]);
}
