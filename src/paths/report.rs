//! What is known of a path.

use super::finding::Finding;
use crate::event::{Held, Symbol};
use crate::observe::Report;
use crate::observe::metrics::SIGNIFICANT_DIGITS;
use hdrhistogram::Histogram;
use std::sync::Arc;

/// What happened to packets on the way from one vantage point to another.
///
/// `sent` is the sum of arrivals, `lost_max` and `beyond_horizon`. What is in neither of these was not charged to the path:
/// `undetermined`, `outside`, `unseen`.
#[derive(Clone, Debug)]
pub struct PathReport {
    /// Where the packets were first seen.
    pub from: Symbol,
    /// Where they were to arrive.
    pub to: Symbol,
    /// Other vantage points lie on the way; the paths between neighbours count the same packets.
    pub end_to_end: bool,
    /// Packets sent: arrived, lost or perhaps lost, or beyond the horizon. A packet that is still on its way is in none of these.
    pub sent: u64,
    /// Packets that did not arrive although the far side looked for them: at least so many.
    pub lost: u64,
    /// Packets that were lost at most: those which the capture at the far side may have dropped itself, or for which it may have begun
    /// too late or ended too early, count here and not in `lost`.
    pub lost_max: u64,
    /// Packets that did not arrive, and were sent so shortly before the far side ceased to look that they may have arrived later.
    pub undetermined: u64,
    /// Packets that were sent, or that arrived, while the other side did not look.
    pub outside: u64,
    /// Packets that arrived and that the near side did not see, although it looked: its capture dropped them, or left them out.
    pub unseen: u64,
    /// Packets that arrived later than the horizon allows: within five times that, and their delays are in no figure.
    /// Before they arrived they counted as lost.
    pub beyond_horizon: u64,
    /// Copies that arrived beyond the first.
    pub duplicated: u64,
    /// First copies that arrived after a packet that was sent later (RFC 4737).
    pub reordered: u64,
    /// Arrivals that came, by the clocks, before they were sent; they have no delay.
    pub negative: u64,
    /// One-way delays of first copies. Those of packets that may have been confused with identical ones are left out, where there are
    /// others.
    pub delays: Delays,
    /// Those that were left out so; `None` where there are no others.
    pub ambiguous_delays: Option<Delays>,
    /// By how much a delay may be wrong because the clocks of both sides are not known better, in nanoseconds; `None` where nothing is
    /// known of that.
    pub delay_uncertainty_ns: Option<u64>,
    /// How far delays are above their smallest, rather than what they are: packets went one way only, and the clocks disagree.
    pub delays_above_minimum: bool,
}

/// One-way delays in nanoseconds.
#[derive(Clone, Debug)]
pub struct Delays {
    /// How many there are.
    pub count: u64,
    /// To three significant digits.
    pub histogram: Histogram<u64>,
    /// The smallest, exact; `None` where there is none.
    pub min_ns: Option<u64>,
    /// The largest, exact.
    pub max_ns: Option<u64>,
    /// Their sum, exact.
    pub sum_ns: u128,
    /// Those that the histogram could not hold; they are in the exact figures only.
    pub clamped: u64,
}

impl Delays {
    pub(super) fn new() -> Option<Delays> {
        // 0 to 5 are the digits that a histogram can keep.
        let histogram = Histogram::new(SIGNIFICANT_DIGITS).ok()?;
        Some(Delays { count: 0, histogram, min_ns: None, max_ns: None, sum_ns: 0, clamped: 0 })
    }

    pub(super) fn add(&mut self, delay_ns: u64) {
        self.count += 1;
        self.sum_ns += u128::from(delay_ns);
        self.min_ns = Some(self.min_ns.map_or(delay_ns, |min_ns| min_ns.min(delay_ns)));
        self.max_ns = self.max_ns.max(Some(delay_ns));
        self.clamped += u64::from(self.histogram.record(delay_ns).is_err());
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the mean in nanoseconds; `None` where there is none.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum_ns as f64 / self.count as f64)
    }

    fn merge(&mut self, other: &Delays) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min_ns = [self.min_ns, other.min_ns].into_iter().flatten().min();
        self.max_ns = self.max_ns.max(other.max_ns);
        self.clamped += other.clamped;
        if self.histogram.add(&other.histogram).is_err() {
            self.clamped += other.histogram.len();
        }
    }
}

