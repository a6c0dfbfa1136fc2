//! The account, dedup, packets and states of `summary.json`.

use crate::dedup::DedupStats;
use crate::export::summary::{
    AccountSummary, ClockSummary, DedupSummary, DelaySummary, DeliverySummary, FindingSummary,
    FurtherSummary, PacketsSummary, PathSummary, ProcessingSummary, ResultsSummary, SCHEMA, StatesSummary,
    StepOfClock, Summary, Throughput, UnpairedSummary, VantageSummary,
};
use crate::observe::metrics::quantile;
use crate::observe::results::ResultsReport;
use crate::observe::state::StateReport;
use crate::paths::{ClockDoubt, ClockHint, ClockReport, Finding, PathReport, SightingsReport, VantageReport};
use crate::pipeline::{Account, Delivery, Snapshot};
use crate::process::Processing;

impl Summary {
    /// Makes the summary of a run from its last snapshot. `seconds` is the run's duration.
    #[must_use]
    pub fn new(snapshot: &Snapshot, topology: &str, seconds: f64) -> Summary {
        let events = snapshot.account.offered;
        Summary {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            topology: topology.to_owned(),
            origin: snapshot.origin.to_string(),
            inputs: Vec::new(),
            accounting: AccountSummary::new(&snapshot.account),
            dedup: DedupSummary::new(&snapshot.dedup),
            packets: None,
            states: None,
            results: None,
            panther: None,
            throughput: Throughput {
                events,
                seconds,
                events_per_second: if seconds > 0.0 { events as f64 / seconds } else { 0.0 },
            },
            warnings: snapshot.warnings.clone(),
        }
    }

    /// Adds what sightings found; `name` gives the name of a vantage point.
    pub fn add_sightings(
        &mut self,
        report: &SightingsReport,
        snapshot: &Snapshot,
        digest_bytes: Option<u32>,
    ) {
        let name = |symbol| {
            snapshot.symbols.name(symbol).map_or_else(|| format!("{symbol}"), |name| name.to_string())
        };
        let path = |path: &PathReport| PathSummary {
            from: name(path.from),
            to: name(path.to),
            end_to_end: path.end_to_end,
            sent: path.sent,
            lost: path.lost,
            lost_max: path.lost_max,
            undetermined: path.undetermined,
            outside: path.outside,
            unseen: path.unseen,
            beyond_horizon: path.beyond_horizon,
            duplicated: path.duplicated,
            reordered: path.reordered,
            negative: path.negative,
            delay_ns: DelaySummary::new(path),
            delay_uncertainty_ns: path.delay_uncertainty_ns,
            delays_above_minimum: path.delays_above_minimum,
        };
        let clock = |clock: &ClockReport| ClockSummary {
            offset_ns: clock.offset_ns,
            drift_ppm: clock.drift_ppm,
            uncertainty_ns: clock.uncertainty_ns,
            steps: clock
                .steps
                .iter()
                .map(|(at_ns, by_ns)| StepOfClock { at_ns: *at_ns, by_ns: *by_ns })
                .collect(),
        };
        let vantage = |vantage: &VantageReport| VantageSummary {
            name: name(vantage.name),
            first_ns: vantage.first_ns,
            last_ns: vantage.last_ns,
            packets: vantage.sightings,
            capture_dropped: vantage.capture_dropped,
            repeats: vantage.repeats,
            missed: vantage.missed,
            clock: vantage.clock.as_ref().map(clock),
        };
        let finding = |finding: &Finding| FindingSummary { code: finding.code, text: finding.text.clone() };
        let unpaired_pair =
            |(pair, packets): &(String, u64)| UnpairedSummary { pair: pair.clone(), packets: *packets };
        self.packets = Some(PacketsSummary {
            flows: report.flows,
            digest_bytes,
            late: report.late,
            outliers: report.outliers,
            ambiguous: report.ambiguous,
            unpaired: report.unpaired,
            refused: report.refused,
            horizon_ns: report.horizon_ns,
            unpaired_pairs: report.unpaired_pairs.iter().map(unpaired_pair).collect(),
            vantages: report.vantages.iter().map(vantage).collect(),
            findings: report.findings.iter().map(finding).collect(),
            paths: report.paths.iter().map(path).collect(),
        });
        let mut warn = |count: u64, what: &str| {
            if count > 0 {
                self.warnings.push(format!("{count} {what}"));
            }
        };
        warn(
            report.late,
            "sightings came too late to be taken in order of time; loss, direction and delay may be off",
        );
        warn(report.outliers, "sightings were far ahead of those around them in time, and were left out");
        warn(
            report.ambiguous,
            "arrivals could be of several identical packets; their delays may be off, a shorter horizon may help",
        );
        let beyond = report.paths.iter().map(|path| path.beyond_horizon).sum();
        warn(
            beyond,
            "packets arrived beyond the horizon, and their delays are in no figure; a longer horizon would have them",
        );
        warn(report.refused, "sightings were at more vantage points than there can be, and were left out");
        warn(
            report.paths.iter().map(|path| path.delays.clamped).sum(),
            "delays were beyond the histograms' range",
        );
        warn(
            report.flows_forgotten,
            "flows were forgotten because a million others came after their last packets; one that went on counts again",
        );
        let pairs = |(pair, packets): &(String, u64)| format!("{pair} ({packets})");
        let pairs: Vec<String> = report.unpaired_pairs.iter().map(pairs).collect();
        let named = if pairs.is_empty() { String::new() } else { format!(": {}", pairs.join(", ")) };
        warn(
            report.unpaired,
            &format!(
                "packets were of addresses or flows that only one vantage point saw; they are on no path{named}"
            ),
        );
        self.warnings
            .extend(report.findings.iter().map(|finding| format!("{}: {}", finding.code, finding.text)));
        let hints = if report.surveyed { Vec::new() } else { report.clock_hints() };
        for ClockHint { a, b, doubt } in hints {
            let (a, b) = (name(a), name(b));
            self.warnings.push(match doubt {
                ClockDoubt::OneWay => format!(
                    "practically all packets went from {a} to {b}; if others went back, the clocks of {a} and {b} \
                     differ by more than the delay"
                ),
                ClockDoubt::Unpaired => format!(
                    "practically no packet was seen at both {a} and {b}; their clocks may differ by more than the \
                     horizon"
                ),
                ClockDoubt::Apart => {
                    format!("the times at {a} and {b} do not overlap; their clocks may differ")
                }
            });
        }
    }

