//! `summary.json`: what a run was, and what became of every event.
//!
//! The member names are the format; from the first release on, [`SCHEMA`] changes when one goes or changes its meaning.

mod results;

pub use results::{
    AssertionSummary, ExperimentSummary, PartSummary, ResultsSummary, StepSummary, TESTS_SHOWN, TallySummary,
    TestSummary,
};

use crate::event::shown::split_at_harmful;
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
    /// Packets of which the capture says that it dropped them; `None` where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_dropped: Option<u64>,
    pub refusals: Vec<String>,
    /// What ended the reading early.
    pub error: Option<String>,
}

/// [`Account`](crate::pipeline::Account) as it stands in the file.
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
    pub panicked: u64,
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

/// [`DedupStats`](crate::dedup::DedupStats) as they stand in the file.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `DedupStats`")]
pub struct DedupSummary {
    pub remembered: u64,
    pub forgotten: u64,
    pub late: u64,
    pub wild: u64,
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
    /// For how long a packet may have been on its way.
    pub horizon_ns: u64,
    /// Address pairs that only one vantage point saw, the most frequent ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unpaired_pairs: Vec<UnpairedSummary>,
    pub vantages: Vec<VantageSummary>,
    /// What was found out beforehand; each is a warning too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingSummary>,
    pub paths: Vec<PathSummary>,
}

/// An address pair that only one vantage point saw.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `SightingsReport`")]
pub struct UnpairedSummary {
    pub pair: String,
    pub packets: u64,
}

/// What bears on the results: a code that stays the same, and the text.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Finding`")]
pub struct FindingSummary {
    pub code: &'static str,
    pub text: String,
}

/// What is known of a vantage point.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `VantageReport`")]
pub struct VantageSummary {
    pub name: String,
    pub first_ns: u64,
    pub last_ns: u64,
    pub packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_dropped: Option<u64>,
    pub repeats: u64,
    pub missed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockSummary>,
}

/// What is known of a vantage point's clock.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `ClockReport`")]
pub struct ClockSummary {
    pub offset_ns: i64,
    pub drift_ppm: f64,
    pub uncertainty_ns: Option<u64>,
    pub steps: Vec<StepOfClock>,
}

/// When a clock was set, and by how much.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct StepOfClock {
    pub at_ns: u64,
    pub by_ns: i64,
}

/// What is known of one path.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `PathReport`")]
pub struct PathSummary {
    pub from: String,
    pub to: String,
    /// Other vantage points lie on the way.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end_to_end: bool,
    pub sent: u64,
    pub lost: u64,
    pub lost_max: u64,
    pub undetermined: u64,
    pub outside: u64,
    pub unseen: u64,
    pub beyond_horizon: u64,
    pub duplicated: u64,
    pub reordered: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub negative: u64,
    pub delay_ns: DelaySummary,
    pub delay_uncertainty_ns: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub delays_above_minimum: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_ids: Option<u64>,
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
