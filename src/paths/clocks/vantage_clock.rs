//! From the stamps of one vantage point to the time that all have in common.

use super::fit::Step;
use super::line::Line;

/// A part of the time in common, in which a clock's offset is a line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Piece {
    /// Where it begins, in the time in common.
    pub(super) from_ns: u64,
    /// The last raw stamp that belongs to it or to a piece before.
    pub(super) until_raw_ns: u64,
    /// The clock was set back at its end: some of its stamps came again in the next piece.
    pub(super) is_repeated: bool,
    /// What is to be subtracted from stamps, by the time in common.
    pub(super) line: Line,
}

/// How a vantage point's clock relates to the reference: what is subtracted from its stamps, and what is known of the rest.
#[derive(Clone, Default, Debug)]
pub(in crate::paths) struct VantageClock {
    /// What was declared of its offset, in nanoseconds. It is subtracted, and part of no other figure here.
    pub(in crate::paths) declared_ns: i64,
    /// Something besides is subtracted: the clock was proved wrong.
    pub(in crate::paths) is_corrected: bool,
    /// What is subtracted at the first time at which anything is, in nanoseconds.
    pub(in crate::paths) offset_ns: Option<i64>,
    /// The drift that is taken out then, in millionths. `None` where none was proved.
    pub(in crate::paths) drift_ppm: Option<f64>,
    /// By how much a corrected stamp may be wrong, in nanoseconds, to either side, relative to the reference. `None` where nothing bounds it.
    pub(in crate::paths) uncertainty_ns: Option<u64>,
    /// Where it was set relative to the vantage point by which it was measured, by the time in common.
    pub(in crate::paths) steps: Vec<Step>,
    /// In order of `from_ns`, the first from the beginning of time on. Empty where nothing is subtracted.
    pieces: Vec<Piece>,
}

impl VantageClock {
    /// A clock of which so much is subtracted in each piece of time.
    pub(super) fn new(declared_ns: i64, mut pieces: Vec<Piece>, steps: Vec<Step>) -> VantageClock {
        let is_zero = |line: &Line| line.offset_ns == 0 && line.slope == 0.0;
        let wrong = pieces.iter().find(|piece| !is_zero(&piece.line)).copied();
        if wrong.is_none() {
            pieces.clear();
        }
        let at_ns = wrong.map(|piece| piece.from_ns.max(piece.line.at_ns));
        VantageClock {
            declared_ns,
            is_corrected: wrong.is_some(),
            offset_ns: wrong.zip(at_ns).map(|(piece, at_ns)| piece.line.at(at_ns)),
            drift_ppm: wrong.map(|piece| piece.line.slope * 1e6).filter(|ppm| *ppm != 0.0),
            uncertainty_ns: None,
            steps,
            pieces,
        }
    }

    /// Returns the time in common at which the vantage point gave a stamp; in nanoseconds, saturating. Where the clock was set back, some
    /// stamps came twice: this is the first time. Within a piece between steps, later stamps give no earlier times.
    pub(in crate::paths) fn to_common(&self, raw_ns: u64) -> u64 {
        self.common(self.undeclared(raw_ns))
    }

    /// Does as [`VantageClock::to_common`], and where a stamp came twice, returns the time that is nearer to `near_ns`: that of the packet
    /// before in the same capture, say.
    pub(in crate::paths) fn to_common_near(&self, raw_ns: u64, near_ns: u64) -> u64 {
        let raw_ns = self.undeclared(raw_ns);
        let first_ns = self.common(raw_ns);
        let at = self.pieces.partition_point(|piece| piece.until_raw_ns < raw_ns);
        let mut best_ns = first_ns;
        // Of the pieces in which the stamp came again, each follows the one before.
        for (piece, next) in self.pieces.iter().zip(self.pieces.iter().skip(1)).skip(at) {
            if !piece.is_repeated {
                break;
            }
            let time_ns = next.line.invert(raw_ns);
            // Where the piece begins is known by the packets that were seen at both vantage points only.
            let slack_ns = time_ns.abs_diff(first_ns) / 4;
            if time_ns.saturating_add(slack_ns) < next.from_ns {
                break;
            }
            if time_ns.abs_diff(near_ns) < best_ns.abs_diff(near_ns) {
                best_ns = time_ns;
            }
        }
        best_ns
    }

    /// Returns the stamp that the vantage point gives at a time in common; in nanoseconds, saturating.
    #[cfg(test)]
    pub(in crate::paths) fn to_raw(&self, time_ns: u64) -> u64 {
        self.offset_at(time_ns).stamp(time_ns).saturating_add_signed(self.declared_ns)
    }

    /// Returns the time in common of a stamp less what is declared.
    pub(super) fn common(&self, raw_ns: u64) -> u64 {
        let at = self.pieces.partition_point(|piece| piece.until_raw_ns < raw_ns);
        match self.pieces.get(at).or(self.pieces.last()) {
            Some(piece) => piece.line.invert(raw_ns),
            None => raw_ns,
        }
    }

    /// Subtracts this much more wherever anything is subtracted, in nanoseconds.
    pub(super) fn raise(&mut self, by_ns: i64) {
        for piece in &mut self.pieces {
            piece.line = piece.line.raised(by_ns);
            piece.until_raw_ns = piece.until_raw_ns.saturating_add_signed(by_ns);
        }
        if let Some(last) = self.pieces.last_mut() {
            last.until_raw_ns = u64::MAX;
        }
        self.offset_ns = self.offset_ns.map(|offset_ns| offset_ns.saturating_add(by_ns));
    }

    /// Returns what is subtracted besides what is declared, around a time in common.
    pub(super) fn offset_at(&self, time_ns: u64) -> Line {
        let at = self.pieces.partition_point(|piece| piece.from_ns <= time_ns);
        let piece = at.checked_sub(1).and_then(|at| self.pieces.get(at)).or(self.pieces.first());
        piece.map_or(Line::constant(0), |piece| piece.line)
    }

    /// Returns where pieces begin, by the time in common.
    pub(super) fn begins(&self) -> impl Iterator<Item = u64> {
        self.pieces.iter().map(|piece| piece.from_ns)
    }

    /// Returns a stamp less what is declared of its clock.
    pub(super) fn undeclared(&self, raw_ns: u64) -> u64 {
        raw_ns.saturating_add_signed(self.declared_ns.saturating_neg())
    }
}
