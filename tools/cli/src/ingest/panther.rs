//! `panther-events ingest` of PANTHER's events.

use super::{Args, painted, progress_bar};
use crate::Outcome;
use crate::flight::Flight;
use crate::journal_args::{Description, nanos};
use crate::journal_log;
use crate::report;
use crate::results::{Failure, Told, commit, judged, panther_ids, tell, tell_doubts};
use crate::signals::Signals;
use panther_events::event::Symbols;
use panther_events::export::ResultDir;
use panther_events::export::summary::{InputSummary, PantherSummary, Summary};
use panther_events::ingest::panther::{FileReport, PantherFeedReport, PantherIds, feed_until};
use panther_events::run::{FileFormat, FinishedRun, InputTotals, RunOptions, doubt_inputs, is_whole};
use panther_events_cli::filters::window_text;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub(super) fn run(
    args: &Args,
    paths: &[PathBuf],
    dir: ResultDir,
    signals: &Signals,
    mut flight: Option<&mut Flight>,
) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let bar = progress_bar(args, paths);
    let ids = Arc::new(PantherIds::default());
    let options = RunOptions {
        topology: args.topology,
        window: args.window,
        horizon: args.horizon.unwrap_or(super::HORIZON),
        events: args.events.into(),
        id_elsewhere: Some(panther_ids(Arc::clone(&ids))),
        ..RunOptions::default()
    };
    let symbols = Arc::new(Symbols::new());
    let (mut builder, observers) = options.builder(&symbols, &dir)?;
    let mut notes = None;
    if let Some(journal) = &args.journal {
        let description = Description {
            survey: None,
            schema: Description::SCHEMA.to_owned(),
            vantages: Vec::new(),
            horizon_ns: nanos(args.horizon.unwrap_or(super::HORIZON)),
            window: window_text(args.window),
            digest_bytes: None,
            digest_key: None,
            mask_checksums: false,
        };
        let log = journal_log::open(journal, args.journal_options(), args.resume, &description, &symbols)?;
        notes = Some(log.attach(&mut builder));
    }
    if let Some(flight) = &flight {
        builder.recorder(&flight.recorder);
    }
    let pipeline = builder.start()?;
    let mut emitter = pipeline.emitter("ingest")?;
    let fed = painted(&bar, |progress| {
        let pump = || {
            pipeline.poll();
            if signals.take_snapshot()
                && let Some(flight) = &mut flight
            {
                flight.snapshot();
            }
        };
        feed_until(paths, args.python, &mut emitter, &ids, progress, pump, signals.stop())
    });
    drop(emitter);
    let inputs: Vec<InputTotals> = fed.files.iter().map(note).collect();
    let earlier = notes.map(|notes| notes.put_inputs(&inputs)).transpose()?.unwrap_or_default();
    let times = || fed.files.iter().filter_map(|file| file.time_ns);
    let (first, last) = (times().map(|time| time.0).min(), times().map(|time| time.1).max());
    let (snapshot, elapsed) = (pipeline.shutdown(), start.elapsed());
    let finished = FinishedRun { snapshot, observers, inputs, time_ns: first.zip(last), elapsed };
    bar.finish_and_clear();
    let mut summary = summary(args, &fed, &ids, &finished);
    summary.warnings.extend(earlier.stall.iter().cloned());
    earlier.stall.iter().chain(&earlier.doubts).for_each(|doubt| summary.doubt_results(doubt));
    doubt_inputs(&mut summary);
    let known = finished.snapshot.preloaded;
    let mut doubts = earlier.doubts;
    if known > 0 {
        // The results have a doubt of their own because of it.
        let again = match summary.accounting.duplicates {
            0 => String::new(),
            again => format!(", and may have held {again} that came again"),
        };
        let judged = "the results are of this run's new events only; `replay` judges all that it holds";
        doubts.push(format!("the journal held {known} events before{again}: {judged}"));
    }
    let losses = finished.losses();
    if !fed.files.iter().any(|file| file.error.is_none() || file.used > 0) {
        report::print_errors(&mut std::io::stderr(), &summary, &losses)?;
        return Err("nothing could be read; no results were written".into());
    }
    commit(dir, &finished, &summary, &losses, &FileFormat::ALL)?;
    let is_whole = is_whole(&summary, &losses) && earlier.stall.is_empty();
    let found = if is_whole { Outcome::Done } else { Outcome::Partly };
    let found = judged(found, &summary, args.require_passed);
    let found = tell(Told::new(args.json, args.quiet), &args.out, &summary, &losses, found);
    if args.require_passed {
        // Where standard error is gone, the exit status has to do.
        let _ = tell_doubts(&mut std::io::stderr(), &summary, &doubts);
    }
    Ok(found)
}

fn summary(args: &Args, fed: &PantherFeedReport, ids: &PantherIds, finished: &FinishedRun) -> Summary {
    let mut summary = finished.summary(args.topology, None);
    summary.inputs = fed.files.iter().map(input_summary).collect();
    // Also where there is no entity; and no word on packets, which such files do not have.
    if let Some(states) =
        finished.snapshot.report(finished.observers.states).filter(|_| summary.states.is_none())
    {
        summary.add_states(states);
    }
    summary.packets = None;
    summary.panther = Some(PantherSummary {
        lines: fed.lines(),
        distinct_ids: fed.distinct_ids,
        id_mismatches: fed.id_mismatches(),
    });
    for file in &fed.files {
        summary.warnings.extend(file.mismatches.iter().map(ToString::to_string));
        let more = file.id_mismatches - file.mismatches.len() as u64;
        if more > 0 {
            summary.warnings.push(format!("{}: and {more} more ids", file.path.display()));
        }
    }
    if ids.forgotten() > 0 {
        let events = ids.forgotten();
        summary
            .warnings
            .push(format!("events.jsonl: {events} events show their computed id for another one"));
    }
    summary
}

fn note(file: &FileReport) -> InputTotals {
    InputTotals {
        // Two files may have one name in different directories.
        vantage: file.path.display().to_string(),
        records: file.counts.events + file.counts.refused,
        rejected: file.refused,
        non_ip: 0,
        error: file.error.clone(),
    }
}

fn input_summary(file: &FileReport) -> InputSummary {
    InputSummary {
        path: file.path.display().to_string(),
        vantage: file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        format: Some("panther".to_owned()),
        records: file.counts.events + file.counts.refused,
        bytes: file.bytes,
        rejected: file.refused,
        non_ip: 0,
        capture_dropped: None,
        refusals: file.refusals.iter().map(ToString::to_string).collect(),
        error: file.error.clone(),
    }
}
