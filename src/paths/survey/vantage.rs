//! What is seen at one vantage point before packets are paired.

use crate::hash::{HashKey, Keyed};
use crate::paths::ends::Ends;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Packets of which sightings are remembered. With more, a half of them is left out, by their ids, so that all vantage points keep the same.
const SAMPLE_MAX: usize = 1 << 17;
/// Sightings of one packet that are remembered.
const TIMES_MAX: usize = 256;
/// Sightings of packets that were seen several times, all together.
const MORE_TIMES_MAX: usize = 1 << 20;
/// Directed pairs of addresses that are told apart.
const PAIRS_MAX: usize = 1 << 18;
/// Two sightings with different marks within this are of one sending.
pub(in crate::paths) const REPEAT_NS: u64 = 1_000_000_000;

/// Stamps of one capture that go back by more than this are no matter of several queues of a network card.
const BACK_NS: u64 = 1_000_000;

/// One stamp alone that is further from all others than this says nothing of when packets were seen.
const LONELY_NS: u64 = 60_000_000_000;

/// The earliest and the latest times, but for one that is alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The two earliest, and the two latest.
    first_ns: [u64; 2],
    last_ns: [u64; 2],
}

impl Extent {
    fn new(time_ns: u64) -> Extent {
        Extent { first_ns: [time_ns, u64::MAX], last_ns: [0, time_ns] }
    }

    fn take(&mut self, time_ns: u64) {
        let [first_ns, second_ns] = self.first_ns;
        self.first_ns = [first_ns.min(time_ns), second_ns.min(first_ns.max(time_ns))];
        let [second_ns, last_ns] = self.last_ns;
        self.last_ns = [second_ns.max(last_ns.min(time_ns)), last_ns.max(time_ns)];
    }

    pub(super) fn first_ns(&self) -> u64 {
        let [first_ns, second_ns] = self.first_ns;
        if second_ns != u64::MAX && second_ns - first_ns > LONELY_NS { second_ns } else { first_ns }
    }

    pub(super) fn last_ns(&self) -> u64 {
        let [second_ns, last_ns] = self.last_ns;
        if second_ns != 0 && last_ns - second_ns > LONELY_NS { second_ns } else { last_ns }
    }
}

/// A packet, as one vantage point saw it.
#[derive(Clone, Copy, Debug)]
pub struct SurveyedPacket {
    /// Its digest.
    pub id: u128,
    /// When it was seen, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Between which addresses it goes, if that is known.
    pub ends: Option<Ends>,
    /// See [`crate::domain::packet::flags`].
    pub flags: u32,
}

/// What one vantage point saw: filled by reading its capture once, and given to [`Survey::new`](super::Survey::new).
///
/// Takes memory for a sample of 131,072 packets and for 262,144 pairs of addresses; what is beyond is counted.
pub struct VantageSurvey {
    pub(super) name: String,
    pub(super) packets: u64,
    /// By its own clock.
    extent: Option<Extent>,
    pub(super) pairs: Vec<SeenPair>,
    numbers: HashMap<Ends, u32, Keyed>,
    pub(super) pairs_left_out: u64,
    pub(super) sample: HashMap<u128, Sampled, Keyed>,
    /// Of the packets, one in two to the power of this is in the sample.
    pub(super) shift: u32,
    key: HashKey,
    more_times: usize,
    /// Packets that its capture says it dropped.
    pub(super) dropped: Option<u64>,
    /// When its capture says that it began and ended.
    pub(super) captured_ns: (Option<u64>, Option<u64>),
    /// How often a time was earlier than the one before by more than a millisecond, and the longest of these steps, in nanoseconds.
    pub(super) steps_back: u64,
    pub(super) longest_back_ns: u64,
    last_ns: u64,
}

/// Packets between two addresses, in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenPair {
    pub(super) ends: Ends,
    pub(super) packets: u64,
    pub(super) extent: Extent,
}

/// The sightings of one packet.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    /// Which of the vantage point's pairs it is of.
    pub(super) pair: Option<u32>,
    /// When it was seen, but for repeats with other marks.
    pub(super) times_ns: SmallVec<[u64; 1]>,
    pub(super) flags: u32,
    last_flags: u32,
    /// There were more.
    pub(super) is_cut: bool,
}

impl VantageSurvey {
    /// Begins with nothing.
    #[must_use]
    pub fn new(name: &str) -> VantageSurvey {
        VantageSurvey {
            name: name.to_owned(),
            packets: 0,
            extent: None,
            pairs: Vec::new(),
            numbers: HashMap::default(),
            pairs_left_out: 0,
            sample: HashMap::default(),
            shift: 0,
            key: HashKey::of_process(),
            more_times: 0,
            dropped: None,
            captured_ns: (None, None),
            steps_back: 0,
            longest_back_ns: 0,
            last_ns: 0,
        }
    }

