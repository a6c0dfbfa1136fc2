//! What is known of vantage points before their packets are paired: by reading captures once beforehand.
//!
//! A [`VantageSurvey`] looks at all packets of a capture, and keeps a sample of them. From those of all captures a [`Survey`] concludes
//! - which way the packets between two addresses go past the vantage points, and in which order these stand along it;
//! - what the packets prove about the clocks;
//! - for how long packets are on their way, and so for how long one is waited for;
//! - from when to when each vantage point looked, and at which addresses;
//! - which vantage points show each packet several times.
//!
//! [`Sightings`](super::Sightings) that are given it ([`SightingsOptions::survey`](super::SightingsOptions::survey)) pair by that. Without,
//! all vantage points are taken to have looked all the time, with one clock, and a packet to come from where it was seen first.

mod clocks;
mod delays;
mod directions;
mod matches;
mod options;
mod repeats;
mod routes;
mod shown;
mod telling;
mod vantage;
mod windows;

pub use options::SurveyOptions;
pub(super) use repeats::Repeats;
pub(super) use vantage::{REPEAT_NS, marks};
pub use vantage::{SurveyedPacket, VantageSurvey};
pub(super) use windows::{Edge, Window};

use super::clocks::Clocks;
use super::ends::Ends;
use super::finding::Finding;
use super::group::VantageSet;
use super::report::ClockReport;
use super::route::Route;
use crate::event::Symbol;
use crate::hash::Keyed;
use delays::DelaysSeen;
use directions::Direction;
use matches::AllPairs;
use routes::{AllDirections, PairSeen};
use std::collections::{BTreeMap, HashMap};

/// What is known of the vantage points.
#[derive(Debug)]
pub struct Survey {
    names: Vec<String>,
    clocks: Clocks,
    /// Two vantage points whose delays are above the smallest.
    above_minimum: Vec<(u8, u8)>,
    /// Of each vantage point: its clock was set back within the capture, by nobody knows how much.
    unknown_steps: Vec<bool>,
    windows: Vec<Window>,
    dropped: Vec<Option<u64>>,
    repeats: Vec<Repeats>,
    /// By the ends of each path.
    delays: BTreeMap<(u8, u8), DelaysSeen>,
    horizon_ns: Option<u64>,
    ends: HashMap<Ends, PairFacts, Keyed>,
    findings: Vec<Finding>,
    unpaired_pairs: Vec<(String, u64)>,
}

/// What is known of packets in one direction between two addresses.
#[derive(Clone, Debug)]
pub(super) struct PairFacts {
    /// `None` where several hosts may send so, each from another side.
    pub(super) route: Option<Route>,
    /// Where packets between them were seen, either way.
    pub(super) scope: VantageSet,
}

impl Survey {
    /// Concludes from what all vantage points saw; given in the order in which the captures are fed.
    #[must_use]
    pub fn new(mut vantages: Vec<VantageSurvey>, options: &SurveyOptions) -> Survey {
        let shift = vantages.iter().map(|vantage| vantage.shift).max().unwrap_or(0);
        let mut found_repeats = Vec::new();
        for vantage in &mut vantages {
            vantage.thin(shift);
            let repeats = repeats::find(vantage);
            repeats::leave_out(vantage, repeats);
            found_repeats.push(repeats);
        }
        let mut pairs = AllPairs::default();
        let numbers: Vec<Vec<u32>> = vantages
            .iter()
            .map(|vantage| vantage.pairs.iter().map(|pair| pairs.number(pair.ends)).collect())
            .collect();
        let pair_of = |at: usize, pair: u32| numbers.get(at)?.get(pair as usize).copied();
        let common = matches::find(&vantages, pair_of);
        let mut directions: AllDirections =
            common.iter().map(|(two, common)| (*two, directions::find(common, &pairs))).collect();
        let (clocks, above_minimum) = clocks::find(&vantages, &common, &directions, options);
        let to_common = |at: usize, time_ns: u64| {
            clocks.vantages.get(at).map_or(time_ns, |clock| clock.to_common(time_ns))
        };
        let common_ns = |(one, other): (u8, u8)| {
            let to_common = &to_common;
            move |at_ns: u64, other_ns: u64| (to_common(one.into(), at_ns), to_common(other.into(), other_ns))
        };
        for (two, directions) in &mut directions {
            if let Some(common) = common.get(two) {
                directions::find_by_clocks(directions, common, &pairs, common_ns(*two));
            }
        }
        let mut delays = BTreeMap::new();
        for (two, common) in &common {
            let Some(directions) = directions.get(two) else { continue };
            for (direction, seen) in delays::find(common, directions, common_ns(*two)) {
                let (one, other) = *two;
                delays.insert(if direction == Direction::There { (one, other) } else { (other, one) }, seen);
            }
        }
        let mut seen: Vec<PairSeen> = vec![PairSeen::default(); pairs.ends.len()];
        for (at, vantage) in vantages.iter().enumerate() {
            for pair in &vantage.pairs {
                let known = pairs.get(pair.ends).and_then(|number| seen.get_mut(number as usize));
                let times = (
                    pair.packets,
                    to_common(at, pair.extent.first_ns()),
                    to_common(at, pair.extent.last_ns()),
                );
                if let Some(known) = known {
                    known.at.insert(at as u8, times);
                }
            }
        }
        let shares = routes::shares(&vantages, pair_of, to_common);
        let none = BTreeMap::new();
        let mut ends = HashMap::with_capacity_and_hasher(pairs.ends.len(), Keyed::default());
        for (number, (of, known)) in (0_u32..).zip(pairs.ends.iter().zip(&seen)) {
            let back = pairs.reverse(number).and_then(|back| seen.get(back as usize));
            let scope = known.set() | back.map_or(0, PairSeen::set);
            let shares = shares.get(&number).unwrap_or(&none);
            let known = || routes::find(number, *of, scope, &directions, &pairs, shares);
            let route = (!of.is_from_anyone()).then(known);
            ends.insert(*of, PairFacts { route, scope });
        }
        let windows = windows::find(&vantages, options, to_common, |evidence| {
            for (of, known) in pairs.ends.iter().zip(&seen) {
                if let Some(route) = ends.get(of).and_then(|facts| facts.route.as_ref()) {
                    evidence.take(route, known, &delays);
                }
            }
        });
        let has_unknown_step = |(at, vantage)| clocks::has_unknown_step(vantage, clocks.vantages.get(at));
        let unknown_steps = vantages.iter().enumerate().map(has_unknown_step).collect();
        let mut survey = Survey {
            names: vantages.iter().map(|vantage| vantage.name.clone()).collect(),
            clocks,
            above_minimum,
            unknown_steps,
            windows,
            dropped: vantages.iter().map(|vantage| vantage.dropped).collect(),
            repeats: found_repeats,
            delays,
            horizon_ns: options.horizon_ns,
            ends,
            findings: Vec::new(),
            unpaired_pairs: telling::unpaired_pairs(&pairs, &seen, vantages.len()),
        };
        let Survey { repeats, windows, clocks, names, above_minimum, .. } = &survey;
        let mut findings =
            telling::findings(&telling::Known { repeats, windows, clocks }, &vantages, &common);
        findings.extend(clocks::findings(clocks, names, above_minimum));
        survey.findings = findings;
        survey
    }

