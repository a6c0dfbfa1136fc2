//! The observer `sightings`: what duplicates tell about the paths between vantage points.
//!
//! The same packet at two vantage points is one event sighted twice. The vantage point that sees it first is
//! its *origin*; every other one ends a *path* from there. Along a path a packet arrives (its delay is the
//! difference of the times), arrives again (a duplicate), arrives only after the horizon
//! ([`PathReport::beyond_horizon`]), or does not arrive (lost).
//!
//! Packets that recur legitimately, such as neighbour discovery, are told apart by order: the n-th sighting at
//! the origin pairs with the n-th at the far end, as long as the horizon has not passed. A packet is *reordered*
//! by RFC 4737's definition: of first copies in order of arrival, it was sent before one that has arrived.
//!
//! # Time
//! Sightings are processed in order of their own times. They may come out of that order: within a vantage point
//! by up to [`SightingsOptions::disorder`], across vantage points (from different emitters, say) by up to
//! [`SightingsOptions::lateness`]. So each is held until every vantage point has been heard of at a time later by
//! `disorder`, or any one at a time later by `lateness`. What comes still later is counted in
//! [`SightingsReport::late`]. It is paired where it fits: one that is earlier than what was taken for its origin
//! becomes the origin. Where it does not fit, it is left out.
//!
//! A single wrong time must not move the clock. A sighting that is ahead of all the vantage points by more than
//! `lateness` is put aside until the next one at its vantage point. If that comes from no earlier than `lateness`
//! before it, there was a gap, and both count. Otherwise the sighting is left out and counted in
//! [`SightingsReport::outliers`].
//!
//! # Identical packets
//! When several identical packets are on their way, an arrival is paired with the one sent first, and counted in
//! [`SightingsReport::ambiguous`]. A candidate is given up as lost when it would have been on its way for more
//! than twice the longest delay of the path's unambiguous arrivals, so that one loss does not shift the pairs of
//! all that follow.
//!
//! # Limits
//! The clocks of the vantage points must agree better than the smallest delay: a packet's direction is taken from
//! its times. [`SightingsReport::clock_hints`] tells of pairs that look as if they did not.
//!
//! With three or more vantage points, paths run from the origin to each other one, not hop by hop: packets that
//! pass `a`, `m` and `b` make the paths from `a` to `m` and from `a` to `b`, and none from `m` to `b`. A packet
//! that does not arrive counts as lost on those paths that other packets of its flow have taken; if there are
//! none it is [`SightingsReport::unpaired`].
//!
//! A packet that takes more than five times the horizon counts as lost where it was to arrive, and as a lost one of the
//! other direction where it is seen so late: it is forgotten by then. So is the oldest of more than a million that some
//! vantage point has not seen.
//!
//! Memory holds what was sighted within the horizon, what some vantage point has not seen within five, one entry per flow,
//! and nothing else.

mod hint;
mod overdue;
mod packet;
mod pairing;
mod paths;
mod vantage;

pub use hint::{ClockDoubt, ClockHint};
pub use paths::{PathReport, SightingsReport, VantageReport};

use crate::domain::packet::PacketSeen;
use crate::event::{KindSet, Payload, Symbol};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use pairing::Pairing;
use std::time::Duration;
use vantage::{Admission, Vantage};

/// How sightings are paired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SightingsOptions {
    /// How long after its first sighting a packet may arrive: more than the largest delay of a path, less than the
    /// time after which an identical packet is sent again.
    pub horizon: Duration,
    /// How far apart in time vantage points may be reported.
    pub lateness: Duration,
    /// How far back in time sightings at one vantage point may come. Results are behind by as much.
    pub disorder: Duration,
    /// Vantage points that are known to come. Until each has been heard of, sightings are held for `lateness`.
    pub vantages: Vec<Symbol>,
}

impl Default for SightingsOptions {
    fn default() -> SightingsOptions {
        SightingsOptions {
            horizon: Duration::from_secs(1),
            lateness: Duration::from_secs(1),
            disorder: Duration::from_millis(50),
            vantages: Vec::new(),
        }
    }
}

/// Vantage points there can be; sightings at others are counted in [`SightingsReport::refused`].
pub const VANTAGES_MAX: usize = 64;

