//! Promise: what of several is not told to have ended is not hidden by what another is told to have done more often, in whichever
//! order that comes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{
    Emitted, TOPOLOGIES, begin_at, builder, end_at, results_of, run, sets_up, verdicts,
};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::ResultTree;
use std::time::Duration;

fn begins(e: &mut Emitter, step: &str, time_ns: u64) -> Emitted {
    Ok(e.step(step).at(time_ns).execution_started(Value::Null, step, Default::default())?)
}

fn passes(e: &mut Emitter, step: &str, time_ns: u64) -> Emitted {
    Ok(e.step(step).at(time_ns).execution_completed(step, Default::default())?)
}

fn fails(e: &mut Emitter, step: &str, time_ns: u64) -> Emitted {
    Ok(e.step(step).at(time_ns).execution_failed("no", 0, step, Default::default())?)
}

/// Runs with two emitters within the test `t`, which lasts from 1 to 1000; what each emits has come before the other emits.
fn by_two(emit: impl Fn(&mut Emitter, &mut Emitter, &dyn Fn()) -> Emitted) -> ResultTree {
    results_of(builder(TOPOLOGIES[0]), |pipeline| {
        let [mut one, mut other] = ["one", "other"].map(|name| pipeline.emitter(name).unwrap());
        one.enter(Level::Test, "t")?;
        other.enter(Level::Test, "t")?;
        begin_at(&mut one, "t", 1)?;
        emit(&mut one, &mut other, &|| pipeline.drain(Duration::from_secs(10)).unwrap())?;
        end_at(&mut one, "t", 1000)
    })
}

#[test]
fn what_a_test_tells_of_one_run_does_not_end_another_told_in_another_context() {
    for topology in TOPOLOGIES {
        for (hangs, verdict) in [(false, "passed"), (true, "incomplete")] {
            let tree = run(topology, |e| {
                begin_at(e, "t", 1)?;
                begins(&mut *e.within(Level::Test, "t")?, "connect", 10)?;
                if !hangs {
                    passes(&mut *e.within(Level::Test, "t")?, "connect", 11)?;
                }
                begins(e, "connect", 20)?;
                passes(e, "connect", 30)?;
                e.test("t").at(19).step_started("connect", Default::default())?;
                e.test("t").at(31).step_completed("connect", Default::default())?;
                end_at(e, "t", 100)
            });
            assert_eq!(verdicts(&tree), [verdict], "{topology}: {tree:?}");
        }
    }
}

#[test]
fn an_end_that_came_before_its_beginning_and_was_after_the_test_is_late() {
    type Tell = fn(&mut Emitter, u64, bool) -> Emitted;
    let parts: [Tell; 3] = [
        |e, time_ns, ends| match ends {
            false => Ok(e.test("t").at(time_ns).step_started("s", Default::default())?),
            true => Ok(e.test("t").at(time_ns).step_completed("s", Default::default())?),
        },
        |e, time_ns, ends| match ends {
            false => Ok(e.test("t").at(time_ns).assertions_started(Value::Null)?),
            true => Ok(e.test("t").at(time_ns).assertions_completed(1, 1, 0, true)?),
        },
        |e, time_ns, ends| if ends { passes(e, "s", time_ns) } else { begins(e, "s", time_ns) },
    ];
    for topology in TOPOLOGIES {
        for (part, tell) in parts.into_iter().enumerate() {
            for (ends, verdict) in [(999, "passed"), (1000, "passed"), (1001, "incomplete")] {
                for end_comes_first in [true, false] {
                    let tree = run(topology, |e| {
                        let mut e = e.within(Level::Test, "t")?;
                        begin_at(&mut e, "t", 1)?;
                        for is_end in [end_comes_first, !end_comes_first] {
                            tell(&mut e, if is_end { ends } else { 500 }, is_end)?;
                        }
                        end_at(&mut e, "t", 1000)
                    });
                    assert_eq!(verdicts(&tree), [verdict], "{part} {ends} {end_comes_first}: {tree:?}");
                }
            }
        }
    }
}

