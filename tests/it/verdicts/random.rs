//! Promise: whatever the order of beginnings and ends, a test passes only where each beginning of its parts has an end that
//! came after it, and each failure was retried.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it verdicts::random`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::verdicts::{TOPOLOGIES, begin, end, run};
use panther_events::event::{Level, Value};

/// What is told of a part: it begins, passes, or fails, which is any other number.
type Told = Vec<u64>;

const BEGINS: u64 = 0;
const PASSES: u64 = 1;

/// Whether every beginning has an end after it, there is one, and no failure is left.
fn may_pass(told: &Told, retried: bool) -> bool {
    let (mut open, mut failed, mut passed) = (0_i64, false, false);
    for what in told {
        match *what {
            BEGINS => {
                open += 1;
                failed &= !retried;
            }
            PASSES => {
                open = (open - 1).max(0);
                passed = true;
            }
            _ => {
                open = (open - 1).max(0);
                failed = true;
            }
        }
    }
    open == 0 && !failed && passed
}

#[test]
fn no_test_passes_of_which_a_part_began_more_often_than_it_ended() {
    let mut rng = Rng::new(crate::support::random::seed());
    let mut passed = 0;
    for round in 0..1500 {
        // Often all is well: only a test whose other parts passed shows what became of one.
        let mut told = |most: u64| -> Told {
            if rng.below(2) == 0 {
                return vec![BEGINS, PASSES];
            }
            (0..=rng.below(most)).map(|_| rng.below(5) % 3).collect()
        };
        let (step, by_test, assertion) = (told(5), told(4), told(4));
        let both = rng.below(2) == 0;
        let tree = run(TOPOLOGIES[round % 2], |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            for what in &step {
                let mut connect = e.step("connect");
                match *what {
                    BEGINS => connect.execution_started(Value::Null, "connect", Default::default())?,
                    PASSES => connect.execution_completed("connect", Default::default())?,
                    _ => connect.execution_failed("boom", 0, "connect", Default::default())?,
                }
            }
            for what in by_test.iter().filter(|_| both) {
                match *what {
                    BEGINS => e.test("t").step_started("migrate", Default::default())?,
                    PASSES => e.test("t").step_completed("migrate", Default::default())?,
                    _ => e.test("t").step_failed("migrate", "boom", Default::default())?,
                }
            }
            for what in &assertion {
                match *what {
                    BEGINS => e.assertion("a").validation_started("a", Default::default())?,
                    what => e.assertion("a").result(what == PASSES, "", "a", Default::default())?,
                }
            }
            end(&mut e, "t")
        });
        let right =
            may_pass(&step, true) && (!both || may_pass(&by_test, true)) && may_pass(&assertion, false);
        let verdict = tree.tests[0].outcome().name();
        passed += u32::from(verdict == "passed");
        assert!(
            verdict != "passed" || right,
            "{verdict}: step {step:?}, by test {both} {by_test:?}, assertion {assertion:?}"
        );
    }
    assert!(passed > 100, "{passed} passed: the test has no teeth");
}