    /// Adds what the state machines found.
    pub fn add_states(&mut self, report: &StateReport) {
        let invalid = report.domains().iter().filter(|domain| domain.invalid > 0);
        self.states = Some(StatesSummary {
            entities: report.entities_total(),
            by_state: report.by_state(),
            invalid_transitions: invalid.map(|domain| (domain.name.to_string(), domain.invalid)).collect(),
        });
        if report.untracked() > 0 {
            let events = report.untracked();
            self.warnings.push(format!("{events} events were of more entities than are tracked"));
        }
    }

    /// Adds what became of tests, steps and assertions. Where the snapshot's account tells of events that the observer may have
    /// missed, the verdict is not `passed`.
    pub fn add_results(&mut self, report: &ResultsReport, snapshot: &Snapshot) {
        self.results = Some(ResultsSummary::new(report, snapshot));
        if report.untracked() > 0 {
            let events = report.untracked();
            self.warnings
                .push(format!("{events} events were of more tests, steps and assertions than are followed"));
        }
    }
}

impl AccountSummary {
    fn new(account: &Account) -> AccountSummary {
        let observers = account
            .observers
            .iter()
            .map(|(name, delivery)| (name.to_string(), DeliverySummary::new(delivery)));
        let further = account.further_observers;
        let further_observers = (further.observers > 0).then(|| FurtherSummary {
            observers: further.observers,
            delivery: DeliverySummary::new(&further.delivery),
        });
        let processors = account.processors.iter().map(|(name, processing)| {
            let Processing { seen, derived, rejected, failed, panicked } = *processing;
            (name.to_string(), ProcessingSummary { seen, derived, rejected, failed, panicked })
        });
        AccountSummary {
            offered: account.offered,
            accepted: account.accepted,
            dropped_full: account.dropped_full,
            rejected: account.rejected,
            unique: account.unique,
            duplicates: account.duplicates,
            in_flight: account.in_flight,
            observers: observers.collect(),
            further_observers,
            processors: processors.collect(),
        }
    }
}

impl DeliverySummary {
    fn new(delivery: &Delivery) -> DeliverySummary {
        let Delivery { handled, skipped, failed, duplicates } = *delivery;
        DeliverySummary { handled, skipped, failed, duplicates }
    }
}

impl DedupSummary {
    fn new(stats: &DedupStats) -> DedupSummary {
        DedupSummary {
            remembered: stats.remembered,
            forgotten: stats.forgotten,
            late: stats.late,
            wild: stats.wild,
            memory_bytes: stats.memory_bytes,
            huge_page_bytes: stats.huge_page_bytes,
            filter_negatives: stats.filter_negatives,
            filter_false_positives: stats.filter_false_positives,
            spilled_ids: stats.spilled_ids,
            spilled_bytes: stats.spilled_bytes,
            spill_read_failures: stats.spill_read_failures,
            spill_write_failures: stats.spill_write_failures,
            growth_failures: stats.growth_failures,
            overflowed: stats.overflowed,
        }
    }
}

impl DelaySummary {
    fn new(path: &PathReport) -> DelaySummary {
        // A bucket may reach beyond the largest value that is in it.
        let quantile = |q| {
            quantile(&path.delays.histogram, q)
                .map(|value| path.delays.max_ns.map_or(value, |max| value.min(max)))
        };
        DelaySummary {
            count: path.delays.count,
            min: path.delays.min_ns,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: path.delays.max_ns,
            mean: path.delay_ns_mean().map(|mean| mean.round() as u64),
        }
    }
}
