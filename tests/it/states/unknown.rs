//! Promise: a wait that cannot know says so: of what the log has lost, and of what came when the observer was gone.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::event::{Domain, Level, Symbol, Value};
use panther_events::observe::state::{StateOptions, StateQuery, WaitError};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::time::Duration;

fn builder(topology: Topology) -> Builder {
    Builder::new(PipelineOptions { topology, ..PipelineOptions::default() })
}

/// Of one name in two tests: the first to come into a state may be one whose transitions the log no longer has.
#[test]
fn what_the_log_has_lost_of_another_entity_of_the_name_is_told() {
    for topology in [Topology::Inline, Topology::Fused] {
        let options = StateOptions { transitions_max: 2, ..StateOptions::default() };
        let states = StateQuery::new(options);
        let (mut builder, query) = (builder(topology), states.clone());
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        let point = states.point(Domain::STEP, Symbol::of("connect"));
        {
            let mut within = emitter.within(Level::Test, "a").unwrap();
            let mut step = within.step("connect");
            step.execution_started(Value::Null, "connect", Default::default()).unwrap();
            step.execution_failed("no answer", 0, "connect", Default::default()).unwrap();
            step.execution_started(Value::Null, "connect", Default::default()).unwrap();
        }
        {
            let mut within = emitter.within(Level::Test, "b").unwrap();
            let mut step = within.step("connect");
            step.execution_started(Value::Null, "connect", Default::default()).unwrap();
            step.execution_completed("connect", Default::default()).unwrap();
        }
        pipeline.drain(Duration::from_secs(20)).unwrap();
        let reached = states.wait_until_after(&point, &["failed", "completed"], Duration::ZERO).unwrap();
        assert_eq!(reached.state, "completed");
        assert!(reached.unknown >= 2, "{topology}: {reached:?}");
    }
}

#[test]
fn who_waits_where_the_observer_is_gone_is_told_so() {
    for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 3 }] {
        let states = StateQuery::new(StateOptions::default());
        let (mut builder, query) = (builder(topology), states.clone());
        let key = builder
            .observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        emitter.service("server").created("server", "quic", "picoquic", Value::Null).unwrap();
        pipeline.drain(Duration::from_secs(20)).unwrap();
        let wait = || states.wait_until(Domain::SERVICE, Symbol::of("server"), &["created"], Duration::ZERO);
        assert_eq!(wait().unwrap().state, "created", "{topology}");
        pipeline.remove_observer(key).unwrap();
        emitter.service("server").error("server", "crashed", Default::default()).unwrap();
        pipeline.drain(Duration::from_secs(20)).unwrap();
        assert!(matches!(wait(), Err(WaitError::Gone { last: Some(_) })), "{topology}: {:?}", wait());
    }
}
