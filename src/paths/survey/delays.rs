//! How long packets are on their way between two vantage points.

use super::directions::{Direction, Directions};
use super::matches::{Common, Recurring};
use std::collections::BTreeMap;

/// A delay may be longer than the longest that was seen by as much as these differ, or by this if it is more. (Not by a share of it:
/// what a clock is ahead is in all of them.)
const MARGIN_NS: u64 = 1_000_000;
/// Of the delays seen, this share counts: one wild stamp is none.
const PER_MILLE: usize = 999;

/// What was seen of the delays of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::paths) struct DelaysSeen {
    /// The smallest and the middle one, in nanoseconds; below zero where the clocks disagree.
    pub(in crate::paths) least_ns: i64,
    pub(in crate::paths) median_ns: i64,
    /// The longest that counts.
    pub(in crate::paths) longest_ns: i64,
}

impl DelaysSeen {
    fn of(mut delays: Vec<i64>) -> Option<DelaysSeen> {
        delays.sort_unstable();
        let at = |per_mille: usize| delays.get((delays.len().checked_sub(1)?) * per_mille / 1000).copied();
        // Of few, all count but those that are far from the others.
        let (median_ns, high_ns) = (at(500)?, at(PER_MILLE)?);
        let last_ns = *delays.last()?;
        let spread = high_ns.saturating_sub(*delays.first()?);
        let is_wild = last_ns.saturating_sub(high_ns) > spread.saturating_mul(10);
        let longest_ns = if is_wild { high_ns } else { last_ns };
        Some(DelaysSeen { least_ns: *delays.first()?, median_ns, longest_ns })
    }

    /// For how long a packet is waited for: the longest delay, and a margin.
    pub(in crate::paths) fn wait_ns(&self) -> u64 {
        let longest_ns = u64::try_from(self.longest_ns).unwrap_or(0);
        let spread_ns = self.longest_ns.abs_diff(self.least_ns);
        longest_ns.saturating_add(MARGIN_NS.max(spread_ns))
    }

    /// Longer delays are not likely where another packet explains an arrival.
    pub(in crate::paths) fn likely_ns(&self) -> u64 {
        let longest_ns = u64::try_from(self.longest_ns).unwrap_or(0);
        longest_ns.saturating_add(MARGIN_NS.max(self.longest_ns.abs_diff(self.least_ns)))
    }
}

/// Finds the delays of both directions; `common_ns` tells the times of a match.
pub(super) fn find(
    common: &Common,
    directions: &Directions,
    common_ns: impl Fn(u64, u64) -> (u64, u64),
) -> BTreeMap<Direction, DelaysSeen> {
    let mut delays: BTreeMap<Direction, Vec<i64>> = BTreeMap::new();
    let delay = |direction: Direction, at_ns: u64, other_ns: u64| {
        let (at_ns, other_ns) = common_ns(at_ns, other_ns);
        let difference = other_ns as i64 - at_ns as i64;
        if direction == Direction::There { difference } else { -difference }
    };
    for one in &common.once {
        if let Some(direction) = directions.get(&one.pair) {
            delays.entry(*direction).or_default().push(delay(*direction, one.at_ns, one.other_ns));
        }
    }
    let mut found: BTreeMap<Direction, DelaysSeen> = BTreeMap::new();
    for direction in [Direction::There, Direction::Back] {
        let known = delays.remove(&direction).and_then(DelaysSeen::of).or_else(|| {
            let of_it = |one: &&Recurring| directions.get(&one.pair) == Some(&direction);
            of_recurring(common.recurring.iter().filter(of_it), |at_ns, other_ns| {
                delay(direction, at_ns, other_ns)
            })
        });
        found.extend(known.map(|known| (direction, known)));
    }
    found
}

/// Of packets that are all alike: the narrowest range of differences that explains nearly all of them. Of several that are
/// as narrow, as packets at regular times have, the one nearest to zero.
fn of_recurring<'a>(
    all: impl Iterator<Item = &'a Recurring>,
    delay: impl Fn(u64, u64) -> i64,
) -> Option<DelaysSeen> {
    let (mut differences, mut explained) = (Vec::new(), 0);
    for one in all {
        let [here, there] = &one.times_ns;
        explained += here.len().min(there.len());
        differences
            .extend(here.iter().flat_map(|at_ns| there.iter().map(|other_ns| delay(*at_ns, *other_ns))));
    }
    differences.sort_unstable();
    let count = (explained * 8 / 10).max(1);
    let ranges = differences.windows(count).filter_map(|range| Some((*range.first()?, *range.last()?)));
    let narrowest = ranges.clone().map(|(first, last)| last - first).min()?;
    let alike = ranges.filter(|(first, last)| last - first <= narrowest.saturating_add(narrowest / 2));
    let (first, last) = alike.min_by_key(|(first, last)| {
        let is_negative = *last < 0;
        (is_negative, (first / 2 + last / 2).unsigned_abs())
    })?;
    Some(DelaysSeen { least_ns: first, median_ns: first / 2 + last / 2, longest_ns: last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::survey::matches::Match;

    #[test]
    fn one_wild_stamp_is_no_delay() {
        let mut delays: Vec<i64> = (0..2000).map(|n| 5_000_000 + n * 100).collect();
        delays.push(3_600_000_000_000);
        let seen = DelaysSeen::of(delays).unwrap();
        assert!(seen.longest_ns < 6_000_000, "{seen:?}");
        assert_eq!(seen.least_ns, 5_000_000);
        assert_eq!(DelaysSeen::of(vec![7]).unwrap(), DelaysSeen { least_ns: 7, median_ns: 7, longest_ns: 7 });
        assert_eq!(DelaysSeen::of(vec![]), None);
        assert_eq!(DelaysSeen::of(vec![20_000_000]).unwrap().wait_ns(), 21_000_000);
        assert_eq!(DelaysSeen::of(vec![-5]).unwrap().wait_ns(), MARGIN_NS);
    }

    #[test]
    fn packets_that_are_all_alike_tell_their_delay_by_what_fits_most_of_them() {
        // Every 200 ms, 10 ms on their way, the first lost.
        let sent: Vec<u64> = (0..100).map(|n| 1_000_000_000 + n * 200_000_000).collect();
        let arrived = sent.iter().skip(1).map(|sent| sent + 10_000_000 + sent % 7).collect();
        let times_ns = [sent.into(), smallvec::SmallVec::from_vec(arrived)];
        let common = Common {
            recurring: vec![Recurring { pair: None, times_ns, flags: [0, 0] }],
            ..Common::default()
        };
        let directions = Directions::from([(None, Direction::There)]);
        let found = find(&common, &directions, |at_ns, other_ns| (at_ns, other_ns));
        let seen = found[&Direction::There];
        assert!((10_000_000..10_000_007).contains(&seen.median_ns), "{seen:?}");
        assert!(seen.likely_ns() < 200_000_000);
    }

    #[test]
    fn delays_are_those_of_each_direction() {
        let one = |pair, at_ns, other_ns| Match { pair: Some(pair), at_ns, other_ns, flags: [0, 0] };
        let common = Common { once: vec![one(0, 100, 105), one(1, 220, 205)], ..Common::default() };
        let directions = Directions::from([(Some(0), Direction::There), (Some(1), Direction::Back)]);
        let found = find(&common, &directions, |at_ns, other_ns| (at_ns, other_ns));
        assert_eq!(found[&Direction::There].median_ns, 5);
        assert_eq!(found[&Direction::Back].median_ns, 15);
    }
}
