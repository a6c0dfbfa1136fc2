//! What waits at a vantage point, and how far its clock is to be believed.

use super::report::VantageReport;
use super::seen::Seen;
use crate::event::Symbol;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// A vantage point, and its sightings that wait for their turn.
pub(super) struct Vantage {
    pub(super) name: Symbol,
    /// The latest time that counts; `None` before there is one.
    pub(super) newest_ns: Option<u64>,
    pub(super) waiting: ReorderBuffer,
    /// A sighting far ahead of all others, until the next one here confirms or refutes it.
    suspect: Option<Seen>,
    /// Its first and last times, by its own clock.
    stamps_ns: Option<(u64, u64)>,
    /// The time of its last sighting, by the common clock.
    pub(super) last_common_ns: u64,
    sightings: u64,
}

/// What became of a sighting.
pub(super) struct Admission {
    /// The latest time that counts at any vantage point.
    pub(super) newest_ns: Option<u64>,
    /// Whether the one before it turned out to be an outlier.
    pub(super) outlier: bool,
}

impl Vantage {
    pub(super) fn new(name: Symbol) -> Vantage {
        Vantage {
            name,
            newest_ns: None,
            waiting: ReorderBuffer::default(),
            suspect: None,
            stamps_ns: None,
            last_common_ns: 0,
            sightings: 0,
        }
    }

    /// Tells whether nothing was seen there yet.
    pub(super) fn is_new(&self) -> bool {
        self.sightings == 0 && self.suspect.is_none()
    }

    /// Takes a sighting; `newest_ns` is the latest time that counts at any vantage point.
    pub(super) fn take(&mut self, seen: Seen, newest_ns: Option<u64>, lateness_ns: u64) -> Admission {
        let mut taken = Admission { newest_ns, outlier: false };
        if let Some(suspect) = self.suspect.take() {
            if seen.time_ns.saturating_add(lateness_ns) >= suspect.time_ns {
                taken.newest_ns = taken.newest_ns.max(Some(self.accept(suspect)));
            } else {
                taken.outlier = true;
            }
        }
        if is_near(seen.time_ns, taken.newest_ns, lateness_ns) {
            taken.newest_ns = taken.newest_ns.max(Some(self.accept(seen)));
        } else {
            self.suspect = Some(seen);
        }
        taken
    }

    /// Accepts a suspect that other vantage points have caught up with, or any at the end. Returns the latest time
    /// that counts at any vantage point.
    pub(super) fn settle(&mut self, newest_ns: Option<u64>, lateness_ns: u64, all: bool) -> Option<u64> {
        match self.suspect.take_if(|seen| all || is_near(seen.time_ns, newest_ns, lateness_ns)) {
            Some(seen) => newest_ns.max(Some(self.accept(seen))),
            None => newest_ns,
        }
    }

    /// Returns how many sightings wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() + u64::from(self.suspect.is_some())
    }

    /// Returns what was heard of the vantage point, if anything was.
    pub(super) fn report(&self) -> Option<VantageReport> {
        self.newest_ns?;
        let (first_ns, last_ns) = self.stamps_ns?;
        Some(VantageReport {
            name: self.name,
            sightings: self.sightings,
            first_ns,
            last_ns,
            repeats: 0,
            missed: 0,
            capture_dropped: None,
            clock: None,
        })
    }

    fn accept(&mut self, seen: Seen) -> u64 {
        self.sightings += 1;
        let (first_ns, last_ns) = self.stamps_ns.unwrap_or((seen.stamp_ns, seen.stamp_ns));
        self.stamps_ns = Some((first_ns.min(seen.stamp_ns), last_ns.max(seen.stamp_ns)));
        self.newest_ns = self.newest_ns.max(Some(seen.time_ns));
        self.waiting.push(seen);
        seen.time_ns
    }
}

fn is_near(time_ns: u64, newest_ns: Option<u64>, lateness_ns: u64) -> bool {
    newest_ns.is_some_and(|newest_ns| time_ns <= newest_ns.saturating_add(lateness_ns))
}

/// Sightings in order of time; those of one time in order of arrival.
///
/// What comes in order goes to the end of a queue; the rest goes to a heap. So neither order costs more than a
/// logarithm.
#[derive(Default)]
pub(super) struct ReorderBuffer {
    ordered: VecDeque<Seen>,
    late: BinaryHeap<Reordered>,
    strays_ever: u64,
}

impl ReorderBuffer {
    fn push(&mut self, seen: Seen) {
        if self.ordered.back().is_none_or(|last| last.time_ns <= seen.time_ns) {
            self.ordered.push_back(seen);
        } else {
            self.late.push(Reordered { seen, number: self.strays_ever });
            self.strays_ever += 1;
        }
    }

    pub(super) fn first_ns(&self) -> Option<u64> {
        let ordered = self.ordered.front().map(|seen| seen.time_ns);
        let late = self.late.peek().map(|late| late.seen.time_ns);
        ordered.into_iter().chain(late).min()
    }

    pub(super) fn pop(&mut self) -> Option<Seen> {
        // At the same time, the queue's came first.
        match (self.ordered.front(), self.late.peek()) {
            (Some(ordered), Some(late)) if late.seen.time_ns < ordered.time_ns => {
                self.late.pop().map(|late| late.seen)
            }
            (Some(_), _) => self.ordered.pop_front(),
            (None, _) => self.late.pop().map(|late| late.seen),
        }
    }

    fn len(&self) -> u64 {
        (self.ordered.len() + self.late.len()) as u64
    }
}

/// A sighting that came out of order.
struct Reordered {
    seen: Seen,
    number: u64,
}

impl Reordered {
    fn key(&self) -> (u64, u64) {
        (self.seen.time_ns, self.number)
    }
}

impl Ord for Reordered {
    /// The earliest is the greatest, for the heap to give it first.
    fn cmp(&self, other: &Reordered) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Reordered {
    fn partial_cmp(&self, other: &Reordered) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reordered {
    fn eq(&self, other: &Reordered) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Reordered {}
