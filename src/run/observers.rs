//! The observers that fill a result directory.

use crate::dedup::DedupOptions;
use crate::event::Symbols;
use crate::export::from_snapshot::EventFile;
use crate::export::{FileError, ResultDir};
use crate::observe::metrics::{Metrics, MetricsReport};
use crate::observe::results::{Results, ResultsReport};
use crate::observe::state::{StateOptions, StateQuery, StateReport};
use crate::paths::{Sightings, SightingsOptions, SightingsReport};
use crate::pipeline::{Builder, PipelineOptions, ReportKey};
use crate::run::names::{EVENTS, FILE_NAMES};
use crate::run::options::{EventChoice, RunOptions};
use std::sync::Arc;

/// Where in a snapshot the findings of a run are.
#[derive(Debug)]
pub struct Observers {
    /// Of the observer `metrics`.
    pub metrics: ReportKey<MetricsReport>,
    /// Of the observer `sightings`.
    pub sightings: ReportKey<SightingsReport>,
    /// Of the observer `state`.
    pub states: ReportKey<StateReport>,
    /// Of the observer `results`.
    pub results: ReportKey<ResultsReport>,
    /// `events.jsonl`, where there is one.
    pub events: Option<EventFile>,
}

impl RunOptions {
    /// Begins a pipeline with the observers that fill the result directory `dir`.
    ///
    /// # Errors
    /// When `events.jsonl` cannot be made, or something in the directory has the name of a result file and is none.
    pub fn builder(self, symbols: &Arc<Symbols>, dir: &ResultDir) -> Result<(Builder, Observers), FileError> {
        // Most are written at the end: what is in their way is told before anything is read.
        FILE_NAMES
            .iter()
            .filter(|name| **name != ResultDir::MANIFEST)
            .try_for_each(|name| dir.may_write(name))?;
        let events = match self.events {
            EventChoice::None => None,
            _ => {
                let file = EventFile::new(dir.file(EVENTS)?).within(self.within);
                Some(match self.id_elsewhere {
                    Some(elsewhere) => file.with_id_elsewhere(&elsewhere.member, elsewhere.id),
                    None => file,
                })
            }
        };
        let mut builder = Builder::new(PipelineOptions {
            topology: self.topology,
            full_policy: self.full_policy,
            dedup: DedupOptions { window: self.window, ..DedupOptions::default() },
            ..PipelineOptions::default()
        });
        builder.symbols(Arc::clone(symbols));
        let metrics = builder.observer("metrics", |setup| Metrics::new(setup.schema));
        let pairing = SightingsOptions {
            horizon: self.horizon,
            vantages: self.vantages,
            survey: self.survey,
            ..SightingsOptions::default()
        };
        let sightings =
            builder.observer("sightings", move |setup| Sightings::new(&pairing).holding_names(setup.symbols));
        let states = builder.observer("state", {
            let query = StateQuery::new(StateOptions::default());
            move |setup| query.observer(setup.schema, setup.symbols, setup.contexts)
        });
        let results =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        if let Some(events) = events.clone() {
            let duplicates = self.events == EventChoice::All;
            builder.observer("events", move |setup| events.observer(setup, duplicates));
        }
        Ok((builder, Observers { metrics, sightings, states, results, events }))
    }
}
