//! What crossings prove about the clocks of two vantage points.

use super::corridor::Corridor;
use super::line::Line;
use super::splitter::{Crossing, Item, Split, split};
use super::stretch::{Stretch, corridor_at_end};
use std::ops::Range;

/// A clock was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) struct Step {
    /// When, in nanoseconds, by the clock that is named where the step is: no later than this, and later than the packet before.
    pub(in crate::paths) at_ns: u64,
    /// By how much the offset grew, in nanoseconds.
    pub(in crate::paths) by_ns: i64,
}

/// What is proved of two clocks.
#[derive(Clone, Default, Debug)]
pub(in crate::paths) struct Fit {
    /// Stretches of time, in order, each with a line of its own.
    pub(in crate::paths) stretches: Vec<Stretch>,
    /// Crossings that were left out: their stamps contradict those of at least three others.
    pub(in crate::paths) outliers: u64,
    /// Crossings that were left out as well, but are explained: they were on their way while a clock was set.
    pub(in crate::paths) in_flight: u64,
    /// Where the second clock was set forward (or the first one back), by the first clock: at the first crossing of a stretch. Between
    /// other stretches the drift has changed.
    pub(in crate::paths) steps: Vec<Step>,
}

impl Fit {
    /// Returns what it is when this much is subtracted from the first clock's stamps, and that from the second's; in nanoseconds.
    pub(super) fn without(&self, first_ns: i64, second_ns: i64) -> Fit {
        let stretches: Vec<_> =
            self.stretches.iter().map(|stretch| stretch.clone().without(first_ns, second_ns)).collect();
        let moved = |step: &Step| Step { at_ns: step.at_ns.saturating_add_signed(-first_ns), ..*step };
        Fit {
            stretches,
            outliers: self.outliers,
            in_flight: self.in_flight,
            steps: self.steps.iter().map(moved).collect(),
        }
    }

    /// Tells whether the clocks can have differed by so little all the time.
    pub(super) fn allows_sync(&self, sync_ns: u64) -> bool {
        let sync_ns = i64::try_from(sync_ns).unwrap_or(i64::MAX);
        let mut knots = self.stretches.iter().flat_map(|stretch| &stretch.knots);
        knots.all(|knot| {
            knot.lower_ns.is_none_or(|lower_ns| lower_ns <= sync_ns)
                && knot.upper_ns.is_none_or(|upper_ns| upper_ns >= -sync_ns)
        })
    }

    /// Returns the step at the beginning of a stretch.
    pub(super) fn step_before(&self, stretch: &Stretch) -> Option<Step> {
        let at = self.steps.binary_search_by_key(&stretch.first_ns, |step| step.at_ns).ok()?;
        self.steps.get(at).copied()
    }
}

/// Finds out what crossings, in any order, prove about two clocks. Takes `O(n log n)` for `n` crossings.
pub(in crate::paths) fn fit(crossings: &[Crossing]) -> Fit {
    let mut split = split(crossings);
    join_transitions(&mut split);
    let mut jumps = Vec::new();
    for stretch in 1..split.starts.len() {
        let jump = jump(&split, stretch);
        if let Some(by_ns) = jump {
            move_start(&mut split, stretch, by_ns);
            explain_outliers(&mut split, stretch);
        }
        jumps.push(jump);
    }
    let in_flight = split.items.iter().filter(|item| item.is_in_flight).count() as u64;
    let outliers =
        split.items.iter().filter(|item| item.is_outlier).count() as u64 + split.absurd - in_flight;
    let mut fit = Fit { outliers, in_flight, ..Fit::default() };
    for at in 0..split.starts.len() {
        let Some(stretch) = Stretch::of(&split, split.range(at)) else { continue };
        let jump = at.checked_sub(1).and_then(|before| jumps.get(before).copied().flatten());
        if let Some(by_ns) = jump
            && !fit.stretches.is_empty()
        {
            fit.steps.push(Step { at_ns: stretch.first_ns, by_ns });
        }
        fit.stretches.push(stretch);
    }
    fit
}

/// A clock that is set takes no longer than this many times the smallest delays until no packet from before is on its way any more.
const TRANSITION: u64 = 20;
/// Stretches with fewer crossings may be of packets that were on their way.
const SOLID: usize = 8;

/// Leaves out short stretches between long ones: while a clock is set back, packets there have stamps of after it already, when those back
/// still have stamps of before.
fn join_transitions(split: &mut Split) {
    let is_solid: Vec<bool> = (0..split.starts.len())
        .map(|stretch| {
            let back = split.kept(split.range(stretch)).filter(|(_, item)| item.is_back).count();
            let all = split.kept(split.range(stretch)).count();
            back > 0 && back < all && all >= SOLID
        })
        .collect();
    let mut starts: Vec<usize> = Vec::new();
    // The last long one, and how many of the new starts there were with it.
    let mut before: Option<(usize, usize)> = None;
    for (stretch, is_solid) in is_solid.into_iter().enumerate() {
        let range = split.range(stretch);
        if is_solid {
            if let Some((last, count)) = before
                && last + 1 < stretch
                && is_transition(split, last, stretch)
            {
                starts.truncate(count);
                let between = split.range(last).end..range.start;
                for item in split.items.get_mut(between).into_iter().flatten() {
                    item.is_in_flight |= !item.is_outlier;
                    item.is_outlier = true;
                }
            }
            before = Some((stretch, starts.len() + 1));
        }
        starts.push(range.start);
    }
    split.starts = starts;
}

