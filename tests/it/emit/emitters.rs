//! What typed emitters send arrives whole: every field of every class, in the payload or the document, up to the
//! lines of `events.jsonl`; and nothing that differs is taken for the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod calls;
mod samples;

use panther_events::domain::{
    DataType, Schema, VariantDef, assertion, environment, experiment, metrics, plugin, service, step, test,
    variants,
};
use panther_events::emit::{EmitError, NameRefused};
use panther_events::event::payload::{FieldType, FieldValue as Read};
use panther_events::event::{Detail, DetailError, Identity, Json, Level, Record, Symbol, Symbols, Value};
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, ReportKey, Topology};
use serde_json::{Map, Value as Tree};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const ENTITY: &str = "entity \"one\"";
static CATALOGUE: LazyLock<Schema> = LazyLock::new(Schema::new);

#[derive(Default, Clone)]
struct Collect(Vec<Record>);

impl Report for Collect {
    fn merge(&mut self, other: Collect) {
        self.0.extend(other.0);
    }
}

impl Observer for Collect {
    type Report = Collect;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _)| *record));
        Ok(())
    }

    fn report(&self) -> Collect {
        self.clone()
    }
}

fn inline() -> (Builder, ReportKey<Collect>) {
    let options = PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() };
    let mut builder = Builder::new(options);
    let key = builder.observer("collect", |_| Collect::default());
    (builder, key)
}

/// Runs `emit` on an emitter and returns what came out.
fn run(
    builder: (Builder, ReportKey<Collect>),
    emit: impl FnOnce(&mut panther_events::emit::Emitter),
) -> (Vec<Record>, Arc<Symbols>) {
    let pipeline = builder.0.start().unwrap();
    let mut emitter = pipeline.emitter("typed").unwrap();
    emit(&mut emitter);
    pipeline.drain(Duration::from_secs(10)).unwrap();
    let snapshot = pipeline.snapshot();
    assert_eq!(snapshot.account.check(), Ok(()));
    let records = snapshot.report(builder.1).unwrap().0.clone();
    (records, Arc::clone(pipeline.symbols()))
}

/// All classes, in the order of the tables.
fn classes() -> impl Iterator<Item = &'static VariantDef> {
    let tables = [
        experiment::VARIANTS,
        test::VARIANTS,
        service::VARIANTS,
        environment::VARIANTS,
        step::VARIANTS,
        assertion::VARIANTS,
        plugin::VARIANTS,
        metrics::VARIANTS,
    ];
    tables.into_iter().flatten()
}

fn document(record: &Record, symbols: &Symbols) -> Map<String, Tree> {
    let detail = match record_field(record, "detail") {
        Some(Read::Detail(detail)) => detail,
        other => panic!("{other:?}"),
    };
    if detail == Detail::NONE {
        return Map::new();
    }
    symbols.details().with_text(detail, |text| serde_json::from_str(text.unwrap()).unwrap())
}

fn record_field(record: &Record, name: &str) -> Option<Read<'static>> {
    let fields = CATALOGUE.fields(record.kind()).unwrap();
    fields.iter().find(|field| field.name == name).unwrap().read(record.payload_bytes())
}

fn tree(read: Read<'_>) -> Tree {
    match read {
        Read::Unsigned(value) => value.into(),
        Read::Signed(value) => value.into(),
        Read::Float(value) => value.into(),
        Read::Bool(value) => value.into(),
        Read::Name(name) => name.into(),
        other => panic!("{other:?} is no number"),
    }
}

