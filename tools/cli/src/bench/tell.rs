//! What `panther-events bench` prints: a table for people, JSON for machines.

use super::{Args, DedupRates, Delay, PIPELINE_IDS, Results};
use crate::plain::plain;
use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use panther_events::observe::metrics::quantile;
use serde_json::json;
use std::io::Write;

pub(super) fn tell(args: &Args, results: &Results) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let told = if args.json {
        serde_json::to_writer_pretty(&mut out, &json(args, results))?;
        writeln!(out)
    } else {
        print(&mut out, args, results)
    };
    match told.and_then(|()| out.flush()) {
        // `panther-events bench | head` is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn print(out: &mut impl Write, args: &Args, results: &Results) -> std::io::Result<()> {
    let machine = &results.machine;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |what: String, value: String| {
        table.add_row([what, value]);
    };
    row("processor".into(), plain(&machine.cpu).to_string());
    row("cores".into(), machine.cores.to_string());
    row("topology chosen here".into(), machine.topology.to_string());
    let pinning = match &machine.pinned_to {
        Some(core) => format!("the pipeline's thread has core {core}"),
        None => "none".to_owned(),
    };
    row("pinning".into(), pinning);
    row("huge pages".into(), format!("{} ({} MiB used)", machine.huge_pages, machine.huge_page_bytes >> 20));
    row("reading the clock".into(), format!("{:.1} ns", machine.counter_ns));
    row("emit, stamped".into(), format!("{:.1} ns an event", results.emit.single));
    row("emit, coarse clock of 1 ms".into(), format!("{:.1} ns an event", results.emit.coarse));
    row("emit, batches of 64".into(), format!("{:.1} ns an event", results.emit.batch));
    row("emit, ring, dedup of one id".into(), format!("{:.1} M/s", results.ring));
    for DedupRates { ids, new, known } in &results.dedup {
        row(format!("dedup, {ids} ids"), format!("{new:.1} M/s new, {known:.1} M/s known"));
    }
    row(
        format!("whole pipeline, {PIPELINE_IDS} ids, a counter and two histograms"),
        format!("{:.1} M/s", results.pipeline),
    );
    let quantiles = |histogram: &Histogram<u64>| {
        let quantiles = QUANTILES.map(|(name, q)| {
            format!("{name} {:.1}", quantile(histogram, q).unwrap_or_default() as f64 / 1e3)
        });
        quantiles.join(", ")
    };
    row(
        format!("lateness in us of threads that only wait, {} a second", args.rate),
        quantiles(&results.lateness),
    );
    for Delay { wait, histogram, dropped, per_second } in &results.delays {
        row(
            format!("delay in us at {} a second, {wait:?}", args.rate),
            format!("{}; {per_second:.0} a second, {dropped} dropped", quantiles(histogram)),
        );
    }
    let share = |share: Option<f64>| {
        share.map_or("unknown".into(), |share| format!("{:.2} % of a core", share * 100.0))
    };
    row("idle pipeline".into(), share(results.idle_cpu_share));
    row("idle pipeline, coarse clock of 1 ms".into(), share(results.idle_cpu_share_coarse));
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    writeln!(out, "{table}")?;
    for warning in &results.warnings {
        writeln!(out, "warning: {}", plain(warning))?;
    }
    Ok(())
}

/// Raised when a field changes its meaning or goes; new ones may come without.
const SCHEMA: &str = "panther-events-bench/1";

