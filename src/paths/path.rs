//! The account of each path while sightings are paired.

use super::align::Expected;
use super::group::VANTAGES_MAX;
use super::report::{Delays, PathReport};
use crate::event::Symbol;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is known of a packet that was sent and not seen to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absence {
    /// The far side looked for it as long as it may take.
    Lost,
    /// It was sent before the far side saw anything, or behind all that it saw: whether it looked then is not known.
    PerhapsBefore,
    PerhapsAfter,
    /// The far side looked when it was sent, but not for as long as it may take.
    Undetermined,
    /// The far side did not look.
    Outside,
}

impl Absence {
    /// Whether it counts among those that were sent.
    fn is_sent(self) -> bool {
        matches!(self, Absence::Lost | Absence::PerhapsBefore | Absence::PerhapsAfter)
    }
}

/// An arrival: when, which of those at that time, and when it was sent.
type Arrival = (u64, u64, u64);

/// A path, and what has happened on it.
pub(super) struct Path {
    pub(super) from: u8,
    pub(super) to: u8,
    /// The figures, but for delays.
    pub(super) report: PathReport,
    /// Missed at the begin and at the end of what the far side saw.
    before: u64,
    after: u64,
    /// How many were lost in a row, now and at most.
    run: u64,
    longest_run: u64,
    /// Delays of arrivals that could be of one packet only, and of others.
    sure: Delays,
    ambiguous: Delays,
    /// What has arrived, in the order in which it did: until nothing earlier can arrive.
    order: BinaryHeap<Reverse<Arrival>>,
    /// When the latest-sent packet was sent of those that arrived before.
    newest_sent_ns: u64,
    /// The longest delay of an arrival that could be of one packet only.
    slowest_ns: Option<u64>,
    /// Delays up to which are likely, where that is known from before.
    pub(super) likely_ns: Option<u64>,
    /// By how much one may arrive before it was sent, by its clocks.
    pub(super) early_ns: u64,
}

impl Path {
    fn new(from: u8, to: u8, report: PathReport) -> Option<Path> {
        Some(Path {
            from,
            to,
            report,
            before: 0,
            after: 0,
            run: 0,
            longest_run: 0,
            sure: Delays::new()?,
            ambiguous: Delays::new()?,
            order: BinaryHeap::new(),
            newest_sent_ns: 0,
            slowest_ns: None,
            likely_ns: None,
            early_ns: 0,
        })
    }

    /// Returns which delays an arrival can have.
    pub(super) fn expected(&self, horizon_ns: u64) -> Expected {
        let twice = self.slowest_ns.map_or(u64::MAX, |slowest_ns| slowest_ns.saturating_mul(2));
        Expected {
            likely_ns: self.likely_ns.unwrap_or(twice),
            early_ns: self.early_ns,
            longest_ns: horizon_ns,
        }
    }

    /// Counts a packet that has arrived. By clocks that disagree it may have done so before it was sent: then it has no delay.
    /// `number` tells which of several at that time it was.
    pub(super) fn arrived(&mut self, sent_ns: u64, arrived_ns: u64, number: u64, is_ambiguous: bool) {
        self.report.sent += 1;
        self.run = 0;
        match arrived_ns.checked_sub(sent_ns) {
            None => self.report.negative += 1,
            Some(delay_ns) if is_ambiguous => self.ambiguous.add(delay_ns),
            Some(delay_ns) => {
                self.sure.add(delay_ns);
                self.slowest_ns = self.slowest_ns.max(Some(delay_ns));
            }
        }
        self.order.push(Reverse((arrived_ns, number, sent_ns)));
    }

    /// Counts a packet that did not arrive.
    pub(super) fn missed(&mut self, absence: Absence) {
        *self.count_of(absence) += 1;
        self.report.sent += u64::from(absence.is_sent());
        if absence == Absence::Lost {
            self.run += 1;
            self.longest_run = self.longest_run.max(self.run);
        }
    }

    /// Counts one that was missed, and has arrived beyond its horizon. What of it was not within the figures is now.
    pub(super) fn was_slow(&mut self, absence: Absence) {
        let count = self.count_of(absence);
        *count = count.saturating_sub(1);
        self.report.sent += u64::from(!absence.is_sent());
        self.report.beyond_horizon += 1;
    }

    fn count_of(&mut self, absence: Absence) -> &mut u64 {
        match absence {
            Absence::Lost => &mut self.report.lost,
            Absence::PerhapsBefore => &mut self.before,
            Absence::PerhapsAfter => &mut self.after,
            Absence::Undetermined => &mut self.report.undetermined,
            Absence::Outside => &mut self.report.outside,
        }
    }

    /// Puts what arrived before that time in order: nothing else will come that arrived earlier.
    pub(super) fn settle(&mut self, before_ns: u64) {
        while let Some(Reverse((arrived_ns, _, sent_ns))) = self.order.peek().copied() {
            if arrived_ns >= before_ns {
                break;
            }
            self.order.pop();
            self.report.reordered += u64::from(sent_ns < self.newest_sent_ns);
            self.newest_sent_ns = self.newest_sent_ns.max(sent_ns);
        }
    }

    /// Returns the figures. Of those that were missed, the capture at the far side may itself have dropped so many.
    pub(super) fn report(&self, dropped: u64) -> PathReport {
        let mut report = self.report.clone();
        let mut newest_ns = self.newest_sent_ns;
        let mut left: Vec<Arrival> = self.order.iter().map(|Reverse(arrival)| *arrival).collect();
        left.sort_unstable();
        for (_, _, sent_ns) in left {
            report.reordered += u64::from(sent_ns < newest_ns);
            newest_ns = newest_ns.max(sent_ns);
        }
        report.lost_max = report.lost + self.before + self.after;
        // As many in a row were lost while the far side looked: that it began to look late explains no more.
        report.lost += if self.before <= self.longest_run { self.before } else { 0 };
        report.lost = report.lost.saturating_sub(dropped);
        // Of which of several packets an arrival is, nobody knows: their delays count where there are no others.
        let (delays, others) = match self.sure.is_empty() {
            true => (&self.ambiguous, None),
            false => (&self.sure, Some(&self.ambiguous)),
        };
        report.delays = delays.clone();
        report.ambiguous_delays = others.cloned();
        report
    }
}

/// All paths, found by their ends.
pub(super) struct Paths {
    known: Vec<Path>,
    /// By both ends: where the path stands, plus one.
    places: Box<[u16]>,
    names: Vec<Symbol>,
}

impl Default for Paths {
    fn default() -> Paths {
        let places = vec![0; VANTAGES_MAX * VANTAGES_MAX].into_boxed_slice();
        Paths { known: Vec::new(), places, names: Vec::new() }
    }
}

impl Paths {
    /// Adds the vantage point whose index is the number of those before it.
    pub(super) fn add_vantage(&mut self, name: Symbol) {
        self.names.push(name);
    }

    pub(super) fn vantages(&self) -> usize {
        self.names.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.known.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        self.known.iter_mut()
    }

    /// Finds the path, or adds it.
    pub(super) fn of(&mut self, from: u8, to: u8) -> Option<&mut Path> {
        let place = self.places.get_mut(usize::from(from) * VANTAGES_MAX + usize::from(to))?;
        if *place == 0 {
            let report =
                PathReport::new(*self.names.get(usize::from(from))?, *self.names.get(usize::from(to))?)?;
            self.known.push(Path::new(from, to, report)?);
            // There are no more than 64 times 64.
            *place = self.known.len() as u16;
        }
        self.known.get_mut(usize::from(*place) - 1)
    }
}
