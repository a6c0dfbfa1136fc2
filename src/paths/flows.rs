//! What is known of flows: where their packets were seen, and which way they go.

use super::group::VantageSet;
use crate::event::Symbol;
use crate::hash::Keyed;
use std::collections::HashMap;

/// Flows that are followed: with so many others after its last packet, one may be forgotten; with twice as many, it is.
pub(super) const FOLLOWED: usize = 1 << 20;

/// What is known of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Where its packets were seen.
    pub(super) seen: VantageSet,
    /// Where packets between its addresses were seen, either way, as far as that is known from before; all where it is not.
    pub(super) scope: VantageSet,
    /// The number of the route that its packets take, if one is known.
    pub(super) route: Option<u32>,
    /// Whether the route was found before its packets were paired.
    pub(super) is_surveyed: bool,
}

impl Default for Flow {
    fn default() -> Flow {
        Flow { seen: 0, scope: VantageSet::MAX, route: None, is_surveyed: false }
    }
}

/// The flows whose packets were seen. Of two generations: what is seen comes into the younger one, and the older one
/// is forgotten as a whole when that is full.
#[derive(Default)]
pub(super) struct Flows {
    young: HashMap<Symbol, Flow, Keyed>,
    old: HashMap<Symbol, Flow, Keyed>,
    /// Flows so far; one that was forgotten counts again.
    count: u64,
    forgotten: u64,
}

impl Flows {
    /// Notes that a packet of the flow was seen. `begin` tells what is known of one that is new.
    #[inline]
    pub(super) fn saw(&mut self, flow: Symbol, vantage: u8, begin: impl FnOnce() -> Flow) {
        match self.young.get_mut(&flow) {
            Some(known) => known.seen |= 1 << vantage,
            None => self.add(flow, 1 << vantage, begin),
        }
    }

    #[cold]
    fn add(&mut self, flow: Symbol, seen: VantageSet, begin: impl FnOnce() -> Flow) {
        if self.young.len() >= FOLLOWED {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.old.remove(&flow);
        self.count += u64::from(before.is_none());
        let known = before.unwrap_or_else(begin);
        self.young.insert(flow, Flow { seen: seen | known.seen, ..known });
    }

    /// Returns what is known of the flow.
    pub(super) fn get(&self, flow: Symbol) -> Flow {
        self.young.get(&flow).or_else(|| self.old.get(&flow)).copied().unwrap_or_default()
    }

    /// Notes which route its packets take.
    pub(super) fn set_route(&mut self, flow: Symbol, route: u32) {
        let known = self.young.get_mut(&flow).or_else(|| self.old.get_mut(&flow));
        known.into_iter().for_each(|known| known.route = Some(route));
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
        flows.saw(flow(0), 0, Flow::default);
        for number in 1..4 * FOLLOWED {
            if number % 1000 == 0 {
                flows.saw(flow(0), 1, Flow::default);
            }
            flows.saw(flow(number), 2, Flow::default);
        }
        assert_eq!(flows.get(flow(0)).seen, 0b11, "it went on");
        assert_eq!((flows.get(flow(1)).seen, flows.get(flow(4 * FOLLOWED - 1)).seen), (0, 0b100));
        assert_eq!(flows.count(), 4 * FOLLOWED as u64);
        assert!(flows.young.len() + flows.old.len() <= 2 * FOLLOWED);
        let held = (flows.young.len() + flows.old.len()) as u64;
        assert_eq!(flows.forgotten() + held, flows.count());
    }
}
