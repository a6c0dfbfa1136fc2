//! Promise: a test that runs its steps again, without a beginning of its own in between, passes only where it came to the end of
//! each time.

use crate::support::verdicts::{Emitted, TOPOLOGIES, begin_at, run, sets_up, verdicts};
use panther_events::emit::Emitter;
use panther_events::event::Value;

/// What a test tells of its executions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tell {
    Prepares,
    Deploys,
    Executes,
    Executed,
    TearsDown,
    Completes,
    Results,
}
use Tell::*;

fn tell(emitter: &mut Emitter, time_ns: u64, what: Tell) -> Emitted {
    let mut test = emitter.test("t").at(time_ns);
    match what {
        Prepares => test.environment_setup_started("docker", Default::default())?,
        Deploys => test.deployment_started(Value::Null)?,
        Executes => test.execution_started(Value::Null, Default::default())?,
        Executed => test.execution_completed(Default::default())?,
        TearsDown => test.teardown_started()?,
        Completes => test.completed("t", Default::default())?,
        Results => test.result()?,
    }
    Ok(())
}

#[test]
fn what_is_executed_again_has_to_end_again() {
    let cases: [(&[Tell], &str); 17] = [
        // It may leave it to its own end to tell that.
        (&[TearsDown, Completes], "passed"),
        (&[Executed, TearsDown, Completes], "passed"),
        (&[Executed, TearsDown, Completes, Results], "passed"),
        (&[Executed, Executes, Executed, TearsDown, Completes], "passed"),
        (&[Executed, TearsDown, Completes, Executes, Executed], "passed"),
        (&[TearsDown, Completes, Executes, TearsDown, Completes], "passed"),
        (&[TearsDown, Completes, Results, Executes, TearsDown, Completes, Results], "passed"),
        (&[Executed, Executes, TearsDown, Completes], "incomplete"),
        (&[Executes, Executed, TearsDown, Completes], "incomplete"),
        (&[Executed, TearsDown, Completes, Executes], "incomplete"),
        (&[TearsDown, Completes, Results, Executes], "incomplete"),
        // It is prepared again, and hangs before it runs.
        (&[TearsDown, Completes, Prepares], "incomplete"),
        (&[TearsDown, Completes, Deploys], "incomplete"),
        (&[TearsDown, Completes, Prepares, Deploys, Executes, TearsDown, Completes], "passed"),
        // Another environment.
        (&[Prepares, Executed, TearsDown, Completes], "passed"),
        // Behind the end of the test.
        (&[Executed, Executes, TearsDown, Completes, Executed], "incomplete"),
        (&[TearsDown, Completes, Executed], "incomplete"),
    ];
    for (told, verdict) in cases {
        for topology in TOPOLOGIES {
            let tree = run(topology, |e| {
                begin_at(e, "t", 1)?;
                (10..).zip(told).try_for_each(|(time_ns, what)| tell(e, time_ns, *what))
            });
            assert_eq!(verdicts(&tree), [verdict], "{told:?}, {topology}: {tree:?}");
        }
    }
}

#[test]
fn what_another_executes_is_not_ended_by_what_one_tells_twice() {
    for (told, verdict) in [
        (&[(0, Executed), (1, Executed)][..], "passed"),
        (&[(0, Executed), (0, Executed)], "incomplete"),
        (&[(1, Executed), (1, Executed)], "incomplete"),
    ] {
        let tree = crate::support::verdicts::results_of(
            crate::support::verdicts::builder(TOPOLOGIES[0]),
            |pipeline| {
                let [mut one, mut other] = [pipeline.emitter("one")?, pipeline.emitter("other")?];
                begin_at(&mut one, "t", 1)?;
                tell(&mut other, 10, Executes)?;
                for (time_ns, (who, what)) in (20..).zip(told) {
                    tell(if *who == 0 { &mut one } else { &mut other }, time_ns, *what)?;
                }
                tell(&mut one, 30, TearsDown)?;
                tell(&mut one, 31, Completes)
            },
        );
        assert_eq!(verdicts(&tree), [verdict], "{told:?}: {tree:?}");
    }
}

/// Each run that is told to begin is one for itself.
#[test]
fn a_run_that_began_anew_executes_for_itself() {
    for (second, verdict) in [(&[TearsDown, Completes][..], "passed"), (&[], "running")] {
        let tree = run(TOPOLOGIES[0], |e| {
            begin_at(e, "t", 1)?;
            for (time_ns, what) in (10..).zip([Executed, TearsDown, Completes]) {
                tell(e, time_ns, what)?;
            }
            let mut test = e.test("t").at(20);
            sets_up(&mut test, Value::Null)?;
            test.step_started("work", Default::default())?;
            test.step_completed("work", Default::default())?;
            (30..).zip(second).try_for_each(|(time_ns, what)| tell(e, time_ns, *what))
        });
        assert_eq!(verdicts(&tree), [verdict], "{second:?}: {tree:?}");
    }
}
