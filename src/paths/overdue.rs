//! Packets whose horizon has passed and that some vantage point has not seen, for a while longer: one that is seen there
//! after all was slow, and was not sent from there.

use super::group::VantageSet;
use super::path::Absence;
use crate::hash::Keyed;
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};

/// Horizons after its sending for which a packet is remembered.
const HORIZONS: u64 = 5;
/// Sendings that are remembered; the oldest give way.
const SENDINGS_MAX: usize = 1 << 20;
/// Sendings of one packet that are told apart: each sighting looks at all of them.
const OF_ONE_MAX: usize = 256;

/// What is remembered of packets beyond their horizon.
#[derive(Default)]
pub(super) struct Overdue {
    packets: HashMap<u128, Sendings, Keyed>,
    /// When each was sent, in the order in which they were closed.
    sent: VecDeque<(u64, u128)>,
}

/// The last sendings of one packet, in the order in which they were closed, and how many of those before are only to be forgotten.
#[derive(Default)]
struct Sendings {
    last: SmallVec<[Sending; 1]>,
    left_out: u32,
}

/// One sending of a packet.
#[derive(Clone)]
pub(super) struct Sending {
    /// When its first vantage point saw it.
    pub(super) sent_ns: u64,
    /// Where it was seen.
    pub(super) seen: VantageSet,
    /// The paths on which it was missed, by their ends, and as what it counts there.
    pub(super) missed: SmallVec<[(u8, u8, Absence); 1]>,
    /// It counts as unpaired.
    pub(super) unpaired: bool,
    /// Where it was first seen.
    pub(super) origin: u8,
}

/// What a sighting of such a packet is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Slow {
    /// The first one there.
    First {
        /// Where it was sent.
        origin: u8,
        /// The paths on which it was missed, and as what it counts there; none where it counts nowhere.
        missed: SmallVec<[(u8, u8, Absence); 1]>,
        /// It counts as unpaired.
        unpaired: bool,
    },
    /// One more.
    Copy {
        /// Where it was sent.
        origin: u8,
    },
}

impl Overdue {
    pub(super) fn add(&mut self, id: u128, sending: Sending) {
        while self.sent.len() >= SENDINGS_MAX {
            self.forget_first();
        }
        let sendings = self.packets.entry(id).or_default();
        if sendings.last.len() == OF_ONE_MAX {
            sendings.last.remove(0);
            sendings.left_out += 1;
        }
        self.sent.push_back((sending.sent_ns, id));
        sendings.last.push(sending);
    }

    /// Takes a sighting; `None` where it is not one of these packets, or is their sending once more.
    pub(super) fn sight(&mut self, id: u128, vantage: u8, time_ns: u64) -> Option<Slow> {
        let bit: VantageSet = 1 << vantage;
        let sendings = &mut self.packets.get_mut(&id)?.last;
        let fits = |sending: &&mut Sending| sending.origin != vantage && sending.sent_ns <= time_ns;
        let unseen = |sending: &&mut Sending| fits(sending) && sending.seen & bit == 0;
        // First those that count as missed there.
        let is_missed = |sending: &Sending| {
            sending.sent_ns <= time_ns && sending.missed.iter().any(|(_, to, _)| *to == vantage)
        };
        let any_missed = sendings.iter().any(is_missed);
        let found =
            sendings.iter_mut().find(|sending| unseen(sending) && (!any_missed || is_missed(sending)));
        if let Some(sending) = found {
            let mut missed = SmallVec::new();
            sending.missed.retain(|one| {
                let is_here = one.1 == vantage;
                if is_here {
                    missed.push(*one);
                }
                !is_here
            });
            sending.seen |= bit;
            let unpaired = std::mem::take(&mut sending.unpaired);
            return Some(Slow::First { origin: sending.origin, missed, unpaired });
        }
        sendings.iter_mut().rfind(fits).map(|sending| Slow::Copy { origin: sending.origin })
    }

    /// Forgets what was sent too long before `now_ns`.
    pub(super) fn forget(&mut self, now_ns: u64, horizon_ns: u64) {
        let before_ns = now_ns.saturating_sub(horizon_ns.saturating_mul(HORIZONS));
        while self.sent.front().is_some_and(|(sent_ns, _)| *sent_ns < before_ns) {
            self.forget_first();
        }
    }

    /// Returns how many sendings are held.
    pub(super) fn held(&self) -> usize {
        self.sent.len()
    }

    fn forget_first(&mut self) {
        let Some((_, id)) = self.sent.pop_front() else { return };
        let Some(sendings) = self.packets.get_mut(&id) else { return };
        // Those of one packet were closed in the order in which they stand here.
        if sendings.left_out > 0 {
            sendings.left_out -= 1;
        } else if sendings.last.len() > 1 {
            sendings.last.remove(0);
        } else {
            self.packets.remove(&id);
        }
    }
}
