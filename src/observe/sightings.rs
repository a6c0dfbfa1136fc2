//! The observer `sightings`: what duplicates tell about the paths between vantage points.
//!
//! The same packet at two vantage points is one event sighted twice. The vantage point that sees it first is
//! its *origin*; every other one ends a *path* from there. Along a path a packet arrives (its delay is the
//! difference of the times), arrives again (a duplicate), or does not arrive within the horizon (lost).
//!
//! Packets that recur legitimately, such as neighbour discovery, are told apart by order: the n-th sighting at
//! the origin pairs with the n-th at the far end, as long as the horizon has not passed. A packet is *reordered*
//! by RFC 4737's definition: of first copies in order of arrival, it was sent before one that has arrived.
//!
//! # Time
//! Sightings are processed in order of their own times. They may come out of that order across vantage points
//! (from different emitters, say), so each is held until every vantage point has been heard of at a later
//! time, or [`SightingsOptions::lateness`] has passed. What comes still later is processed out of order and
//! counted in [`SightingsReport::late`].
//!
//! # Limits
//! The clocks of the vantage points must agree better than the smallest delay: a packet's direction is taken from
//! its times. With three or more vantage points, a packet that does not arrive counts as lost on those paths
//! that other packets of its flow have taken; if there are none it is [`SightingsReport::unpaired`].
//! Memory holds what was sighted within the horizon, one entry per flow, and nothing else.

mod pairing;
mod paths;

pub use paths::{PathReport, SightingsReport};

use crate::domain::packet::PacketSeen;
use crate::event::{KindSet, Payload, Symbol};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use pairing::Pairing;
use std::collections::VecDeque;
use std::time::Duration;

/// How sightings are paired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SightingsOptions {
    /// How long after its first sighting a packet may arrive: more than the largest delay of a path, less than the
    /// time after which an identical packet is sent again.
    pub horizon: Duration,
    /// How far apart in time vantage points may be reported.
    pub lateness: Duration,
    /// Vantage points that are known to come. Until each has been heard of, sightings are held for `lateness`.
    pub vantages: Vec<Symbol>,
}

impl Default for SightingsOptions {
    fn default() -> SightingsOptions {
        SightingsOptions {
            horizon: Duration::from_secs(1),
            lateness: Duration::from_secs(1),
            vantages: Vec::new(),
        }
    }
}

/// Vantage points there can be; sightings at others are counted in [`SightingsReport::refused`].
pub const VANTAGES_MAX: usize = 64;

/// Pairs the sightings of packets (`packet.seen`) at different vantage points.
pub struct Sightings {
    lateness_ns: u64,
    vantages: Vec<Vantage>,
    newest_ns: u64,
    processed_ns: u64,
    late: u64,
    refused: u64,
    pairing: Pairing,
}

/// Sightings at one vantage point that wait for their turn, in order of time.
struct Vantage {
    name: Symbol,
    newest_ns: u64,
    waiting: VecDeque<Seen>,
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
        let mut sightings = Sightings {
            lateness_ns: saturating_ns(options.lateness),
            vantages: Vec::new(),
            newest_ns: 0,
            processed_ns: 0,
            late: 0,
            refused: 0,
            pairing: Pairing::new(saturating_ns(options.horizon)),
        };
        for name in &options.vantages {
            sightings.vantage(*name);
        }
        sightings
    }

    fn take(&mut self, vantage: Symbol, seen: Seen) {
        let Some(at) = self.vantage(vantage) else {
            self.refused += 1;
            return;
        };
        self.newest_ns = self.newest_ns.max(seen.time_ns);
        if let Some(vantage) = self.vantages.get_mut(at) {
            vantage.newest_ns = vantage.newest_ns.max(seen.time_ns);
            let after = vantage.waiting.iter().rev().take_while(|other| other.time_ns > seen.time_ns).count();
            let at = vantage.waiting.len() - after;
            vantage.waiting.insert(at, seen);
        }
    }

    /// Processes what is due: up to the time that all vantage points have reached.
    fn process(&mut self, all: bool) {
        let reached = self.vantages.iter().map(|vantage| vantage.newest_ns).min().unwrap_or(0);
        let due_ns =
            if all { u64::MAX } else { reached.max(self.newest_ns.saturating_sub(self.lateness_ns)) };
        while let Some((at, seen)) = self.next_due(due_ns) {
            self.late += u64::from(seen.time_ns < self.processed_ns);
            self.processed_ns = self.processed_ns.max(seen.time_ns);
            self.pairing.sight(at, seen, self.processed_ns);
        }
    }

    fn next_due(&mut self, due_ns: u64) -> Option<(usize, Seen)> {
        let heads = self.vantages.iter().enumerate();
        let (time_ns, at) =
            heads.filter_map(|(at, vantage)| Some((vantage.waiting.front()?.time_ns, at))).min()?;
        if time_ns > due_ns {
            return None;
        }
        Some((at, self.vantages.get_mut(at)?.waiting.pop_front()?))
    }

    fn vantage(&mut self, name: Symbol) -> Option<usize> {
        let known = self.vantages.iter().position(|vantage| vantage.name == name);
        if known.is_some() || self.vantages.len() == VANTAGES_MAX {
            return known;
        }
        self.vantages.push(Vantage { name, newest_ns: 0, waiting: VecDeque::new() });
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
            let seen = Seen { id: record.id().bits(), time_ns: record.time_ns(), flow: record.entity() };
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
        let waiting = self.vantages.iter().map(|vantage| vantage.waiting.len() as u64).sum();
        SightingsReport { late: self.late, refused: self.refused, waiting, ..self.pairing.report() }
    }
}

fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
