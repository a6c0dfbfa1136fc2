//! What a person reads at the end of a run.

use crate::plain::plain;
use comfy_table::{CellAlignment, Table, presets};
use panther_events::export::summary::{
    AssertionSummary, InputSummary, PartSummary, PathSummary, ResultsSummary, StatesSummary, Summary,
    TallySummary, TestSummary, VantageSummary,
};
use std::io::{self, Write};

/// Failed tests that are printed one by one, and as many of those that have not passed otherwise.
const FAILURES_SHOWN: usize = 20;

/// Prints the paths, the states, the results and the account.
pub(crate) fn print(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    if let Some(packets) = &summary.packets {
        if packets.paths.is_empty() {
            writeln!(out, "No packet was seen at two vantage points, so there is no path to tell of.")?;
        } else {
            writeln!(out, "{}", paths(&packets.paths))?;
        }
        if packets.vantages.iter().any(|vantage| vantage.clock.is_some()) {
            writeln!(out, "\n{}", vantages(&packets.vantages))?;
        }
        writeln!(out)?;
    }
    if let Some(states) = &summary.states {
        writeln!(out, "{}\n", entities(states))?;
    }
    if let Some(results) = &summary.results {
        writeln!(out, "{}", outcomes(results))?;
        writeln!(out, "{}\n", outcome(results))?;
        print_failures(out, results)?;
    }
    writeln!(out, "{}", account(summary))?;
    let speed = &summary.throughput;
    writeln!(
        out,
        "\n{} events in {:.3} s ({} a second)",
        grouped(speed.events),
        speed.seconds,
        grouped(speed.events_per_second.round() as u64)
    )
}

/// Prints what was refused or lost; `losses` is what is not of a single input.
pub(crate) fn print_errors(err: &mut impl Write, summary: &Summary, losses: &[String]) -> io::Result<()> {
    for input in &summary.inputs {
        print_input(err, input)?;
    }
    for loss in losses {
        writeln!(err, "error: {}", plain(loss))?;
    }
    Ok(())
}

/// Prints the warnings that were not printed as errors.
pub(crate) fn print_warnings(err: &mut impl Write, summary: &Summary, losses: &[String]) -> io::Result<()> {
    for warning in summary.warnings.iter().filter(|warning| !losses.contains(warning)) {
        writeln!(err, "warning: {}", plain(warning))?;
    }
    Ok(())
}

fn print_input(err: &mut impl Write, input: &InputSummary) -> io::Result<()> {
    if let Some(error) = &input.error {
        writeln!(err, "error: {}", plain(error))?;
        if input.records > 0 {
            writeln!(err, "  the {} whole records before were used", grouped(input.records))?;
        }
    }
    if input.rejected > 0 {
        let what = if input.format.as_deref() == Some("panther") { "lines" } else { "packets" };
        writeln!(err, "error: {}: {} {what} were refused", plain(&input.path), grouped(input.rejected))?;
        for refusal in &input.refusals {
            writeln!(err, "  {}", plain(refusal))?;
        }
        let more = input.rejected - input.refusals.len() as u64;
        if more > 0 {
            writeln!(err, "  and {} more", grouped(more))?;
        }
    }
    Ok(())
}

fn paths(paths: &[PathSummary]) -> Table {
    let mut header = vec![
        "path",
        "sent",
        "lost",
        "lost %",
        "duplicated",
        "reordered",
        "delay min",
        "p50",
        "p90",
        "p99",
        "max",
    ];
    let beyond = paths.iter().any(|path| path.beyond_horizon > 0);
    if beyond {
        header.push("beyond horizon");
    }
    let clocks = paths.iter().any(|path| path.delay_uncertainty_ns.is_some());
    if clocks {
        header.push("± clocks");
    }
    let left_out = |path: &PathSummary| path.undetermined + path.outside + path.unseen;
    let any_left_out = paths.iter().any(|path| left_out(path) > 0);
    if any_left_out {
        header.push("not charged");
    }
    let mut table = table(&header);
    for path in paths {
        let share = |lost: u64| if path.sent > 0 { lost as f64 / path.sent as f64 * 100.0 } else { 0.0 };
        let delay = &path.delay_ns;
        let is_range = path.lost_max > path.lost;
        let range = |of: &dyn Fn(u64) -> String| {
            if is_range { format!("{} to {}", of(path.lost), of(path.lost_max)) } else { of(path.lost) }
        };
        let end_to_end = if path.end_to_end { " (end to end)" } else { "" };
        let mut row = vec![
            format!("{} → {}{end_to_end}", plain(&path.from), plain(&path.to)),
            grouped(path.sent),
            range(&grouped),
            range(&|lost| format!("{:.2}", share(lost))),
            grouped(path.duplicated),
            grouped(path.reordered),
        ];
        row.extend([delay.min, delay.p50, delay.p90, delay.p99, delay.max].map(duration));
        row.extend(beyond.then(|| grouped(path.beyond_horizon)));
        row.extend(clocks.then(|| duration(path.delay_uncertainty_ns)));
        row.extend(any_left_out.then(|| grouped(left_out(path))));
        table.add_row(row);
    }
    table
}

