//! The files of a result.

use super::{Failure, Run};
use panther_events::event::Symbol;
use panther_events::export::csv::{DelayCells, PathRow, write_paths};
use panther_events::export::exposition::{InputCounts, write_exposition};
use panther_events::export::hlog::{Interval, path_tag, write_hlog};
use panther_events::export::summary::{InputSummary, Summary};
use panther_events::export::{ResultDir, ResultFile};
use panther_events::observe::sightings::SightingsReport;

pub(super) const EVENTS: &str = "events.jsonl";
const SUMMARY: &str = "summary.json";
const METRICS: &str = "metrics.om";
const DELAYS: &str = "delay.hlog";
const PATHS: &str = "paths.csv";

/// Names that a run writes to, or whose files it removes, in its directory.
pub(super) const NAMES: [&str; 6] = [SUMMARY, METRICS, DELAYS, PATHS, EVENTS, ResultDir::MANIFEST];

/// Writes all files of a result but `MANIFEST`.
pub(super) fn write(dir: &ResultDir, run: &Run, summary: &Summary) -> Result<(), Failure> {
    let (snapshot, metrics) = (&run.snapshot, run.snapshot.report(run.metrics));
    let sightings = snapshot.report(run.sightings);
    with_file(dir, SUMMARY, |file| Ok(summary.write(file)?))?;
    let inputs: Vec<InputCounts<'_>> = summary.inputs.iter().map(input_counts).collect();
    with_file(dir, METRICS, |file| Ok(write_exposition(file, snapshot, &inputs, metrics, sightings)?))?;
    with_file(dir, DELAYS, |file| write_delays(file, run, sightings))?;
    let rows = summary.packets.iter().flat_map(|packets| &packets.paths).map(|path| {
        let d = &path.delay_ns;
        let delay = || {
            Some(DelayCells {
                min_ns: d.min?,
                p50_ns: d.p50?,
                p90_ns: d.p90?,
                p99_ns: d.p99?,
                p999_ns: d.p999?,
                max_ns: d.max?,
                mean_ns: d.mean?,
            })
        };
        PathRow {
            from: &path.from,
            to: &path.to,
            sent: path.sent,
            lost: path.lost,
            duplicated: path.duplicated,
            reordered: path.reordered,
            delay_count: d.count,
            delay: delay(),
        }
    });
    with_file(dir, PATHS, |file| Ok(write_paths(file, rows)?))?;
    if let Some(events) = &run.events {
        events.commit()?;
    }
    Ok(())
}

fn input_counts(input: &InputSummary) -> InputCounts<'_> {
    InputCounts {
        vantage: &input.vantage,
        records: input.records,
        rejected: input.rejected,
        non_ip: input.non_ip,
    }
}

/// Writes one interval per path, over the time of all captures.
fn write_delays(
    file: &mut ResultFile,
    run: &Run,
    sightings: Option<&SightingsReport>,
) -> Result<(), Failure> {
    let times = || run.feed.captures.iter().filter_map(|capture| capture.time_ns);
    let start_ns = times().map(|(first, _)| first).min().unwrap_or(0);
    let end_ns = times().map(|(_, last)| last).max().unwrap_or(start_ns);
    let name = |symbol: Symbol| run.snapshot.symbols.name(symbol).unwrap_or_default();
    let paths = sightings.map_or(&[][..], |report| &report.paths);
    let tags: Vec<String> = paths.iter().map(|path| path_tag(&name(path.from), &name(path.to))).collect();
    let intervals = paths.iter().zip(&tags).map(|(path, tag)| Interval {
        tag,
        start_ns,
        len_ns: end_ns - start_ns,
        histogram: &path.delay_ns,
    });
    write_hlog(file, start_ns, intervals)?;
    Ok(())
}

fn with_file(
    dir: &ResultDir,
    name: &str,
    write: impl FnOnce(&mut ResultFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut file = dir.file(name)?;
    write(&mut file).map_err(|error| format!("{}: {error}", file.path().display()))?;
    Ok(file.commit()?)
}
