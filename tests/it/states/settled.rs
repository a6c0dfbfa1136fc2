//! Promise: a settled read has everything that was accepted before it, or says why it has not, under every topology.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::event::{Domain, Symbol, Value};
use panther_events::observe::state::{StateOptions, StateQuery, StateReport, States};
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{
    AddError, Builder, DrainError, Handle, ObserverOptions, Pipeline, PipelineOptions, ReportKey,
    SettleError, Topology,
};
use std::time::Duration;

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 2, workers: 3 },
];

const LONG: Duration = Duration::from_secs(20);

fn query() -> StateQuery {
    StateQuery::new(StateOptions::default())
}

fn builder(topology: Topology) -> Builder {
    Builder::new(PipelineOptions { topology, ..PipelineOptions::default() })
}

fn start(topology: Topology, states: &StateQuery) -> (Pipeline, ReportKey<StateReport>) {
    let (mut builder, query) = (builder(topology), states.clone());
    let options = ObserverOptions { scope: Some("all".into()), ..ObserverOptions::from("state") };
    let key =
        builder.observer(options, move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    (builder.start().unwrap(), key)
}

fn create(pipeline: &Pipeline, name: &str) {
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.service(name).created(name, "quic", "picoquic", Value::Null).unwrap();
}

fn has(states: &StateQuery, name: &str) -> bool {
    states.state(Domain::SERVICE, Symbol::of(name)).is_some()
}

/// What the pipeline and its handle say; they say the same, but under `Inline`, where a handle cannot wait.
fn settled(pipeline: &Pipeline, states: &StateQuery) -> Result<(), SettleError> {
    let said = pipeline.settled(states, LONG).map(|_| ());
    assert_eq!(by_handle(&pipeline.handle(), states).unwrap_or(said), said);
    said
}

fn by_handle(handle: &Handle, states: &StateQuery) -> Option<Result<(), SettleError>> {
    let said = handle.settled(states, LONG).map(|_| ());
    (said != Err(SettleError::Drain(DrainError::Inline))).then_some(said)
}

#[test]
fn who_is_there_has_everything() {
    for topology in TOPOLOGIES {
        let states = query();
        let (pipeline, _) = start(topology, &states);
        for n in 0..100 {
            create(&pipeline, &format!("service-{n}"));
            assert_eq!(settled(&pipeline, &states), Ok(()), "{topology}");
            assert!(has(&states, &format!("service-{n}")), "{topology}");
        }
        let handle = pipeline.handle();
        create(&pipeline, "last");
        drop(pipeline);
        assert_eq!(by_handle(&handle, &states).unwrap_or(Ok(())), Ok(()), "{topology}: after the end");
        assert!(has(&states, "last"));
    }
}

#[test]
fn who_was_removed_has_not() {
    for topology in TOPOLOGIES {
        for by_scope in [false, true] {
            let states = query();
            let (pipeline, key) = start(topology, &states);
            create(&pipeline, "before");
            assert_eq!(settled(&pipeline, &states), Ok(()), "{topology}");
            if by_scope {
                assert_eq!(pipeline.remove_scope("all"), Ok(1));
            } else {
                pipeline.remove_observer(key).unwrap();
            }
            create(&pipeline, "after");
            assert_eq!(settled(&pipeline, &states), Err(SettleError::Removed), "{topology}");
            assert!(!has(&states, "after"));
            // Added again it follows what comes from then on.
            let again = states.clone();
            pipeline
                .add_observer("again", move |setup| {
                    again.observer(setup.schema, setup.symbols, setup.contexts)
                })
                .unwrap();
            create(&pipeline, "again");
            assert_eq!(settled(&pipeline, &states), Ok(()), "{topology}");
            assert!(has(&states, "again"));
            let handle = pipeline.handle();
            pipeline.remove_scope("no such").unwrap();
            drop(pipeline);
            assert_eq!(by_handle(&handle, &states).unwrap_or(Ok(())), Ok(()), "{topology}");
        }
        // The end does not make good what was missed before it.
        let states = query();
        let (pipeline, key) = start(topology, &states);
        pipeline.remove_observer(key).unwrap();
        let handle = pipeline.handle();
        drop(pipeline);
        let said = by_handle(&handle, &states);
        assert_eq!(said.unwrap_or(Err(SettleError::Removed)), Err(SettleError::Removed), "{topology}");
    }
}

/// Follows states, and panics at a service of that name.
struct Panics(States);

impl Observer for Panics {
    type Report = StateReport;

    fn interest(&self) -> Interest {
        self.0.interest()
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        if batch.iter().any(|(record, _)| record.entity() == Symbol::of("bad")) {
            std::panic::panic_any("as it is told");
        }
        self.0.observe(batch)
    }

    fn report(&self) -> StateReport {
        self.0.report()
    }
}

#[test]
fn who_panicked_has_not() {
    for topology in TOPOLOGIES {
        let states = query();
        let (mut builder, inner) = (builder(topology), states.clone());
        builder.observer("state", move |setup| {
            Panics(inner.observer(setup.schema, setup.symbols, setup.contexts))
        });
        let pipeline = builder.start().unwrap();
        create(&pipeline, "good");
        assert_eq!(settled(&pipeline, &states), Ok(()), "{topology}");
        create(&pipeline, "bad");
        assert_eq!(settled(&pipeline, &states), Err(SettleError::Panicked), "{topology}");
        assert!(has(&states, "good") && !has(&states, "bad"));
        let handle = pipeline.handle();
        drop(pipeline);
        let said = by_handle(&handle, &states);
        assert_eq!(said.unwrap_or(Err(SettleError::Panicked)), Err(SettleError::Panicked), "{topology}");
    }
}

#[test]
fn who_belongs_to_another_pipeline_or_to_none_has_not() {
    for topology in TOPOLOGIES {
        let (ours, theirs, nobodys) = (query(), query(), query());
        let (pipeline, _) = start(topology, &ours);
        let (other, _) = start(topology, &theirs);
        create(&pipeline, "server");
        assert_eq!(settled(&pipeline, &theirs), Err(SettleError::Elsewhere), "{topology}");
        assert_eq!(settled(&pipeline, &nobodys), Err(SettleError::NeverAdded), "{topology}");
        assert_eq!(settled(&pipeline, &ours), Ok(()), "{topology}");
        assert_eq!(settled(&other, &theirs), Ok(()), "{topology}");
        // Made for this pipeline, and not taken in.
        let refused = nobodys.clone();
        let added = pipeline.add_observer("state", move |setup| {
            refused.observer(setup.schema, setup.symbols, setup.contexts)
        });
        assert_eq!(added.map(|_| ()), Err(AddError::Name("state".into())));
        assert_eq!(settled(&pipeline, &nobodys), Err(SettleError::Removed), "{topology}");
        let handle = pipeline.handle();
        drop(pipeline);
        for (states, said) in [(&theirs, SettleError::Elsewhere), (&nobodys, SettleError::Removed)] {
            assert_eq!(
                by_handle(&handle, states).unwrap_or(Err(said)),
                Err(said),
                "{topology}: after the end"
            );
        }
    }
}

#[test]
fn one_that_was_made_beforehand_will_do() {
    for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 1, workers: 1 }] {
        let (pipeline, states) = (builder(topology).start().unwrap(), query());
        let mut made = Some(states.observer(pipeline.schema(), pipeline.symbols(), pipeline.contexts()));
        let key = pipeline.add_observer("state", |_| made.take().unwrap()).unwrap();
        create(&pipeline, "server");
        assert_eq!(settled(&pipeline, &states), Ok(()), "{topology}");
        pipeline.remove_observer(key).unwrap();
        assert_eq!(settled(&pipeline, &states), Err(SettleError::Removed), "{topology}");
    }
}

#[test]
fn each_error_says_what_to_do() {
    for (error, remedy) in [
        (SettleError::NeverAdded, "add the one"),
        (SettleError::Elsewhere, "ask that one"),
        (SettleError::Removed, "add it again"),
        (SettleError::Panicked, "warnings say why"),
        (SettleError::Untracked(3), "raise `entities_max`"),
        (SettleError::Drain(DrainError::OwnThread), "ask from another thread"),
    ] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn who_could_not_follow_all_entities_has_not() {
    for topology in TOPOLOGIES {
        let states = StateQuery::new(StateOptions { entities_max: 1, ..StateOptions::default() });
        let (pipeline, _) = start(topology, &states);
        // Each worker has room for one.
        (0..20).for_each(|number| create(&pipeline, &format!("server-{number}")));
        let said = settled(&pipeline, &states);
        assert!(matches!(said, Err(SettleError::Untracked(17..=19))), "{topology}: {said:?}");
    }
}