impl PathReport {
    pub(super) fn new(from: Symbol, to: Symbol) -> Option<PathReport> {
        Some(PathReport {
            from,
            to,
            end_to_end: false,
            sent: 0,
            lost: 0,
            lost_max: 0,
            undetermined: 0,
            outside: 0,
            unseen: 0,
            beyond_horizon: 0,
            duplicated: 0,
            reordered: 0,
            negative: 0,
            delays: Delays::new()?,
            ambiguous_delays: None,
            delay_uncertainty_ns: None,
            delays_above_minimum: false,
        })
    }

    /// Returns the number of packets that arrived within the horizon.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.sent.saturating_sub(self.lost_max).saturating_sub(self.beyond_horizon)
    }

    /// Returns the mean delay in nanoseconds; `None` when nothing arrived.
    #[must_use]
    pub fn delay_ns_mean(&self) -> Option<f64> {
        self.delays.mean_ns()
    }

    fn add(&mut self, other: &PathReport) {
        self.end_to_end |= other.end_to_end;
        self.sent += other.sent;
        self.lost += other.lost;
        self.lost_max += other.lost_max;
        self.undetermined += other.undetermined;
        self.outside += other.outside;
        self.unseen += other.unseen;
        self.beyond_horizon += other.beyond_horizon;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.negative += other.negative;
        self.delays.merge(&other.delays);
        match (&mut self.ambiguous_delays, &other.ambiguous_delays) {
            (Some(known), Some(more)) => known.merge(more),
            (known, more) => *known = known.take().or_else(|| more.clone()),
        }
        self.delay_uncertainty_ns = self.delay_uncertainty_ns.max(other.delay_uncertainty_ns);
        self.delays_above_minimum |= other.delays_above_minimum;
    }
}

/// What was heard of a vantage point.
#[derive(Clone, PartialEq, Debug)]
pub struct VantageReport {
    /// Its name.
    pub name: Symbol,
    /// Sightings taken there.
    pub sightings: u64,
    /// The earliest time of one, in nanoseconds since 1970, by its own clock.
    pub first_ns: u64,
    /// The latest time of one.
    pub last_ns: u64,
    /// Sightings that were taken for one with another at this vantage point: a mirror port shows packets twice, say.
    pub repeats: u64,
    /// Packets that passed it without being seen there, although others on their way saw them.
    pub missed: u64,
    /// Packets that its capture says it has dropped, where it tells.
    pub capture_dropped: Option<u64>,
    /// What is known of its clock; `None` where nothing was looked at.
    pub clock: Option<ClockReport>,
}

/// What is known of a vantage point's clock.
#[derive(Clone, PartialEq, Debug)]
pub struct ClockReport {
    /// By how much its times were corrected at its first sighting, in nanoseconds: positive where its clock was ahead. 0 where they
    /// stay as they are.
    pub offset_ns: i64,
    /// By how much its clock gained on the common time, in parts per million; 0 where that was not corrected.
    pub drift_ppm: f64,
    /// By how much its times may be wrong against those of others, in nanoseconds; `None` where nothing is known of that.
    pub uncertainty_ns: Option<u64>,
    /// When it was set, by its own time, and by how much, in nanoseconds.
    pub steps: Vec<(u64, i64)>,
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
    /// Packets of address pairs that one vantage point saw and no other; where names of flows tell no addresses, and there are three or
    /// more vantage points, of such flows.
    pub unpaired: u64,
    /// The most frequent of these address pairs, as `SENDER > RECEIVER`, and how many packets each had, both ways together.
    pub unpaired_pairs: Vec<(String, u64)>,
    /// For how long a packet may be on its way, in nanoseconds: one that does not arrive within that is lost.
    pub horizon_ns: u64,
    /// A survey was made beforehand.
    pub surveyed: bool,
    /// What was found out about the vantage points before their packets were paired.
    pub findings: Vec<Finding>,
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
                    known.repeats += vantage.repeats;
                    known.missed += vantage.missed;
                    known.capture_dropped = known.capture_dropped.max(vantage.capture_dropped);
                    known.clock = known.clock.take().or(vantage.clock);
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
        self.unpaired_pairs.extend(other.unpaired_pairs);
        self.horizon_ns = self.horizon_ns.max(other.horizon_ns);
        self.surveyed |= other.surveyed;
        self.findings.extend(other.findings);
        self.refused += other.refused;
    }
}