/// When each vantage point looked, and what is known of its clock.
fn vantages(vantages: &[VantageSummary]) -> Table {
    let mut header = vec!["vantage point", "packets", "first", "last", "clock"];
    let repeats = vantages.iter().any(|vantage| vantage.repeats > 0);
    let dropped = vantages.iter().any(|vantage| vantage.capture_dropped.is_some());
    header.extend(repeats.then_some("repeats"));
    header.extend(dropped.then_some("dropped"));
    let mut table = table(&header);
    let begin_ns = vantages.iter().map(|vantage| vantage.first_ns).min().unwrap_or(0);
    let since = |time_ns: u64| format!("{:.3} s", (time_ns - begin_ns) as f64 / 1e9);
    for vantage in vantages {
        let clock = vantage.clock.as_ref().map_or_else(String::new, |clock| {
            let steps =
                if clock.steps.is_empty() { String::new() } else { format!(", {} steps", clock.steps.len()) };
            match (clock.offset_ns, clock.drift_ppm) {
                (0, 0.0) if clock.steps.is_empty() => "as it is".to_owned(),
                (offset_ns, ppm) => {
                    let sign = if offset_ns < 0 { "-" } else { "+" };
                    let drift = if ppm == 0.0 { String::new() } else { format!(", {ppm:+.1} ppm") };
                    format!("{sign}{}{drift}{steps}", duration(Some(offset_ns.unsigned_abs())))
                }
            }
        });
        let mut row = vec![
            plain(&vantage.name).to_string(),
            grouped(vantage.packets),
            since(vantage.first_ns),
            since(vantage.last_ns),
            clock,
        ];
        row.extend(repeats.then(|| grouped(vantage.repeats)));
        row.extend(dropped.then(|| vantage.capture_dropped.map_or_else(String::new, grouped)));
        table.add_row(row);
    }
    table
}

/// How many tests, steps and assertions came out how.
fn outcomes(results: &ResultsSummary) -> Table {
    let mut table = table(&["", "passed", "failed", "incomplete", "running", "other", "all"]);
    let rows = [
        ("tests", &results.tests),
        ("steps", &results.steps),
        ("assertions", &results.assertions),
        ("checks", &results.checks),
    ];
    for (what, tally) in rows.into_iter().filter(|(_, tally)| tally.total > 0) {
        let other = tally.skipped + tally.unsupported + tally.unknown;
        let counts =
            [tally.passed, tally.failed, tally.incomplete, tally.running, other, tally.total].map(grouped);
        table.add_row(std::iter::once(what.to_owned()).chain(counts));
    }
    table
}

/// The verdict on everything, and why it is not known.
fn outcome(results: &ResultsSummary) -> String {
    let doubts = results.doubts.iter().map(|doubt| plain(doubt).to_string()).collect::<Vec<_>>().join("; ");
    match results.outcome {
        UNKNOWN if !doubts.is_empty() => format!("outcome: {UNKNOWN}: {doubts}"),
        outcome => format!("outcome: {outcome}"),
    }
}

/// Names what failed first, and then what has not passed otherwise.
fn print_failures(out: &mut impl Write, results: &ResultsSummary) -> io::Result<()> {
    let is_bad = |part: &PartSummary| !matches!(part.outcome, FAILED | "passed" | "skipped");
    let mut lines = 0;
    for (bad, count) in [(false, results.tests.failed), (true, others(&results.tests))] {
        let wanted = |part: &PartSummary| if bad { is_bad(part) } else { part.outcome == FAILED };
        for test in results.tree.iter().filter(|test| wanted(&test.part)).take(FAILURES_SHOWN) {
            print_test(out, test, wanted)?;
            lines += 1;
        }
        let shown = count.min(FAILURES_SHOWN as u64);
        if count > shown {
            let what = if bad { "have not passed" } else { "failed" };
            writeln!(out, "and {} more tests {what}; see summary.json", grouped(count - shown))?;
        }
    }
    for step in results.failed_steps.iter().take(FAILURES_SHOWN) {
        writeln!(out, "failed: step {}{}, of no known test", plain(&step.step), why(&step.part))?;
        print_assertions(out, &step.assertions, |part| part.outcome == FAILED)?;
        lines += 1;
    }
    for assertion in results.failed_assertions.iter().take(FAILURES_SHOWN) {
        let (name, why) = (plain(&assertion.assertion), why(&assertion.part));
        writeln!(out, "failed: assertion {name}{why}, of no known test")?;
        lines += 1;
    }
    for (what, beside, named) in [
        ("steps", &results.steps_beside, results.failed_steps.len()),
        ("assertions", &results.assertions_beside, results.failed_assertions.len()),
    ] {
        let more = beside.failed.saturating_sub(named.min(FAILURES_SHOWN) as u64);
        for (count, became) in [(more, "failed beside"), (others(beside), "have not passed")] {
            if count > 0 {
                writeln!(out, "{} {what} of no known test {became}", grouped(count))?;
                lines += 1;
            }
        }
    }
    let experiments = results.experiments.iter().filter(|experiment| experiment.part.outcome != "passed");
    for experiment in experiments.take(FAILURES_SHOWN) {
        let (outcome, why) = (experiment.part.outcome, why(&experiment.part));
        writeln!(out, "{outcome}: experiment {}{why}", plain(&experiment.experiment))?;
        lines += 1;
    }
    if lines > 0 { writeln!(out) } else { Ok(()) }
}

