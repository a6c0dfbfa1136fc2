//! What the tests of verdicts need: pipelines that give a tree of results, and tests that go through all their states.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::domain::test::TestEmitter;
use panther_events::domain::{assertion, experiment, service, step, test};
use panther_events::emit::Emitter;
use panther_events::event::{Identity, Value};
use panther_events::observe::history::History;
use panther_events::observe::results::{ResultTree, Results};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use std::error::Error;
use std::sync::Arc;

pub(crate) type Emitted = Result<(), Box<dyn Error>>;

pub(crate) const TOPOLOGIES: [Topology; 2] = [Topology::Inline, Topology::Staged { dedup: 2, workers: 3 }];

/// Begins a pipeline in which no two events are one, however alike.
pub(crate) fn builder(topology: Topology) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let domains = [&test::DOMAIN, &step::DOMAIN, &assertion::DOMAIN, &service::DOMAIN, &experiment::DOMAIN];
    for kind in domains.into_iter().flat_map(|domain| domain.kinds.iter()) {
        builder.identity(kind.kind, Identity::Occurrence);
    }
    builder
}

pub(crate) fn run(topology: Topology, emit: impl Fn(&mut Emitter) -> Emitted) -> ResultTree {
    results_of(builder(topology), |pipeline| emit(&mut pipeline.emitter("runner")?))
}

/// Returns the results of what is told to such a pipeline.
pub(crate) fn results_of(mut builder: Builder, tell: impl FnOnce(&Pipeline) -> Emitted) -> ResultTree {
    let key = builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    tell(&pipeline).unwrap();
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    snapshot.report(key).unwrap().tree()
}

/// Brings a test to where it executes steps; one of them, `work`, it names and ends itself.
pub(crate) fn begin(emitter: &mut Emitter, name: &str) -> Emitted {
    begins(emitter.test(name), name)
}

/// As [`begin`], at one time.
pub(crate) fn begin_at(emitter: &mut Emitter, name: &str, time_ns: u64) -> Emitted {
    begins(emitter.test(name).at(time_ns), name)
}

fn begins(mut test: TestEmitter<'_>, name: &str) -> Emitted {
    test.created(name, Value::Null, Default::default())?;
    sets_up(&mut test, Value::Null)?;
    test.step_started("work", Default::default())?;
    test.step_completed("work", Default::default())?;
    Ok(())
}

/// Brings a test from its setup to where it executes steps, which it lists.
pub(crate) fn sets_up(test: &mut TestEmitter<'_>, steps: Value<'_>) -> Emitted {
    test.setup_started(Value::Null, Default::default())?;
    test.setup_completed(Value::Null, Default::default())?;
    test.environment_setup_started("docker", Default::default())?;
    test.environment_setup_completed("docker", Default::default())?;
    test.deployment_started(Value::Null)?;
    test.deployment_completed(Value::Null, Default::default())?;
    Ok(test.execution_started(steps, Default::default())?)
}

pub(crate) fn end(emitter: &mut Emitter, name: &str) -> Emitted {
    ends(emitter.test(name), name)
}

/// As [`end`], at one time.
pub(crate) fn end_at(emitter: &mut Emitter, name: &str, time_ns: u64) -> Emitted {
    ends(emitter.test(name).at(time_ns), name)
}

fn ends(mut test: TestEmitter<'_>, name: &str) -> Emitted {
    test.teardown_started()?;
    test.completed(name, Default::default())?;
    Ok(())
}

pub(crate) fn verdicts(tree: &ResultTree) -> Vec<&'static str> {
    tree.tests.iter().map(|test| test.outcome().name()).collect()
}

pub(crate) fn step_fails(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_failed("no answer", 0, step, Default::default())?;
    Ok(())
}

pub(crate) fn step_passes(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_completed(step, Default::default())?;
    Ok(())
}

/// Emits events, and returns the results of their records in a pipeline that has the documents of these, or has not.
pub(crate) fn replayed(with_documents: bool, emit: impl FnOnce(&mut Emitter) -> Emitted) -> ResultTree {
    let mut origin = builder(Topology::Inline);
    let key = origin.observer("history", |_| History::new(1 << 10));
    let pipeline = origin.start().unwrap();
    emit(&mut pipeline.emitter("runner").unwrap()).unwrap();
    let (symbols, snapshot) = (Arc::clone(pipeline.symbols()), pipeline.shutdown());
    let mut records: Vec<_> = snapshot.report(key).unwrap().iter().copied().collect();
    records.sort_by_key(|record| record.seq());
    let mut builder = builder(Topology::Inline);
    if with_documents {
        builder.symbols(symbols);
    }
    results_of(builder, |pipeline| {
        assert_eq!(pipeline.emitter("other")?.emit_records(records).rejected, 0);
        Ok(())
    })
}

/// A line that PANTHER tells of the step `s`.
pub(crate) fn panthers_line(second: u32, event: &str, data: &str) -> String {
    format!(
        "{{\"name\":\"{event}\",\"type\":\"step.{event}\",\"entity_type\":\"step\",\"entity_id\":\"s\",\
         \"timestamp\":\"2025-01-01T00:00:{second:02}\",\"data\":{data}}}\n"
    )
}
