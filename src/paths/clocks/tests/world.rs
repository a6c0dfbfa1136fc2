//! Two hosts whose clocks and delays are known.

use crate::paths::clocks::Crossing;
use std::f64::consts::TAU;

/// How far the second clock is ahead of the first one, which is right.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    pub(super) offset_ns: i64,
    pub(super) drift_ppm: f64,
    /// Amplitude in nanoseconds and period in seconds.
    pub(super) wander: Option<(f64, f64)>,
    /// When, in nanoseconds after the start, and by how much.
    pub(super) steps: Vec<(i64, i64)>,
}

impl Truth {
    /// Returns the offset so long after the start.
    pub(super) fn at(&self, after_ns: i64) -> i64 {
        let wander = self
            .wander
            .map_or(0.0, |(amplitude, period)| amplitude * (TAU * after_ns as f64 / 1e9 / period).sin());
        let steps: i64 = self.steps.iter().filter(|(at, _)| *at <= after_ns).map(|(_, by)| by).sum();
        self.offset_ns + steps + (self.drift_ppm * 1e-6 * after_ns as f64 + wander).round() as i64
    }
}

/// The delays of one direction: the least, and the mean of what is exponentially distributed above it, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    pub(super) least_ns: i64,
    pub(super) jitter_ns: f64,
}

impl Delays {
    fn draw(self, rng: &mut fastrand::Rng) -> i64 {
        self.least_ns + (-(1.0 - rng.f64()).ln() * self.jitter_ns) as i64
    }
}

/// Draws packets at random times.
pub(super) fn packets(
    rng: &mut fastrand::Rng,
    start_ns: u64,
    truth: &Truth,
    count: usize,
    length_ns: i64,
    [there, back]: [Delays; 2],
) -> Vec<Crossing> {
    (0..count)
        .map(|_| {
            let (sent_ns, is_back) = (rng.i64(0..length_ns), rng.bool());
            let delay_ns = if is_back { back.draw(rng) } else { there.draw(rng) };
            let arrives_ns = sent_ns + delay_ns;
            // Stamps, after the start.
            let (first, second) = if is_back {
                (arrives_ns, sent_ns + truth.at(sent_ns))
            } else {
                (sent_ns, arrives_ns + truth.at(arrives_ns))
            };
            Crossing { at_ns: start_ns.saturating_add_signed(first), difference_ns: second - first, is_back }
        })
        .collect()
}
