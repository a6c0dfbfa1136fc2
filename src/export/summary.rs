//! `summary.json`: what a run was, and what became of every event.
//!
//! The member names are the format; from the first release on, [`SCHEMA`] changes when one goes or changes its meaning.

mod results;

pub use results::{
    AssertionSummary, ExperimentSummary, PartSummary, ResultsSummary, StepSummary, TESTS_SHOWN, TallySummary,
    TestSummary,
};

use crate::dedup::DedupStats;
use crate::event::shown::split_at_harmful;
use crate::observe::metrics::quantile;
use crate::observe::results::ResultsReport;
use crate::observe::state::StateReport;
use crate::paths::{ClockDoubt, ClockHint, PathReport, SightingsReport};
use crate::pipeline::{Account, Delivery, Snapshot};
use crate::process::Processing;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Names the format and its version.
pub const SCHEMA: &str = "panther-events/summary/1";

/// The whole of `summary.json`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of the file; README describes them")]
pub struct Summary {
    pub schema: &'static str,
    pub version: &'static str,
    pub topology: String,
    /// The start of the pipeline that made this: 32 hexadecimal digits. The ids of what was emitted in it follow from it;
    /// what was replayed keeps the ids of the pipeline that it was emitted in.
    pub origin: String,
    pub inputs: Vec<InputSummary>,
    pub accounting: AccountSummary,
    pub dedup: DedupSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<PacketsSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<StatesSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<ResultsSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panther: Option<PantherSummary>,
    pub throughput: Throughput,
    pub warnings: Vec<String>,
}

/// What was read from one input.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names are those of the file; README describes them")]
pub struct InputSummary {
    pub path: String,
    pub vantage: String,
    /// `None` when the input could not be read at all.
    pub format: Option<String>,
    /// Records (frames, lines) read whole.
    pub records: u64,
    pub bytes: u64,
    /// Records refused; the first reasons are in `refusals`.
    pub rejected: u64,
    pub non_ip: u64,
    pub refusals: Vec<String>,
    /// What ended the reading early.
    pub error: Option<String>,
}

/// [`Account`] as it stands in the file.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Account`")]
pub struct AccountSummary {
    pub offered: u64,
    pub accepted: u64,
    pub dropped_full: u64,
    pub rejected: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub in_flight: u64,
    pub observers: BTreeMap<String, DeliverySummary>,
    /// Observers beyond those that are kept by name, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_observers: Option<FurtherSummary>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub processors: BTreeMap<String, ProcessingSummary>,
}

/// What became of a processor's work.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Processing`")]
pub struct ProcessingSummary {
    pub seen: u64,
    pub derived: u64,
    pub rejected: u64,
    pub failed: u64,
}

/// What became of the unique events at observers of further names, all together.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Further`")]
pub struct FurtherSummary {
    pub observers: u64,
    #[serde(flatten)]
    pub delivery: DeliverySummary,
}

/// What became of the unique events at one observer.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Delivery`")]
pub struct DeliverySummary {
    pub handled: u64,
    pub skipped: u64,
    pub failed: u64,
    pub duplicates: u64,
}

/// [`DedupStats`] as they stand in the file.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `DedupStats`")]
pub struct DedupSummary {
    pub remembered: u64,
    pub forgotten: u64,
    pub late: u64,
    pub memory_bytes: usize,
    pub huge_page_bytes: usize,
    pub filter_negatives: u64,
    pub filter_false_positives: u64,
    pub spilled_ids: u64,
    pub spilled_bytes: u64,
    pub spill_read_failures: u64,
    pub spill_write_failures: u64,
    pub growth_failures: u64,
    pub overflowed: u64,
}

/// What is known of packets and paths.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `SightingsReport`")]
pub struct PacketsSummary {
    pub flows: u64,
    /// Bytes of each packet that its digest covers; `None` for all of them.
    pub digest_bytes: Option<u32>,
    pub late: u64,
    pub outliers: u64,
    pub ambiguous: u64,
    pub unpaired: u64,
    pub refused: u64,
    pub paths: Vec<PathSummary>,
}

/// What is known of one path.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `PathReport`")]
pub struct PathSummary {
    pub from: String,
    pub to: String,
    pub sent: u64,
    pub lost: u64,
    pub beyond_horizon: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub delay_ns: DelaySummary,
}

/// The one-way delays of a path in nanoseconds: `null` where nothing arrived. Quantiles are to three significant digits,
/// the rest exact.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DelaySummary {
    pub count: u64,
    pub min: Option<u64>,
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p999: Option<u64>,
    pub max: Option<u64>,
    pub mean: Option<u64>,
}

/// What is known of entities and their states.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StatesSummary {
    /// Entities that had an event.
    pub entities: u64,
    /// How many of them are in which state, under `domain.state`, without the states that none is in.
    #[serde(rename = "final")]
    pub by_state: BTreeMap<String, u64>,
    /// Events by domain whose path was not allowed from where their entity was, without the domains that have none.
    pub invalid_transitions: BTreeMap<String, u64>,
}

/// What was read from files of PANTHER's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PantherSummary {
    /// Lines with something on them, refused ones included.
    pub lines: u64,
    /// Different ids among the events.
    pub distinct_ids: u64,
    /// Events whose id in the file is not the one computed of their content.
    pub id_mismatches: u64,
}

/// How fast it went.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Throughput {
    pub events: u64,
    pub seconds: f64,
    pub events_per_second: f64,
}

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
            sent: path.sent,
            lost: path.lost,
            beyond_horizon: path.beyond_horizon,
            duplicated: path.duplicated,
            reordered: path.reordered,
            delay_ns: DelaySummary::new(path),
        };
        self.packets = Some(PacketsSummary {
            flows: report.flows,
            digest_bytes,
            late: report.late,
            outliers: report.outliers,
            ambiguous: report.ambiguous,
            unpaired: report.unpaired,
            refused: report.refused,
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
        warn(report.paths.iter().map(|path| path.clamped).sum(), "delays were beyond the histograms' range");
        warn(report.unpaired, "packets were of flows that only one of three or more vantage points saw");
        for ClockHint { a, b, doubt } in report.clock_hints() {
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
            invalid_transitions: invalid.map(|domain| (domain.name.to_owned(), domain.invalid)).collect(),
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

    /// Takes note of why it is not known whether everything passed, such as input that could not be read; to be called once the
    /// results are there. See [`ResultsSummary::doubt`].
    pub fn doubt_results(&mut self, why: impl Into<String>) {
        if let Some(results) = &mut self.results {
            results.doubt(why);
        }
    }

    /// Writes the summary as indented JSON with a line feed at the end.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let mut rest = &*text;
        // Harmful characters stand in strings only, so an escape may take their place.
        while let Some((before, harmful, after)) = split_at_harmful(rest) {
            write!(out, "{before}\\u{:04x}", u32::from(harmful))?;
            rest = after;
        }
        out.write_all(rest.as_bytes())
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
            let Processing { seen, derived, rejected, failed } = *processing;
            (name.to_string(), ProcessingSummary { seen, derived, rejected, failed })
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
            quantile(&path.delay_ns, q).map(|value| path.delay_ns_max.map_or(value, |max| value.min(max)))
        };
        DelaySummary {
            count: path.arrivals(),
            min: path.delay_ns_min,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: path.delay_ns_max,
            mean: path.delay_ns_mean().map(|mean| mean.round() as u64),
        }
    }
}