/// Tells whether what is between two stretches takes no longer than packets may be on their way.
fn is_transition(split: &Split, before: usize, after: usize) -> bool {
    let ends = (split.kept(split.range(before)).next_back(), split.kept(split.range(after)).next());
    let (Some((_, last)), Some((_, first))) = ends else { return false };
    let gap = |stretch: usize, is_last: bool| {
        let corridor = corridor_at_end(split, split.range(stretch), is_last)?;
        middle(&corridor, first.x.unsigned_abs()).1
    };
    let gap_ns = gap(before, true).max(gap(after, false)).unwrap_or(0);
    first.x.abs_diff(last.x) <= gap_ns.saturating_mul(TRANSITION)
}

/// Finds what was left out near a step because it was on its way then: it fits what is before or after.
fn explain_outliers(split: &mut Split, stretch: usize) {
    let (before, after) = (split.range(stretch - 1), split.range(stretch));
    let Some((_, first)) = split.kept(after.clone()).next() else { return };
    let x = first.x;
    let of = |range: &Range<usize>, is_last: bool| {
        corridor_at_end(split, range.clone(), is_last).map(|corridor| middle(&corridor, x.unsigned_abs()))
    };
    let (Some((line, gap_ns)), Some((line_after, gap_after_ns))) = (of(&before, true), of(&after, false))
    else {
        return;
    };
    let near_ns = gap_ns.max(gap_after_ns).unwrap_or(0).saturating_mul(TRANSITION);
    let fits = |item: &Item, line: &Line| {
        let above = item.y.saturating_sub(line.at(item.x.unsigned_abs()));
        if item.is_back { above <= 1 } else { above >= -1 }
    };
    for item in split.items.get_mut(before.start..after.end).into_iter().flatten() {
        if item.is_outlier && item.x.abs_diff(x) <= near_ns {
            item.is_in_flight |= fits(item, &line) || fits(item, &line_after);
        }
    }
}

/// Returns by how much the offset jumps at the beginning of a stretch: if both bounds do alike, by at least half the room between them.
/// Where a clock's drift changes, both corridors hold the same offset there.
fn jump(split: &Split, stretch: usize) -> Option<i64> {
    let (_, first) = split.kept(split.range(stretch)).next()?;
    let before = corridor_at_end(split, split.range(stretch - 1), true)?;
    let after = corridor_at_end(split, split.range(stretch), false)?;
    let bounds = |corridor: &Corridor| {
        Some((i128::from(corridor.lower(first.x)?), i128::from(corridor.upper(first.x)?)))
    };
    let (lower, upper) = bounds(&before)?;
    let (lower_now, upper_now) = bounds(&after)?;
    let (floor, ceiling) = (lower_now - lower, upper_now - upper);
    let room = (upper - lower).min(upper_now - lower_now);
    let are_alike = floor.signum() == ceiling.signum() && 2 * floor.abs().min(ceiling.abs()) >= room.max(1);
    let at_ns = first.x.unsigned_abs();
    are_alike.then(|| middle(&after, at_ns).0.offset_ns.saturating_sub(middle(&before, at_ns).0.offset_ns))
}

/// Returns the line in the middle, without slope where that is possible, and the height of the corridor along it.
fn middle(corridor: &Corridor, at_ns: u64) -> (Line, Option<u64>) {
    corridor.middle(if corridor.has_constant() { 0.0 } else { corridor.widest() }, at_ns)
}

/// Moves the beginning of a stretch to the first packet after the step: of those in one direction, the ones between the step and the first
/// contradiction fit the corridor before it as well, with a delay that is longer by the step. Only such as do not make the new corridor
/// narrower are moved: they may be slow ones from before.
fn move_start(split: &mut Split, stretch: usize, by_ns: i64) {
    let (before, range) = (split.range(stretch - 1), split.range(stretch));
    let Some(corridor) = corridor_at_end(split, range.clone(), false) else { return };
    let Some((_, first)) = split.kept(range.clone()).next() else { return };
    let (line, Some(gap_ns)) = middle(&corridor, first.x.unsigned_abs()) else { return };
    let half_ns = (gap_ns / 2).cast_signed();
    let is_after = |item: &Item| {
        let above = item.y.saturating_sub(line.at(item.x.unsigned_abs()));
        if item.is_back { above <= 1 - half_ns } else { above >= half_ns - 1 }
    };
    let mut start = range.start;
    for (at, item) in split.kept(before.start + 1..range.start).rev() {
        // Those in the direction that contradicts would not be in the stretch before.
        if item.is_back == (by_ns < 0) {
            if !is_after(item) {
                break;
            }
            start = at;
        }
    }
    let is_sound = split.corridor(before.start..start, None).is_some_and(|corridor| corridor.has_both())
        && split.corridor(start..range.end, None).is_some();
    if is_sound && let Some(moved) = split.starts.get_mut(stretch) {
        *moved = start;
    }
}
