//! A contest: contestants run in turn, round by round, and a table of medians.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use std::time::Duration;

/// One who does the work; returns how long it took, after the result was checked.
pub(crate) type Work = Box<dyn FnMut() -> Duration>;

/// The contestants in one piece of work; the first is compared with all others.
pub(crate) struct Contest {
    title: String,
    events: u64,
    contestants: Vec<(&'static str, Work)>,
}

impl Contest {
    /// Makes a contest in handling `events` events.
    pub(crate) fn new(title: String, events: u64) -> Contest {
        Contest { title, events, contestants: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &'static str, work: impl FnMut() -> Duration + 'static) {
        self.contestants.push((name, Box::new(work)));
    }

    /// Runs `rounds` rounds, after one that does not count, and prints the table.
    pub(crate) fn run(mut self, rounds: usize) {
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); self.contestants.len()];
        for round in 0..=rounds {
            for ((_, work), times) in self.contestants.iter_mut().zip(&mut times) {
                let time = work().as_secs_f64() * 1e9 / self.events as f64;
                if round > 0 {
                    times.push(time);
                }
            }
        }
        println!("\n{}, {} events, {rounds} rounds", self.title, self.events);
        println!("{:>52} {:>9} {:>16} {:>8} {:>7}", "", "median ns", "spread", "M/s", "ratio");
        for ((name, _), theirs) in self.contestants.iter().zip(&times) {
            let ratios = theirs.iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours);
            let ratio = median(ratios.collect());
            let (low, high) =
                theirs.iter().fold((f64::MAX, 0.0f64), |(low, high), &time| (low.min(time), high.max(time)));
            let time = median(theirs.clone());
            let spread = format!("{low:.1} to {high:.1}");
            println!("{name:>52} {time:>9.1} {spread:>16} {:>8.1} {ratio:>7.2}", 1e3 / time);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
