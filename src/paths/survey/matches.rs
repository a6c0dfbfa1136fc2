//! Packets of the sample that two vantage points saw.

use super::vantage::{Sampled, VantageSurvey};
use crate::hash::Keyed;
use crate::paths::ends::Ends;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};

/// Pairs of times of packets that were seen several times, of each two vantage points.
const RECURRING_MAX: usize = 1 << 16;

/// Directed pairs of addresses, by number, as all vantage points see them.
#[derive(Default)]
pub(super) struct AllPairs {
    pub(super) ends: Vec<Ends>,
    numbers: HashMap<Ends, u32, Keyed>,
}

impl AllPairs {
    pub(super) fn number(&mut self, ends: Ends) -> u32 {
        *self.numbers.entry(ends).or_insert_with(|| {
            self.ends.push(ends);
            (self.ends.len() - 1) as u32
        })
    }

    pub(super) fn get(&self, ends: Ends) -> Option<u32> {
        self.numbers.get(&ends).copied()
    }

    /// Tells whether several hosts may send so.
    pub(super) fn is_from_anyone(&self, pair: u32) -> bool {
        self.ends.get(pair as usize).is_some_and(|ends| ends.is_from_anyone())
    }

    /// Returns the number of the way back, if packets went there.
    pub(super) fn reverse(&self, pair: u32) -> Option<u32> {
        self.get(self.ends.get(pair as usize)?.reversed())
    }
}

/// A packet that was seen once at each of two vantage points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) pair: Option<u32>,
    /// By the clock of the first.
    pub(super) at_ns: u64,
    /// By the clock of the second.
    pub(super) other_ns: u64,
    /// The flags that it had at each.
    pub(super) flags: [u32; 2],
}

/// A packet that was seen several times, and the times at each of two vantage points.
#[derive(Clone, Debug)]
pub(super) struct Recurring {
    pub(super) pair: Option<u32>,
    pub(super) times_ns: [SmallVec<[u64; 1]>; 2],
    pub(super) flags: [u32; 2],
}

/// What two vantage points saw of the same packets.
#[derive(Default, Debug)]
pub(super) struct Common {
    /// In order of the first one's time.
    pub(super) once: Vec<Match>,
    pub(super) recurring: Vec<Recurring>,
    pub(super) recurring_times: usize,
}

/// By two vantage points, the first of which has the smaller index.
pub(super) type AllCommon = BTreeMap<(u8, u8), Common>;

/// Finds what vantage points have in common. Their samples are of one density.
pub(super) fn find(vantages: &[VantageSurvey], pair_of: impl Fn(usize, u32) -> Option<u32>) -> AllCommon {
    let mut seen: HashMap<u128, SmallVec<[u8; 4]>, Keyed> = HashMap::default();
    for (at, vantage) in vantages.iter().enumerate() {
        for id in vantage.sample.keys() {
            seen.entry(*id).or_default().push(at as u8);
        }
    }
    let mut all = AllCommon::new();
    let sampled = |at: u8, id: u128| vantages.get(usize::from(at)).and_then(|one| one.sample.get(&id));
    for (id, at) in seen {
        for (number, one) in at.iter().enumerate() {
            for other in at.iter().skip(number + 1) {
                let (Some(here), Some(there)) = (sampled(*one, id), sampled(*other, id)) else { continue };
                let pair = here.pair.and_then(|pair| pair_of(usize::from(*one), pair));
                all.entry((*one, *other)).or_default().add(pair, here, there);
            }
        }
    }
    all.values_mut().for_each(|common| common.once.sort_by_key(|one| (one.at_ns, one.other_ns)));
    all
}

impl Common {
    fn add(&mut self, pair: Option<u32>, here: &Sampled, there: &Sampled) {
        let flags = [here.flags, there.flags];
        if let ([at_ns], [other_ns]) = (here.times_ns.as_slice(), there.times_ns.as_slice()) {
            self.once.push(Match { pair, at_ns: *at_ns, other_ns: *other_ns, flags });
            return;
        }
        let pairs = here.times_ns.len() * there.times_ns.len();
        if self.recurring_times + pairs <= RECURRING_MAX {
            self.recurring_times += pairs;
            self.recurring.push(Recurring {
                pair,
                times_ns: [here.times_ns.clone(), there.times_ns.clone()],
                flags,
            });
        }
    }
}
