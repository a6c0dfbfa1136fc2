//! The sightings of one packet within the horizon, however often it was sent.

use crate::event::Symbol;
use smallvec::SmallVec;

/// Vantage points there can be; sightings at others are counted in
/// [`SightingsReport::refused`](super::SightingsReport::refused).
pub const VANTAGES_MAX: usize = 64;

/// A set of vantage points, a bit each.
pub(super) type VantageSet = u64;

/// So many sightings of one packet are looked at as soon as one of them is due.
const FEW: usize = 16;

/// One sighting of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) time_ns: u64,
    /// What tells two sightings of one sending apart: see [`crate::domain::packet::flags`].
    pub(super) marks: u32,
    pub(super) vantage: u8,
    /// Counts all sightings, as they are taken: of several at one time, it tells the order.
    pub(super) number: u64,
    /// It was told as the arrival of a sending: on a hop, and from end to end.
    pub(super) arrived: [bool; 2],
    /// An earlier sending could be the one that it is the arrival of: likewise.
    pub(super) doubted: [bool; 2],
}

/// The sightings of one packet.
pub(super) struct Group {
    pub(super) flow: Symbol,
    /// In order of time.
    sightings: SmallVec<[Sighting; 2]>,
    /// How often it stands in the queue of what is to be closed, and how often it was taken from there since it was looked at.
    pub(super) queued: u32,
    expired: u32,
    /// Where it was seen since it is known, and in which order first.
    pub(super) seen: VantageSet,
    order: SmallVec<[u8; 8]>,
    /// Some sightings are forgotten.
    is_cut: bool,
    /// How many sightings at one vantage point were taken for one sending with the one before.
    repeats: SmallVec<[(u8, u8); 1]>,
}

impl Group {
    pub(super) fn new(flow: Symbol, sighting: Sighting) -> Group {
        Group {
            flow,
            seen: 1 << sighting.vantage,
            order: SmallVec::from_iter([sighting.vantage]),
            is_cut: false,
            sightings: SmallVec::from_iter([sighting]),
            queued: 1,
            expired: 0,
            repeats: SmallVec::new(),
        }
    }

    pub(super) fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    /// Returns the last sighting at a vantage point.
    pub(super) fn last_at(&self, vantage: u8) -> Option<&Sighting> {
        self.sightings.iter().rfind(|sighting| sighting.vantage == vantage)
    }

    /// Adds one in its place; behind others of its time.
    pub(super) fn add(&mut self, sighting: Sighting) {
        if self.seen >> sighting.vantage & 1 == 0 {
            // One that is late may be earlier than those of others that are held.
            let is_later =
                |vantage: &u8| self.time_at(*vantage).is_some_and(|time_ns| time_ns > sighting.time_ns);
            let after = self.order.iter().rev().take_while(|vantage| is_later(vantage)).count();
            self.order.insert(self.order.len() - after, sighting.vantage);
        }
        let after = self.sightings.iter().rev().take_while(|known| known.time_ns > sighting.time_ns).count();
        self.sightings.insert(self.sightings.len() - after, sighting);
        self.seen |= 1 << sighting.vantage;
    }

    /// Counts one more repeat at a vantage point, up to `most` in a row; false where there were as many.
    pub(super) fn repeats(&mut self, vantage: u8, most: u8) -> bool {
        match self.repeats.iter_mut().find(|(known, _)| *known == vantage) {
            Some((_, repeats)) if *repeats >= most => {
                *repeats = 0;
                false
            }
            Some((_, repeats)) => {
                *repeats += 1;
                true
            }
            None if most == 0 => false,
            None => {
                self.repeats.push((vantage, 1));
                true
            }
        }
    }

    /// Tells whether it was seen once at each vantage point at which it was seen at all, and all of that is held.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_cut && self.sightings.len() == self.seen.count_ones() as usize
    }

    /// Returns where it was seen, in the order in which it was first.
    pub(super) fn order(&self) -> &[u8] {
        &self.order
    }

    /// Returns where those were seen that are held.
    pub(super) fn seen_now(&self) -> VantageSet {
        self.sightings.iter().fold(0, |set, sighting| set | 1 << sighting.vantage)
    }

    /// Returns the first sighting at a vantage point.
    pub(super) fn at(&self, vantage: u8) -> Option<&Sighting> {
        self.sightings.iter().find(|sighting| sighting.vantage == vantage)
    }

    /// Returns the time of that.
    pub(super) fn time_at(&self, vantage: u8) -> Option<u64> {
        self.at(vantage).map(|sighting| sighting.time_ns)
    }

    /// Returns the times of the sightings at a vantage point that `select` takes, and where each stands.
    pub(super) fn times_at(
        &self,
        vantage: u8,
        select: impl Fn(&Sighting) -> bool,
    ) -> (SmallVec<[u64; 8]>, SmallVec<[u32; 8]>) {
        let there = (0..).zip(&self.sightings);
        let there = there.filter(|(_, sighting)| sighting.vantage == vantage && select(sighting));
        there.map(|(at, sighting)| (sighting.time_ns, at)).unzip()
    }

    /// Notes that a sighting was told as an arrival, and returns its number, and whether it was doubted.
    pub(super) fn set_arrived(&mut self, at: u32, from_end_to_end: bool) -> (u64, bool) {
        let Some(sighting) = self.sightings.get_mut(at as usize) else { return (0, false) };
        sighting.arrived[usize::from(from_end_to_end)] = true;
        (sighting.number, sighting.doubted[usize::from(from_end_to_end)])
    }

    /// Notes that an earlier sending could be the one that a sighting is the arrival of.
    pub(super) fn set_doubted(&mut self, at: u32, from_end_to_end: bool) {
        if let Some(sighting) = self.sightings.get_mut(at as usize) {
            sighting.doubted[usize::from(from_end_to_end)] = true;
        }
    }

    /// Takes it from the queue once, and tells whether it is to be looked at now: of many sightings only when half of them are due, so that
    /// each is looked at a few times.
    pub(super) fn expire(&mut self) -> bool {
        self.queued -= 1;
        self.expired += 1;
        let is_due = self.sightings.len() <= FEW || self.expired as usize * 2 >= self.sightings.len();
        let is_looked_at = is_due || self.queued == 0;
        if is_looked_at {
            self.expired = 0;
        }
        is_looked_at
    }

    /// Forgets what was seen before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: u64) {
        self.sightings.retain(|sighting| sighting.time_ns >= before_ns);
        self.is_cut = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.sightings.is_empty()
    }
}
