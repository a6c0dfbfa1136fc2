//! Pairs sightings that come in order of time.

use super::flows::Flows;
use super::overdue::{Overdue, Sending, Slow};
use super::packet::{Packet, VantageSet};
use super::report::{PathReport, SightingsReport};
use super::seen::Seen;
use crate::event::Symbol;
use crate::hash::Keyed;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Pairs the sightings of packets and keeps the account of each path.
pub(super) struct Pairing {
    horizon_ns: u64,
    packets: HashMap<u128, Packet, Keyed>,
    /// When each sent packet was sent, in order.
    sent: VecDeque<(u64, u128)>,
    overdue: Overdue,
    table: PathTable,
}

/// What has become of packets.
#[derive(Default)]
struct PathTable {
    vantages: Vec<Symbol>,
    paths: Vec<Path>,
    flows: Flows,
    unpaired: u64,
    ambiguous: u64,
}

struct Path {
    from: usize,
    to: usize,
    report: PathReport,
    /// When the latest-sent packet that has arrived was sent.
    newest_sent_ns: u64,
    /// The longest delay of an arrival that could be of one packet only.
    slowest_ns: Option<u64>,
}

impl Pairing {
    pub(super) fn new(horizon_ns: u64) -> Pairing {
        Pairing {
            horizon_ns,
            packets: HashMap::default(),
            sent: VecDeque::new(),
            overdue: Overdue::default(),
            table: PathTable::default(),
        }
    }

    /// Adds the vantage point whose index is the number of those before it.
    pub(super) fn add_vantage(&mut self, name: Symbol) {
        self.table.vantages.push(name);
    }

    /// Takes the next sighting; `now_ns` is the time up to which all has been seen. A sighting from before the
    /// horizon is left out: what it belongs to is closed.
    pub(super) fn sight(&mut self, vantage: usize, seen: Seen, now_ns: u64) {
        let horizon_from_ns = now_ns.saturating_sub(self.horizon_ns);
        self.close(horizon_from_ns);
        self.overdue.forget(now_ns, self.horizon_ns);
        if seen.time_ns < horizon_from_ns {
            return;
        }
        self.table.flows.saw(seen.flow, vantage);
        let packet = match self.packets.entry(seen.id) {
            Entry::Vacant(place) => {
                if let Some(slow) = self.overdue.sight(seen.id, vantage, seen.time_ns) {
                    return self.table.slow(slow, vantage);
                }
                place.insert(Packet::new(vantage, seen.flow, seen.time_ns));
                self.sent.push_back((seen.time_ns, seen.id));
                return;
            }
            Entry::Occupied(place) => place.into_mut(),
        };
        if usize::from(packet.origin) == vantage {
            packet.sent_again(seen.time_ns);
            self.sent.push_back((seen.time_ns, seen.id));
        } else if packet.first_sent_ns().is_none_or(|first_ns| first_ns <= seen.time_ns) {
            self.table.arrive(packet, vantage, seen.time_ns, self.horizon_ns);
        } else {
            let former = usize::from(packet.origin);
            if let Some(arrived_ns) = packet.move_origin(vantage, seen.time_ns)
                && let Some(path) = self.table.path(vantage, former)
            {
                path.arrived(seen.time_ns, arrived_ns - seen.time_ns);
            }
        }
    }

    /// Deals with all packets: nothing more will arrive.
    pub(super) fn finish(&mut self) {
        while let Some((_, id)) = self.sent.pop_front() {
            if let Some(mut packet) = self.packets.remove(&id) {
                self.table.close(&mut packet, u64::MAX, |_| {});
            }
        }
    }

    /// Deals with packets sent before `before_ns`: their horizon has passed.
    fn close(&mut self, before_ns: u64) {
        while let Some((_, id)) = self.sent.front().copied().filter(|(sent_ns, _)| *sent_ns < before_ns) {
            self.sent.pop_front();
            let Entry::Occupied(mut place) = self.packets.entry(id) else { continue };
            let overdue = &mut self.overdue;
            self.table.close(place.get_mut(), before_ns, |sending| overdue.add(id, sending));
            if place.get().is_over() {
                place.remove();
            }
        }
    }

