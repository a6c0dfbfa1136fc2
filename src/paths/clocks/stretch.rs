//! What is proved of two clocks over a stretch of time.

use super::corridor::Corridor;
use super::hull::Y_MAX;
use super::line::Line;
use super::splitter::{Item, Split};
use std::ops::Range;

/// A clock is taken for a line over two of these, unless fewer packets than [`CHUNK_PACKETS`] went each way in one.
const CHUNK_NS: i64 = 5_000_000_000;
const CHUNK_PACKETS: usize = 32;
/// Knots that a chunk begins.
const CHUNK_KNOTS: i64 = 4;

/// Between which offsets the truth is at a time; straight between one knot and the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) struct Knot {
    /// The time by the first clock.
    pub(in crate::paths) at_ns: u64,
    /// The least offset in nanoseconds, where packets went back.
    pub(in crate::paths) lower_ns: Option<i64>,
    /// The largest offset in nanoseconds, where packets went there.
    pub(in crate::paths) upper_ns: Option<i64>,
}

/// What is proved of the offset, the second clock less the first, over a stretch of time in which it runs about straight.
#[derive(Clone, Debug)]
pub(in crate::paths) struct Stretch {
    /// The first crossing, by the first clock, in nanoseconds.
    pub(in crate::paths) first_ns: u64,
    /// The last crossing, by the first clock, in nanoseconds.
    pub(in crate::paths) last_ns: u64,
    /// The stamp of the first crossing by the second clock, in nanoseconds.
    pub(in crate::paths) second_first_ns: u64,
    /// The stamp of the last crossing by the second clock, in nanoseconds.
    pub(in crate::paths) second_last_ns: u64,
    /// Crossings from the first to the second.
    pub(in crate::paths) there: u64,
    /// Crossings from the second to the first.
    pub(in crate::paths) back: u64,
    /// The estimate: the middle of the corridor, or its only bound. It has a slope only where a constant offset is impossible.
    pub(in crate::paths) offset: Line,
    /// Half the height of the corridor along the estimate, in nanoseconds: half the sum of the smallest delays there and back. `None`
    /// where packets went in one direction only.
    pub(in crate::paths) half_gap_ns: Option<u64>,
    /// Clocks that agree are possible. If not, it is proved that there is an offset.
    pub(in crate::paths) is_zero_possible: bool,
    /// An offset that does not change is possible. If not, it is proved that there is a drift.
    pub(in crate::paths) is_constant_possible: bool,
    /// The smallest and the largest drift that is possible, in seconds a second; at most 0.001.
    #[cfg(test)]
    pub(in crate::paths) drifts: (f64, f64),
    /// Hard bounds, in order of time; at least one. All or none have a lower bound, and an upper one.
    pub(in crate::paths) knots: Vec<Knot>,
    corridor: Corridor,
}

impl Stretch {
    /// Measures a stretch of crossings; `None` where all are left out, or do not fit a line.
    pub(super) fn of(split: &Split, range: Range<usize>) -> Option<Stretch> {
        let corridor = split.corridor(range.clone(), None)?;
        let kept = || split.kept(range.clone()).map(|(_, item)| item);
        let (first, last) = (kept().next()?, kept().next_back()?);
        let is_constant_possible = corridor.has_constant();
        let slope = if is_constant_possible { 0.0 } else { corridor.widest() };
        let (offset, gap_ns) = corridor.middle(slope, i64::midpoint(first.x, last.x).unsigned_abs());
        let back = kept().filter(|item| item.is_back).count() as u64;
        Some(Stretch {
            first_ns: first.x.unsigned_abs(),
            last_ns: last.x.unsigned_abs(),
            second_first_ns: first.second_ns(),
            second_last_ns: last.second_ns(),
            there: kept().count() as u64 - back,
            back,
            offset,
            half_gap_ns: gap_ns.map(|gap_ns| gap_ns.div_ceil(2)),
            is_zero_possible: corridor.fits(&Line::constant(0)),
            is_constant_possible,
            #[cfg(test)]
            drifts: corridor.slopes(),
            knots: knots(split, range),
            corridor,
        })
    }

