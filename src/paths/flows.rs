//! Where the packets of flows were seen.

use super::packet::VantageSet;
use crate::event::Symbol;
use crate::hash::Keyed;
use std::collections::HashMap;

/// Flows that are followed: with so many others after its last packet, one may be forgotten; with twice as many, it is.
pub(super) const FOLLOWED: usize = 1 << 20;

/// The vantage points at which each flow was seen. Of two generations: what is seen comes into the younger one, and the older one
/// is forgotten as a whole when that is full.
#[derive(Default)]
pub(super) struct Flows {
    young: HashMap<Symbol, VantageSet, Keyed>,
    old: HashMap<Symbol, VantageSet, Keyed>,
    /// Flows so far; one that was forgotten counts again.
    count: u64,
    forgotten: u64,
}

impl Flows {
    /// Notes that a packet of the flow was seen.
    #[inline]
    pub(super) fn saw(&mut self, flow: Symbol, vantage: usize) {
        match self.young.get_mut(&flow) {
            Some(seen) => *seen |= 1 << vantage,
            None => self.add(flow, 1 << vantage),
        }
    }

    #[cold]
    fn add(&mut self, flow: Symbol, seen: VantageSet) {
        if self.young.len() >= FOLLOWED {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.old.remove(&flow);
        self.count += u64::from(before.is_none());
        self.young.insert(flow, seen | before.unwrap_or(0));
    }

    /// Returns where the flow was seen.
    pub(super) fn seen(&self, flow: Symbol) -> VantageSet {
        self.young.get(&flow).or_else(|| self.old.get(&flow)).copied().unwrap_or(0)
    }

    /// Returns how many flows there were; one that was forgotten counts again.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Returns how often one was forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_that_go_on_are_followed_and_others_forgotten_and_counted() {
        let mut flows = Flows::default();
        let flow = |number: usize| Symbol::from_bits(number as u64 + 1);
        flows.saw(flow(0), 0);
        for number in 1..4 * FOLLOWED {
            if number % 1000 == 0 {
                flows.saw(flow(0), 1);
            }
            flows.saw(flow(number), 2);
        }
        assert_eq!(flows.seen(flow(0)), 0b11, "it went on");
        assert_eq!((flows.seen(flow(1)), flows.seen(flow(4 * FOLLOWED - 1))), (0, 0b100));
        assert_eq!(flows.count(), 4 * FOLLOWED as u64);
        assert!(flows.young.len() + flows.old.len() <= 2 * FOLLOWED);
        let held = (flows.young.len() + flows.old.len()) as u64;
        assert_eq!(flows.forgotten() + held, flows.count());
    }
}
