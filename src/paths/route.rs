//! Which vantage points packets pass, and in which order.

use super::group::{VANTAGES_MAX, VantageSet};
use crate::hash::Keyed;
use smallvec::SmallVec;
use std::collections::HashMap;

/// Different routes that are remembered. Of more, each packet's is taken from its times.
const ROUTES_MAX: usize = 1 << 12;

/// The vantage points that packets pass, nearest to the sender first, and from which one each comes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Route {
    stops: SmallVec<[Stop; 4]>,
}

/// A vantage point on a route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stop {
    pub(super) vantage: u8,
    /// Where the one before it stands; the first is its own.
    parent: u8,
}

impl Route {
    /// One after the other.
    pub(super) fn chain(vantages: impl IntoIterator<Item = u8>) -> Route {
        let stops = (0_u8..).zip(vantages.into_iter().take(VANTAGES_MAX));
        Route { stops: stops.map(|(at, vantage)| Stop { vantage, parent: at.saturating_sub(1) }).collect() }
    }

    /// From the first to each of the others: of packets to many receivers.
    pub(super) fn star(vantages: impl IntoIterator<Item = u8>) -> Route {
        let stops = vantages.into_iter().take(VANTAGES_MAX);
        Route { stops: stops.map(|vantage| Stop { vantage, parent: 0 }).collect() }
    }

    /// In an order in which each stands behind its parent, given as places in the list.
    pub(super) fn tree(vantages: &[u8], parents: &[usize]) -> Route {
        let stops = vantages.iter().zip(parents).take(VANTAGES_MAX);
        let stops = stops.enumerate().map(|(at, (vantage, parent))| Stop {
            vantage: *vantage,
            parent: (*parent).min(at.saturating_sub(1)) as u8,
        });
        Route { stops: stops.collect() }
    }

    pub(super) fn vantages(&self) -> impl DoubleEndedIterator<Item = u8> + '_ {
        self.stops.iter().map(|stop| stop.vantage)
    }

    pub(super) fn set(&self) -> VantageSet {
        self.vantages().fold(0, |set, vantage| set | 1 << vantage)
    }

    pub(super) fn len(&self) -> usize {
        self.stops.len()
    }

    /// Returns the first of those that are in `seen`.
    pub(super) fn first_of(&self, seen: VantageSet) -> Option<u8> {
        self.vantages().find(|vantage| seen >> vantage & 1 != 0)
    }

    /// Iterates over neighbours: from which to which.
    pub(super) fn hops(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        self.stops.iter().skip(1).filter_map(|stop| {
            self.stops.get(usize::from(stop.parent)).map(|parent| (parent.vantage, stop.vantage))
        })
    }

    /// Iterates over the ends of ways with something in between: the first and each last.
    pub(super) fn ends(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let first = self.stops.first().map(|stop| stop.vantage);
        let is_last = |at: &usize| !self.stops.iter().skip(1).any(|stop| usize::from(stop.parent) == *at);
        let lasts = (1..self.stops.len()).filter(is_last);
        let far = lasts.filter_map(|at| self.stops.get(at)).filter(|stop| stop.parent != 0);
        far.filter_map(move |stop| Some((first?, stop.vantage)))
    }

    /// Returns which vantage points packets pass behind `vantage`.
    pub(super) fn behind(&self, vantage: u8) -> VantageSet {
        let mut behind: VantageSet = 0;
        for (from, to) in self.hops() {
            if from == vantage || behind >> from & 1 != 0 {
                behind |= 1 << to;
            }
        }
        behind
    }

    /// Tells whether packets pass `one` before `other`.
    pub(super) fn is_before(&self, one: u8, other: u8) -> bool {
        self.behind(one) >> other & 1 != 0
    }
}

/// The routes that were found, each once.
#[derive(Default)]
pub(super) struct Routes {
    known: Vec<Route>,
    numbers: HashMap<Route, u32, Keyed>,
}

impl Routes {
    /// Returns the number of a route; `None` when there are too many.
    pub(super) fn number(&mut self, route: Route) -> Option<u32> {
        if let Some(number) = self.numbers.get(&route) {
            return Some(*number);
        }
        let number = u32::try_from(self.known.len()).ok().filter(|_| self.known.len() < ROUTES_MAX)?;
        self.known.push(route.clone());
        self.numbers.insert(route, number);
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Route> {
        self.known.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(of: impl Iterator<Item = (u8, u8)>) -> Vec<(u8, u8)> {
        of.collect()
    }

    #[test]
    fn a_chain_has_hops_and_one_end_to_end() {
        let chain = Route::chain([3, 1, 2]);
        assert_eq!(pairs(chain.hops()), [(3, 1), (1, 2)]);
        assert_eq!(pairs(chain.ends()), [(3, 2)]);
        assert_eq!((chain.set(), chain.behind(3), chain.behind(2)), (0b1110, 0b110, 0));
        assert!(chain.is_before(3, 2) && !chain.is_before(2, 1));
        assert_eq!(chain.first_of(0b110), Some(1));
        let two = Route::chain([0, 1]);
        assert_eq!((pairs(two.hops()), pairs(two.ends())), (vec![(0, 1)], vec![]));
        assert_eq!(pairs(Route::chain([5]).hops()), []);
    }

    #[test]
    fn a_star_has_a_hop_to_each() {
        let star = Route::star([2, 0, 1]);
        assert_eq!(pairs(star.hops()), [(2, 0), (2, 1)]);
        assert_eq!(pairs(star.ends()), []);
        assert!(!star.is_before(0, 1));
    }

    #[test]
    fn a_tree_ends_at_each_leaf() {
        // 0 to 1, from there to 2 and to 3.
        let tree = Route::tree(&[0, 1, 2, 3], &[0, 0, 1, 1]);
        assert_eq!(pairs(tree.hops()), [(0, 1), (1, 2), (1, 3)]);
        assert_eq!(pairs(tree.ends()), [(0, 2), (0, 3)]);
        assert_eq!(tree.behind(1), 0b1100);
    }

    #[test]
    fn routes_are_numbered_once_and_bounded() {
        let mut routes = Routes::default();
        assert_eq!(routes.number(Route::chain([0, 1])), Some(0));
        assert_eq!(routes.number(Route::chain([1, 0])), Some(1));
        assert_eq!(routes.number(Route::chain([0, 1])), Some(0));
        assert_eq!(routes.get(1).map(Route::len), Some(2));
        for first in 0..64 {
            for second in 0..64 {
                routes.number(Route::chain([first, second, 7]));
            }
        }
        assert!(routes.known.len() <= ROUTES_MAX);
        assert_eq!(routes.number(Route::chain([9, 8, 7, 6])), None);
    }
}
