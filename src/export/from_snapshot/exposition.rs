//! `metrics.om`: a snapshot as OpenMetrics families.

use crate::export::openmetrics::{Exposition, OpenMetricsError};
use crate::observe::metrics::{Measure, MetricsReport, Unit, quantile};
use crate::paths::{PathReport, SightingsReport};
use crate::pipeline::{Delivery, Snapshot};
use hdrhistogram::Histogram;
use std::io::Write;

/// Quantiles that summaries have.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// What was read from one input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputCounts<'a> {
    /// The name of its vantage point; no two inputs have the same.
    pub vantage: &'a str,
    /// Records read whole.
    pub records: u64,
    /// Records refused.
    pub rejected: u64,
    /// Frames that hold no IP packet.
    pub non_ip: u64,
}

/// Writes everything that is known at a moment as OpenMetrics text, in the format's base units: seconds and bytes.
///
/// # Errors
/// When the output fails, or two names clash (a bug, or a domain of the user's that is named like one of ours).
pub fn write_exposition(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    inputs: &[InputCounts<'_>],
    metrics: Option<&MetricsReport>,
    sightings: Option<&SightingsReport>,
) -> Result<(), OpenMetricsError> {
    let mut text = Exposition::new(out);
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    text.info("panther_events_build", "The crate that wrote this")?.sample(&labels)?;
    read(&mut text, inputs)?;
    account(&mut text, snapshot)?;
    dedup(&mut text, snapshot)?;
    if let Some(metrics) = metrics {
        kinds(&mut text, snapshot, metrics)?;
        measures(&mut text, snapshot, metrics, Unit::Nanoseconds)?;
        measures(&mut text, snapshot, metrics, Unit::Bytes)?;
    }
    if let Some(sightings) = sightings {
        paths(&mut text, snapshot, sightings)?;
    }
    text.finish()?;
    Ok(())
}

type Text<'a> = Exposition<&'a mut dyn Write>;

fn read(text: &mut Text<'_>, inputs: &[InputCounts<'_>]) -> Result<(), OpenMetricsError> {
    if inputs.is_empty() {
        return Ok(());
    }
    type Count = fn(&InputCounts<'_>) -> u64;
    let counters: [(&str, &str, Count); 3] = [
        ("panther_input_records", "Records read whole", |input| input.records),
        ("panther_input_rejected", "Records refused", |input| input.rejected),
        ("panther_input_non_ip", "Frames that hold no IP packet", |input| input.non_ip),
    ];
    for (family, help, count) in counters {
        let mut counter = text.counter(family, help, None)?;
        for input in inputs {
            counter.sample(&[("vantage", input.vantage)], count(input))?;
        }
    }
    Ok(())
}

fn account(text: &mut Text<'_>, snapshot: &Snapshot) -> Result<(), OpenMetricsError> {
    let account = &snapshot.account;
    let counters = [
        ("offered", "Events that emitters were asked to emit", account.offered),
        ("accepted", "Events put into a ring", account.accepted),
        ("dropped_full", "Events dropped because their ring was full", account.dropped_full),
        ("rejected", "Events refused: kind, identity, name or document", account.rejected),
        ("unique", "Accepted events that were new", account.unique),
        ("duplicates", "Accepted events that were seen before", account.duplicates),
    ];
    for (name, help, value) in counters {
        text.counter(&format!("panther_events_{name}"), help, None)?.sample(&[], value)?;
    }
    text.gauge("panther_events_in_flight", "Accepted events that dedup has not seen yet", None)?
        .sample(&[], account.in_flight)?;
    let mut observed =
        text.counter("panther_events_observed", "Unique events by observer and what became of them", None)?;
    let outcomes = |delivery: &Delivery| {
        [("handled", delivery.handled), ("skipped", delivery.skipped), ("failed", delivery.failed)]
    };
    for (observer, delivery) in &account.observers {
        for (outcome, value) in outcomes(delivery) {
            observed.sample(&[("observer", observer), ("outcome", outcome)], value)?;
        }
    }
    let further = &account.further_observers;
    if further.observers > 0 {
        let help = "Unique events by what became of them, over all observers whose names are not kept";
        let mut observed = text.counter("panther_events_observed_further", help, None)?;
        for (outcome, value) in outcomes(&further.delivery) {
            observed.sample(&[("outcome", outcome)], value)?;
        }
    }
    Ok(())
}

fn dedup(text: &mut Text<'_>, snapshot: &Snapshot) -> Result<(), OpenMetricsError> {
    let dedup = &snapshot.dedup;
    text.gauge("panther_dedup_remembered", "Ids that dedup remembers", None)?
        .sample(&[], dedup.remembered)?;
    text.gauge("panther_dedup_memory_bytes", "Memory that dedup holds", Some("bytes"))?
        .sample(&[], dedup.memory_bytes as u64)?;
    text.counter("panther_dedup_forgotten", "Ids that dedup forgot because their window had passed", None)?
        .sample(&[], dedup.forgotten)?;
    text.counter("panther_dedup_late", "Events older than what their window still covers", None)?
        .sample(&[], dedup.late)?;
    text.counter("panther_dedup_wild", "Events with times so far ahead that they moved no window", None)?
        .sample(&[], dedup.wild)?;
    let mut failures =
        text.counter("panther_dedup_spill_failures", "Reads and writes of ids on disk that failed", None)?;
    failures.sample(&[("operation", "read")], dedup.spill_read_failures)?;
    failures.sample(&[("operation", "write")], dedup.spill_write_failures)?;
    text.counter("panther_dedup_filter_negatives", "Lookups that a filter spared", None)?
        .sample(&[], dedup.filter_negatives)?;
    text.counter("panther_dedup_filter_false_positives", "Lookups that a filter let pass in vain", None)?
        .sample(&[], dedup.filter_false_positives)?;
    Ok(())
}

fn kinds(text: &mut Text<'_>, snapshot: &Snapshot, metrics: &MetricsReport) -> Result<(), OpenMetricsError> {
    let mut events = text.counter("panther_events_by_kind", "Events by kind and verdict", None)?;
    for count in &metrics.kinds {
        let kind = snapshot.schema.name(count.kind).unwrap_or("unknown");
        events.sample(&[("kind", kind), ("verdict", "new")], count.new)?;
        events.sample(&[("kind", kind), ("verdict", "duplicate")], count.duplicates)?;
    }
    Ok(())
}

fn measures(
    text: &mut Text<'_>,
    snapshot: &Snapshot,
    metrics: &MetricsReport,
    unit: Unit,
) -> Result<(), OpenMetricsError> {
    let of_unit: Vec<&Measure> = metrics.measures.iter().filter(|measure| measure.unit == unit).collect();
    if of_unit.is_empty() {
        return Ok(());
    }
    let (name, help, om_unit) = match unit {
        Unit::Nanoseconds => ("panther_payload_seconds", "Durations that payloads hold", "seconds"),
        Unit::Bytes => ("panther_payload_bytes", "Sizes that payloads hold", "bytes"),
    };
    let mut summary = text.summary(name, help, Some(om_unit))?;
    for measure in of_unit {
        let kind = snapshot.schema.name(measure.kind).unwrap_or("unknown");
        let labels = [("kind", kind), ("field", &*measure.field.name)];
        let sum = measure.sum as f64 * scale(unit);
        summary.sample(&labels, &quantiles(&measure.histogram, unit), sum, measure.histogram.len())?;
    }
    Ok(())
}

fn paths(text: &mut Text<'_>, snapshot: &Snapshot, report: &SightingsReport) -> Result<(), OpenMetricsError> {
    let name =
        |symbol| snapshot.symbols.name(symbol).map_or_else(|| format!("{symbol}"), |name| name.to_string());
    let named: Vec<(String, String, &PathReport)> =
        report.paths.iter().map(|path| (name(path.from), name(path.to), path)).collect();
    type Count = fn(&PathReport) -> u64;
    let counters: [(&str, &str, Count); 9] = [
        ("panther_path_sent", "Packets sent along a path", |path| path.sent),
        ("panther_path_lost", "Packets that did not arrive, at least", |path| path.lost),
        ("panther_path_lost_max", "Packets that did not arrive, at most", |path| path.lost_max),
        ("panther_path_undetermined", "Packets sent shortly before the far side ceased to look", |path| {
            path.undetermined
        }),
        ("panther_path_outside", "Packets for which the other side did not look", |path| path.outside),
        ("panther_path_unseen", "Packets that arrived and that the near side did not see", |path| {
            path.unseen
        }),
        ("panther_path_beyond_horizon", "Packets that arrived later than the horizon allows", |path| {
            path.beyond_horizon
        }),
        ("panther_path_duplicated", "Copies that arrived beyond the first", |path| path.duplicated),
        ("panther_path_reordered", "First copies that arrived after a later packet", |path| path.reordered),
    ];
    for (family, help, count) in counters {
        let mut counter = text.counter(family, help, None)?;
        for (from, to, path) in &named {
            counter.sample(&[("from", from), ("to", to)], count(path))?;
        }
    }
    let clamped = report.paths.iter().map(|path| path.delays.clamped).sum();
    let doubts = [
        ("late", "Sightings that came too late to be taken in order of time", report.late),
        ("refused", "Sightings at more vantage points than there can be", report.refused),
        ("unpaired", "Packets of addresses or flows that only one vantage point saw", report.unpaired),
        ("ambiguous", "Arrivals that could be of several identical packets", report.ambiguous),
        ("outliers", "Sightings far ahead in time, left out", report.outliers),
        ("clamped", "Delays beyond the histograms' range", clamped),
    ];
    for (name, help, value) in doubts {
        text.counter(&format!("panther_sightings_{name}"), help, None)?.sample(&[], value)?;
    }
    let mut delays =
        text.summary("panther_path_delay_seconds", "One-way delay of first copies", Some("seconds"))?;
    for (from, to, path) in &named {
        let sum = path.delays.sum_ns as f64 * scale(Unit::Nanoseconds);
        let quantiles = quantiles(&path.delays.histogram, Unit::Nanoseconds);
        delays.sample(&[("from", from), ("to", to)], &quantiles, sum, path.delays.count)?;
    }
    Ok(())
}

fn quantiles(histogram: &Histogram<u64>, unit: Unit) -> Vec<(f64, f64)> {
    let at = |q| Some((q, quantile(histogram, q)? as f64 * scale(unit)));
    QUANTILES.into_iter().filter_map(at).collect()
}

fn scale(unit: Unit) -> f64 {
    match unit {
        Unit::Nanoseconds => 1e-9,
        Unit::Bytes => 1.0,
    }
}