    /// Returns the smallest and the largest offset that are possible at a time by the first clock, in nanoseconds. `None` where packets in
    /// that direction are missing. Outside of the stretch, bounds widen by 1000 ppm.
    #[cfg(test)]
    pub(in crate::paths) fn bounds(&self, at_ns: u64) -> (Option<i64>, Option<i64>) {
        let next = self.knots.partition_point(|knot| knot.at_ns < at_ns);
        let before = next.checked_sub(1).and_then(|before| self.knots.get(before));
        match (before, self.knots.get(next)) {
            (Some(before), Some(after)) => (
                between(before, after, at_ns, |knot| knot.lower_ns),
                between(before, after, at_ns, |knot| knot.upper_ns),
            ),
            (Some(knot), None) | (None, Some(knot)) => {
                let wider = (knot.at_ns.abs_diff(at_ns) / 1000).cast_signed();
                let lower = knot.lower_ns.map(|lower| lower.saturating_sub(wider));
                (lower, knot.upper_ns.map(|upper| upper.saturating_add(wider)))
            }
            (None, None) => (None, None),
        }
    }

    /// Returns what it is when this much is subtracted from the first clock's stamps, and that from the second's; in nanoseconds.
    pub(super) fn without(mut self, first_ns: i64, second_ns: i64) -> Stretch {
        // No more than differences may be, so that nothing overflows.
        let limit = (Y_MAX / 2).cast_signed();
        let (first_ns, second_ns) = (first_ns.clamp(-limit, limit), second_ns.clamp(-limit, limit));
        let by_ns = first_ns - second_ns;
        for at_ns in [&mut self.first_ns, &mut self.last_ns, &mut self.offset.at_ns] {
            *at_ns = at_ns.saturating_add_signed(-first_ns);
        }
        for at_ns in [&mut self.second_first_ns, &mut self.second_last_ns] {
            *at_ns = at_ns.saturating_add_signed(-second_ns);
        }
        for knot in &mut self.knots {
            knot.at_ns = knot.at_ns.saturating_add_signed(-first_ns);
            for bound in [&mut knot.lower_ns, &mut knot.upper_ns].into_iter().flatten() {
                *bound = bound.saturating_add(by_ns);
            }
        }
        self.offset = self.offset.raised(by_ns);
        self.corridor.shift(-first_ns, by_ns);
        self.is_zero_possible = self.corridor.fits(&Line::constant(0));
        self
    }

    /// Returns the estimate, where two clocks differ by at most `sync_ns`: the middle of what is possible then.
    pub(super) fn estimate(&self, sync_ns: Option<u64>) -> Line {
        let (Some(sync_ns), true) = (sync_ns, self.is_constant_possible) else { return self.offset };
        let sync_ns = i64::try_from(sync_ns).unwrap_or(i64::MAX);
        let (above, below) = self.corridor.room(&Line::constant(0));
        let upper = above.unwrap_or(sync_ns).min(sync_ns);
        let lower = below.map_or(-sync_ns, i64::saturating_neg).max(-sync_ns);
        if lower <= upper { Line::constant(i64::midpoint(lower, upper)) } else { self.offset }
    }

    /// Returns the room above a line and below it, in nanoseconds: negative where packets would have negative delays.
    pub(super) fn room(&self, line: &Line) -> (Option<i64>, Option<i64>) {
        self.corridor.room(line)
    }

    /// Tells whether this offset is possible: no packet had a negative delay then.
    pub(super) fn allows(&self, line: &Line) -> bool {
        self.corridor.fits(line)
    }
}

/// Returns the bound between two knots.
#[cfg(test)]
fn between(before: &Knot, after: &Knot, at_ns: u64, bound: impl Fn(&Knot) -> Option<i64>) -> Option<i64> {
    let (from, to) = (bound(before)?, bound(after)?);
    let share = i128::from(at_ns - before.at_ns) * (i128::from(to) - i128::from(from));
    let length = i128::from((after.at_ns - before.at_ns).max(1));
    i64::try_from(i128::from(from) + share / length).ok()
}