/// Pairs the sightings of packets (`packet.seen`) at different vantage points.
pub struct Sightings {
    lateness_ns: u64,
    disorder_ns: u64,
    vantages: Vec<Vantage>,
    /// The latest time that counts at any vantage point; `None` before there is one.
    newest_ns: Option<u64>,
    processed_ns: u64,
    late: u64,
    refused: u64,
    outliers: u64,
    pairing: Pairing,
}

/// One sighting.
#[derive(Clone, Copy)]
struct Seen {
    id: u128,
    time_ns: u64,
    flow: Symbol,
}

impl Sightings {
    /// Makes the observer.
    #[must_use]
    pub fn new(options: &SightingsOptions) -> Sightings {
        let disorder_ns = saturating_ns(options.disorder);
        let mut sightings = Sightings {
            lateness_ns: saturating_ns(options.lateness).max(disorder_ns),
            disorder_ns,
            vantages: Vec::new(),
            newest_ns: None,
            processed_ns: 0,
            late: 0,
            refused: 0,
            outliers: 0,
            pairing: Pairing::new(saturating_ns(options.horizon)),
        };
        for name in &options.vantages {
            sightings.vantage(*name);
        }
        sightings
    }

    fn take(&mut self, name: Symbol, seen: Seen) {
        let Some(vantage) = self.vantage(name).and_then(|at| self.vantages.get_mut(at)) else {
            self.refused += 1;
            return;
        };
        let Admission { newest_ns, outlier } = vantage.take(seen, self.newest_ns, self.lateness_ns);
        self.newest_ns = newest_ns;
        self.outliers += u64::from(outlier);
    }

    /// Processes what is due: up to the time that all vantage points have reached, less the disorder.
    fn process(&mut self, all: bool) {
        for vantage in &mut self.vantages {
            self.newest_ns = vantage.settle(self.newest_ns, self.lateness_ns, all);
        }
        let reached = self.vantages.iter().map(|vantage| vantage.newest_ns.unwrap_or(0)).min().unwrap_or(0);
        let newest_ns = self.newest_ns.unwrap_or(0);
        let due_ns = if all {
            u64::MAX
        } else {
            reached.saturating_sub(self.disorder_ns).max(newest_ns.saturating_sub(self.lateness_ns))
        };
        while let Some((at, seen)) = self.next_due(due_ns) {
            self.late += u64::from(seen.time_ns < self.processed_ns);
            self.processed_ns = self.processed_ns.max(seen.time_ns);
            self.pairing.sight(at, seen, self.processed_ns);
        }
    }

    fn next_due(&mut self, due_ns: u64) -> Option<(usize, Seen)> {
        let heads = self.vantages.iter().enumerate();
        let (time_ns, at) =
            heads.filter_map(|(at, vantage)| Some((vantage.waiting.first_ns()?, at))).min()?;
        if time_ns > due_ns {
            return None;
        }
        Some((at, self.vantages.get_mut(at)?.waiting.pop()?))
    }

    fn vantage(&mut self, name: Symbol) -> Option<usize> {
        let known = self.vantages.iter().position(|vantage| vantage.name == name);
        if known.is_some() || self.vantages.len() == VANTAGES_MAX {
            return known;
        }
        self.vantages.push(Vantage::new(name));
        self.pairing.add_vantage(name);
        Some(self.vantages.len() - 1)
    }
}

impl Observer for Sightings {
    type Report = SightingsReport;

    fn interest(&self) -> Interest {
        let kinds = KindSet::of(&[PacketSeen::KIND]);
        Interest { kinds, duplicates: true, scope: Scope::Whole }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, _) in batch.iter() {
            let Some(payload) = record.payload::<PacketSeen>() else { continue };
            let seen = Seen { id: record.id_bits(), time_ns: record.time_ns(), flow: record.entity() };
            self.take(payload.vantage, seen);
        }
        self.process(false);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.process(true);
        self.pairing.finish();
        Ok(())
    }

    fn report(&self) -> SightingsReport {
        SightingsReport {
            vantages: self.vantages.iter().filter_map(Vantage::report).collect(),
            waiting: self.vantages.iter().map(Vantage::waiting).sum(),
            late: self.late,
            refused: self.refused,
            outliers: self.outliers,
            ..self.pairing.report()
        }
    }
}

fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
