//! Pairs sightings that come in order of time.

use super::Seen;
use super::paths::{PathReport, SightingsReport};
use crate::event::Symbol;
use crate::hash::BuildContentHasher;
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};

/// Pairs the sightings of packets and keeps the account of each path.
pub(super) struct Pairing {
    horizon_ns: u64,
    vantages: Vec<Symbol>,
    packets: HashMap<u128, Packet, BuildContentHasher>,
    /// When each packet's horizon ends, in order; a packet sent again has a later entry too.
    ends: VecDeque<(u64, u128)>,
    paths: Vec<Path>,
    /// Per flow: where its packets were seen.
    flows: HashMap<Symbol, Seats, BuildContentHasher>,
    unpaired: u64,
}

/// A set of vantage points, a bit each.
type Seats = u64;

/// A packet within its horizon.
struct Packet {
    origin: usize,
    flow: Symbol,
    /// Times at which the origin sent it.
    sent_ns: SmallVec<[u64; 1]>,
    /// How many of these have been dealt with (arrived or lost) at each far end.
    far: SmallVec<[(usize, u32); 1]>,
    end_ns: u64,
}

struct Path {
    from: usize,
    to: usize,
    report: PathReport,
    /// When the latest-sent packet that has arrived was sent.
    newest_sent_ns: u64,
}

impl Pairing {
    pub(super) fn new(horizon_ns: u64) -> Pairing {
        Pairing {
            horizon_ns,
            vantages: Vec::new(),
            packets: HashMap::default(),
            ends: VecDeque::new(),
            paths: Vec::new(),
            flows: HashMap::default(),
            unpaired: 0,
        }
    }

    /// Adds the vantage point whose index is the number of those before it.
    pub(super) fn add_vantage(&mut self, name: Symbol) {
        self.vantages.push(name);
    }

    /// Takes the next sighting; `now_ns` is the time up to which all has been seen.
    pub(super) fn sight(&mut self, vantage: usize, seen: Seen, now_ns: u64) {
        self.expire(now_ns);
        *self.flows.entry(seen.flow).or_default() |= 1 << vantage;
        let end_ns = seen.time_ns.saturating_add(self.horizon_ns);
        let Some(packet) = self.packets.get_mut(&seen.id) else {
            let sent_ns = SmallVec::from_buf([seen.time_ns]);
            let packet = Packet { origin: vantage, flow: seen.flow, sent_ns, far: SmallVec::new(), end_ns };
            self.packets.insert(seen.id, packet);
            self.ends.push_back((end_ns, seen.id));
            return;
        };
        if packet.origin == vantage {
            packet.sent_ns.push(seen.time_ns);
            packet.end_ns = packet.end_ns.max(end_ns);
            self.ends.push_back((end_ns, seen.id));
            return;
        }
        let origin = packet.origin;
        let far = match packet.far.iter().position(|(far, _)| *far == vantage) {
            Some(at) => at,
            None => {
                packet.far.push((vantage, 0));
                packet.far.len() - 1
            }
        };
        let Some((_, dealt)) = packet.far.get_mut(far) else { return };
        let Some(path) = path(&mut self.paths, &self.vantages, origin, vantage) else { return };
        while let Some(sent_ns) = packet.sent_ns.get(*dealt as usize).copied() {
            *dealt += 1;
            // A late sighting may lie before the one it pairs with.
            let delay_ns = seen.time_ns.saturating_sub(sent_ns);
            if delay_ns <= self.horizon_ns {
                path.arrived(sent_ns, delay_ns);
                return;
            }
            path.report.sent += 1;
            path.report.lost += 1;
        }
        path.report.duplicated += 1;
    }

    /// Deals with packets whose horizon has passed.
    fn expire(&mut self, now_ns: u64) {
        while let Some((end_ns, id)) = self.ends.front().copied() {
            if end_ns >= now_ns {
                break;
            }
            self.ends.pop_front();
            if self.packets.get(&id).is_some_and(|packet| packet.end_ns <= end_ns)
                && let Some(packet) = self.packets.remove(&id)
            {
                self.close(&packet);
            }
        }
    }

    /// Deals with all packets: nothing more will arrive.
    pub(super) fn finish(&mut self) {
        self.ends.clear();
        for (_, packet) in std::mem::take(&mut self.packets) {
            self.close(&packet);
        }
    }

    /// Counts what has not arrived as lost.
    fn close(&mut self, packet: &Packet) {
        let here: Seats = 1 << packet.origin;
        let others = if self.vantages.len() == 2 {
            0b11 & !here
        } else {
            self.flows.get(&packet.flow).copied().unwrap_or(0) & !here
        };
        if others == 0 && self.vantages.len() > 2 {
            self.unpaired += packet.sent_ns.len() as u64;
        }
        for to in (0..self.vantages.len()).filter(|to| others >> to & 1 != 0) {
            let dealt =
                packet.far.iter().find(|(far, _)| *far == to).map_or(0, |(_, dealt)| u64::from(*dealt));
            let missing = packet.sent_ns.len() as u64 - dealt;
            if missing > 0
                && let Some(path) = path(&mut self.paths, &self.vantages, packet.origin, to)
            {
                path.report.sent += missing;
                path.report.lost += missing;
            }
        }
    }

    pub(super) fn report(&self) -> SightingsReport {
        let on_their_way = |packet: &Packet| {
            let dealt = packet.far.iter().map(|(_, dealt)| *dealt as usize).max().unwrap_or(0);
            (packet.sent_ns.len() - dealt) as u64
        };
        SightingsReport {
            paths: self.paths.iter().map(|path| path.report.clone()).collect(),
            flows: self.flows.len() as u64,
            pending: self.packets.values().map(on_their_way).sum(),
            unpaired: self.unpaired,
            ..SightingsReport::default()
        }
    }
}

impl Path {
    fn arrived(&mut self, sent_ns: u64, delay_ns: u64) {
        self.report.arrived(delay_ns);
        if sent_ns < self.newest_sent_ns {
            self.report.reordered += 1;
        }
        self.newest_sent_ns = self.newest_sent_ns.max(sent_ns);
    }
}

/// Finds the path, or adds it.
fn path<'a>(paths: &'a mut Vec<Path>, names: &[Symbol], from: usize, to: usize) -> Option<&'a mut Path> {
    let at = match paths.iter().position(|path| (path.from, path.to) == (from, to)) {
        Some(at) => at,
        None => {
            let report = PathReport::new(*names.get(from)?, *names.get(to)?)?;
            paths.push(Path { from, to, report, newest_sent_ns: 0 });
            paths.len() - 1
        }
    };
    paths.get_mut(at)
}