    pub(super) fn report(&self) -> SightingsReport {
        let packets = || self.packets.values();
        SightingsReport {
            paths: self.table.paths.iter().map(|path| path.report.clone()).collect(),
            flows: self.table.flows.count(),
            flows_forgotten: self.table.flows.forgotten(),
            pending: packets().map(|packet| packet.pending() as u64).sum(),
            remembered: packets().map(|packet| packet.held() as u64).sum::<u64>()
                + self.overdue.held() as u64,
            unpaired: self.table.unpaired,
            ambiguous: self.table.ambiguous,
            ..SightingsReport::default()
        }
    }
}

impl PathTable {
    /// Pairs an arrival with the packet under way that was sent first, if it can be that one.
    fn arrive(&mut self, packet: &mut Packet, to: usize, time_ns: u64, horizon_ns: u64) {
        let candidates = packet.under_way(to).partition_point(|sent_ns| *sent_ns <= time_ns);
        let alone = candidates == 1;
        self.ambiguous += u64::from(candidates > 1);
        let Some(path) = self.path(packet.origin.into(), to) else { return };
        for younger in (0..candidates).rev() {
            let Some(sent_ns) = packet.under_way(to).first().copied() else { break };
            let delay_ns = time_ns - sent_ns;
            let too_long = path.slowest_ns.is_some_and(|slowest_ns| delay_ns > slowest_ns.saturating_mul(2));
            packet.deal(to);
            if delay_ns > horizon_ns || (younger > 0 && too_long) {
                path.lost(1);
                continue;
            }
            if alone {
                path.slowest_ns = path.slowest_ns.max(Some(delay_ns));
            }
            path.arrived(sent_ns, delay_ns);
            return;
        }
        path.report.duplicated += 1;
    }

    /// Counts as lost what was sent before a time and has not arrived, and tells of what some vantage point has not seen.
    fn close(&mut self, packet: &mut Packet, before_ns: u64, mut overdue: impl FnMut(Sending)) {
        let origin = usize::from(packet.origin);
        let here: VantageSet = 1 << origin;
        let vantages = self.vantages.len();
        let others = if vantages == 2 { 0b11 & !here } else { self.flows.seen(packet.flow) & !here };
        let unpaired = others == 0 && vantages > 2;
        let elsewhere = VantageSet::MAX.checked_shr(64 - vantages as u32).unwrap_or(0) & !here;
        packet.close(before_ns, elsewhere, |sent_ns, unseen| {
            let lost = unseen & others;
            let mut left = lost;
            while left != 0 {
                if let Some(path) = self.path(origin, left.trailing_zeros() as usize) {
                    path.lost(1);
                }
                left &= left - 1;
            }
            self.unpaired += u64::from(unpaired);
            if unseen != 0 {
                let seen = here | elsewhere & !unseen;
                overdue(Sending { sent_ns, origin: origin as u8, lost, seen, unpaired });
            }
        });
    }

    /// Counts a packet that has arrived beyond its horizon.
    fn slow(&mut self, slow: Slow, to: usize) {
        let (Slow::First { origin, .. } | Slow::Copy { origin }) = slow;
        let Some(path) = self.path(usize::from(origin), to) else { return };
        match slow {
            Slow::Copy { .. } => path.report.duplicated += 1,
            Slow::First { lost, unpaired, .. } => {
                path.report.beyond_horizon += 1;
                if lost {
                    path.report.lost -= 1;
                } else {
                    path.report.sent += 1;
                }
                self.unpaired -= u64::from(unpaired);
            }
        }
    }

    /// Finds the path, or adds it.
    fn path(&mut self, from: usize, to: usize) -> Option<&mut Path> {
        let at = match self.paths.iter().position(|path| (path.from, path.to) == (from, to)) {
            Some(at) => at,
            None => {
                let report = PathReport::new(*self.vantages.get(from)?, *self.vantages.get(to)?)?;
                self.paths.push(Path { from, to, report, newest_sent_ns: 0, slowest_ns: None });
                self.paths.len() - 1
            }
        };
        self.paths.get_mut(at)
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

    fn lost(&mut self, packets: u64) {
        self.report.sent += packets;
        self.report.lost += packets;
    }
}
