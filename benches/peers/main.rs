//! Us and others on the same work, in alternating rounds, in one run.
//!
//! `cargo bench --bench peers -- [emit] [ring] [dedup] [pipeline] [--rounds N] [--ids N]`; all four when none is named. Each
//! contestant's result is checked in each round, so that none loses an event unnoticed. Read the ratios: they compare
//! rounds that ran one after the other, and hold on a machine that is now fast and now slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod contest;
mod dedup;
mod emit;
mod pipeline;
mod ring;
mod shelf;
#[path = "../support/mod.rs"]
mod support;

use contest::Contest;

/// Makes the contests of one stage, for the numbers of ids asked for.
type Part = fn(&[u64]) -> Vec<Contest>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let rounds = value("--rounds").unwrap_or(5) as usize;
    let sizes = value("--ids").map_or(vec![1_000_000, 20_000_000], |ids| vec![ids]);
    let parts: [(&str, Part); 4] = [
        ("emit", emit::contests),
        ("ring", ring::contests),
        ("dedup", dedup::contests),
        ("pipeline", pipeline::contests),
    ];
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| chosen(name));
    for (name, part) in parts {
        if all || chosen(name) {
            for contest in part(&sizes) {
                contest.run(rounds);
            }
        }
    }
}
