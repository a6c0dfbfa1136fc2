//! No stamps that somebody chooses make the work quadratic: it is counted, in crossings looked at and added to corridors (which takes a
//! logarithm of steps), for n and for 4 n.

use crate::paths::clocks::corridor::work;
use crate::paths::clocks::{Crossing, fit};

fn check_growth(name: &str, n: usize, crossing: impl Fn(u64) -> Crossing) {
    let count = |n: usize| {
        let crossings: Vec<_> = (0..n as u64).map(&crossing).collect();
        let before = work::done();
        assert!(!fit(&crossings).stretches.is_empty());
        work::done() - before
    };
    let (one, four) = (count(n), count(4 * n));
    println!("{name}: {n} in {one} steps, four times as many in {four}");
    assert!(four < 5 * one && four < 1_000 * n as u64, "{name}: {one}, and {four} for four times as many");
}

fn at(n: u64, difference_ns: i64, is_back: bool) -> Crossing {
    Crossing { at_ns: 1_000_000_000 + n * 1_000_000, difference_ns, is_back }
}

#[test]
fn stamps_that_fit_nothing() {
    // Each contradicts the one before.
    check_growth("alternating", 40_000, |n| {
        let up = n % 2 == 0;
        at(n, if up { 1_000_000_000 } else { -1_000_000_000 }, up)
    });
    check_growth("at random", 40_000, |n| {
        let random = fastrand::Rng::with_seed(n).u64(..);
        at(n, (random >> 24).cast_signed(), random.is_multiple_of(2))
    });
}

#[test]
fn stretches_of_few_crossings() {
    for length in [3, 4, 7] {
        check_growth(&format!("a step each {length}"), 40_000, |n| {
            let step = (n / length).cast_signed() * 1_000_000_000;
            at(n, step + if n % 2 == 0 { 5_000_000 } else { -5_000_000 }, n % 2 == 1)
        });
    }
}

#[test]
fn hulls_of_all_crossings() {
    check_growth("a convex row", 40_000, |n| {
        let n_signed = n.cast_signed();
        let x = n_signed - 80_000;
        at(n, if n % 2 == 0 { x * x / 1000 } else { -x * x / 1000 }, n % 2 == 1)
    });
}

#[test]
fn wrong_ones_from_before_that_are_found_later() {
    // Each eighth is closer to the other side than those that follow allow, but fits what is there before.
    check_growth("late contradictions", 40_000, |n| {
        let round = (n / 8).cast_signed();
        let far = 1_000_000_000_000_000 - round * 1_000_000;
        match n % 8 {
            0 => at(n, far - 10, true),
            odd if odd % 2 == 1 => at(n, far - 1_000, false),
            _ => at(n, -far, true),
        }
    });
}

#[test]
fn suspects_that_wait() {
    // Packets there that tell nothing, and few that contradict.
    check_growth("waiting suspects", 40_000, |n| match n % 1000 {
        0 => at(n, -1_000_000_000, false),
        1 => at(n, 1_000_000_000_000, true),
        n_small if n_small < 10 => at(n, -5_000_000, true),
        _ => at(n, 5_000_000, false),
    });
}
