//! The order of vantage points along the ways that packets take.

use super::directions::{Direction, Directions};
use super::matches::AllPairs;
use super::vantage::VantageSurvey;
use crate::paths::ends::Ends;
use crate::paths::group::VantageSet;
use crate::paths::route::Route;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Directions by two vantage points.
pub(super) type AllDirections = BTreeMap<(u8, u8), Directions>;

/// Packets of one directed pair of addresses, and where they were seen.
#[derive(Clone, Default, Debug)]
pub(super) struct PairSeen {
    /// By vantage point: how many, and when the first and the last by the common time.
    pub(super) at: BTreeMap<u8, (u64, u64, u64)>,
}

impl PairSeen {
    pub(super) fn set(&self) -> VantageSet {
        self.at.keys().fold(0, |set, vantage| set | 1 << vantage)
    }
}

/// Finds the route of a directed pair that was seen at several vantage points, in one direction or the other.
///
/// Whichever two are on the way are in the order of its direction past both. A vantage point is behind another where that one
/// saw most of what it saw itself; what goes to many goes from the first one to each.
pub(super) fn find(
    pair: u32,
    ends: Ends,
    seen: VantageSet,
    directions: &AllDirections,
    pairs: &AllPairs,
    shares: &BTreeMap<(u8, u8), Share>,
) -> Route {
    let reverse = pairs.reverse(pair);
    let direction = |one: u8, other: u8| -> Option<Direction> {
        let (first, second) = (one.min(other), one.max(other));
        let known = directions.get(&(first, second))?;
        let there = known.get(&Some(pair)).copied();
        let there = there.or_else(|| Some(known.get(&Some(reverse?))?.reversed()))?;
        Some(if one < other { there } else { there.reversed() })
    };
    let mut order: Vec<u8> = (0..64).filter(|vantage| seen >> vantage & 1 != 0).collect();
    let others_behind = |one: u8| {
        order
            .iter()
            .filter(|other| **other != one && direction(one, **other) == Some(Direction::There))
            .count()
    };
    let behind: BTreeMap<u8, usize> =
        order.iter().map(|vantage| (*vantage, others_behind(*vantage))).collect();
    order.sort_by_key(|vantage| Reverse(behind.get(vantage).copied()));
    if ends.is_multicast() {
        return Route::star(order);
    }
    let parent_of = |at: usize| {
        let vantage = order.get(at).copied().unwrap_or_default();
        let passed = |before: &usize| {
            let before = order.get(*before).copied().unwrap_or_default();
            shares.get(&(before, vantage)).is_none_or(|share| share.is_most())
        };
        (0..at).rev().find(passed).unwrap_or(0)
    };
    let parents: Vec<usize> = (0..order.len()).map(parent_of).collect();
    Route::tree(&order, &parents)
}

/// How many packets of a directed pair a vantage point saw that another one saw before it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Share {
    seen: u64,
    passed: u64,
}

impl Share {
    /// Where only few are known, it is taken to be so.
    fn is_most(self) -> bool {
        self.seen < 4 || self.passed * 2 >= self.seen
    }
}

/// Counts, of each directed pair, how many of the packets at one vantage point another one saw as well while it looked, by both of them.
pub(super) fn shares(
    vantages: &[VantageSurvey],
    pair_of: impl Fn(usize, u32) -> Option<u32>,
    to_common: impl Fn(usize, u64) -> u64,
) -> BTreeMap<u32, BTreeMap<(u8, u8), Share>> {
    let mut all: BTreeMap<u32, BTreeMap<(u8, u8), Share>> = BTreeMap::new();
    if vantages.len() < 3 {
        return all;
    }
    let window = |(at, vantage): (usize, &VantageSurvey)| {
        vantage.time_ns().map(|(first_ns, last_ns)| (to_common(at, first_ns), to_common(at, last_ns)))
    };
    let windows: Vec<Option<(u64, u64)>> = vantages.iter().enumerate().map(window).collect();
    for (at, vantage) in vantages.iter().enumerate() {
        for (id, known) in &vantage.sample {
            let Some(pair) = known.pair.and_then(|pair| pair_of(at, pair)) else { continue };
            let of_pair = all.entry(pair).or_default();
            let time_ns = known.times_ns.first().map_or(0, |time_ns| to_common(at, *time_ns));
            for (before, other) in vantages.iter().enumerate().filter(|(before, _)| *before != at) {
                // What passed it when it did not look tells nothing.
                let looked = windows.get(before).copied().flatten();
                if looked.is_none_or(|(first_ns, last_ns)| !(first_ns..=last_ns).contains(&time_ns)) {
                    continue;
                }
                let share = of_pair.entry((before as u8, at as u8)).or_default();
                share.seen += 1;
                share.passed += u64::from(other.sample.contains_key(id));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(src: &str, dst: &str) -> Ends {
        Ends { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    #[test]
    fn the_order_follows_from_the_directions_past_each_two() {
        let mut pairs = AllPairs::default();
        let (there, back) =
            (pairs.number(ends("10.0.0.1", "10.0.0.2")), pairs.number(ends("10.0.0.2", "10.0.0.1")));
        // 2, 0, 1 is the way there.
        let known = |direction| Directions::from([(Some(there), direction)]);
        let directions = AllDirections::from([
            ((0, 1), known(Direction::There)),
            ((0, 2), known(Direction::Back)),
            ((1, 2), known(Direction::Back)),
        ]);
        let shares = BTreeMap::new();
        let route = |pair: u32, ends| find(pair, ends, 0b111, &directions, &pairs, &shares);
        assert_eq!(route(there, ends("10.0.0.1", "10.0.0.2")), Route::chain([2, 0, 1]));
        assert_eq!(route(back, ends("10.0.0.2", "10.0.0.1")), Route::chain([1, 0, 2]));
        assert_eq!(route(there, ends("10.0.0.1", "224.0.0.1")), Route::star([2, 0, 1]));
    }

    #[test]
    fn who_saw_other_packets_is_on_another_branch() {
        let mut pairs = AllPairs::default();
        let pair = pairs.number(ends("10.0.0.1", "10.0.0.2"));
        let known = || Directions::from([(Some(pair), Direction::There)]);
        let directions = AllDirections::from([((0, 1), known()), ((0, 2), known()), ((1, 2), known())]);
        let shares = BTreeMap::from([
            ((1, 2), Share { seen: 100, passed: 3 }),
            ((0, 2), Share { seen: 100, passed: 99 }),
        ]);
        let route = find(pair, ends("10.0.0.1", "10.0.0.2"), 0b111, &directions, &pairs, &shares);
        assert_eq!(route, Route::star([0, 1, 2]));
    }
}
