//! The files of a result directory.

use crate::event::Symbol;
use crate::export::csv::{DelayCells, PathRow, write_paths};
use crate::export::from_snapshot::{CommitError, InputCounts, write_entity_states, write_exposition};
use crate::export::hlog::{HlogError, Interval, path_tag, write_hlog};
use crate::export::openmetrics::OpenMetricsError;
use crate::export::summary::Summary;
use crate::export::{DirError, FileError, ResultDir, ResultFile};
use crate::paths::SightingsReport;
use crate::run::finished::{FinishedRun, InputTotals};
use crate::run::names::{DELAYS, METRICS, PATHS, SCHEMA, STATES, SUMMARY};
use std::io::{self, Write};
use std::path::PathBuf;

/// A file of a result directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileFormat {
    /// `summary.json`.
    Summary,
    /// `metrics.om`.
    OpenMetrics,
    /// `delay.hlog`, where there are packets.
    Hlog,
    /// `paths.csv`, where there are packets, and `states.csv`, where there are entities.
    Csv,
    /// `events.jsonl`.
    Jsonl,
}

impl FileFormat {
    /// All of them.
    pub const ALL: [FileFormat; 5] =
        [FileFormat::Summary, FileFormat::OpenMetrics, FileFormat::Hlog, FileFormat::Csv, FileFormat::Jsonl];
}

/// Why a result directory was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file of it.
    #[error(transparent)]
    File(#[from] FileError),
    /// `events.jsonl`.
    #[error(transparent)]
    Events(#[from] CommitError),
    /// What a file was to hold.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
}

/// Why a file could not be filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// `metrics.om`.
    #[error(transparent)]
    OpenMetrics(#[from] OpenMetricsError),
    /// `delay.hlog`.
    #[error(transparent)]
    Hlog(#[from] HlogError),
}

impl FinishedRun {
    /// Writes `schema.json`, the files of `formats` and, last, `MANIFEST`.
    ///
    /// # Errors
    /// When one of them cannot be written: there is no `MANIFEST` then, and what is there is no result.
    pub fn write(&self, dir: ResultDir, summary: &Summary, formats: &[FileFormat]) -> Result<(), WriteError> {
        let schema = self.snapshot.schema.to_json();
        with_file(&dir, SCHEMA, |file| Ok(file.write_all(schema.as_bytes())?))?;
        formats.iter().try_for_each(|format| write_file(&dir, self, summary, *format))?;
        dir.commit()?;
        Ok(())
    }
}

fn write_file(
    dir: &ResultDir,
    run: &FinishedRun,
    summary: &Summary,
    format: FileFormat,
) -> Result<(), WriteError> {
    let (snapshot, metrics) = (&run.snapshot, run.snapshot.report(run.observers.metrics));
    let sightings = snapshot.report(run.observers.sightings);
    match format {
        FileFormat::Summary => with_file(dir, SUMMARY, |file| Ok(summary.write(file)?)),
        FileFormat::OpenMetrics => {
            let inputs: Vec<InputCounts<'_>> = run.inputs.iter().map(input_counts).collect();
            with_file(dir, METRICS, |file| Ok(write_exposition(file, snapshot, &inputs, metrics, sightings)?))
        }
        FileFormat::Hlog if summary.packets.is_none() => Ok(()),
        FileFormat::Hlog => with_file(dir, DELAYS, |file| write_delays(file, run, sightings)),
        FileFormat::Csv => write_csv(dir, run, summary),
        FileFormat::Jsonl => match &run.observers.events {
            Some(events) => Ok(events.commit()?),
            None => Ok(()),
        },
    }
}

fn input_counts(input: &InputTotals) -> InputCounts<'_> {
    InputCounts {
        vantage: &input.vantage,
        records: input.records,
        rejected: input.rejected,
        non_ip: input.non_ip,
    }
}

fn write_csv(dir: &ResultDir, run: &FinishedRun, summary: &Summary) -> Result<(), WriteError> {
    let states = run.snapshot.report(run.observers.states).filter(|_| summary.states.is_some());
    if let Some(states) = states {
        with_file(dir, STATES, |file| Ok(write_entity_states(file, states, &run.snapshot)?))?;
    }
    if summary.packets.is_none() {
        return Ok(());
    }
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
            beyond_horizon: path.beyond_horizon,
            duplicated: path.duplicated,
            reordered: path.reordered,
            delay_count: d.count,
            delay: delay(),
        }
    });
    with_file(dir, PATHS, |file| Ok(write_paths(file, rows)?))
}

/// Writes one interval per path, over the time of all packets.
fn write_delays(
    file: &mut ResultFile,
    run: &FinishedRun,
    sightings: Option<&SightingsReport>,
) -> Result<(), FormatError> {
    let (start_ns, end_ns) = run.time_ns.unwrap_or_default();
    let name =
        |symbol: Symbol| run.snapshot.symbols.name(symbol).unwrap_or_else(|| symbol.to_string().into());
    let paths = sightings.map_or(&[][..], |report| &report.paths);
    let tags: Vec<String> = paths.iter().map(|path| path_tag(&name(path.from), &name(path.to))).collect();
    let intervals = paths.iter().zip(&tags).map(|(path, tag)| Interval {
        tag,
        start_ns,
        len_ns: end_ns - start_ns,
        histogram: &path.delays.histogram,
    });
    write_hlog(file, start_ns, intervals)?;
    Ok(())
}

fn with_file(
    dir: &ResultDir,
    name: &str,
    write: impl FnOnce(&mut ResultFile) -> Result<(), FormatError>,
) -> Result<(), WriteError> {
    let mut file = dir.file(name)?;
    write(&mut file).map_err(|source| WriteError::Format { path: file.path(), source })?;
    Ok(file.commit()?)
}
