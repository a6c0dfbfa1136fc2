//! Which crossings one line fits, and which fit none.
//!
//! Crossings are added to a corridor in order of time, each with one search. One that does not fit is *suspect*: it is wrong, or the
//! clock has changed. A second corridor, the *trial*, begins with it and takes all that follows:
//! - Where something does not fit the trial either, the suspect was wrong.
//! - Where three suspects fit one trial, the clock has changed, and a new stretch begins at the first of them; unless everything fits
//!   once a single crossing from before is left out, and the corridor is then as wide as it is nearby: that one was wrong.
//!
//! At most two suspects wait at any time, so each crossing is in at most three trials. Looking for a wrong one from before takes the
//! corridor anew, and has a budget that grows with the crossings; where it is spent, a new stretch begins. So `n` crossings take
//! `O(n log n)` steps, whatever their stamps.

use super::corridor::{Conflict, Corridor};
use super::hull::{Point, X_MAX, Y_MAX};
use std::ops::Range;

/// A packet that was seen at two vantage points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) struct Crossing {
    /// Its stamp at the first vantage point, in nanoseconds. From 2^63 on (the year 2262) it is left out as an outlier.
    pub(in crate::paths) at_ns: u64,
    /// The stamp at the second less that at the first. From 2^62 (146 years) on it is left out as an outlier.
    pub(in crate::paths) difference_ns: i64,
    /// It went from the second to the first.
    pub(in crate::paths) is_back: bool,
}

/// Suspects that agree open a new stretch.
const SUPPORTERS: usize = 3;
/// Crossings before a suspect that tell how wide the corridor is nearby.
const NEARBY: usize = 64;
/// Steps of looking for wrong crossings from before that each crossing allows for.
const BUDGET: usize = 32;

/// A crossing in order of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) is_back: bool,
    /// It is left out.
    pub(super) is_outlier: bool,
    /// Because it was on its way while a clock was set.
    pub(super) is_in_flight: bool,
}

impl Item {
    /// Returns the stamp by the second clock.
    pub(super) fn second_ns(&self) -> u64 {
        self.x.unsigned_abs().saturating_add_signed(self.y)
    }
}

/// Crossings in order of time, and where stretches begin.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) items: Vec<Item>,
    /// The first crossing of each stretch.
    pub(super) starts: Vec<usize>,
    /// Crossings whose stamps cannot be compared.
    pub(super) absurd: u64,
}

impl Split {
    /// Returns the crossings of the stretch.
    pub(super) fn range(&self, stretch: usize) -> Range<usize> {
        let at = |stretch: usize| self.starts.get(stretch).copied().unwrap_or(self.items.len());
        at(stretch)..at(stretch + 1)
    }

