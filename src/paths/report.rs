//! What is known of a path.

use crate::event::{Held, Symbol};
use crate::observe::Report;
use crate::observe::metrics::SIGNIFICANT_DIGITS;
use hdrhistogram::Histogram;
use std::sync::Arc;

/// What happened to packets on the way from one vantage point to another.
#[derive(Clone, Debug)]
pub struct PathReport {
    /// Where the packets were first seen.
    pub from: Symbol,
    /// Where they were to arrive.
    pub to: Symbol,
    /// Packets sent: arrived, lost or beyond the horizon. A packet that is still on its way is in none of these.
    pub sent: u64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// Packets that arrived later than the horizon allows: within five times that, and their delays are in no figure.
    /// Before they arrived they counted as lost.
    pub beyond_horizon: u64,
    /// Copies that arrived beyond the first.
    pub duplicated: u64,
    /// First copies that arrived after a packet that was sent later (RFC 4737).
    pub reordered: u64,
    /// One-way delays of first copies in nanoseconds, to three significant digits.
    pub delay_ns: Histogram<u64>,
    /// The smallest delay, exact; `None` when nothing arrived.
    pub delay_ns_min: Option<u64>,
    /// The largest delay, exact.
    pub delay_ns_max: Option<u64>,
    /// Sum of the delays, exact.
    pub delay_ns_sum: u128,
    /// Delays that the histogram could not hold; they are in the exact figures only.
    pub clamped: u64,
}

impl PathReport {
    pub(super) fn new(from: Symbol, to: Symbol) -> Option<PathReport> {
        // 0 to 5 are the digits that a histogram can keep.
        let delay_ns = Histogram::new(SIGNIFICANT_DIGITS).ok()?;
        Some(PathReport {
            from,
            to,
            sent: 0,
            lost: 0,
            beyond_horizon: 0,
            duplicated: 0,
            reordered: 0,
            delay_ns,
            delay_ns_min: None,
            delay_ns_max: None,
            delay_ns_sum: 0,
            clamped: 0,
        })
    }

    pub(super) fn arrived(&mut self, delay_ns: u64) {
        self.sent += 1;
        self.delay_ns_sum += u128::from(delay_ns);
        self.delay_ns_min = Some(self.delay_ns_min.map_or(delay_ns, |min| min.min(delay_ns)));
        self.delay_ns_max = self.delay_ns_max.max(Some(delay_ns));
        self.clamped += u64::from(self.delay_ns.record(delay_ns).is_err());
    }

    /// Returns how many packets arrived within the horizon.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.sent - self.lost - self.beyond_horizon
    }

    /// Returns the mean delay in nanoseconds; `None` when nothing arrived.
    #[must_use]
    pub fn delay_ns_mean(&self) -> Option<f64> {
        let arrivals = self.arrivals();
        (arrivals > 0).then(|| self.delay_ns_sum as f64 / arrivals as f64)
    }

    fn add(&mut self, other: &PathReport) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.beyond_horizon += other.beyond_horizon;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.delay_ns_sum += other.delay_ns_sum;
        self.delay_ns_min = [self.delay_ns_min, other.delay_ns_min].into_iter().flatten().min();
        self.delay_ns_max = self.delay_ns_max.max(other.delay_ns_max);
        self.clamped += other.clamped;
        if self.delay_ns.add(&other.delay_ns).is_err() {
            self.clamped += other.delay_ns.len();
        }
    }
}

/// What was heard of a vantage point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VantageReport {
    /// Its name.
    pub name: Symbol,
    /// Sightings taken there.
    pub sightings: u64,
    /// The earliest time of one, in nanoseconds since 1970.
    pub first_ns: u64,
    /// The latest time of one.
    pub last_ns: u64,
}

/// What the observer `sightings` found.
#[derive(Clone, Debug, Default)]
pub struct SightingsReport {
    /// One per pair of vantage points between which packets were seen, in the order in which they showed.
    pub paths: Vec<PathReport>,
    /// One per vantage point that was heard of.
    pub vantages: Vec<VantageReport>,
    /// Different flows; one that was forgotten and went on counts again.
    pub flows: u64,
    /// How often a flow was forgotten because a million others or more came after its last packet. With three or more vantage
    /// points, where the packets of one that goes on were seen is not known from before.
    pub flows_forgotten: u64,
    /// Sent packets whose horizon has not passed yet.
    pub pending: u64,
    /// Times at which packets were sent that are held in memory: those within the horizon, of packets that recur at
    /// most as many again, and for four horizons more those that some vantage point has not seen.
    pub remembered: u64,
    /// Sightings not processed yet, because an earlier one may still come.
    pub waiting: u64,
    /// Sightings that came too late to be processed in order of time. Those that fit nowhere are left out; losses,
    /// directions and delays may be off.
    pub late: u64,
    /// Packets seen at one of three or more vantage points, of a flow that was seen at no other.
    pub unpaired: u64,
    /// Sightings at more than [`VANTAGES_MAX`](super::VANTAGES_MAX) vantage points.
    pub refused: u64,
    /// Arrivals that could be of several identical packets.
    pub ambiguous: u64,
    /// Sightings left out because their time is far ahead of those around them.
    pub outliers: u64,
    /// Holds the names of the vantage points, where the observer was told to
    /// ([`Sightings::holding_names`](super::Sightings::holding_names)).
    pub names: Vec<Arc<Held>>,
}

impl Report for SightingsReport {
    fn merge(&mut self, other: SightingsReport) {
        for path in other.paths {
            match self.paths.iter_mut().find(|known| (known.from, known.to) == (path.from, path.to)) {
                Some(known) => known.add(&path),
                None => self.paths.push(path),
            }
        }
        for vantage in other.vantages {
            match self.vantages.iter_mut().find(|known| known.name == vantage.name) {
                Some(known) => {
                    known.sightings += vantage.sightings;
                    known.first_ns = known.first_ns.min(vantage.first_ns);
                    known.last_ns = known.last_ns.max(vantage.last_ns);
                }
                None => self.vantages.push(vantage),
            }
        }
        self.names.extend(other.names);
        self.remembered += other.remembered;
        self.ambiguous += other.ambiguous;
        self.outliers += other.outliers;
        self.flows += other.flows;
        self.flows_forgotten += other.flows_forgotten;
        self.pending += other.pending;
        self.waiting += other.waiting;
        self.late += other.late;
        self.unpaired += other.unpaired;
        self.refused += other.refused;
    }
}
