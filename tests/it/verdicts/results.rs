//! Tests, steps and assertions come out as one tree, whichever worker saw which of their events.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::domain::{assertion, step, test};
use panther_events::event::{Level, Symbol, Value};
use panther_events::observe::results::{Outcome, ResultTree, Results};
use panther_events::pipeline::{Builder, PipelineOptions, Snapshot, Topology};
use std::time::Duration;

const TOPOLOGIES: [Topology; 3] =
    [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 3 }];

fn run(
    topology: Topology,
    emit: impl Fn(&mut panther_events::emit::Emitter) -> Result<(), Box<dyn std::error::Error>>,
) -> (ResultTree, Snapshot) {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let key = builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emit(&mut emitter).unwrap();
    drop(emitter);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    (snapshot.report(key).unwrap().tree(), snapshot)
}

#[test]
fn parts_are_placed_by_context_by_document_or_by_the_test_that_names_them() {
    for topology in TOPOLOGIES {
        let (tree, _) = run(topology, |emitter| {
            emitter.enter(Level::Experiment, "exp")?;
            let started = step::ExecutionStarted::default();
            {
                let mut within = emitter.within(Level::Test, "by-context")?;
                within
                    .test("by-context")
                    .at(100)
                    .setup_started(Value::Null, test::SetupStarted::default())?;
                let mut within = within.within(Level::Step, "s1")?;
                within.step("s1").at(110).execution_started(Value::Null, "s1", started)?;
                let result = assertion::AssertionResult::default();
                within
                    .assertion("a1")
                    .at(115)
                    .validation_started("a1", assertion::ValidationStarted::default())?;
                within.assertion("a1").at(120).result(false, "too slow", "a1", result)?;
                within.step("s1").at(130).execution_completed("s1", step::ExecutionCompleted::default())?;
            }
            emitter.test("by-id").at(200).setup_started(Value::Null, test::SetupStarted::default())?;
            let of_test = step::ExecutionStarted { test_case_id: Some("by-id"), ..started };
            emitter.step("s2").at(210).execution_started(Value::Null, "s2", of_test)?;
            let skipped = step::Skipped::default();
            emitter.step("s3").at(215).skipped("not today", "s3", skipped)?;
            let of_step =
                assertion::Unknown { test_case_id: Some("by-id"), step_id: Some("s2"), context: None };
            let begun = assertion::ValidationStarted {
                test_case_id: Some("by-id"),
                step_id: Some("s2"),
                ..assertion::ValidationStarted::default()
            };
            emitter.assertion("a2").at(220).validation_started("a2", begun)?;
            emitter.assertion("a2").at(221).unknown("who knows", "a2", of_step)?;
            let duration = Some(Duration::from_nanos(7));
            let failed = step::ExecutionFailed { duration, test_case_id: Some("by-id"), error_details: None };
            emitter.step("s2").at(230).execution_failed("no answer", 1, "s2", failed)?;
            emitter.test("by-name").at(300).step_started("s4", test::StepStarted::default())?;
            emitter.step("s4").at(310).execution_started(Value::Null, "s4", started)?;
            let duration_seconds = Some(Duration::from_nanos(5));
            let completed = test::StepCompleted { duration_seconds, ..test::StepCompleted::default() };
            emitter.test("by-name").at(320).step_completed("s4", completed)?;
            emitter.test("by-name").at(330).assertion_checked("equal", true, Default::default())?;
            emitter.test("by-name").at(340).assertion_checked("less", true, Default::default())?;
            Ok(())
        });
        let names = |tree: &ResultTree| tree.tests.iter().map(|test| test.test).collect::<Vec<_>>();
        assert_eq!(names(&tree), ["by-context", "by-id", "by-name"].map(Symbol::of), "{topology}");
        let [context, id, name] = &tree.tests[..] else { panic!("{tree:?}") };
        assert_eq!(context.experiment, Some(Symbol::of("exp")));
        // The step went through, and what was asserted of it did not hold.
        assert_eq!((context.part.outcome, context.outcome()), (Outcome::Running, Outcome::Failed));
        let s1 = &context.steps[0];
        assert_eq!(
            (s1.part.outcome, s1.part.started_ns, s1.part.duration_ns),
            (Outcome::Passed, 110, Some(20))
        );
        let a1 = &s1.assertions[0].part;
        assert_eq!((a1.outcome, a1.message.as_deref()), (Outcome::Failed, Some("too slow")));
        let s2 = &id.steps[0];
        assert_eq!((s2.part.outcome, s2.part.duration_ns), (Outcome::Failed, Some(7)));
        assert_eq!(s2.part.message.as_deref(), Some("no answer"));
        assert_eq!(s2.assertions[0].part.outcome, Outcome::Unknown);
        // The step has not said that it ended, but its test has.
        assert_eq!(name.steps[0].part.outcome, Outcome::Passed, "{topology}");
        assert_eq!((name.checks.passed, name.checks.failed), (2, 0));
        let loose = &tree.steps[0];
        assert_eq!((loose.step, loose.part.outcome), (Symbol::of("s3"), Outcome::Skipped));
        assert_eq!(loose.part.message.as_deref(), Some("not today"));
        assert_eq!((tree.tests_tally().failed, tree.tests_tally().running), (2, 1));
        assert_eq!((tree.steps_tally().total(), tree.assertions_tally().failed), (4, 1));
    }
}

