//! Pairs sightings that come in order of time.
//!
//! All sightings of a packet are held until its horizon has passed, and are then looked at together: by the route of its flow, what
//! one vantage point saw is the sending of what the next one saw.

use super::align::{Paired, align};
use super::flows::{Flow, Flows};
use super::group::{Group, Sighting, VantageSet};
use super::overdue::{Overdue, Sending, Slow};
use super::path::{Absence, Paths};
use super::report::{ClockReport, SightingsReport};
use super::route::{Route, Routes};
use super::scope::LossScope;
use super::seen::Seen;
use crate::event::Symbol;
use crate::hash::Keyed;
use smallvec::SmallVec;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Sightings of one packet that are held at most; one more closes those before.
const OF_ONE_MAX: usize = 1 << 16;

/// Pairs the sightings of packets and keeps the account of each path.
pub(super) struct Pairing {
    horizon_ns: u64,
    groups: HashMap<u128, Group, Keyed>,
    /// When each packet was sent, in order.
    queue: VecDeque<(u64, u128)>,
    overdue: Overdue,
    account: PairingAccount,
}

/// What has become of packets.
struct PairingAccount {
    horizon_ns: u64,
    scope: LossScope,
    paths: Paths,
    routes: Routes,
    flows: Flows,
    /// By vantage point: sightings that are one with another, and packets that passed unseen.
    repeats: Vec<u64>,
    missed: Vec<u64>,
    unpaired: u64,
    ambiguous: u64,
    /// Sightings so far.
    sightings: u64,
}

impl Pairing {
    pub(super) fn new(horizon_ns: u64, scope: LossScope) -> Pairing {
        Pairing {
            horizon_ns,
            groups: HashMap::default(),
            queue: VecDeque::new(),
            overdue: Overdue::default(),
            account: PairingAccount {
                horizon_ns,
                scope,
                paths: Paths::default(),
                routes: Routes::default(),
                flows: Flows::default(),
                repeats: Vec::new(),
                missed: Vec::new(),
                unpaired: 0,
                ambiguous: 0,
                sightings: 0,
            },
        }
    }

    /// Adds the vantage point whose index is the number of those before it.
    pub(super) fn add_vantage(&mut self, name: Symbol) {
        self.account.paths.add_vantage(name);
        self.account.repeats.push(0);
        self.account.missed.push(0);
    }

    /// Returns the time of a sighting by the common clock; `near_ns` is that of the sighting before at the same vantage point.
    pub(super) fn to_common(&self, vantage: usize, time_ns: u64, near_ns: u64) -> u64 {
        self.account.scope.to_common(vantage, time_ns, near_ns)
    }

    /// Returns what is known of a vantage point: how many packets its capture dropped, and of its clock.
    pub(super) fn known_of(&self, name: Symbol) -> (Option<u64>, Option<ClockReport>) {
        let survey = self.account.scope.survey();
        survey.map_or((None, None), |survey| (survey.dropped_at(name), survey.clock_report(name)))
    }

    /// Takes the next sighting; `now_ns` is the time up to which all has been seen. A sighting from before the
    /// horizon is left out: what it belongs to is closed. `begin` tells what is known of a flow that is new.
    pub(super) fn sight(
        &mut self,
        vantage: u8,
        seen: Seen,
        now_ns: u64,
        name: impl FnOnce(Symbol) -> Option<std::sync::Arc<str>>,
    ) {
        let horizon_from_ns = now_ns.saturating_sub(self.horizon_ns);
        self.close(horizon_from_ns);
        self.overdue.forget(now_ns, self.horizon_ns);
        if seen.time_ns < horizon_from_ns {
            return;
        }
        let account = &mut self.account;
        let begin = || account.scope.begin(name(seen.flow).as_deref(), &mut account.routes);
        account.flows.saw(seen.flow, vantage, begin);
        account.sightings += 1;
        let sighting = Sighting {
            time_ns: seen.time_ns,
            marks: seen.flags,
            vantage,
            number: account.sightings,
            arrived: [false; 2],
            doubted: [false; 2],
        };
        match self.groups.entry(seen.id) {
            Entry::Vacant(place) => {
                if let Some(slow) = self.overdue.sight(seen.id, vantage, seen.time_ns) {
                    return self.account.slow(slow, vantage);
                }
                place.insert(Group::new(seen.flow, sighting));
                self.queue.push_back((seen.time_ns, seen.id));
            }
            Entry::Occupied(place) => {
                let group = place.into_mut();
                if group.seen >> vantage & 1 == 0 {
                    return group.add(sighting);
                }
                if account.scope.is_repeat(group, &sighting) {
                    account.repeats.get_mut(usize::from(vantage)).into_iter().for_each(|count| *count += 1);
                    return;
                }
                group.add(sighting);
                group.queued += 1;
                self.queue.push_back((seen.time_ns, seen.id));
                if group.sightings().len() >= OF_ONE_MAX {
                    self.account.resolve(group, seen.time_ns, |_| {});
                    group.forget(seen.time_ns);
                }
            }
        }
    }

