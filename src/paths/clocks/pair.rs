//! Two vantage points, of which one measures the clock of the other.

use super::bounds::Bounds;
use super::fit::{Fit, Step};
use super::line::Line;
use super::select::{Choice, select};
use super::stretch::{Knot, Stretch};
use super::vantage_clock::{Piece, VantageClock};

/// By which times are rounded when several clocks are composed.
const ROUNDING_NS: i64 = 4;

/// What is proved of a pair, and what is made of it.
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Without what is declared.
    pub(super) fit: Fit,
    /// The offset in each stretch, where one clock was measured by the other.
    chosen: Vec<Option<Line>>,
}

impl Pair {
    pub(super) fn new(first: usize, second: usize, fit: Fit) -> Pair {
        Pair { first, second, fit, chosen: Vec::new() }
    }

    /// Returns the other vantage point.
    pub(super) fn other(&self, vantage: usize) -> usize {
        if vantage == self.first { self.second } else { self.first }
    }

    /// Measures the clock of one of them by that of the other one.
    pub(super) fn measure(
        &mut self,
        measured: usize,
        parent: &VantageClock,
        declared_ns: i64,
        sync_ns: Option<u64>,
    ) -> VantageClock {
        let is_second = measured == self.second;
        let chosen = select(&self.fit, |stretch| raw_line(stretch, parent, is_second), sync_ns);
        let mut made: Vec<Made> = Vec::new();
        for (stretch, choice) in self.fit.stretches.iter().zip(&chosen) {
            let parts = if is_second {
                [stretch.second_first_ns, stretch.second_last_ns, stretch.first_ns]
            } else {
                [stretch.first_ns, stretch.last_ns, stretch.second_first_ns]
            };
            add(&mut made, parts, choice, parent, is_second);
        }
        self.chosen = chosen.iter().map(Choice::line).collect();
        let steps = self.steps(parent, is_second);
        VantageClock::new(declared_ns, pieces(&made), steps)
    }

    /// Returns where the measured clock was set relative to the other one, by the time in common.
    fn steps(&self, parent: &VantageClock, is_second: bool) -> Vec<Step> {
        let of = |stretch: &Stretch| {
            let step = self.fit.step_before(stretch)?;
            let (at_ns, by_ns) = if is_second {
                (stretch.first_ns, step.by_ns)
            } else {
                (stretch.second_first_ns, step.by_ns.saturating_neg())
            };
            Some(Step { at_ns: parent.common(at_ns), by_ns })
        };
        self.fit.stretches.iter().filter_map(of).collect()
    }

    /// Raises the offset that was measured.
    pub(super) fn raise(&mut self, by_ns: i64) {
        for line in self.chosen.iter_mut().flatten() {
            *line = line.raised(by_ns);
        }
    }

    /// Narrows the bounds on what the two clocks are wrong by, to what is possible at the worst of times.
    pub(super) fn narrow(&self, bounds: &mut Bounds, clocks: &[VantageClock], sync_ns: Option<u64>) {
        let sync_ns = sync_ns.map(|sync_ns| i64::try_from(sync_ns).unwrap_or(i64::MAX));
        let (mut ahead, mut behind) = (Some(i64::MIN), Some(i64::MIN));
        for (at, stretch) in self.fit.stretches.iter().enumerate() {
            let assumed = self.assumed(at, stretch, clocks);
            for knot in &stretch.knots {
                let offset_ns = assumed.at(knot, clocks, self);
                let upper = knot.upper_ns.into_iter().chain(sync_ns).min();
                let lower = knot.lower_ns.into_iter().chain(sync_ns.map(|sync_ns| -sync_ns)).max();
                ahead = ahead.zip(upper).map(|(ahead, upper)| ahead.max(upper.saturating_sub(offset_ns)));
                behind = behind.zip(lower).map(|(behind, lower)| behind.max(offset_ns.saturating_sub(lower)));
            }
        }
        for (from, to, most) in [(self.first, self.second, ahead), (self.second, self.first, behind)] {
            if let Some(most) = most {
                bounds.narrow(from, to, most);
            }
        }
    }