#[test]
fn what_a_table_does_not_allow_changes_no_result() {
    let (tree, _) = run(Topology::Inline, |emitter| {
        let mut test = emitter.test("t");
        test.setup_failed("no socket", test::SetupFailed::default())?;
        test.completed("t", test::Completed::default())?;
        Ok(())
    });
    let part = &tree.tests[0].part;
    assert_eq!((part.outcome, part.message.as_deref()), (Outcome::Failed, Some("no socket")));
}

#[test]
fn what_is_beyond_the_limit_is_counted() {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder
        .observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts).with_limit(3));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    for n in 0..10 {
        emitter.test(&format!("t{n}")).teardown_started().unwrap();
    }
    emitter.test("t0").completed("t0", test::Completed::default()).unwrap();
    drop(emitter);
    let snapshot = pipeline.shutdown();
    let report = snapshot.report(key).unwrap();
    assert_eq!((report.tree().tests.len(), report.untracked()), (3, 7));
    assert_eq!((snapshot.account.observers[0].1.handled, snapshot.account.observers[0].1.failed), (4, 7));
}

#[cfg(all(feature = "panther", feature = "json"))]
#[test]
fn a_whole_experiment_of_panthers_makes_one_tree() {
    use panther_events::export::summary::Summary;
    use panther_events::ingest::panther::{PantherIds, PythonVersion, feed};
    use panther_events::observe::results::ResultsReport;
    use panther_events::pipeline::ReportKey;
    use std::path::Path;
    use std::sync::atomic::AtomicU64;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/panther-lifecycle.jsonl");
    let mut summaries = Vec::new();
    for topology in TOPOLOGIES {
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        let key: ReportKey<ResultsReport> =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("ingest").unwrap();
        let (ids, bytes) = (PantherIds::default(), AtomicU64::new(0));
        feed(std::slice::from_ref(&path), PythonVersion::default(), &mut emitter, &ids, &bytes, || {
            pipeline.poll();
        });
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let report = snapshot.report(key).unwrap();
        let tree = report.tree();
        // As `panther-lifecycle.expected.json` has it.
        assert_eq!((tree.tests.len(), tree.steps.len(), tree.assertions.len()), (20, 0, 0), "{topology}");
        let (steps, assertions) = (tree.steps_tally(), tree.assertions_tally());
        assert_eq!((steps.passed, steps.failed, assertions.passed, assertions.failed), (44, 7, 13, 4));
        let said = |outcome| tree.tests.iter().filter(|test| test.part.outcome == outcome).count();
        // 17 completed, and 4 of these said before that an assertion had failed; one more was executed again, and did not end again.
        let counts = [Outcome::Passed, Outcome::Failed, Outcome::Incomplete].map(said);
        assert_eq!(counts, [12, 7, 1], "{topology}");
        // 7 of the others have a step that failed.
        let failed: std::collections::BTreeSet<_> = (0_u64..)
            .zip(&tree.tests)
            .filter(|(_, test)| {
                let steps = test.steps.iter().any(|step| step.part.outcome == Outcome::Failed);
                let assertions =
                    test.all_assertions().any(|assertion| assertion.part.outcome == Outcome::Failed);
                steps || assertions || test.part.outcome == Outcome::Failed
            })
            .map(|(number, _)| number)
            .collect();
        let tally = tree.tests_tally();
        assert_eq!(
            (tally.failed, tally.passed),
            (failed.len() as u64, 20 - failed.len() as u64 - tally.incomplete)
        );
        assert_eq!((tree.experiments.len(), tree.experiments[0].part.outcome), (1, Outcome::Passed));
        assert_eq!(tree.outcome(), Outcome::Failed);
        let mut summary = Summary::new(&snapshot, "any", 0.0);
        summary.add_results(report, &snapshot);
        summaries.push(serde_json::to_value(&summary.results).unwrap());
    }
    assert_eq!(summaries[0], summaries[1]);
    assert_eq!(summaries[0], summaries[2]);
    assert_eq!(summaries[0]["tree"][0]["test"], "test-000");
    assert_eq!(summaries[0]["tree"][0]["steps"][0]["step"], "test-000-step0");
    assert_eq!(summaries[0]["tree"][0]["steps"][0]["duration_ns"], 470_263_508);
}