#[test]
fn every_field_of_every_class_comes_back() {
    for bare in [false, true] {
        samples::BARE.set(bare);
        let (records, symbols) = run(inline(), |emitter| calls::emit_all(emitter).unwrap());
        samples::BARE.set(false);
        assert_eq!(records.len(), 123);
        for (record, class) in records.iter().zip(classes()) {
            assert_eq!(record.kind(), class.kind, "{}", class.class);
            assert_eq!(record.entity(), Symbol::of(ENTITY));
            assert_eq!(symbols.name(record.entity()).as_deref(), Some(ENTITY));
            if variants(class.kind).count() > 1 {
                assert_eq!(record_field(record, "variant"), Some(Read::Name(class.method)));
            }
            let sample = CATALOGUE.is_sampled(record.kind());
            let mut rest = document(record, &symbols);
            for (field, optional) in class
                .required
                .iter()
                .map(|field| (field, false))
                .chain(class.optional.iter().map(|f| (f, true)))
            {
                let what = format!("{}.{}", class.class, field.name);
                let absent = optional && bare;
                let (in_document, in_payload) = samples::expected(field);
                let in_document = if absent { Tree::Null } else { in_document };
                let placed = field.place.map(|place| record_field(record, place));
                if let Some(placed) = placed {
                    assert_eq!(placed.map(tree), (!absent).then_some(in_payload), "{what}");
                }
                match field.ty {
                    DataType::Time => assert!(record.time_ns() > 0),
                    DataType::Members if absent => {}
                    DataType::Members => {
                        assert_eq!(rest.remove("test_case"), Some("t-1".into()), "{what}");
                        assert_eq!(rest.remove("component"), Some(Tree::Null), "{what}");
                    }
                    // Samples keep numbers in the payload, and say the rest in documents that they share.
                    _ if sample && placed.is_some_and(|placed| placed.is_some()) => {
                        assert_eq!(rest.remove(field.name), None, "{what}");
                    }
                    _ => assert_eq!(rest.remove(field.name), Some(in_document), "{what}"),
                }
            }
            assert!(rest.is_empty(), "{} has {rest:?} beside", class.class);
            check_line(record, class, &symbols);
        }
    }
}

/// What stands in a line of `events.jsonl` is the whole payload and the whole document.
#[cfg(feature = "json")]
fn check_line(record: &Record, class: &VariantDef, symbols: &Symbols) {
    use panther_events::export::jsonl::EventLines;
    let mut lines =
        EventLines::new(Vec::new(), |kind| Some((CATALOGUE.name(kind)?, CATALOGUE.fields(kind)?)));
    lines.write(record, None, symbols).unwrap();
    let line = lines.into_inner();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let line: Tree = serde_json::from_slice(&line).unwrap();
    assert_eq!(line["entity"], ENTITY);
    let payload = line["payload"].as_object().unwrap();
    let fields = CATALOGUE.fields(class.kind).unwrap();
    assert_eq!(payload.len(), fields.len());
    for field in fields {
        let written = match field.ty {
            FieldType::Detail => match document(record, symbols) {
                none if none.is_empty() => Tree::Null,
                some => some.into(),
            },
            _ => field.read(record.payload_bytes()).map_or(Tree::Null, tree),
        };
        assert_eq!(payload[&*field.name], written, "{}.{}", class.class, field.name);
    }
}

#[cfg(not(feature = "json"))]
fn check_line(_: &Record, _: &VariantDef, _: &Symbols) {
    let _ = FieldType::U8;
}