    /// Deals with all packets: nothing more will arrive.
    pub(super) fn finish(&mut self) {
        while let Some((_, id)) = self.queue.pop_front() {
            if let Some(mut group) = self.groups.remove(&id) {
                self.account.resolve(&mut group, u64::MAX, |_| {});
            }
        }
        self.account.paths.iter_mut().for_each(|path| path.settle(u64::MAX));
    }

    /// Deals with packets sent before `before_ns`: their horizon has passed.
    fn close(&mut self, before_ns: u64) {
        let mut closed = false;
        while let Some((_, id)) = self.queue.front().copied().filter(|(sent_ns, _)| *sent_ns < before_ns) {
            self.queue.pop_front();
            closed = true;
            let Entry::Occupied(mut place) = self.groups.entry(id) else { continue };
            let group = place.get_mut();
            if !group.expire() {
                continue;
            }
            // Nothing else stands in the queue: what is left are arrivals.
            let before_ns = if group.queued == 0 { u64::MAX } else { before_ns };
            let overdue = &mut self.overdue;
            self.account.resolve(group, before_ns, |sending| overdue.add(id, sending));
            group.forget(before_ns);
            if before_ns == u64::MAX || group.is_over() {
                place.remove();
            }
        }
        if closed {
            // Of packets that were sent again, what they did between other vantage points is told later.
            let settled_ns = before_ns.saturating_sub(self.horizon_ns);
            self.account.paths.iter_mut().for_each(|path| path.settle(settled_ns));
        }
    }

    /// Returns what was found, and by vantage point how many sightings were repeats and how many packets passed unseen.
    pub(super) fn report(&self) -> (SightingsReport, Vec<(u64, u64)>) {
        let account = &self.account;
        let groups = || self.groups.values();
        let dropped = account.dropped();
        let paths = account.paths.iter().map(|path| {
            let dropped = dropped.get(usize::from(path.to)).copied().unwrap_or(0);
            account.scope.describe(path.from, path.to, path.report(dropped))
        });
        let report = SightingsReport {
            paths: paths.collect(),
            flows: account.flows.count(),
            flows_forgotten: account.flows.forgotten(),
            pending: groups().map(|group| account.pending(group)).sum(),
            remembered: groups().map(|group| group.sightings().len() as u64).sum::<u64>()
                + self.overdue.held() as u64,
            unpaired: account.unpaired,
            ambiguous: account.ambiguous,
            horizon_ns: account.horizon_ns,
            ..account.scope.report()
        };
        (report, account.repeats.iter().copied().zip(account.missed.iter().copied()).collect())
    }
}

/// Where a packet goes, and how its absence at each vantage point is to be taken.
struct Way {
    route: Route,
    flow: Flow,
}

impl PairingAccount {
    /// Deals with what of a packet was sent before that time.
    fn resolve(&mut self, group: &mut Group, before_ns: u64, mut overdue: impl FnMut(Sending)) {
        let way = self.way(group);
        if group.is_plain() {
            self.resolve_plain(group, &way, before_ns, &mut overdue);
        } else {
            self.resolve_several(group, &way, before_ns, &mut overdue);
        }
    }

    /// Says which way a packet goes.
    fn way(&mut self, group: &Group) -> Way {
        let flow = self.flows.get(group.flow);
        if let Some(route) = flow.route.and_then(|route| self.routes.get(route))
            && group.seen & !route.set() == 0
            && (flow.is_surveyed || is_in_order(group, route))
        {
            return Way { route: route.clone(), flow };
        }
        // By the times at which it was seen; the others that it has to pass come behind.
        let mut order: SmallVec<[u8; 8]> = SmallVec::from_slice(group.order());
        let seen = group.seen;
        let all = VantageSet::MAX.checked_shr(64 - self.paths.vantages() as u32).unwrap_or(0);
        let expected = if self.paths.vantages() == 2 { all } else { flow.seen } & flow.scope & !seen;
        let is_whole = expected == 0;
        order.extend((0..64).filter(|vantage| expected >> vantage & 1 != 0));
        let route = Route::chain(order);
        if is_whole && route.len() > 2 && !flow.is_surveyed {
            let number = self.routes.number(route.clone());
            number.into_iter().for_each(|number| self.flows.set_route(group.flow, number));
        }
        Way { route, flow }
    }