#[test]
fn what_a_test_tells_of_a_step_counts_where_the_step_says_less() {
    use Outcome::{Failed, Passed, Running, Skipped};
    let owns = [None, Some(Running), Some(Passed), Some(Failed), Some(Skipped)];
    let tolds = [None, Some(Running), Some(Passed), Some(Failed)];
    let pairs = owns.into_iter().flat_map(|own| tolds.map(|told| (own, told)));
    for (own, told) in pairs.filter(|pair| *pair != (None, None)) {
        for topology in TOPOLOGIES {
            let (tree, _) = run(topology, |emitter| {
                let mut emitter = emitter.within(Level::Test, "t")?;
                emitter.test("t").at(1).setup_started(Value::Null, Default::default())?;
                match own {
                    Some(Skipped) => emitter.step("s").at(10).skipped("own", "s", Default::default())?,
                    Some(_) => {
                        emitter.step("s").at(10).execution_started(Value::Null, "s", Default::default())?
                    }
                    None => {}
                }
                match own {
                    Some(Passed) => emitter.step("s").at(30).execution_completed("s", Default::default())?,
                    Some(Failed) => {
                        emitter.step("s").at(30).execution_failed("own", 0, "s", Default::default())?
                    }
                    _ => {}
                }
                let test = emitter.test("t");
                match told {
                    Some(Running) => test.at(5).step_started("s", Default::default())?,
                    Some(Passed) => test.at(40).step_completed("s", Default::default())?,
                    Some(Failed) => test.at(40).step_failed("s", "boom", Default::default())?,
                    _ => {}
                }
                Ok(())
            });
            let [test] = &tree.tests[..] else { panic!("{tree:?}") };
            let [step] = &test.steps[..] else { panic!("{tree:?}") };
            let (outcome, message) = match (own, told) {
                (Some(Failed), _) => (Failed, Some("own")),
                (_, Some(Failed)) => (Failed, Some("boom")),
                (Some(Passed), _) => (Passed, None),
                (Some(Skipped), _) => (Skipped, Some("own")),
                (_, Some(Passed)) => (Passed, None),
                _ => (Running, None),
            };
            let part = &step.part;
            assert_eq!(
                (part.outcome, part.message.as_deref()),
                (outcome, message),
                "{own:?}, told {told:?}, {topology}"
            );
            assert_eq!(part.ended_ns.is_some(), outcome != Running, "{own:?}, told {told:?}");
            let started_ns = match (own, told) {
                (_, Some(Running)) => 5,
                (Some(_), _) => 10,
                _ => 40,
            };
            assert_eq!(part.started_ns, started_ns, "{own:?}, told {told:?}");
            let verdict = if outcome == Failed { Failed } else { Running };
            assert_eq!(test.outcome(), verdict, "{own:?}, told {told:?}");
        }
    }
}

