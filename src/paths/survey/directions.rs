//! Which way packets between two addresses go past two vantage points, without believing their clocks.
//!
//! In this order:
//! 1. The time to live falls on the way.
//! 2. Of a conversation, the packets of one direction take as long as those of the other; the difference of both clocks is added to
//!    the one and taken from the other. So that direction goes from the first vantage point to the second whose differences of times are
//!    the larger ones, whatever the clocks say: the sum of both delays is positive.
//! 3. What the captures say of it: packets sent, packets received.
//! 4. The side on which a sender is, by its other conversations.
//! 5. The clocks, once they are corrected as far as that can be.

use super::matches::{AllPairs, Common, Match, Recurring};
use crate::domain::packet::flags;
use crate::hash::Keyed;
use crate::paths::ends::Ends;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Matches of one direction that are compared with their neighbours of the other.
const COMPARED_MAX: usize = 1 << 10;

/// Which way a directed pair of addresses goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Direction {
    /// From the first vantage point to the second.
    There,
    /// From the second to the first.
    Back,
}

impl Direction {
    pub(super) fn reversed(self) -> Direction {
        match self {
            Direction::There => Direction::Back,
            Direction::Back => Direction::There,
        }
    }

    fn of(balance: i64) -> Option<Direction> {
        match balance.cmp(&0) {
            Ordering::Greater => Some(Direction::There),
            Ordering::Less => Some(Direction::Back),
            Ordering::Equal => None,
        }
    }
}

/// Directions by number of the directed pair; of the packets without addresses, by `None`.
pub(super) type Directions = BTreeMap<Option<u32>, Direction>;

/// Finds directions as far as that can be done without clocks.
pub(super) fn find(common: &Common, pairs: &AllPairs) -> Directions {
    let mut by_pair: BTreeMap<Option<u32>, Vec<&Match>> = BTreeMap::new();
    for one in &common.once {
        by_pair.entry(one.pair).or_default().push(one);
    }
    let mut recurring: BTreeMap<Option<u32>, Vec<&Recurring>> = BTreeMap::new();
    for one in &common.recurring {
        recurring.entry(one.pair).or_default().push(one);
    }
    let all: Vec<Option<u32>> = by_pair.keys().chain(recurring.keys()).copied().collect();
    let mut found = Directions::new();
    for pair in &all {
        let once = by_pair.get(pair).into_iter().flatten().map(|one| one.flags);
        let flags = || once.clone().chain(recurring.get(pair).into_iter().flatten().map(|one| one.flags));
        let by_hops = by_time_to_live(flags());
        let reverse = pair.and_then(|pair| pairs.reverse(pair)).map(Some);
        let both = || Some((by_pair.get(pair)?, by_pair.get(&reverse?)?));
        let direction = by_hops
            .or_else(|| both().and_then(|(one, other)| by_conversation(one, other)))
            .or_else(|| by_marks(flags()));
        found.extend(direction.map(|direction| (*pair, direction)));
    }
    spread(&mut found, &all, pairs);
    // Each may go another way.
    found.retain(|pair, _| pair.is_none_or(|pair| !pairs.is_from_anyone(pair)));
    found
}

/// The time to live is larger nearer to the sender. Where it differs, it has to do so in one way.
fn by_time_to_live(all: impl Iterator<Item = [u32; 2]>) -> Option<Direction> {
    let (mut balance, mut differ) = (0_i64, 0_i64);
    for [here, there] in all {
        let (here, there) = (flags::ttl(here), flags::ttl(there));
        if here == 0 || there == 0 || here == there {
            continue;
        }
        differ += 1;
        balance += if here > there { 1 } else { -1 };
    }
    Direction::of(balance).filter(|_| balance.abs() * 10 >= differ * 9)
}

/// What captures say of single packets.
fn by_marks(all: impl Iterator<Item = [u32; 2]>) -> Option<Direction> {
    let mut balance = 0;
    for [here, there] in all {
        // Sent here, or received there: it went there.
        let of = |flags: u32, sent: i64| match flags & (flags::SENT | flags::RECEIVED) {
            flags::SENT => sent,
            flags::RECEIVED => -sent,
            _ => 0,
        };
        balance += of(here, 1) + of(there, -1);
    }
    Direction::of(balance)
}

/// The median of the differences of both directions, each match compared with that of the other direction that is nearest in time.
fn by_conversation(one: &[&Match], other: &[&Match]) -> Option<Direction> {
    let difference = |of: &Match| of.other_ns as i64 - of.at_ns as i64;
    let step = one.len().div_ceil(COMPARED_MAX).max(1);
    let mut differences: Vec<i64> = Vec::new();
    for compared in one.iter().step_by(step) {
        let at = other.partition_point(|of| of.at_ns < compared.at_ns);
        let near = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| other.get(at));
        let nearest = near.min_by_key(|of| of.at_ns.abs_diff(compared.at_ns));
        differences.extend(nearest.map(|nearest| difference(compared).saturating_sub(difference(nearest))));
    }
    differences.sort_unstable();
    let median = differences.get(differences.len() / 2).copied()?;
    // Of coarse clocks, most may be equal.
    let sum = || differences.iter().fold(0_i64, |sum, one| sum.saturating_add(*one));
    Direction::of(median).or_else(|| Direction::of(sum()))
}