    /// Returns those of these crossings that are not left out.
    pub(super) fn kept(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = (usize, &Item)> {
        let items = self.items.get(range.clone()).unwrap_or_default();
        #[cfg(test)]
        super::corridor::work::add(items.len());
        items
            .iter()
            .enumerate()
            .map(move |(at, item)| (range.start + at, item))
            .filter(|(_, item)| !item.is_outlier)
    }

    /// Returns the corridor of those of these crossings that are not left out, if there is one.
    pub(super) fn corridor(&self, range: Range<usize>, without: Option<usize>) -> Option<Corridor> {
        let mut corridor = Corridor::new();
        for (at, item) in self.kept(range) {
            if Some(at) != without {
                push(&mut corridor, item, at).ok()?;
            }
        }
        Some(corridor)
    }
}

fn push(corridor: &mut Corridor, item: &Item, index: usize) -> Result<(), Conflict> {
    corridor.push(Point { x: item.x, y: item.y, index }, item.is_back)
}

/// Splits crossings, in any order, into stretches.
pub(super) fn split(crossings: &[Crossing]) -> Split {
    let mut items: Vec<Item> = crossings.iter().filter_map(item).collect();
    items.sort_unstable_by_key(|item| (item.x, item.y, item.is_back));
    let absurd = (crossings.len() - items.len()) as u64;
    let mut splitter = Splitter {
        split: Split { items, starts: Vec::new(), absurd },
        corridor: Corridor::new(),
        suspects: Vec::new(),
        trial: Corridor::new(),
        budget: 1024,
    };
    for at in 0..splitter.split.items.len() {
        splitter.take(at);
    }
    for (suspect, _) in std::mem::take(&mut splitter.suspects) {
        splitter.leave_out(suspect);
    }
    splitter.split
}

fn item(crossing: &Crossing) -> Option<Item> {
    let is_sane = crossing.at_ns <= X_MAX && crossing.difference_ns.unsigned_abs() <= Y_MAX;
    is_sane.then(|| Item {
        x: crossing.at_ns.cast_signed(),
        y: crossing.difference_ns,
        is_back: crossing.is_back,
        is_outlier: false,
        is_in_flight: false,
    })
}

struct Splitter {
    split: Split,
    /// Of what fits, since the last start.
    corridor: Corridor,
    /// What does not, and why.
    suspects: Vec<(usize, Conflict)>,
    /// Of all since the first suspect.
    trial: Corridor,
    budget: usize,
}

impl Splitter {
    fn take(&mut self, at: usize) {
        let Some(item) = self.split.items.get(at).copied() else { return };
        if at == 0 {
            self.split.starts.push(0);
        }
        self.budget = self.budget.saturating_add(BUDGET);
        let conflict = push(&mut self.corridor, &item, at).err();
        if self.suspects.is_empty() {
            if let Some(conflict) = conflict {
                self.begin_trial(at, conflict);
            }
            return;
        }
        self.suspects.extend(conflict.map(|conflict| (at, conflict)));
        if push(&mut self.trial, &item, at).is_err() {
            self.leave_out_suspects(at);
        }
        if self.suspects.len() >= SUPPORTERS {
            self.decide(at);
        }
    }

    fn begin_trial(&mut self, at: usize, conflict: Conflict) {
        self.suspects.push((at, conflict));
        self.trial = self.split.corridor(at..at + 1, None).unwrap_or_else(Corridor::new);
    }

    /// Leaves out suspects until a trial from the next one fits.
    fn leave_out_suspects(&mut self, at: usize) {
        while !self.suspects.is_empty() {
            let (wrong, _) = self.suspects.remove(0);
            self.leave_out(wrong);
            let Some((first, _)) = self.suspects.first() else { return };
            if let Some(trial) = self.split.corridor(*first..at + 1, None) {
                self.trial = trial;
                return;
            }
        }
    }

    fn leave_out(&mut self, at: usize) {
        if let Some(item) = self.split.items.get_mut(at) {
            item.is_outlier = true;
        }
    }

    /// Three suspects agree: either one crossing from before is wrong, or the clock has changed.
    fn decide(&mut self, at: usize) {
        let Some((first, conflict)) = self.suspects.first().copied() else { return };
        for wrong in conflict.with.into_iter().flatten() {
            if let Some(corridor) = self.without(wrong, at) {
                self.leave_out(wrong);
                self.corridor = corridor;
                self.suspects.clear();
                return;
            }
        }
        self.split.starts.push(first);
        self.suspects.clear();
        self.corridor = std::mem::replace(&mut self.trial, Corridor::new());
    }

    /// Returns the corridor of the stretch up to `at` without a crossing, if it is as wide as it is nearby.
    fn without(&mut self, wrong: usize, at: usize) -> Option<Corridor> {
        let from = *self.split.starts.last()?;
        self.budget = self.budget.checked_sub(at + 1 - from)?;
        let corridor = self.split.corridor(from..at + 1, Some(wrong))?;
        let nearby = self.split.corridor(from.max((at + 1).saturating_sub(NEARBY))..at + 1, Some(wrong))?;
        // A clock that bends leaves less and less room; whichever crossing is left out, it stays narrow.
        (width(&corridor)? >= width(&nearby)? / 2).then_some(corridor)
    }
}

fn width(corridor: &Corridor) -> Option<u64> {
    corridor.middle(corridor.widest(), 0).1
}
