//! Vantage points that show each packet several times: mirror ports, bonded interfaces, captures on all interfaces.

use super::vantage::VantageSurvey;

/// How many sightings of one sending are looked for.
const MOST: usize = 4;
/// Packets of the sample that there have to be.
const PACKETS_MIN: usize = 10;
/// Sightings of one sending are no further apart.
const APART_NS_MAX: u64 = 10_000_000;

/// How a vantage point repeats packets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::paths) struct Repeats {
    /// So many sightings follow each first one.
    pub(in crate::paths) more: u8,
    /// They follow within this time.
    pub(in crate::paths) within_ns: u64,
}

/// Finds whether nearly all packets were seen several times there, in the same way. What a network duplicates is less regular.
pub(super) fn find(vantage: &VantageSurvey) -> Repeats {
    let sample = &vantage.sample;
    if sample.len() < PACKETS_MIN {
        return Repeats::default();
    }
    for times in (2..=MOST).rev() {
        let (mut regular, mut within_ns) = (0, 0);
        for known in sample.values() {
            let whole = known.times_ns.chunks_exact(times);
            let spans = || {
                known
                    .times_ns
                    .chunks_exact(times)
                    .filter_map(|of_one| Some(of_one.last()?.saturating_sub(*of_one.first()?)))
            };
            let is_regular = known.times_ns.len() >= times
                && whole.remainder().is_empty()
                && spans().all(|span_ns| span_ns <= APART_NS_MAX);
            if is_regular || known.is_cut {
                regular += 1;
                within_ns = within_ns.max(spans().max().unwrap_or(0));
            }
        }
        if regular * 10 >= sample.len() * 9 {
            // Up to 3.
            return Repeats { more: (times - 1) as u8, within_ns: within_ns.saturating_mul(2) };
        }
    }
    Repeats::default()
}

/// Leaves of the sightings of each sending the first one.
pub(super) fn leave_out(vantage: &mut VantageSurvey, repeats: Repeats) {
    if repeats.more == 0 {
        return;
    }
    for known in vantage.sample.values_mut() {
        let mut kept: smallvec::SmallVec<[u64; 1]> = smallvec::SmallVec::new();
        let mut left = 0;
        for time_ns in &known.times_ns {
            let is_repeat = left > 0
                && kept.last().is_some_and(|first_ns| time_ns.abs_diff(*first_ns) <= repeats.within_ns);
            if is_repeat {
                left -= 1;
            } else {
                kept.push(*time_ns);
                left = repeats.more;
            }
        }
        known.times_ns = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::survey::vantage::SurveyedPacket;

    fn survey(times: impl Fn(u64) -> Vec<u64>) -> VantageSurvey {
        let mut survey = VantageSurvey::new("tap");
        for id in 0..100 {
            for time_ns in times(id) {
                let id = u128::from(id) + 1;
                survey.see(&SurveyedPacket { id, time_ns, ends: None, flags: 0 });
            }
        }
        survey
    }

    #[test]
    fn a_mirror_port_is_found_and_a_network_that_duplicates_is_not() {
        let at = |id: u64| id * 1_000_000;
        let mut mirror = survey(|id| vec![at(id), at(id) + 8_000]);
        let found = find(&mirror);
        assert_eq!(found, Repeats { more: 1, within_ns: 16_000 });
        leave_out(&mut mirror, found);
        assert!(mirror.sample.values().all(|known| known.times_ns.len() == 1));
        let network = survey(|id| if id % 10 < 8 { vec![at(id), at(id) + 12_000] } else { vec![at(id)] });
        assert_eq!(find(&network), Repeats::default());
        // What is sent again much later is no repeat.
        let again = survey(|id| vec![at(id), at(id) + 2_000_000_000]);
        assert_eq!(find(&again), Repeats::default());
        let three = survey(|id| vec![at(id), at(id) + 1, at(id) + 2]);
        assert_eq!(find(&three).more, 2);
    }
}
