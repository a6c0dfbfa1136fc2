//! The observer `sightings`: takes sightings in order of their times, and has them paired.

use crate::domain::packet::PacketSeen;
use crate::event::{Held, KindSet, Payload, Symbol, Symbols};
use crate::observe::{Batch, Interest, Observer, Scope, Undelivered};
use crate::paths::group::VANTAGES_MAX;
use crate::paths::pairing::Pairing;
use crate::paths::report::{SightingsReport, VantageReport};
use crate::paths::scope::LossScope;
use crate::paths::seen::Seen;
use crate::paths::survey::Survey;
use crate::paths::vantage::{Admission, Vantage};
use std::sync::Arc;
use std::time::Duration;

/// How sightings are paired.
#[derive(Clone, Debug)]
pub struct SightingsOptions {
    /// How long after its first sighting a packet may arrive: more than the largest delay of a path, less than the
    /// time after which an identical packet is sent again.
    pub horizon: Duration,
    /// How far apart in time vantage points may be reported.
    pub lateness: Duration,
    /// How far back in time sightings at one vantage point may come. Results are behind by as much.
    pub disorder: Duration,
    /// Vantage points that are known to come. Until each has been heard of, sightings are held for `lateness`.
    pub vantages: Vec<Symbol>,
    /// What is known of the vantage points from before. It has a horizon of its own.
    pub survey: Option<Arc<Survey>>,
}

impl Default for SightingsOptions {
    fn default() -> SightingsOptions {
        SightingsOptions {
            horizon: Duration::from_secs(1),
            lateness: Duration::from_secs(1),
            disorder: Duration::from_millis(50),
            vantages: Vec::new(),
            survey: None,
        }
    }
}

/// Pairs the sightings of packets (`packet.seen`) at different vantage points.
pub struct Sightings {
    lateness_ns: u64,
    disorder_ns: u64,
    vantages: Vec<Vantage>,
    /// The latest time that counts at any vantage point; `None` before there is one.
    newest_ns: Option<u64>,
    processed_ns: u64,
    late: u64,
    refused: u64,
    outliers: u64,
    pairing: Pairing,
    /// Where the names of vantage points are, if it was told; and these.
    symbols: Option<Arc<Symbols>>,
    names: Vec<Arc<Held>>,
}

impl Sightings {
    /// Makes the observer.
    #[must_use]
    pub fn new(options: &SightingsOptions) -> Sightings {
        let disorder_ns = saturating_ns(options.disorder);
        let horizon_ns = options.survey.as_ref().map(|survey| survey.horizon_ns());
        let horizon_ns = horizon_ns.unwrap_or_else(|| saturating_ns(options.horizon));
        let mut sightings = Sightings {
            lateness_ns: saturating_ns(options.lateness).max(disorder_ns),
            disorder_ns,
            vantages: Vec::new(),
            newest_ns: None,
            processed_ns: 0,
            late: 0,
            refused: 0,
            outliers: 0,
            pairing: Pairing::new(horizon_ns, LossScope::new(options.survey.clone())),
            symbols: None,
            names: Vec::new(),
        };
        // Those of the survey in its order: it knows them by number.
        let surveyed = options.survey.iter().flat_map(|survey| survey.names().map(Symbol::of));
        let surveyed: Vec<Symbol> = surveyed.collect();
        for name in surveyed.iter().chain(&options.vantages) {
            sightings.vantage(*name);
        }
        sightings
    }

    /// Holds the names of vantage points in `symbols`, those of the pipeline, as long as the observer and its reports live.
    #[must_use]
    pub fn holding_names(mut self, symbols: &Arc<Symbols>) -> Sightings {
        self.symbols = Some(Arc::clone(symbols));
        self
    }

    fn take(&mut self, name: Symbol, mut seen: Seen) {
        let at = self.vantage(name);
        let Some((at, vantage)) = at.and_then(|at| Some((at, self.vantages.get_mut(at)?))) else {
            self.refused += 1;
            return;
        };
        seen.time_ns = self.pairing.to_common(at, seen.time_ns, vantage.last_common_ns);
        vantage.last_common_ns = seen.time_ns;
        if vantage.is_new()
            && let Some(symbols) = &self.symbols
        {
            self.names.extend(Held::name(symbols, name).map(Arc::new));
        }
        let Admission { newest_ns, outlier } = vantage.take(seen, self.newest_ns, self.lateness_ns);
        self.newest_ns = newest_ns;
        self.outliers += u64::from(outlier);
    }

    /// Processes what is due: up to the time that all vantage points have reached, less the disorder.
    fn process(&mut self, all: bool) {
        for vantage in &mut self.vantages {
            self.newest_ns = vantage.settle(self.newest_ns, self.lateness_ns, all);
        }
        let reached = self.vantages.iter().map(|vantage| vantage.newest_ns.unwrap_or(0)).min().unwrap_or(0);
        let newest_ns = self.newest_ns.unwrap_or(0);
        let due_ns = if all {
            u64::MAX
        } else {
            reached.saturating_sub(self.disorder_ns).max(newest_ns.saturating_sub(self.lateness_ns))
        };
        while let Some((at, seen)) = self.next_due(due_ns) {
            self.late += u64::from(seen.time_ns < self.processed_ns);
            self.processed_ns = self.processed_ns.max(seen.time_ns);
            let symbols = self.symbols.as_deref();
            let name = |flow: Symbol| symbols?.name(flow);
            self.pairing.sight(at as u8, seen, self.processed_ns, name);
        }
    }

    fn next_due(&mut self, due_ns: u64) -> Option<(usize, Seen)> {
        let heads = self.vantages.iter().enumerate();
        let (time_ns, at) =
            heads.filter_map(|(at, vantage)| Some((vantage.waiting.first_ns()?, at))).min()?;
        if time_ns > due_ns {
            return None;
        }
        Some((at, self.vantages.get_mut(at)?.waiting.pop()?))
    }

    fn vantage(&mut self, name: Symbol) -> Option<usize> {
        let known = self.vantages.iter().position(|vantage| vantage.name == name);
        if known.is_some() || self.vantages.len() == VANTAGES_MAX {
            return known;
        }
        self.vantages.push(Vantage::new(name));
        self.pairing.add_vantage(name);
        Some(self.vantages.len() - 1)
    }
}

impl Observer for Sightings {
    type Report = SightingsReport;

    fn interest(&self) -> Interest {
        let kinds = KindSet::of(&[PacketSeen::KIND]);
        Interest { kinds, duplicates: true, scope: Scope::Whole }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, _) in batch.iter() {
            let Some(payload) = record.payload::<PacketSeen>() else { continue };
            let seen = Seen {
                id: record.id_bits(),
                time_ns: record.time_ns(),
                stamp_ns: record.time_ns(),
                flow: record.entity(),
                flags: payload.flags,
            };
            self.take(payload.vantage, seen);
        }
        self.process(false);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.process(true);
        self.pairing.finish();
        Ok(())
    }

    fn report(&self) -> SightingsReport {
        let (report, counts) = self.pairing.report();
        let vantages = self.vantages.iter().zip(counts).filter_map(|(vantage, (repeats, missed))| {
            let report = vantage.report()?;
            let (capture_dropped, clock) = self.pairing.known_of(report.name);
            Some(VantageReport { repeats, missed, capture_dropped, clock, ..report })
        });
        SightingsReport {
            vantages: vantages.collect(),
            waiting: self.vantages.iter().map(Vantage::waiting).sum(),
            late: self.late,
            refused: self.refused,
            outliers: self.outliers,
            names: self.names.clone(),
            ..report
        }
    }
}

fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