/// Returns the hard bounds over time. Each is from the corridor of two neighbouring chunks.
fn knots(split: &Split, range: Range<usize>) -> Vec<Knot> {
    let mut knots: Vec<Knot> = Vec::new();
    let chunks = chunks(split, range);
    for (at, chunk) in chunks.iter().enumerate() {
        let window = chunk.start..chunks.get(at + 1).unwrap_or(chunk).end;
        let window = if at + 1 == chunks.len() && at > 0 {
            chunks.get(at - 1).unwrap_or(chunk).start..chunk.end
        } else {
            window
        };
        let Some(corridor) = split.corridor(window, None) else { continue };
        let ends = split.kept(chunk.clone()).next().zip(split.kept(chunk.clone()).next_back());
        let Some(((_, first), (_, last))) = ends else { continue };
        for part in 0..=CHUNK_KNOTS {
            // Of a length below 2^63.
            let x = first.x + (last.x - first.x) / CHUNK_KNOTS * part;
            let x = if part == CHUNK_KNOTS { last.x } else { x };
            let at_ns = x.unsigned_abs();
            if knots.last().is_none_or(|knot| knot.at_ns < at_ns) {
                knots.push(Knot { at_ns, lower_ns: corridor.lower(x), upper_ns: corridor.upper(x) });
            }
        }
    }
    knots
}

/// Cuts a stretch into parts that are long enough and have enough packets in each direction in which there are any.
fn chunks(split: &Split, range: Range<usize>) -> Vec<Range<usize>> {
    let needed = |is_back: bool| {
        let any = split.kept(range.clone()).any(|(_, item)| item.is_back == is_back);
        if any { CHUNK_PACKETS } else { 0 }
    };
    let (there_needed, back_needed) = (needed(false), needed(true));
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut chunk = Chunk { start: range.start, from: None, there: 0, back: 0 };
    for (at, item) in split.kept(range.clone()) {
        if let Some(from) = chunk.from
            && item.x - from >= CHUNK_NS
            && chunk.there >= there_needed
            && chunk.back >= back_needed
        {
            chunks.push(chunk.start..at);
            chunk = Chunk { start: at, from: None, there: 0, back: 0 };
        }
        chunk.from = chunk.from.or(Some(item.x));
        *(if item.is_back { &mut chunk.back } else { &mut chunk.there }) += 1;
    }
    let is_whole = chunk.there >= there_needed && chunk.back >= back_needed;
    match chunks.last_mut() {
        Some(last) if !is_whole => last.end = range.end,
        _ => chunks.push(chunk.start..range.end),
    }
    chunks
}

struct Chunk {
    start: usize,
    from: Option<i64>,
    there: usize,
    back: usize,
}

/// Returns the corridor at the beginning of a stretch, or at its end, as long as two chunks.
pub(super) fn corridor_at_end(split: &Split, range: Range<usize>, is_last: bool) -> Option<Corridor> {
    let mut counts = [0; 2];
    let mut from = None;
    let mut is_enough = |item: &Item| {
        let from = *from.get_or_insert(item.x);
        let [there, back] = &mut counts;
        *(if item.is_back { back } else { there }) += 1;
        item.x.abs_diff(from) >= 2 * CHUNK_NS.unsigned_abs()
            && counts.iter().all(|count| *count >= 2 * CHUNK_PACKETS)
    };
    let window = if is_last {
        let start = split.kept(range.clone()).rev().find(|(_, item)| is_enough(item));
        start.map_or(range.start, |(at, _)| at)..range.end
    } else {
        let end = split.kept(range.clone()).find(|(_, item)| is_enough(item));
        range.start..end.map_or(range.end, |(at, _)| at + 1)
    };
    split.corridor(window, None)
}