#[test]
fn an_end_without_a_beginning_after_the_test_is_late() {
    for (ends, verdict) in [(1000, "passed"), (1001, "incomplete")] {
        let tree = run(TOPOLOGIES[0], |e| {
            begin_at(e, "t", 1)?;
            e.test("t").at(ends).step_completed("s", Default::default())?;
            end_at(e, "t", 1000)
        });
        assert_eq!(verdicts(&tree), [verdict], "{tree:?}");
    }
}

/// A step that runs, the service in whose context it is, and how the test names it.
type Ran<'a> = (&'a str, &'a str, &'a str);

/// By run of a test, what it lists, and what runs.
fn of_steps(runs: &[(&[&str], &[Ran<'_>])]) -> Vec<&'static str> {
    let tree = run(TOPOLOGIES[0], |e| {
        let mut e = e.within(Level::Test, "t")?;
        for (at, (listed, steps)) in (0..).zip(runs) {
            let mut time_ns = 1 + 1000 * at;
            let mut t = e.test("t").at(time_ns);
            t.created("t", Value::Null, Default::default())?;
            sets_up(&mut t, Value::from(*listed))?;
            for (step, service, told) in *steps {
                time_ns += 10;
                e.test("t").at(time_ns).step_started(told, Default::default())?;
                let mut within = e.within(Level::Service, service)?;
                begins(&mut within, step, time_ns + 1)?;
                passes(&mut within, step, time_ns + 2)?;
                drop(within);
                e.test("t").at(time_ns + 3).step_completed(told, Default::default())?;
            }
            end_at(&mut e, "t", time_ns + 100)?;
        }
        Ok(())
    });
    verdicts(&tree)
}

#[test]
fn a_step_that_ran_more_often_stands_for_none_that_did_not() {
    let (a, b) = (("a", "x", "a"), ("b", "x", "b"));
    let both: &[&str] = &["a", "b"];
    assert_eq!(of_steps(&[(both, &[a, b])]), ["passed"]);
    assert_eq!(of_steps(&[(both, &[a, ("a", "y", "a")])]), ["unknown"], "in two contexts");
    assert_eq!(of_steps(&[(both, &[a, b]), (both, &[b, a])]), ["passed"]);
    assert_eq!(of_steps(&[(both, &[a]), (both, &[a, b, b])]), ["unknown"], "in another run");
    assert_eq!(of_steps(&[(both, &[("a-0", "x", "a")])]), ["unknown"], "under two names");
    assert_eq!(of_steps(&[(both, &[("a-0", "x", "a"), ("b-0", "x", "b")])]), ["passed"]);
    assert_eq!(of_steps(&[(&["A", "B"], &[a, b])]), ["unknown"], "by other names");
    assert_eq!(of_steps(&[(both, &[a, ("c", "x", "c")])]), ["unknown"], "by the same names");
}

#[test]
fn the_end_of_what_one_began_does_not_end_what_another_began_again() {
    // The other failed without having begun, begins again, and hangs.
    let tree = by_two(|one, other, drain| {
        begins(one, "s", 10)?;
        drain();
        fails(other, "s", 20)?;
        begins(other, "s", 30)?;
        drain();
        passes(one, "s", 40)
    });
    assert_eq!(verdicts(&tree), ["failed"]);
}

#[test]
fn what_is_told_twice_of_one_run_is_no_end_of_another() {
    for (hangs, twice, verdict) in
        [(false, false, "passed"), (false, true, "passed"), (true, true, "incomplete")]
    {
        let tree = by_two(|one, other, drain| {
            begins(one, "s", 10)?;
            one.assertion("a").at(10).validation_started("a", Default::default())?;
            drain();
            if hangs {
                begins(other, "s", 20)?;
                other.assertion("a").at(20).validation_started("a", Default::default())?;
            }
            drain();
            for time_ns in [30, 40].into_iter().take(1 + usize::from(twice)) {
                passes(one, "s", time_ns)?;
                one.assertion("a").at(time_ns).result(true, "", "a", Default::default())?;
            }
            Ok(())
        });
        assert_eq!(verdicts(&tree), [verdict], "{hangs} {twice}: {tree:?}");
        let parts = tree.tests[0].steps.iter().map(|step| &step.part);
        let parts = parts.chain(tree.tests[0].assertions.iter().map(|assertion| &assertion.part));
        let open = parts.filter(|part| part.outcome.name() == "incomplete").count();
        assert_eq!(open, 2 * usize::from(hangs));
    }
}

/// A runner that begins, and a thread of its own that tells the end.
#[test]
fn who_began_nothing_may_tell_the_end_of_what_another_began() {
    let tree = by_two(|one, other, drain| {
        for time_ns in [10, 30] {
            begins(one, "s", time_ns)?;
            drain();
            passes(other, "s", time_ns + 10)?;
            drain();
        }
        Ok(())
    });
    assert_eq!(verdicts(&tree), ["passed"], "{tree:?}");
}

/// A step that is retried in the second run of its test, both times between that run's beginning and end.
#[test]
fn a_retry_in_a_later_run_of_the_test_undoes_the_failure_of_that_run() {
    for (retry, verdict) in [(2030, "passed"), (3001, "failed")] {
        let tree = run(TOPOLOGIES[0], |e| {
            let mut e = e.within(Level::Test, "t")?;
            for run in 0..3 {
                begin_at(&mut e, "t", 1 + 1000 * run)?;
                let failed = run == 2;
                if failed {
                    begins(&mut e, "s", 2010)?;
                    fails(&mut e, "s", 2020)?;
                }
                if failed && retry < 3000 {
                    begins(&mut e, "s", retry)?;
                    passes(&mut e, "s", retry + 10)?;
                }
                end_at(&mut e, "t", 900 + 1000 * run)?;
            }
            if retry > 3000 {
                begin_at(&mut e, "t", 3000)?;
                begins(&mut e, "s", retry)?;
                passes(&mut e, "s", retry + 10)?;
                end_at(&mut e, "t", 3900)?;
            }
            Ok(())
        });
        assert_eq!(verdicts(&tree), [verdict], "{retry}: {tree:?}");
    }
}

/// The files of two feeds through one emitter are two tellers: the second is no retry of the first.
#[cfg(feature = "panther")]
#[test]
fn what_another_file_tells_is_no_retry_whichever_feed_reads_it() {
    use crate::support::verdicts::panthers_line;
    use panther_events::ingest::panther::{PantherIds, PythonVersion, feed};
    let line = |second, event| panthers_line(second, event, r#"{"test_case_id":"t"}"#);
    let folder = tempfile::tempdir().unwrap();
    let paths = ["one.jsonl", "other.jsonl"].map(|name| folder.path().join(name));
    let fails = line(1, "execution_started") + &line(2, "execution_failed");
    let passes = line(3, "execution_started") + &line(4, "execution_completed");
    for (files, verdict) in
        [([fails.clone() + &passes, String::new()], "passed"), ([fails, passes], "failed")]
    {
        for at_once in [true, false] {
            for (path, text) in paths.iter().zip(&files) {
                std::fs::write(path, text).unwrap();
            }
            let tree = results_of(builder(TOPOLOGIES[0]), |pipeline| {
                let mut emitter = pipeline.emitter("ingest")?;
                let (ids, bytes) = (PantherIds::default(), std::sync::atomic::AtomicU64::new(0));
                for paths in paths.chunks(if at_once { 2 } else { 1 }) {
                    feed(paths, PythonVersion::default(), &mut emitter, &ids, &bytes, || {
                        pipeline.poll();
                    });
                }
                Ok(())
            });
            assert_eq!(tree.steps[0].part.outcome.name(), verdict, "{at_once}: {tree:?}");
        }
    }
}