/// A test that passes.
#[cfg(feature = "json")]
fn passes(emitter: &mut panther_events::emit::Emitter) -> crate::support::verdicts::Emitted {
    crate::support::verdicts::begin(emitter, "t")?;
    crate::support::verdicts::end(emitter, "t")
}

/// Takes events, and breaks at the first one or cannot deliver any.
#[cfg(feature = "json")]
struct Other {
    panics: bool,
}

#[cfg(feature = "json")]
impl panther_events::observe::Observer for Other {
    type Report = Nothing;

    fn interest(&self) -> panther_events::observe::Interest {
        use panther_events::observe::{Interest, Scope};
        Interest { kinds: panther_events::event::KindSet::ALL, duplicates: false, scope: Scope::Whole }
    }

    fn observe(
        &mut self,
        batch: &panther_events::observe::Batch<'_>,
    ) -> Result<(), panther_events::observe::Undelivered> {
        assert!(!self.panics, "as it is to");
        let events = batch.iter().count() as u64;
        Err(panther_events::observe::Undelivered { events, reason: "nobody is there".to_owned() })
    }

    fn report(&self) -> Nothing {
        Nothing
    }
}

#[cfg(feature = "json")]
struct Nothing;

#[cfg(feature = "json")]
impl panther_events::observe::Report for Nothing {
    fn merge(&mut self, _other: Nothing) {}
}

