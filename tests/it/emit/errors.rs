//! An error event says all that its error says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests, and panics are what is tested"
)]

use panther_events::domain::pipeline::ObserverFailed;
use panther_events::emit::{CAUSES_MAX, ErrorEvent, ErrorRaised, Severity};
use panther_events::event::{KindSet, Payload, Symbols};
use panther_events::observe::history::History;
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, Snapshot, Topology};
use std::error::Error;
use std::fmt;

#[derive(Debug)]
struct Layer(String, Option<Box<dyn Error + Send + Sync>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn told(error: &ErrorEvent<'_>) -> (ErrorRaised, serde_json::Value) {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("history", |_| History::new(8));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("e").unwrap();
    error.emit(&mut emitter, "server").unwrap();
    drop(emitter);
    let snapshot: Snapshot = pipeline.shutdown();
    let record = *snapshot.report(key).unwrap().iter().next().unwrap();
    assert_eq!(snapshot.symbols.name(record.entity()).as_deref(), Some("server"));
    assert_eq!(snapshot.schema.name(record.kind()), Some("pipeline.error"));
    let raised: ErrorRaised = record.payload().unwrap();
    let document = snapshot.symbols.details().text(raised.error).unwrap();
    (raised, serde_json::from_str(&document).unwrap())
}

fn chain(depth: usize) -> Layer {
    (0..depth).fold(Layer("root".into(), None), |inner, n| Layer(format!("layer {n}"), Some(Box::new(inner))))
}

#[test]
fn the_whole_chain_is_told_with_type_and_severity() {
    let error = chain(2);
    let (raised, document) = told(&ErrorEvent::of(&error).severity(Severity::Fatal));
    assert_eq!((raised.severity, raised.causes), (3, 2));
    assert_eq!(document["message"], "layer 1");
    assert_eq!(document["chain"], serde_json::json!(["layer 0", "root"]));
    assert!(document["type"].as_str().unwrap().ends_with("Layer"));
    assert_eq!((&document["severity"], document.get("backtrace")), (&"fatal".into(), None));
}

#[test]
fn a_boxed_error_is_told_with_the_trace_that_is_given() {
    let error: Box<dyn Error> = "plain".into();
    let trace = "main.py:7 in run\n\u{1b}[31mnet.py:3 in send";
    let (raised, document) = told(&ErrorEvent::of_dyn(&*error).error_type("net.Timeout").stack_trace(&trace));
    assert_eq!((raised.severity, raised.causes), (2, 0));
    assert_eq!((&document["type"], &document["backtrace"]), (&"net.Timeout".into(), &trace.into()));
    assert!(document.get("chain").is_none());
    let backtrace = std::backtrace::Backtrace::force_capture();
    let (_, document) = told(&ErrorEvent::of_dyn(&*error).backtrace(&backtrace));
    assert!(!document["backtrace"].as_str().unwrap().is_empty());
    let (_, document) = told(&ErrorEvent::of_dyn(&*error).backtrace(&std::backtrace::Backtrace::disabled()));
    assert!(document.get("backtrace").is_none());
}

#[test]
fn what_is_endless_is_cut() {
    let error = Layer("é".repeat(1 << 20), Some(Box::new(chain(CAUSES_MAX * 2))));
    let (raised, document) = told(&ErrorEvent::of(&error));
    assert_eq!(raised.causes as usize, CAUSES_MAX);
    assert_eq!(document["chain"].as_array().unwrap().len(), CAUSES_MAX);
    let message = document["message"].as_str().unwrap();
    assert!(message.len() <= (8 << 10) + 3 && message.ends_with("é..."));
}

struct Fails(String);

impl Observer for Fails {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::of(&[ErrorRaised::KIND]), ..Interest::ALL }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        panic!("{}", self.0)
    }

    fn report(&self) {}
}

/// However long it is: of a message that is no name, the beginning is told.
#[test]
fn a_failing_observer_brings_forth_an_event_with_its_message() {
    for (message, len) in [("planted".to_owned(), 17), ("é".repeat(5_000), Symbols::NAME_LEN_MAX)] {
        let planted = message.clone();
        let mut builder =
            Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
        builder.observer("fails", move |_| Fails(planted.clone()));
        let key = builder.observer("history", |_| History::new(8));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("e").unwrap();
        ErrorEvent::of(&fmt::Error).emit(&mut emitter, "server").unwrap();
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let history = snapshot.report(key).unwrap();
        let failed: ObserverFailed = history.iter().find_map(|record| record.payload()).unwrap();
        let told = snapshot.symbols.name(failed.message).unwrap();
        assert_eq!(told.len(), len, "{told}");
        assert!(format!("panicked: {message}").starts_with(&*told));
    }
}
