//! What the survey tells its user.

use super::clocks;
use super::matches::{AllCommon, AllPairs};
use super::repeats::Repeats;
use super::routes::PairSeen;
use super::shown::span;
use super::vantage::VantageSurvey;
use super::windows::{Edge, Window};
use crate::paths::clocks::Clocks;
use crate::paths::finding::Finding;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Address pairs that are named.
const NAMED_MAX: usize = 10;

/// Packets of two vantage points in one direction that there must be before it is told that they have nothing in common.
const PACKETS_MIN: u64 = 10;

/// Returns the address pairs that one vantage point saw and no other, the most frequent first, with their packets both ways.
pub(super) fn unpaired_pairs(pairs: &AllPairs, seen: &[PairSeen], vantages: usize) -> Vec<(String, u64)> {
    if vantages < 2 {
        return Vec::new();
    }
    let mut found: BTreeMap<(std::net::IpAddr, std::net::IpAddr), (u64, String)> = BTreeMap::new();
    for (number, (ends, known)) in (0_u32..).zip(pairs.ends.iter().zip(seen)) {
        let back = pairs.reverse(number).and_then(|back| seen.get(back as usize));
        let scope = known.set() | back.map_or(0, PairSeen::set);
        if scope.count_ones() != 1 {
            continue;
        }
        let key = (ends.src.min(ends.dst), ends.src.max(ends.dst));
        let packets: u64 = known.at.values().map(|(packets, _, _)| packets).sum();
        let entry = found.entry(key).or_insert_with(|| (0, format!("{} > {}", ends.src, ends.dst)));
        entry.0 += packets;
    }
    let mut all: Vec<(String, u64)> = found.into_values().map(|(packets, name)| (name, packets)).collect();
    all.sort_by(|(a, one), (b, other)| (Reverse(one), a).cmp(&(Reverse(other), b)));
    all.truncate(NAMED_MAX);
    all
}

/// What was found out.
pub(super) struct Known<'a> {
    pub(super) repeats: &'a [Repeats],
    pub(super) windows: &'a [Window],
    pub(super) clocks: &'a Clocks,
}

/// Returns what bears on the results, but for what the clocks are.
pub(super) fn findings(known: &Known<'_>, vantages: &[VantageSurvey], common: &AllCommon) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |code: &'static str, is_doubt: bool, text: String| {
        found.push(Finding { code, text, is_doubt });
    };
    let name = |at: u8| vantages.get(usize::from(at)).map_or("", |vantage| &vantage.name);
    for (at, vantage) in (0_u8..).zip(vantages) {
        let of = &vantage.name;
        if vantage.packets == 0 {
            // Who reads the capture knows why.
            continue;
        }
        let repeats = known.repeats.get(usize::from(at)).copied().unwrap_or_default();
        if repeats.more > 0 {
            let times = u64::from(repeats.more) + 1;
            tell(
                "repeats",
                false,
                format!(
                    "{of} shows nearly every packet {times} times within {}, as a mirror port or a capture on all interfaces does; they were taken for one each. Capture on one interface to avoid that",
                    span(repeats.within_ns / 2)
                ),
            );
        }
        if let Some(dropped) = vantage.dropped.filter(|dropped| *dropped > 0) {
            tell(
                "capture-dropped",
                true,
                format!(
                    "the capture of {of} says that it dropped {dropped} packets itself, so losses on paths to it are ranges; capture with a larger buffer (`tcpdump -B`) or fewer bytes of each packet (`-s`)"
                ),
            );
        }
        if let Some(window) = known.windows.get(usize::from(at)) {
            if window.begin == Edge::Evident {
                tell(
                    "began-late",
                    false,
                    format!(
                        "others saw packets from the side of {of} before its capture had any; what was sent before that is not counted on paths to it"
                    ),
                );
            }
            if window.end == Edge::Evident {
                tell(
                    "ended-early",
                    false,
                    format!(
                        "others saw packets from the side of {of} when its capture had ended; what was sent after that is not counted on paths to it"
                    ),
                );
            }
        }
        if clocks::has_unknown_step(vantage, known.clocks.vantages.get(usize::from(at))) {
            tell(
                "clock-step",
                true,
                format!(
                    "the times of {of} go back by {} within its capture, as of a clock that was set; packets do not prove by how much, so delays around that may be off",
                    span(vantage.longest_back_ns)
                ),
            );
        }
        if vantage.pairs_left_out > 0 {
            tell(
                "many-addresses",
                true,
                format!(
                    "{of} saw packets of more pairs of addresses than are followed; {} packets were paired by their times only",
                    vantage.pairs_left_out
                ),
            );
        }
    }
    for (one, this) in (0_u8..).zip(vantages) {
        for (other, that) in (0_u8..).zip(vantages).skip(usize::from(one) + 1) {
            if this.packets == 0 || that.packets == 0 {
                continue;
            }
            let matched =
                common.get(&(one, other)).map_or(0, |common| common.once.len() + common.recurring.len());
            let fewer = this.sample.len().min(that.sample.len());
            if matched * 10 < fewer && this.packets.min(that.packets) >= PACKETS_MIN {
                let apart = match (known.windows.get(usize::from(one)), known.windows.get(usize::from(other)))
                {
                    (Some(a), Some(b)) => a.end_ns < b.begin_ns || b.end_ns < a.begin_ns,
                    _ => false,
                };
                let cause = if apart {
                    "they were taken at different times, or their clocks are far apart"
                } else {
                    "their packets differ: checksums left to the network card (try --mask-checksums), segments joined or cut (switch offload off: `ethtool -K DEVICE tso off gso off gro off`), addresses translated, or a tunnel; or packets of one do not pass the other"
                };
                tell(
                    "little-in-common",
                    true,
                    format!(
                        "{} and {} have {matched} of {fewer} packets in common that were compared: {cause}",
                        name(one),
                        name(other)
                    ),
                );
            }
        }
    }
    for ((one, other), common) in common {
        let are_alike = common.once.iter().all(|of| of.at_ns == of.other_ns);
        let is_whole = [*one, *other].iter().all(|at| {
            vantages.get(usize::from(*at)).is_some_and(|vantage| vantage.sample.len() == common.once.len())
        });
        if common.once.len() as u64 >= PACKETS_MIN && are_alike && is_whole {
            found.push(Finding {
                code: "same-capture",
                is_doubt: true,
                text: format!(
                    "all delays are 0 between {} and {}, as if both were one capture; look whether a file was given twice",
                    name(*one), name(*other)
                ),
            });
        }
    }
    found
}
