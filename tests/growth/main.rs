//! Promise: bytes that somebody chooses make nothing quadratic. The time for 4 n is compared with that for n, which is the only
//! way to see it from outside; the limit lies halfway, on a scale of powers, between the 4 of linear growth and the 16 of quadratic.
#![cfg(all(feature = "pcap", feature = "panther", feature = "journal", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod engine;
mod inputs;
mod journals;
mod verdicts;

use std::time::{Duration, Instant};

/// The shortest of a few runs each of `work(n)` and `work(4 n)`: what disturbs makes a run longer, never shorter.
pub(crate) fn check_growth(name: &str, n: usize, mut work: impl FnMut(usize)) {
    let mut fastest = |n| {
        let one = |_| {
            let start = Instant::now();
            work(n);
            start.elapsed()
        };
        (0..3).map(one).min().unwrap()
    };
    let (one, four) = (fastest(n), fastest(4 * n));
    let ratio = four.as_secs_f64() / one.as_secs_f64();
    println!("{name}: {n} in {one:?}, four times as many in {four:?}: {ratio:.1}");
    // What takes no time shows nothing, and is nothing that anybody could make slow.
    let is_short = four < Duration::from_millis(20);
    assert!(ratio < 10.0 || is_short, "{name}: {ratio:.1} times as long for 4 times as many");
}