    /// As [`PairingAccount::resolve`], of a packet that was seen once at each vantage point.
    fn resolve_plain(&mut self, group: &Group, way: &Way, before_ns: u64, overdue: &mut impl FnMut(Sending)) {
        let seen = group.seen_now();
        let Some(origin) = way.route.first_of(seen) else { return };
        let origin_ns = group.time_at(origin).unwrap_or(0);
        if origin_ns >= before_ns {
            return;
        }
        if way.route.len() == 1 {
            let unpaired = self.count_unpaired(&way.flow);
            if unpaired || self.paths.vantages() > 1 {
                overdue(Sending { sent_ns: origin_ns, seen, missed: SmallVec::new(), unpaired, origin });
            }
            return;
        }
        let mut missed = SmallVec::new();
        for is_end in [false, true] {
            let mut one = |from: u8, to: u8| {
                let (sent_ns, arrival) = (group.time_at(from), group.at(to));
                match (sent_ns, arrival) {
                    (Some(sent_ns), Some(arrival)) => {
                        let Some(path) = self.path(from, to, is_end) else { return };
                        path.arrived(sent_ns, arrival.time_ns, arrival.number, false);
                    }
                    (Some(sent_ns), None) => {
                        let passed = way.route.behind(to) & seen != 0;
                        missed.extend(self.miss(from, to, is_end, sent_ns, passed));
                    }
                    (None, Some(arrival)) => {
                        self.appear(from, to, is_end, arrival.time_ns, seen, &way.route);
                    }
                    (None, None) => {}
                }
            };
            if is_end {
                way.route.ends().for_each(|(from, to)| one(from, to));
            } else {
                way.route.hops().for_each(|(from, to)| one(from, to));
            }
        }
        // Where routes are not known, it may be on its way to others.
        let may_go_on = !way.flow.is_surveyed && way.route.len() < self.paths.vantages();
        if !missed.is_empty() || may_go_on {
            overdue(Sending { sent_ns: origin_ns, seen, missed, unpaired: false, origin });
        }
    }

    /// As [`PairingAccount::resolve`], of a packet that was seen several times at one vantage point.
    fn resolve_several(
        &mut self,
        group: &mut Group,
        way: &Way,
        before_ns: u64,
        overdue: &mut impl FnMut(Sending),
    ) {
        let seen = group.seen;
        let Some(origin) = way.route.first_of(seen) else { return };
        let mut sendings: SmallVec<[Sending; 4]> = SmallVec::new();
        let (sent, _) = group.times_at(origin, |sighting| sighting.time_ns < before_ns);
        for sent_ns in &sent {
            let unpaired = way.route.len() == 1 && self.count_unpaired(&way.flow);
            let missed = SmallVec::new();
            sendings.push(Sending { sent_ns: *sent_ns, seen: 1 << origin, missed, unpaired, origin });
        }
        let hops = way.route.hops().map(|hop| (hop, false));
        for ((from, to), is_end) in hops.chain(way.route.ends().map(|end| (end, true))) {
            let arrivals = |sighting: &Sighting| !sighting.arrived[usize::from(is_end)];
            let (sent, _) = group.times_at(from, |_| true);
            let (arrived, places) = group.times_at(to, arrivals);
            let horizon_ns = self.horizon_ns;
            let Some(path) = self.path(from, to, is_end) else { continue };
            let expected = path.expected(horizon_ns);
            let (mut met, mut absent) = (
                SmallVec::<[(usize, usize, bool); 8]>::new(),
                SmallVec::<[(usize, Option<usize>); 8]>::new(),
            );
            align(&sent, &arrived, before_ns, expected, |paired| match paired {
                Paired::Arrived { sent, arrived, is_ambiguous } => met.push((sent, arrived, is_ambiguous)),
                Paired::Missing { sent, instead } => absent.push((sent, instead)),
            });
            for (of, instead) in absent {
                let Some(sent_ns) = sent.get(of) else { continue };
                if let Some(place) = instead.and_then(|at| places.get(at)) {
                    group.set_doubted(*place, is_end);
                }
                let missed = self.miss(from, to, is_end, *sent_ns, false);
                if from == origin
                    && let Some(sending) = sendings.get_mut(of)
                {
                    sending.missed.extend(missed);
                }
            }
            for (of, at, is_ambiguous) in met {
                let (Some(sent_ns), Some(arrived_ns)) = (sent.get(of), arrived.get(at)) else { continue };
                let place = places.get(at).copied().unwrap_or(u32::MAX);
                let (number, is_doubted) = group.set_arrived(place, is_end);
                let is_ambiguous = is_ambiguous || is_doubted;
                self.ambiguous += u64::from(is_ambiguous);
                let Some(path) = self.path(from, to, is_end) else { continue };
                path.arrived(*sent_ns, *arrived_ns, number, is_ambiguous);
                if from == origin
                    && let Some(sending) = sendings.get_mut(of)
                {
                    sending.seen |= 1 << to;
                }
            }
            // What is left came once more, or was never seen to be sent.
            let (left, _) = group.times_at(to, |sighting| {
                sighting.time_ns < before_ns && !sighting.arrived[usize::from(is_end)]
            });
            for arrived_ns in left {
                if seen >> from & 1 != 0 {
                    let Some(path) = self.path(from, to, is_end) else { continue };
                    path.report.duplicated += 1;
                } else {
                    self.appear(from, to, is_end, arrived_ns, seen, &way.route);
                }
            }
        }
        let all = way.route.set();
        sendings.into_iter().filter(|sending| all & !sending.seen != 0 || sending.unpaired).for_each(overdue);
    }