#[cfg(feature = "json")]
#[test]
fn what_the_account_is_short_of_leaves_no_verdict_that_all_passed() {
    use panther_events::export::summary::{ResultsSummary, Summary};
    use panther_events::process::Processing;
    let finish = |fails: bool, others: &[bool]| {
        let mut builder = Builder::default();
        for (number, panics) in others.iter().copied().enumerate() {
            builder.observer(["one", "other"][number], move |_| Other { panics });
        }
        // Under a name that nobody knows.
        let key =
            builder.observer("verdicts", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        passes(&mut emitter).unwrap();
        if fails {
            emitter.step("s").execution_failed("boom", 0, "s", Default::default()).unwrap();
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        snapshot.account.check().unwrap();
        (snapshot, key)
    };
    // What befell others says nothing of the results.
    let (mut snapshot, key) = finish(false, &[false, true]);
    assert!(snapshot.account.observers[..2].iter().all(|(_, delivery)| delivery.failed > 0));
    let summary = ResultsSummary::new(snapshot.report(key).unwrap(), &snapshot);
    assert_eq!((summary.outcome, summary.doubts.len()), ("passed", 0), "{:?}", summary.doubts);
    let whole = snapshot.account.clone();
    type Break = fn(&mut panther_events::pipeline::Account);
    let breaks: [(&str, Break); 7] = [
        ("2 events were dropped", |account| account.dropped_full = 2),
        ("3 events were refused", |account| account.rejected = 3),
        ("4 events were still on their way", |account| account.in_flight = 4),
        ("1 events were not taken", |account| {
            account.observers[2].1.failed = 1;
            account.observers[2].1.handled -= 1;
        }),
        ("5 events had not reached", |account| account.observers[2].1.handled -= 5),
        ("the processor p panicked; 6 events failed", |account| {
            account.processors = vec![("p".into(), Processing { failed: 6, ..Processing::default() })];
        }),
        ("the processor q panicked; 0 events failed", |account| {
            account.processors = vec![("q".into(), Processing { panicked: 1, ..Processing::default() })];
        }),
    ];
    let (failed, failed_key) = finish(true, &[]);
    for (why, break_it) in breaks {
        snapshot.account = whole.clone();
        break_it(&mut snapshot.account);
        let mut all = Summary::new(&snapshot, "any", 0.0);
        all.add_results(snapshot.report(key).unwrap(), &snapshot);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json["results"]["outcome"], "unknown", "{why}");
        assert!(json["results"]["doubts"][0].as_str().unwrap().starts_with(why), "{json}");
        assert_eq!(
            (&json["results"]["tests"]["passed"], &json["results"]["tree"][0]["outcome"]),
            (&1.into(), &"passed".into())
        );
    }
    // What has failed has failed.
    let mut summary = ResultsSummary::new(failed.report(failed_key).unwrap(), &failed);
    assert_eq!((summary.outcome, summary.doubts.len()), ("failed", 0));
    summary.doubt("who knows");
    assert_eq!((summary.outcome, &*summary.doubts), ("failed", &["who knows".to_owned()][..]));
}

#[cfg(feature = "json")]
#[test]
fn what_came_while_no_observer_of_results_was_there_leaves_no_verdict_that_all_passed() {
    use panther_events::export::summary::ResultsSummary;
    let fails = |emitter: &mut panther_events::emit::Emitter| {
        emitter.step("s").execution_failed("boom", 0, "s", Default::default()).unwrap();
    };
    for topology in TOPOLOGIES {
        let options = PipelineOptions { topology, ..PipelineOptions::default() };
        let make = |setup: panther_events::pipeline::ObserverSetup<'_>| {
            Results::new(setup.schema, setup.symbols, setup.contexts)
        };
        let mut builder = Builder::new(options);
        let first = builder.observer("first", make);
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        let drain = || pipeline.drain(std::time::Duration::from_secs(60)).unwrap();
        passes(&mut emitter).unwrap();
        drain();
        let all = pipeline.add_observer("all of it", make).unwrap();
        let early = pipeline.remove_observer(first).unwrap();
        fails(&mut emitter);
        drain();
        let late = pipeline.add_observer("late", make).unwrap();
        passes(&mut emitter).unwrap();
        drop(emitter);
        let told = |report, snapshot: &panther_events::pipeline::Snapshot| {
            let summary = ResultsSummary::new(report, snapshot);
            (summary.outcome, summary.doubts.join("; "))
        };
        let snapshot = pipeline.shutdown();
        let (outcome, doubts) = told(snapshot.report(late).unwrap(), &snapshot);
        assert!(outcome == "unknown" && doubts.starts_with("13 events came before"), "{outcome}: {doubts}");
        let (outcome, doubts) = told(snapshot.report(all).unwrap(), &snapshot);
        assert!(outcome == "failed" && doubts.starts_with("12 events came before"), "{outcome}: {doubts}");
        // Of a copy, and of the last report of one that was removed, nobody knows what they lack.
        let copy = snapshot.report(all).unwrap().clone();
        for report in [&copy, &early] {
            let (outcome, doubts) = told(report, &snapshot);
            assert!(outcome != "passed" && doubts.starts_with("the report is none"), "{outcome}: {doubts}");
        }
        // Where none is left, what came later is in no report.
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        let only = builder.observer("only", make);
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        passes(&mut emitter).unwrap();
        pipeline.drain(std::time::Duration::from_secs(60)).unwrap();
        let report = pipeline.remove_observer(only).unwrap();
        fails(&mut emitter);
        drop(emitter);
        let (outcome, doubts) = told(&report, &pipeline.shutdown());
        assert!(outcome == "unknown" && doubts.contains("was removed"), "{outcome}: {doubts}");
    }
}

#[cfg(feature = "json")]
#[test]
fn what_was_known_before_the_start_is_in_no_verdict() {
    use panther_events::event::{Identity, Record};
    use panther_events::export::summary::ResultsSummary;
    for known in [0, 1] {
        let mut builder = Builder::default();
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        builder.preload(move |each| {
            let left = panther_events::emit::ContextEntered { context: panther_events::event::Detail::NONE };
            let record = Record::new(Identity::Occurrence, 1, Symbol::of("x"), &left);
            each(&vec![record; known]);
        });
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        passes(&mut emitter).unwrap();
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let summary = ResultsSummary::new(snapshot.report(key).unwrap(), &snapshot);
        let expected = if known == 0 { "passed" } else { "unknown" };
        assert_eq!((summary.outcome, summary.doubts.len()), (expected, known), "{:?}", summary.doubts);
    }
}