#[test]
fn a_thousand_different_events_of_one_entity_at_one_moment_are_a_thousand() {
    let (records, symbols) = run(inline(), |emitter| {
        let mut to = emitter.test("busy").at(1_700_000_000_000_000_000);
        for number in 0..1_000 {
            let name = format!("step-{number}");
            to.step_started(&name, test::StepStarted::default()).unwrap();
            // The same again has happened again.
            to.step_started(&name, test::StepStarted::default()).unwrap();
        }
    });
    assert_eq!(records.len(), 2_000);
    let mut names: Vec<_> =
        records.iter().map(|record| document(record, &symbols)["step_name"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 1_000);
}

#[test]
fn a_thousand_equal_samples_are_a_thousand_and_share_a_document() {
    let (records, symbols) = run(inline(), |emitter| {
        for _ in 0..1_000 {
            let mut to = emitter.metrics("cpu").at(1_700_000_000_000_000_000);
            to.resource("cpu", 0.5, metrics::ResourceMetric::default()).unwrap();
        }
    });
    assert_eq!(records.len(), 1_000);
    assert_eq!(symbols.details().len(), 1);
}

#[test]
fn identity_is_a_choice_of_the_run() {
    let (mut builder, key) = inline();
    let resource = metrics::KINDS.iter().find(|kind| kind.name == "resource").unwrap().kind;
    let of_test = |name| test::KINDS.iter().find(|kind| kind.name == name).unwrap().kind;
    let (completed, teardown) = (of_test("completed"), of_test("teardown_started"));
    builder.identity(resource, Identity::Content).identity(completed, Identity::Content);
    let (records, _) = run((builder, key), |emitter| {
        for _ in 0..5 {
            emitter.metrics("cpu").resource("cpu", 0.5, metrics::ResourceMetric::default()).unwrap();
            emitter.test("t").completed("t", test::Completed::default()).unwrap();
            emitter.test("t").teardown_started().unwrap();
        }
        // The whole context is content.
        let mut within = emitter.within(Level::Test, "t").unwrap();
        for _ in 0..5 {
            within.test("t").completed("t", test::Completed::default()).unwrap();
        }
    });
    let count = |kind| records.iter().filter(|record| record.kind() == kind).count();
    assert_eq!((count(resource), count(completed), count(teardown)), (1, 2, 5));
}

#[test]
fn numbers_too_large_for_the_payload_are_whole_in_the_document() {
    let counts = [0, 1, (1 << 24) - 2, (1 << 24) - 1, u64::MAX];
    let (records, symbols) = run(inline(), |emitter| {
        for count in counts {
            let more = experiment::ExecutionCompleted { duration_seconds: Some(Duration::MAX) };
            emitter.experiment("x").execution_completed(count, 0, count, more).unwrap();
        }
    });
    for (record, count) in records.iter().zip(counts) {
        let fits = count < (1 << 24) - 1;
        assert_eq!(record_field(record, "total_count"), fits.then_some(Read::Unsigned(count)));
        assert_eq!(record_field(record, "duration_ns"), None);
        let document = document(record, &symbols);
        assert_eq!(document["total_count"], count);
        assert_eq!(document["duration_seconds"].as_f64(), Some(Duration::MAX.as_secs_f64()));
    }
    assert_eq!(symbols.details().unplaced(), 5 + 2 * 2);
}

#[test]
fn checked_json_of_the_users_stands_in_the_document() {
    let json = Json::new("{ \"retries\": [1, 2.50, \"a b\"] }").unwrap();
    let (records, symbols) = run(inline(), |emitter| {
        emitter.test("t").created("t", Value::Json(json), test::Created::default()).unwrap();
        emitter.test("t").teardown_started().unwrap();
    });
    let detail = match record_field(&records[0], "detail") {
        Some(Read::Detail(detail)) => detail,
        other => panic!("{other:?}"),
    };
    let text = symbols.details().text(detail).unwrap();
    let expected = "{\"test_name\":\"t\",\"config\":{\"retries\":[1,2.50,\"a b\"]},\"description\":null}";
    assert_eq!(&*text, expected);
    assert_eq!(record_field(&records[1], "detail"), Some(Read::Detail(Detail::NONE)));
}

#[test]
fn what_the_tables_refuse_is_an_error_and_counted() {
    let (mut builder, key) = inline();
    builder.symbols(Arc::new(Symbols::with_limits(200, 1 << 20)));
    let (records, symbols) = run((builder, key), |emitter| {
        let mut to = emitter.test("first");
        to.teardown_started().unwrap();
        let long = "x".repeat(1 << 20);
        let refused = to.setup_failed(&long, test::SetupFailed::default());
        assert!(matches!(refused, Err(EmitError::Detail(DetailError::TooLong { len })) if len > 1 << 20));
        assert_eq!(
            emitter.test(&"second".repeat(20)).teardown_started(),
            Err(EmitError::Entity(NameRefused::Full))
        );
        let too_long = "x".repeat(5_000);
        assert_eq!(emitter.test(&too_long).teardown_started(), Err(EmitError::Entity(NameRefused::TooLong)));
        emitter.test("first").teardown_completed(test::TeardownCompleted::default()).unwrap();
        let sent = emitter.sent();
        assert_eq!((sent.accepted, sent.rejected), (2, 3));
    });
    assert_eq!(records.iter().map(Record::seq).collect::<Vec<_>>(), [0, 4], "what was refused leaves a gap");
    assert_eq!((symbols.refused(), symbols.details().refused()), (2, 1));
}

#[test]
fn emitters_work_on_any_thread_and_agree_on_documents() {
    let options = PipelineOptions { topology: Topology::Fused, ..PipelineOptions::default() };
    let mut builder = Builder::new(options);
    let key = builder.observer("collect", |_| Collect::default());
    let pipeline = builder.start().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let handle = pipeline.handle();
            scope.spawn(move || {
                let mut emitter = handle.emitter(&format!("thread {thread}")).unwrap();
                for number in 0..500_u64 {
                    let name = format!("test-{}", number % 50);
                    let steps = number % 10;
                    let more =
                        test::ExecutionCompleted { steps_completed: Some(steps), ..Default::default() };
                    emitter.test(&name).execution_completed(more).unwrap();
                }
            });
        }
    });
    pipeline.drain(Duration::from_secs(10)).unwrap();
    let snapshot = pipeline.snapshot();
    assert_eq!(snapshot.report(key).unwrap().0.len(), 2_000);
    assert_eq!(pipeline.symbols().details().len(), 10);
    assert_eq!(snapshot.account.check(), Ok(()));
}