    /// Counts a packet as unpaired where its flow was seen at one vantage point of several.
    fn count_unpaired(&mut self, flow: &Flow) -> bool {
        let is_unpaired = flow.is_surveyed || self.paths.vantages() > 2;
        self.unpaired += u64::from(is_unpaired);
        is_unpaired
    }

    /// Counts a packet that was sent and not seen where it was to arrive. Where it was seen behind that, it has passed.
    fn miss(
        &mut self,
        from: u8,
        to: u8,
        is_end: bool,
        sent_ns: u64,
        passed: bool,
    ) -> Option<(u8, u8, Absence)> {
        if passed {
            if self.scope.looks_at(to, sent_ns) {
                self.missed.get_mut(usize::from(to)).into_iter().for_each(|missed| *missed += 1);
            }
            return None;
        }
        let absence = self.scope.absence(from, to, sent_ns);
        self.path(from, to, is_end)?.missed(absence);
        Some((from, to, absence))
    }

    /// Counts a packet that arrived and was not seen to be sent.
    fn appear(&mut self, from: u8, to: u8, is_end: bool, arrived_ns: u64, seen: VantageSet, route: &Route) {
        // Where it was seen before, it has passed: that is counted there.
        if route.first_of(seen) != Some(to) {
            return;
        }
        let looked = self.scope.saw_sending(from, to, arrived_ns);
        let Some(path) = self.path(from, to, is_end) else { return };
        if looked {
            path.report.unseen += 1;
            if !is_end {
                self.missed.get_mut(usize::from(from)).into_iter().for_each(|missed| *missed += 1);
            }
        } else {
            path.report.outside += 1;
        }
    }

    /// Counts a packet that has arrived beyond its horizon.
    fn slow(&mut self, slow: Slow, to: u8) {
        match slow {
            Slow::Copy { origin } => {
                if let Some(path) = self.path(origin, to, false) {
                    path.report.duplicated += 1;
                }
            }
            Slow::First { origin, missed, unpaired } => {
                self.unpaired -= u64::from(unpaired);
                if missed.is_empty()
                    && let Some(path) = self.path(origin, to, false)
                {
                    path.report.sent += 1;
                    path.report.beyond_horizon += 1;
                }
                for (from, to, absence) in missed {
                    if let Some(path) = self.path(from, to, false) {
                        path.was_slow(absence);
                    }
                }
            }
        }
    }

    fn path(&mut self, from: u8, to: u8, is_end: bool) -> Option<&mut super::path::Path> {
        let likely_ns = self.scope.likely_ns(from, to);
        let path = self.paths.of(from, to)?;
        path.report.end_to_end |= is_end;
        if let (None, Some((likely_ns, early_ns))) = (path.likely_ns, likely_ns) {
            (path.likely_ns, path.early_ns) = (Some(likely_ns), early_ns);
        }
        Some(path)
    }

    /// By vantage point: how many packets that are missed there its capture may itself have dropped.
    fn dropped(&self) -> Vec<u64> {
        let missed = self.missed.iter().zip(0..);
        missed.map(|(missed, at)| self.scope.dropped(at).saturating_sub(*missed)).collect()
    }

    /// Returns how many sendings of a packet may still arrive.
    fn pending(&self, group: &Group) -> u64 {
        let Some(first) = group.sightings().first() else { return 0 };
        let at = |vantage: u8| group.sightings().iter().filter(|one| one.vantage == vantage).count() as u64;
        let most = (0..self.paths.vantages() as u8).filter(|vantage| *vantage != first.vantage).map(at).max();
        at(first.vantage).saturating_sub(most.unwrap_or(0))
    }
}

/// Tells whether a packet was seen along a route in that order.
fn is_in_order(group: &Group, route: &Route) -> bool {
    let mut last_ns = 0;
    route.vantages().filter_map(|vantage| group.time_at(vantage)).all(|time_ns| {
        let is_later = time_ns >= last_ns;
        last_ns = time_ns;
        is_later
    })
}