    /// Takes in the next packet of the capture.
    pub fn see(&mut self, packet: &SurveyedPacket) {
        self.packets += 1;
        let time_ns = packet.time_ns;
        match &mut self.extent {
            Some(extent) => extent.take(time_ns),
            None => self.extent = Some(Extent::new(time_ns)),
        }
        let back_ns = self.last_ns.saturating_sub(time_ns);
        self.steps_back += u64::from(back_ns > BACK_NS);
        self.longest_back_ns = self.longest_back_ns.max(back_ns);
        self.last_ns = time_ns;
        let pair = packet.ends.and_then(|ends| self.pair(ends, time_ns));
        if !self.is_sampled(packet.id, self.shift) {
            return;
        }
        match self.sample.entry(packet.id) {
            Entry::Occupied(place) => {
                let known = place.into_mut();
                let last_ns = known.times_ns.last().copied().unwrap_or(0);
                let is_repeat =
                    marks(packet.flags) != marks(known.last_flags) && time_ns.abs_diff(last_ns) <= REPEAT_NS;
                known.last_flags = packet.flags;
                if is_repeat {
                    return;
                }
                if known.times_ns.len() >= TIMES_MAX || self.more_times >= MORE_TIMES_MAX {
                    known.is_cut = true;
                    return;
                }
                self.more_times += 1;
                known.times_ns.push(time_ns);
            }
            Entry::Vacant(place) => {
                place.insert(Sampled {
                    pair,
                    times_ns: SmallVec::from_buf([time_ns]),
                    flags: packet.flags,
                    last_flags: packet.flags,
                    is_cut: false,
                });
                while self.sample.len() > SAMPLE_MAX {
                    self.thin(self.shift + 1);
                }
            }
        }
    }

    /// Returns when the first and the last packet were seen, by its own clock.
    pub(super) fn time_ns(&self) -> Option<(u64, u64)> {
        self.extent.map(|extent| (extent.first_ns(), extent.last_ns()))
    }

    /// Tells whether its stamps go back as those of a clock that was set; further, and one stamp was wrong.
    pub(super) fn went_back(&self) -> bool {
        self.longest_back_ns > BACK_NS && self.longest_back_ns <= LONELY_NS
    }

    /// Says what the capture tells of itself: how many packets it dropped, and when it began and ended.
    pub fn set_capture(&mut self, dropped: Option<u64>, captured_ns: (Option<u64>, Option<u64>)) {
        self.dropped = dropped;
        self.captured_ns = captured_ns;
    }

    /// Keeps fewer packets: one in two to the power of `shift`.
    pub(super) fn thin(&mut self, shift: u32) {
        let key = self.key;
        self.shift = shift;
        self.sample.retain(|id, _| is_sampled(key, *id, shift));
        self.more_times = self.sample.values().map(|known| known.times_ns.len() - 1).sum();
    }

    fn is_sampled(&self, id: u128, shift: u32) -> bool {
        shift == 0 || is_sampled(self.key, id, shift)
    }

    /// Returns the number of a pair, and counts a packet of it.
    fn pair(&mut self, ends: Ends, time_ns: u64) -> Option<u32> {
        let number = match self.numbers.get(&ends) {
            Some(number) => *number,
            None if self.pairs.len() >= PAIRS_MAX => {
                self.pairs_left_out += 1;
                return None;
            }
            None => {
                let number = self.pairs.len() as u32;
                self.numbers.insert(ends, number);
                self.pairs.push(SeenPair { ends, packets: 0, extent: Extent::new(time_ns) });
                number
            }
        };
        let pair = self.pairs.get_mut(number as usize)?;
        if pair.packets > 0 {
            pair.extent.take(time_ns);
        }
        pair.packets += 1;
        Some(number)
    }
}

fn is_sampled(key: HashKey, id: u128, shift: u32) -> bool {
    let hash = key.hash(id as u64 ^ (id >> 64) as u64);
    hash.checked_shr(64_u32.saturating_sub(shift)).unwrap_or(0) == 0
}

/// What tells two sightings of one sending apart: time to live, direction and interface.
pub(in crate::paths) fn marks(flags: u32) -> u32 {
    flags & 0xffff_0000
}

impl std::fmt::Debug for VantageSurvey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VantageSurvey")
            .field("name", &self.name)
            .field("packets", &self.packets)
            .field("time_ns", &self.time_ns())
            .field("pairs", &self.pairs.len())
            .field("sample", &self.sample.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: u64, time_ns: u64) -> SurveyedPacket {
        SurveyedPacket { id: u128::from(id) * 0x9e37_79b9_7f4a_7c15_f39c_ac39, time_ns, ends: None, flags: 0 }
    }

    #[test]
    fn all_vantage_points_keep_the_same_packets() {
        let (mut one, mut other) = (VantageSurvey::new("one"), VantageSurvey::new("other"));
        for id in 0..SAMPLE_MAX as u64 * 3 {
            one.see(&packet(id, id));
            if id % 3 == 0 {
                other.see(&packet(id, id + 7));
            }
        }
        assert!(one.shift >= 2 && one.sample.len() > SAMPLE_MAX / 8 && one.sample.len() <= SAMPLE_MAX);
        other.thin(one.shift);
        let both = other.sample.keys().filter(|id| one.sample.contains_key(id)).count();
        assert_eq!(both, other.sample.len());
        assert!(both > SAMPLE_MAX / 16);
        assert_eq!(
            (one.packets, one.time_ns()),
            (SAMPLE_MAX as u64 * 3, Some((0, SAMPLE_MAX as u64 * 3 - 1)))
        );
    }

    #[test]
    fn sightings_with_other_marks_are_one_sending() {
        let mut survey = VantageSurvey::new("router");
        survey.see(&SurveyedPacket { flags: 64 << 16, ..packet(1, 10) });
        survey.see(&SurveyedPacket { flags: 63 << 16, ..packet(1, 20) });
        survey.see(&SurveyedPacket { flags: 63 << 16, ..packet(1, 30) });
        let [known] = &survey.sample.values().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(known.times_ns.as_slice(), [10, 30]);
    }

    #[test]
    fn memory_for_packets_that_recur_is_bounded() {
        let mut survey = VantageSurvey::new("one");
        for time_ns in 0..10_000 {
            survey.see(&packet(1, time_ns));
        }
        let known = survey.sample.values().next().unwrap();
        assert_eq!((known.times_ns.len(), known.is_cut), (TIMES_MAX, true));
    }
}
