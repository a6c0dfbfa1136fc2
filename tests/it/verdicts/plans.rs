//! Promise: a test that says which steps it has passes only where these ran: no step stands for another.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{Emitted, TOPOLOGIES, end_at, run, sets_up, verdicts};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};

/// A test with such a list; each step has an id and a name.
fn with_list(listed: Value<'_>, steps: &[(&str, &str)]) -> Vec<&'static str> {
    let tree = run(TOPOLOGIES[0], |e: &mut Emitter| -> Emitted {
        let mut e = e.within(Level::Test, "t")?;
        let mut test = e.test("t").at(1);
        test.created("t", Value::Null, Default::default())?;
        sets_up(&mut test, listed)?;
        for (at, (id, name)) in (10..).zip(steps) {
            e.test("t").at(at).step_started(id, Default::default())?;
            let mut step = e.step(id).at(at);
            step.execution_started(Value::Null, name, Default::default())?;
            step.execution_completed(name, Default::default())?;
            e.test("t").at(at).step_completed(id, Default::default())?;
        }
        end_at(&mut e, "t", 100)
    });
    verdicts(&tree)
}

#[test]
fn a_step_that_is_not_listed_stands_for_none_that_is() {
    let listed = || Value::from(&["connect", "migrate"]);
    for (steps, verdict) in [
        (&[("connect", "connect"), ("migrate", "migrate")][..], "passed"),
        (&[("s-1", "connect"), ("s-2", "migrate")], "passed"),
        (&[("connect", ""), ("s-2", "migrate"), ("clean up", "")], "passed"),
        (&[("prepare", "prepare"), ("clean up", "clean up")], "unknown"),
        (&[("prepare", "prepare"), ("migrate", "migrate")], "unknown"),
        (&[("s-1", "connect"), ("s-2", "connect")], "unknown"),
        (&[("connect", "migrate")], "unknown"),
    ] {
        assert_eq!(with_list(listed(), steps), [verdict], "{steps:?}");
    }
    let twice = Value::from(&["connect", "connect"]);
    assert_eq!(with_list(twice, &[("s-1", "connect"), ("s-2", "connect")]), ["passed"]);
}

/// Each time that it is executed it has the steps that it lists.
#[test]
fn a_test_that_is_executed_again_runs_its_steps_again() {
    for (again, verdict) in [(true, "passed"), (false, "unknown")] {
        let tree = run(TOPOLOGIES[0], |e| {
            let mut e = e.within(Level::Test, "t")?;
            let mut test = e.test("t").at(1);
            test.created("t", Value::Null, Default::default())?;
            sets_up(&mut test, Value::from(&["a"]))?;
            for (time_ns, runs) in [(10, true), (20, again)] {
                let mut test = e.test("t").at(time_ns);
                if time_ns == 20 {
                    test.execution_started(Value::from(&["a"]), Default::default())?;
                }
                if runs {
                    test.step_started("a", Default::default())?;
                    test.step_completed("a", Default::default())?;
                }
                test.execution_completed(Default::default())?;
            }
            end_at(&mut e, "t", 100)
        });
        assert_eq!(verdicts(&tree), [verdict], "{again}: {tree:?}");
    }
}

/// A step that ran twice in one execution stands for none of another, and what begins in one is not of another.
#[test]
fn each_execution_has_the_steps_that_it_lists() {
    for (first, second, verdict) in [
        (&["a", "b"][..], &["a", "b"][..], "passed"),
        (&["a", "b", "a", "b"], &[], "unknown"),
        (&[], &["a", "b", "a", "b"], "unknown"),
        (&["a", "a"], &["b", "b"], "unknown"),
        (&["a", "b", "b"], &["a", "b"], "passed"),
    ] {
        for lists_again in [true, false] {
            let tree = run(TOPOLOGIES[0], |e| {
                let mut e = e.within(Level::Test, "t")?;
                e.test("t").at(1).created("t", Value::Null, Default::default())?;
                sets_up(&mut e.test("t").at(1), Value::from(&["a", "b"]))?;
                for (time_ns, steps) in [(10, first), (20, second)] {
                    let list = if lists_again { Value::from(&["a", "b"]) } else { Value::Null };
                    if time_ns == 20 {
                        e.test("t").at(time_ns).execution_started(list, Default::default())?;
                    }
                    for step in steps {
                        e.test("t").at(time_ns).step_started(step, Default::default())?;
                        e.test("t").at(time_ns).step_completed(step, Default::default())?;
                        e.step(step).at(time_ns).execution_started(Value::Null, step, Default::default())?;
                        e.step(step).at(time_ns).execution_completed(step, Default::default())?;
                    }
                    e.test("t").at(time_ns).execution_completed(Default::default())?;
                }
                end_at(&mut e, "t", 100)
            });
            // Of a second execution that lists nothing, nothing is missing.
            let has_all = !lists_again && first.contains(&"a") && first.contains(&"b");
            let verdict = if has_all { "passed" } else { verdict };
            assert_eq!(verdicts(&tree), [verdict], "{first:?} {second:?} {lists_again}: {tree:?}");
        }
    }
}

/// By lines of PANTHER's: what such a test lists, and the ids and names of the steps that run.
#[cfg(all(feature = "panther", feature = "json"))]
fn by_panther(listed: &str, steps: &[(&str, &str)]) -> Vec<&'static str> {
    use crate::support::verdicts::{builder, results_of};
    use panther_events::ingest::panther::{PantherIds, PythonVersion, feed};
    use std::sync::atomic::AtomicU64;
    let mut lines: Vec<(&str, &str, String, String)> = Vec::new();
    let mut tell = |of: &'static str, name: &'static str, id: &str, data: String| {
        lines.push((of, name, id.into(), data))
    };
    let nothing = || "{}".to_owned();
    tell("test", "created", "t", nothing());
    tell("test", "setup_started", "t", nothing());
    tell("test", "setup_completed", "t", nothing());
    tell("test", "environment_setup_started", "t", nothing());
    tell("test", "environment_setup_completed", "t", nothing());
    tell("test", "deployment_started", "t", nothing());
    tell("test", "deployment_completed", "t", nothing());
    tell("test", "execution_started", "t", format!("{{\"steps\":{listed}}}"));
    for (id, name) in steps {
        let data = || format!("{{\"step_name\":\"{name}\",\"test_case_id\":\"t\"}}");
        tell("test", "step_started", "t", format!("{{\"step_name\":\"{id}\"}}"));
        tell("step", "execution_started", id, data());
        tell("step", "execution_completed", id, data());
        tell("test", "step_completed", "t", format!("{{\"step_name\":\"{id}\"}}"));
    }
    tell("test", "teardown_started", "t", nothing());
    tell("test", "completed", "t", nothing());
    let text: String = (0..)
        .zip(lines)
        .map(|(at, (of, name, id, data)): (u32, _)| {
            format!(
                "{{\"name\":\"{name}\",\"type\":\"{of}.{name}\",\"entity_type\":\"{of}\",\"entity_id\":\"{id}\",\
                 \"timestamp\":\"2025-01-01T00:00:{at:02}\",\"data\":{data}}}\n"
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    std::fs::write(&file, text).unwrap();
    let tree = results_of(builder(TOPOLOGIES[0]), |pipeline| {
        let (ids, bytes) = (PantherIds::default(), AtomicU64::new(0));
        let mut emitter = pipeline.emitter("ingest")?;
        let report = feed(&[file], PythonVersion::default(), &mut emitter, &ids, &bytes, || {
            pipeline.poll();
        });
        assert_eq!(report.sent.accepted, report.lines(), "{report:?}");
        Ok(())
    });
    verdicts(&tree)
}

/// A list of PANTHER's may describe the steps, rather than name them. Then they have to be as many as those that ran.
#[cfg(all(feature = "panther", feature = "json"))]
#[test]
fn steps_that_panther_describes_are_known_by_their_number() {
    let (connect, migrate, clean_up) =
        (("t-step0", "connect"), ("t-step1", "migrate"), ("t-step2", "clean up"));
    for (listed, steps, verdict) in [
        (r#"["s","s"]"#, &[connect, migrate][..], "passed"),
        (r#"["s","s"]"#, &[connect], "unknown"),
        // One of these may be none of those that it has.
        (r#"["s","s"]"#, &[connect, migrate, clean_up], "unknown"),
        (r#"["connect","migrate"]"#, &[connect, migrate, clean_up], "passed"),
        (r#"["connect","migrate"]"#, &[connect, clean_up], "unknown"),
        (r#"["t-step0","t-step1"]"#, &[connect, migrate, clean_up], "passed"),
        (r#"["t-step0","t-step1"]"#, &[connect, clean_up], "unknown"),
        (r#"[{"wait":1},{"wait":2}]"#, &[connect, migrate], "passed"),
        (r#"[{"wait":1},{"wait":2}]"#, &[connect, migrate, clean_up], "unknown"),
        ("[]", &[connect, migrate], "passed"),
        ("null", &[connect, migrate], "passed"),
    ] {
        assert_eq!(by_panther(listed, steps), [verdict], "{listed} {steps:?}");
    }
}