const FAILED: &str = "failed";
const UNKNOWN: &str = "unknown";

/// How many have neither passed nor failed nor were left out.
fn others(tally: &TallySummary) -> u64 {
    tally.total - tally.passed - tally.failed - tally.skipped
}

/// Names a test and those of its parts that are `wanted`.
fn print_test(
    out: &mut impl Write,
    test: &TestSummary,
    wanted: impl Fn(&PartSummary) -> bool + Copy,
) -> io::Result<()> {
    let runs = if test.part.runs > 1 { format!(" ({} runs)", test.part.runs) } else { String::new() };
    writeln!(out, "{}: test {}{runs}{}", test.part.outcome, plain(&test.test), why(&test.part))?;
    for step in test.steps.iter().filter(|step| wanted(&step.part)) {
        writeln!(out, "  step {}{}", plain(&step.step), how(&step.part))?;
    }
    for step in &test.steps {
        print_assertions(out, &step.assertions, wanted)?;
    }
    print_assertions(out, &test.assertions, wanted)
}

fn print_assertions(
    out: &mut impl Write,
    assertions: &[AssertionSummary],
    wanted: impl Fn(&PartSummary) -> bool,
) -> io::Result<()> {
    for assertion in assertions.iter().filter(|assertion| wanted(&assertion.part)) {
        writeln!(out, "  assertion {}{}", plain(&assertion.assertion), how(&assertion.part))?;
    }
    Ok(())
}

/// Why a part failed, or what else became of it and why.
fn how(part: &PartSummary) -> String {
    if part.outcome == FAILED { why(part) } else { format!(": {}{}", part.outcome, why(part)) }
}

fn why(part: &PartSummary) -> String {
    part.message.as_ref().map_or_else(String::new, |message| format!(": {}", plain(message)))
}

/// How many entities of each domain are in which state.
fn entities(states: &StatesSummary) -> Table {
    let mut table = table(&["state", "entities", "invalid transitions"]);
    let mut told: &str = "";
    for (state, count) in &states.by_state {
        let domain = state.split('.').next().unwrap_or_default();
        // Those of a domain stand at its first state.
        let invalid = states.invalid_transitions.get(domain).filter(|_| domain != told);
        table.add_row([plain(state), grouped(*count), invalid.map_or_else(String::new, |n| grouped(*n))]);
        told = domain;
    }
    table
}

fn account(summary: &Summary) -> Table {
    let account = &summary.accounting;
    let mut table = table(&["events", "", "of these", ""]);
    let left = [
        ("offered", account.offered),
        ("accepted", account.accepted),
        ("dropped, ring full", account.dropped_full),
        ("rejected", account.rejected),
    ];
    let right = [
        ("unique", account.unique),
        ("duplicates", account.duplicates),
        ("in flight", account.in_flight),
        ("forgotten by dedup", summary.dedup.forgotten),
    ];
    for ((left, n), (right, m)) in left.into_iter().zip(right) {
        table.add_row([left.to_owned(), grouped(n), right.to_owned(), grouped(m)]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A duration as a person reads it: three significant digits and a unit.
fn duration(ns: Option<u64>) -> String {
    let Some(ns) = ns else { return "–".to_owned() };
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A number with its thousands set apart.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let cases = [(7, "7 ns"), (4_120_876, "4.12 ms"), (18_229_380, "18.2 ms"), (999_400, "999 µs")];
        for (ns, text) in cases {
            assert_eq!(duration(Some(ns)), text);
        }
        assert_eq!(duration(None), "–");
    }
}