    /// Returns the names of the vantage points, in the order in which they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns the time of a sighting by the common clock. Where a clock was set back, stamps come twice: `near_ns` is the common time of
    /// the sighting before at the same vantage point.
    #[must_use]
    pub fn to_common(&self, vantage: usize, time_ns: u64, near_ns: u64) -> u64 {
        self.clocks.vantages.get(vantage).map_or(time_ns, |clock| clock.to_common_near(time_ns, near_ns))
    }

    /// Returns for how long a packet may be on its way, in nanoseconds: as was asked for, or else more than any delay that was seen,
    /// and a second at least.
    #[must_use]
    pub fn horizon_ns(&self) -> u64 {
        const LEAST_NS: u64 = 1_000_000_000;
        let longest = || self.delays.values().map(DelaysSeen::wait_ns).max().unwrap_or(0).max(LEAST_NS);
        self.horizon_ns.unwrap_or_else(longest)
    }

    /// Tells whether a vantage point had a packet whose time can be used.
    #[must_use]
    pub fn has_packets(&self, vantage: usize) -> bool {
        self.windows.get(vantage).is_some_and(|window| window.begin_ns <= window.end_ns)
    }

    /// Returns what bears on the results.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// For how long a packet of a path is waited for before it counts as lost.
    pub(super) fn wait_ns(&self, from: u8, to: u8) -> u64 {
        let seen = || self.delays.get(&(from, to)).or_else(|| self.delays.get(&(to, from)));
        self.horizon_ns.unwrap_or_else(|| seen().map_or(self.horizon_ns(), DelaysSeen::wait_ns))
    }

    pub(super) fn delays(&self, from: u8, to: u8) -> Option<&DelaysSeen> {
        self.delays.get(&(from, to))
    }

    pub(super) fn window(&self, vantage: u8) -> Option<&Window> {
        self.windows.get(usize::from(vantage))
    }

    pub(super) fn repeats(&self, vantage: u8) -> Repeats {
        self.repeats.get(usize::from(vantage)).copied().unwrap_or_default()
    }

    pub(super) fn dropped(&self, vantage: u8) -> Option<u64> {
        self.dropped.get(usize::from(vantage)).copied().flatten()
    }

    pub(super) fn dropped_at(&self, vantage: Symbol) -> Option<u64> {
        let at = self.names.iter().position(|name| Symbol::of(name) == vantage)?;
        self.dropped.get(at).copied().flatten()
    }

    pub(super) fn pair(&self, ends: Ends) -> Option<&PairFacts> {
        self.ends.get(&ends)
    }

    pub(super) fn unpaired_pairs(&self) -> &[(String, u64)] {
        &self.unpaired_pairs
    }

    pub(super) fn clock_report(&self, vantage: Symbol) -> Option<ClockReport> {
        let at = self.names.iter().position(|name| Symbol::of(name) == vantage)?;
        let mut report = self.clocks.vantages.get(at).map(clocks::report)?;
        report.uncertainty_ns = report.uncertainty_ns.filter(|_| !self.has_unknown_step(at));
        Some(report)
    }

    fn has_unknown_step(&self, vantage: usize) -> bool {
        self.unknown_steps.get(vantage).copied().unwrap_or(false)
    }

    /// Returns by how much delays of a path may be wrong; `None` where nothing is known of that, as where a clock was set by nobody
    /// knows how much.
    pub(super) fn uncertainty_ns(&self, from: u8, to: u8) -> Option<u64> {
        if [from, to].into_iter().any(|at| self.has_unknown_step(at.into())) {
            return None;
        }
        let (least_ns, largest_ns) = self.clocks.error_bounds(from.into(), to.into());
        Some(least_ns?.unsigned_abs().max(largest_ns?.unsigned_abs()))
    }

    pub(super) fn is_above_minimum(&self, from: u8, to: u8) -> bool {
        self.above_minimum.contains(&(from.min(to), from.max(to)))
    }
}
