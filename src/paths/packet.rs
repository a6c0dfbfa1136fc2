//! A packet between its first sighting and the end of its horizon.

use crate::event::Symbol;
use smallvec::SmallVec;

/// A set of vantage points, a bit each.
pub(super) type VantageSet = u64;

/// The sightings of one packet within the horizon, however often it was sent.
pub(super) struct Packet {
    pub(super) origin: u8,
    pub(super) flow: Symbol,
    /// Times at which the origin sent it, in order. The first `closed` of them are of no more interest.
    sent_ns: SmallVec<[u64; 1]>,
    closed: u32,
    /// How many of these have been dealt with (arrived or lost) at each far end.
    far: SmallVec<[(u8, u32); 1]>,
}

impl Packet {
    pub(super) fn new(origin: usize, flow: Symbol, time_ns: u64) -> Packet {
        Packet {
            origin: origin as u8,
            flow,
            sent_ns: SmallVec::from_buf([time_ns]),
            closed: 0,
            far: SmallVec::new(),
        }
    }

    /// Notes that the origin sent the packet once more. A late note does not go before what was dealt with.
    pub(super) fn sent_again(&mut self, time_ns: u64) {
        let dealt = self.far.iter().map(|(_, dealt)| *dealt).max().unwrap_or(0).max(self.closed) as usize;
        let after = self.sent_ns.iter().rev().take_while(|sent_ns| **sent_ns > time_ns).count();
        self.sent_ns.insert((self.sent_ns.len() - after).max(dealt), time_ns);
    }

    /// Returns when those were sent that may still arrive at a far end.
    pub(super) fn under_way(&self, to: usize) -> &[u64] {
        self.sent_ns.get(self.dealt(to) as usize..).unwrap_or(&[])
    }

    /// Notes that the first of those under way has arrived at a far end, or is lost.
    pub(super) fn deal(&mut self, to: usize) {
        let dealt = self.dealt(to) + 1;
        match self.far.iter_mut().find(|(far, _)| usize::from(*far) == to) {
            Some((_, known)) => *known = dealt,
            None => self.far.push((to as u8, dealt)),
        }
    }

    /// Returns when the first was sent that is within the horizon.
    pub(super) fn first_sent_ns(&self) -> Option<u64> {
        self.sent_ns.get(self.closed as usize).copied()
    }

    /// Makes an earlier sighting the origin, if nothing speaks against it. Returns when the former origin saw it.
    pub(super) fn move_origin(&mut self, to: usize, time_ns: u64) -> Option<u64> {
        let [sent_ns] = self.sent_ns.as_mut_slice() else { return None };
        if self.closed > 0 || self.far.iter().any(|(_, dealt)| *dealt > 0) {
            return None;
        }
        self.far.push((self.origin, 1));
        self.origin = to as u8;
        Some(std::mem::replace(sent_ns, time_ns))
    }

    /// Closes those sent before `before_ns`, and tells of each when it was sent and at which of the far ends `to` it did
    /// not arrive.
    pub(super) fn close(&mut self, before_ns: u64, to: VantageSet, mut tell: impl FnMut(u64, VantageSet)) {
        let within = self.sent_ns.get(self.closed as usize..).unwrap_or_default();
        let count = within.iter().take_while(|sent_ns| **sent_ns < before_ns).count();
        let closed = self.closed + count as u32;
        for (number, sent_ns) in (self.closed..closed).zip(within) {
            let arrived = self.far.iter().filter(|(_, dealt)| *dealt > number);
            tell(*sent_ns, to & !arrived.fold(0, |set: VantageSet, (far, _)| set | 1 << far));
        }
        self.closed = closed;
        if closed as usize > self.sent_ns.len() / 2 {
            self.sent_ns.drain(..closed as usize);
            self.far.iter_mut().for_each(|(_, dealt)| *dealt = dealt.saturating_sub(closed));
            self.closed = 0;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.sent_ns.len() == self.closed as usize
    }

    /// Returns how many times are held.
    pub(super) fn held(&self) -> usize {
        self.sent_ns.len()
    }

    /// Returns how many may still arrive at the far end that has dealt with most.
    pub(super) fn pending(&self) -> usize {
        let dealt = self.far.iter().map(|(_, dealt)| *dealt).max().unwrap_or(0).max(self.closed);
        self.sent_ns.len() - dealt as usize
    }

    fn dealt(&self, to: usize) -> u32 {
        let far = self.far.iter().find(|(far, _)| usize::from(*far) == to);
        far.map_or(0, |(_, dealt)| *dealt).max(self.closed)
    }
}