fn json(args: &Args, results: &Results) -> serde_json::Value {
    let machine = &results.machine;
    let dedup: Vec<_> = results
        .dedup
        .iter()
        .map(|DedupRates { ids, new, known }| json!({ "ids": ids, "new_per_second": new * 1e6, "known_per_second": known * 1e6 }))
        .collect();
    let [late_p50, late_p99, late_p999, late_max] = QUANTILES.map(|(_, q)| quantile(&results.lateness, q));
    let delays: Vec<_> = results
        .delays
        .iter()
        .map(|delay| {
            let [p50, p99, p999, max] = QUANTILES.map(|(_, q)| quantile(&delay.histogram, q));
            json!({
                "wait": format!("{:?}", delay.wait).to_lowercase(),
                "per_second": delay.per_second,
                "dropped": delay.dropped,
                "p50_ns": p50,
                "p99_ns": p99,
                "p999_ns": p999,
                "max_ns": max,
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "machine": {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "topology": machine.topology.to_string(),
            "pinning": "auto",
            "pinned_to": machine.pinned_to,
            "huge_pages": machine.huge_pages,
            "huge_page_bytes": machine.huge_page_bytes,
            "clock_read_ns": machine.counter_ns,
        },
        "emit": {
            "single_ns": results.emit.single,
            "coarse_clock_ns": results.emit.coarse,
            "batch_of_64_ns": results.emit.batch,
        },
        "ring_per_second": results.ring * 1e6,
        "dedup": dedup,
        "pipeline": { "ids": PIPELINE_IDS, "per_second": results.pipeline * 1e6 },
        "delay": {
            "rate_per_second": args.rate,
            "waiting_alone": {
                "p50_ns": late_p50,
                "p99_ns": late_p99,
                "p999_ns": late_p999,
                "max_ns": late_max,
            },
            "by_wait": delays,
        },
        "idle_cpu_share": results.idle_cpu_share,
        "idle_cpu_share_coarse_clock": results.idle_cpu_share_coarse,
        "warnings": results.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Delay, Emit, Machine};
    use panther_events::pipeline::{Topology, WaitStrategy};
    use std::time::Duration;

    fn results() -> Results {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1000).for_each(|delay_ns| histogram.record(delay_ns).unwrap());
        Results {
            machine: Machine {
                cpu: "Abacus (x86_64)".into(),
                cores: 2,
                topology: Topology::Fused,
                pinned_to: Some("1".into()),
                huge_pages: "madvise".into(),
                huge_page_bytes: 2 << 20,
                counter_ns: 9.5,
            },
            emit: Emit { single: 13.0, coarse: 9.0, batch: 2.5 },
            ring: 50.0,
            dedup: vec![DedupRates { ids: 100_000, new: 40.0, known: 41.0 }],
            pipeline: 12.0,
            lateness: histogram.clone(),
            delays: vec![Delay { wait: WaitStrategy::Spin, histogram, dropped: 7, per_second: 1e6 }],
            idle_cpu_share: Some(0.0001),
            idle_cpu_share_coarse: None,
            warnings: vec!["a\u{1b}[2J".into()],
        }
    }

    /// What scripts read: under one schema, no field goes and none changes its unit.
    #[test]
    fn the_json_of_schema_1_keeps_its_fields() {
        let args = Args { rate: 1_000_000, duration: Duration::from_secs(2), json: true };
        let expected = json!({
            "schema": "panther-events-bench/1",
            "version": env!("CARGO_PKG_VERSION"),
            "machine": {
                "cpu": "Abacus (x86_64)",
                "cores": 2,
                "topology": "fused",
                "pinning": "auto",
                "pinned_to": "1",
                "huge_pages": "madvise",
                "huge_page_bytes": 2_097_152,
                "clock_read_ns": 9.5,
            },
            "emit": { "single_ns": 13.0, "coarse_clock_ns": 9.0, "batch_of_64_ns": 2.5 },
            "ring_per_second": 5e7,
            "dedup": [{ "ids": 100_000, "new_per_second": 4e7, "known_per_second": 4.1e7 }],
            "pipeline": { "ids": PIPELINE_IDS, "per_second": 1.2e7 },
            "delay": {
                "rate_per_second": 1_000_000,
                "waiting_alone": { "p50_ns": 500, "p99_ns": 990, "p999_ns": 999, "max_ns": 1000 },
                "by_wait": [{
                    "wait": "spin",
                    "per_second": 1e6,
                    "dropped": 7,
                    "p50_ns": 500,
                    "p99_ns": 990,
                    "p999_ns": 999,
                    "max_ns": 1000,
                }],
            },
            "idle_cpu_share": 0.0001,
            "idle_cpu_share_coarse_clock": null,
            "warnings": ["a\u{1b}[2J"],
        });
        assert_eq!(json(&args, &results()), expected);
    }

    #[test]
    fn the_table_tells_what_was_dropped_and_steers_no_terminal() {
        let args = Args { rate: 1_000_000, duration: Duration::from_secs(2), json: false };
        let mut out = Vec::new();
        print(&mut out, &args, &results()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Abacus") && text.contains("core 1"), "{text}");
        assert!(text.contains("7 dropped") && !text.contains('\u{1b}'), "{text}");
    }
}