/// A sender is on one side, whatever it sends to; who is on both, is on none.
fn spread(found: &mut Directions, all: &[Option<u32>], pairs: &AllPairs) {
    let ends = |pair: Option<u32>| pairs.ends.get(pair? as usize).copied();
    let mut sides: HashMap<IpAddr, Option<Direction>, Keyed> = HashMap::default();
    for (pair, direction) in &*found {
        let Some(Ends { src, dst }) = ends(*pair).filter(|ends| !ends.is_from_anyone()) else { continue };
        // What a sender on the other side sends goes back.
        for (address, side) in [(src, *direction), (dst, direction.reversed())] {
            let known = sides.entry(address).or_insert(Some(side));
            *known = known.filter(|known| *known == side);
        }
    }
    for pair in all {
        let Some(Ends { src, dst }) = ends(*pair) else { continue };
        let side = |address: IpAddr| sides.get(&address).copied().flatten();
        if let (false, Some(direction)) =
            (found.contains_key(pair), side(src).or_else(|| side(dst).map(Direction::reversed)))
        {
            found.insert(*pair, direction);
        }
    }
}

/// Finds the others by clocks that were corrected: `common_ns` tells the times of a match.
pub(super) fn find_by_clocks(
    found: &mut Directions,
    common: &Common,
    pairs: &AllPairs,
    common_ns: impl Fn(u64, u64) -> (u64, u64),
) {
    let is_open = |found: &Directions, pair: Option<u32>| {
        !found.contains_key(&pair) && pair.is_none_or(|pair| !pairs.is_from_anyone(pair))
    };
    let mut unknown: BTreeMap<Option<u32>, Vec<i64>> = BTreeMap::new();
    for one in &common.once {
        if is_open(found, one.pair) {
            let (at_ns, other_ns) = common_ns(one.at_ns, one.other_ns);
            unknown.entry(one.pair).or_default().push(other_ns as i64 - at_ns as i64);
        }
    }
    for one in &common.recurring {
        if is_open(found, one.pair) {
            let [here, there] = &one.times_ns;
            // The shortest distances between both are those of one sending.
            let nearest = there.iter().filter_map(|other_ns| {
                let distance = |at_ns: &u64| {
                    let (at_ns, other_ns) = common_ns(*at_ns, *other_ns);
                    other_ns as i64 - at_ns as i64
                };
                here.iter().map(distance).min_by_key(|distance| distance.unsigned_abs())
            });
            unknown.entry(one.pair).or_default().extend(nearest);
        }
    }
    for (pair, mut differences) in unknown {
        differences.sort_unstable();
        let median = differences.get(differences.len() / 2).copied().unwrap_or(0);
        let sum = differences.iter().fold(0_i64, |sum, one| sum.saturating_add(*one));
        if let Some(direction) = Direction::of(median).or_else(|| Direction::of(sum)) {
            found.insert(pair, direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(src: &str, dst: &str) -> Ends {
        Ends { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    /// Packets there and back, each on its way for so long; the second clock is ahead by `offset`.
    fn conversation(there: i64, back: i64, offset: i64, flags: [u32; 2]) -> (Common, AllPairs) {
        let mut pairs = AllPairs::default();
        let (one, other) =
            (pairs.number(ends("10.0.0.1", "10.0.0.2")), pairs.number(ends("10.0.0.2", "10.0.0.1")));
        let mut common = Common::default();
        for n in 0..50 {
            let at_ns = 1_000_000_000 + n * 1_000_000;
            let mut add = |pair, delay: i64| {
                let other_ns = (at_ns as i64 + delay + offset) as u64;
                common.once.push(Match { pair: Some(pair), at_ns, other_ns, flags });
            };
            add(one, there);
            add(other, -back);
        }
        (common, pairs)
    }

    #[test]
    fn a_conversation_tells_its_direction_whatever_the_clocks_say() {
        for offset in [0, 15_000_000, -15_000_000, 3_600_000_000_000 / 8] {
            let (common, pairs) = conversation(10_000_000, 10_000_000, offset, [0, 0]);
            let found = find(&common, &pairs);
            let both: Vec<_> = found.into_iter().collect();
            assert_eq!(both, [(Some(0), Direction::There), (Some(1), Direction::Back)], "{offset}");
        }
        let (common, pairs) = conversation(0, 1, 0, [0, 0]);
        assert_eq!(find(&common, &pairs).len(), 2);
        // No delay at all: nothing is known.
        let (common, pairs) = conversation(0, 0, 0, [0, 0]);
        assert_eq!(find(&common, &pairs), Directions::new());
    }

    #[test]
    fn one_way_traffic_is_known_by_its_hops_or_by_what_captures_say() {
        for (flags, direction) in [
            ([64 << 16, 63 << 16], Some(Direction::There)),
            ([63 << 16, 64 << 16], Some(Direction::Back)),
            ([64 << 16, 64 << 16], None),
            ([flags::SENT, 0], Some(Direction::There)),
            ([0, flags::SENT], Some(Direction::Back)),
            ([flags::RECEIVED, 0], Some(Direction::Back)),
            ([flags::SENT, flags::RECEIVED], Some(Direction::There)),
            ([flags::SENT, flags::SENT], None),
        ] {
            let (mut common, pairs) = conversation(5, 5, -100, flags);
            common.once.retain(|one| one.pair == Some(0));
            assert_eq!(find(&common, &pairs).get(&Some(0)).copied(), direction, "{flags:?}");
        }
    }

    #[test]
    fn a_sender_is_on_one_side() {
        let (mut common, mut pairs) = conversation(10, 10, 0, [0, 0]);
        let third = pairs.number(ends("10.0.0.1", "224.0.0.1"));
        common.once.push(Match { pair: Some(third), at_ns: 5, other_ns: 4, flags: [0, 0] });
        assert_eq!(find(&common, &pairs).get(&Some(third)), Some(&Direction::There));
    }
}