    /// Narrows the bounds to those within which no packet has a negative delay.
    pub(super) fn narrow_to_room(&self, bounds: &mut Bounds, clocks: &[VantageClock]) {
        for (above, below) in self.rooms(clocks) {
            for (from, to, room) in [(self.first, self.second, above), (self.second, self.first, below)] {
                // What is measured by a pair keeps to it, but for rounding.
                if let Some(room) = room {
                    bounds.narrow(from, to, if (-ROUNDING_NS..0).contains(&room) { 0 } else { room });
                }
            }
        }
    }

    /// Tells whether packets have negative delays.
    pub(super) fn is_violated(&self, clocks: &[VantageClock]) -> bool {
        let is_short = |room: Option<i64>| room.is_some_and(|room| room < -ROUNDING_NS);
        self.rooms(clocks).any(|(above, below)| is_short(above) || is_short(below))
    }

    /// Returns the room for the second clock above what is taken for its offset, and below, in each stretch.
    fn rooms(&self, clocks: &[VantageClock]) -> impl Iterator<Item = (Option<i64>, Option<i64>)> {
        self.fit.stretches.iter().enumerate().map(move |(at, stretch)| {
            let assumed = self.assumed(at, stretch, clocks);
            if let Assumed::Line(line) = &assumed {
                return stretch.room(line);
            }
            // Where a clock changes at the ends of the stretch, it is not known to which side they belong.
            let inner = stretch.knots.get(1..stretch.knots.len().saturating_sub(1)).unwrap_or_default();
            let room = |bound: fn(&Knot, i64) -> Option<i64>| {
                inner.iter().filter_map(|knot| bound(knot, assumed.at(knot, clocks, self))).min()
            };
            (
                room(|knot, offset_ns| knot.upper_ns.map(|upper| upper.saturating_sub(offset_ns))),
                room(|knot, offset_ns| knot.lower_ns.map(|lower| offset_ns.saturating_sub(lower))),
            )
        })
    }

    /// Returns what is taken for the offset in a stretch.
    fn assumed(&self, at: usize, stretch: &Stretch, clocks: &[VantageClock]) -> Assumed {
        if let Some(line) = self.chosen.get(at).copied().flatten() {
            return Assumed::Line(line);
        }
        let (Some(first), Some(second)) = (clocks.get(self.first), clocks.get(self.second)) else {
            return Assumed::Line(Line::constant(0));
        };
        let (from_ns, to_ns) = (first.common(stretch.first_ns), first.common(stretch.last_ns));
        let of = |clock: &VantageClock| {
            let line = clock.offset_at(from_ns);
            (line == clock.offset_at(to_ns)).then_some(line)
        };
        match (of(first), of(second)) {
            (Some(of_first), Some(of_second)) => {
                let time_ns = u64::midpoint(from_ns, to_ns);
                Assumed::Line(Line {
                    at_ns: of_first.stamp(time_ns),
                    offset_ns: of_second.at(time_ns).saturating_sub(of_first.at(time_ns)),
                    slope: (of_second.slope - of_first.slope) / (1.0 + of_first.slope),
                })
            }
            _ => Assumed::Clocks,
        }
    }
}

/// What is taken for the offset of the second clock, over a stretch.
enum Assumed {
    Line(Line),
    /// What follows from both clocks, which change within the stretch.
    Clocks,
}

impl Assumed {
    fn at(&self, knot: &Knot, clocks: &[VantageClock], pair: &Pair) -> i64 {
        if let Assumed::Line(line) = self {
            return line.at(knot.at_ns);
        }
        let (Some(first), Some(second)) = (clocks.get(pair.first), clocks.get(pair.second)) else { return 0 };
        let time_ns = first.common(knot.at_ns);
        second.offset_at(time_ns).at(time_ns).saturating_sub(first.offset_at(time_ns).at(time_ns))
    }
}

