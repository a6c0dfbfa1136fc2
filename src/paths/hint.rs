//! Hints that the clocks of two vantage points differ.

use super::report::SightingsReport;
use crate::event::Symbol;

/// Packets that there must be for a hint.
const PACKETS_MIN: u64 = 100;

/// Two vantage points whose clocks may differ.
///
/// It is a hint, not a proof: a test that sends in one direction only looks the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockHint {
    /// One vantage point; for [`ClockDoubt::OneWay`] the one at which packets start.
    pub a: Symbol,
    /// The other vantage point.
    pub b: Symbol,
    /// What raises the doubt.
    pub doubt: ClockDoubt,
}

/// What makes two clocks look as if they differed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockDoubt {
    /// Practically all packets that were paired went one way, as if the clocks differed by more than the delay.
    OneWay,
    /// Both saw packets, and practically none was seen at both, as if the clocks differed by more than the horizon.
    Unpaired,
    /// The times of their sightings do not overlap.
    Apart,
}

impl SightingsReport {
    /// Returns the pairs of vantage points whose clocks may differ by more than the delay between them.
    ///
    /// There must be at least 100 packets on the paths between the two. "Practically all" is 99 %.
    #[must_use]
    pub fn clock_hints(&self) -> Vec<ClockHint> {
        let mut hints = Vec::new();
        for (at, one) in self.vantages.iter().enumerate() {
            for other in self.vantages.iter().skip(at + 1) {
                let (there, back) = (self.way(one.name, other.name), self.way(other.name, one.name));
                if there.sent + back.sent < PACKETS_MIN {
                    continue;
                }
                let (most, least) = (there.arrived.max(back.arrived), there.arrived.min(back.arrived));
                let (both, slow) = (there.sent > 0 && back.sent > 0, there.slow + back.slow > 0);
                let doubt = if one.last_ns < other.first_ns || other.last_ns < one.first_ns {
                    ClockDoubt::Apart
                } else if (both || slow) && (most + least) * 100 <= there.sent + back.sent {
                    ClockDoubt::Unpaired
                } else if most >= PACKETS_MIN && least * 99 <= most {
                    ClockDoubt::OneWay
                } else {
                    continue;
                };
                let (a, b) = if there.arrived >= back.arrived { (one, other) } else { (other, one) };
                hints.push(ClockHint { a: a.name, b: b.name, doubt });
            }
        }
        hints
    }

    fn way(&self, from: Symbol, to: Symbol) -> Way {
        let path = self.paths.iter().find(|path| (path.from, path.to) == (from, to));
        path.map_or(Way { sent: 0, arrived: 0, slow: 0 }, |path| Way {
            sent: path.sent,
            arrived: path.arrivals(),
            slow: path.beyond_horizon,
        })
    }
}

struct Way {
    sent: u64,
    arrived: u64,
    /// Arrived beyond the horizon.
    slow: u64,
}
