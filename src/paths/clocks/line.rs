//! An offset that changes at a constant rate.

/// The offset of one clock to another as a line over time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::paths) struct Line {
    /// The time at which the offset is `offset_ns`.
    pub(in crate::paths) at_ns: u64,
    /// The offset then, in nanoseconds.
    pub(in crate::paths) offset_ns: i64,
    /// By how many seconds it changes each second.
    pub(in crate::paths) slope: f64,
}

impl Line {
    /// An offset that does not change.
    pub(in crate::paths) const fn constant(offset_ns: i64) -> Line {
        Line { at_ns: 0, offset_ns, slope: 0.0 }
    }

    /// Returns the offset at a time, in nanoseconds; saturates.
    pub(in crate::paths) fn at(&self, at_ns: u64) -> i64 {
        let since = i128::from(at_ns) - i128::from(self.at_ns);
        self.offset_ns.saturating_add((self.slope * since as f64).round() as i64)
    }

    /// Returns the line that is higher by so much.
    pub(super) fn raised(self, by_ns: i64) -> Line {
        Line { offset_ns: self.offset_ns.saturating_add(by_ns), ..self }
    }

    /// Returns the offset of the first clock to the second, by the time of the second.
    pub(super) fn reversed(self) -> Line {
        Line {
            at_ns: self.at_ns.saturating_add_signed(self.offset_ns),
            offset_ns: self.offset_ns.saturating_neg(),
            slope: -self.slope / (1.0 + self.slope),
        }
    }

    /// Takes a stamp of the clock that has this offset, and returns the time of the other one. Later stamps give no earlier times.
    pub(super) fn invert(&self, stamp_ns: u64) -> u64 {
        let since = i128::from(stamp_ns) - i128::from(self.at_ns) - i128::from(self.offset_ns);
        let drifted = (since as f64 * (self.slope / (1.0 + self.slope))).round() as i128;
        let time = i128::from(self.at_ns) + since - drifted;
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }

    /// Takes a time of the other clock, and returns the stamp of the one that has this offset.
    pub(super) fn stamp(&self, at_ns: u64) -> u64 {
        at_ns.saturating_add_signed(self.at(at_ns))
    }
}