/// Returns the offset of the pair over a stretch if nothing is subtracted from the measured clock, where that is possible.
fn raw_line(stretch: &Stretch, parent: &VantageClock, is_second: bool) -> Option<Line> {
    if !parent.is_corrected {
        return stretch.is_zero_possible.then_some(Line::constant(0));
    }
    let ends = if is_second {
        [stretch.first_ns, stretch.last_ns]
    } else {
        [stretch.second_first_ns, stretch.second_last_ns]
    };
    let [from, to] = ends.map(|raw_ns| parent.offset_at(parent.common(raw_ns)));
    let line = if is_second { from.reversed() } else { from };
    (from == to && stretch.allows(&line)).then_some(line)
}

/// A piece, and the measured clock's first and last stamp in the stretch that it is of.
struct Made {
    from_ns: u64,
    line: Line,
    first_raw_ns: u64,
    last_raw_ns: u64,
    /// It is the first of its stretch.
    begins: bool,
}

/// Adds a stretch: one piece, or as many as the other clock has then.
fn add(
    made: &mut Vec<Made>,
    [first_raw_ns, last_raw_ns, parent_raw_ns]: [u64; 3],
    choice: &Choice,
    parent: &VantageClock,
    is_second: bool,
) {
    let parent_ns = parent.common(parent_raw_ns);
    // Evaluated where the stretch begins: a piece's line may reach back to the beginning of time.
    let line_of = |piece_ns: u64| match choice {
        Choice::Line(line) => compose(&parent.offset_at(piece_ns), line, is_second, parent_ns),
        Choice::Raw(_) | Choice::None => Line::constant(0),
    };
    let last_from_ns = made.last().map(|last| last.from_ns);
    let line = line_of(if last_from_ns.is_some() { parent_ns } else { 0 });
    let from_ns = match last_from_ns {
        None => 0,
        // Both stamps of its first crossing belong to it.
        Some(last_from_ns) => line.invert(first_raw_ns).min(parent_ns).max(last_from_ns),
    };
    // What was begun later than this one begins, does not take place.
    while made.last().is_some_and(|last| last.from_ns >= from_ns && last_from_ns.is_some()) {
        made.pop();
    }
    made.push(Made { from_ns, line, first_raw_ns, last_raw_ns, begins: true });
    if let Choice::Line(_) = choice {
        for begin_ns in parent.begins().filter(|begin_ns| *begin_ns > from_ns) {
            let line = line_of(begin_ns);
            made.push(Made { from_ns: begin_ns, line, first_raw_ns, last_raw_ns, begins: false });
        }
    }
}

/// Returns the offset of the measured clock to the time in common: that of the clock which it is measured by, and that between them.
fn compose(parent: &Line, pair: &Line, is_second: bool, time_ns: u64) -> Line {
    let pair = if is_second { *pair } else { pair.reversed() };
    let stamp_ns = parent.stamp(time_ns);
    Line {
        at_ns: time_ns,
        offset_ns: parent.at(time_ns).saturating_add(pair.at(stamp_ns)),
        slope: parent.slope + pair.slope * (1.0 + parent.slope),
    }
}

/// Returns the pieces, with the stamps up to which each reaches.
fn pieces(made: &[Made]) -> Vec<Piece> {
    let mut until = 0;
    let of = |(at, piece): (usize, &Made)| {
        let until_raw_ns = match made.get(at + 1) {
            Some(next) => {
                // Between the last stamp before and the first one after, whichever clock was set; where it is this one, and back, both are
                // of the same time.
                if next.begins && piece.last_raw_ns < next.first_raw_ns {
                    u64::midpoint(piece.last_raw_ns, next.first_raw_ns)
                } else {
                    piece.line.stamp(next.from_ns)
                }
            }
            None => u64::MAX,
        };
        until = until_raw_ns.max(until);
        let is_repeated =
            made.get(at + 1).is_some_and(|next| next.begins && next.first_raw_ns <= piece.last_raw_ns);
        Piece { from_ns: piece.from_ns, until_raw_ns: until, is_repeated, line: piece.line }
    };
    made.iter().enumerate().map(of).collect()
}
