//! A run that has ended, and its summary.

use crate::export::summary::{InputSummary, Summary};
use crate::observe::Report;
use crate::pipeline::{Snapshot, Topology};
use crate::run::losses::losses;
use crate::run::observers::Observers;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A run that went through.
pub struct FinishedRun {
    /// What the pipeline held at its end.
    pub snapshot: Snapshot,
    /// Where in it the findings are.
    pub observers: Observers,
    /// What was read from inputs, as far as it is known.
    pub inputs: Vec<InputTotals>,
    /// Earliest and latest time of an event, in nanoseconds since the Unix epoch.
    pub time_ns: Option<(u64, u64)>,
    /// How long the run took.
    pub elapsed: Duration,
}

/// What was read from one input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputTotals {
    /// The name of its vantage point.
    pub vantage: String,
    /// Records read whole.
    pub records: u64,
    /// Records refused.
    pub rejected: u64,
    /// Records that were no IP packets.
    pub non_ip: u64,
    /// What ended the reading early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl InputTotals {
    /// Says what of the input was not read: it may have told of a failure.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let refused = match self.rejected {
            0 => None,
            rejected => Some(format!("{rejected} of the records of {} were refused", self.vantage)),
        };
        self.error.iter().cloned().chain(refused).collect()
    }

    /// Adds what was read from the same input at another time.
    pub fn add(&mut self, more: &InputTotals) {
        if self.error.is_none() {
            self.error.clone_from(&more.error);
        }
        self.records += more.records;
        self.rejected += more.rejected;
        self.non_ip += more.non_ip;
    }
}

impl FinishedRun {
    /// Makes the summary, without its inputs. `digest_bytes` says by how many of their first bytes packets were identified;
    /// `None` for all.
    #[must_use]
    pub fn summary(&self, topology: Topology, digest_bytes: Option<u32>) -> Summary {
        let mut summary = Summary::new(&self.snapshot, &topology.to_string(), self.elapsed.as_secs_f64());
        let states = self.snapshot.report(self.observers.states).filter(|states| states.entities_total() > 0);
        // A run over events of tests has no packets to tell of, unless there are some.
        let sightings = self.snapshot.report(self.observers.sightings);
        if let Some(sightings) = sightings.filter(|seen| states.is_none() || !seen.vantages.is_empty()) {
            summary.add_sightings(sightings, &self.snapshot, digest_bytes);
        }
        if let Some(states) = states {
            summary.add_states(states);
        }
        let results = self.snapshot.report(self.observers.results);
        if let Some(results) = results.filter(|results| !results.is_empty()) {
            summary.add_results(results, &self.snapshot);
        }
        summary
    }

    /// Says what the run lost beyond what its inputs were short of, a line each: events dropped or refused, observers that
    /// failed, ids that could not be read from disk or written there, and what else the pipeline warns of.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let states = self.snapshot.report(self.observers.states);
        let findings = states
            .map(|states| states.warnings(&self.snapshot.schema, &self.snapshot.symbols))
            .unwrap_or_default();
        losses(&self.snapshot, self.snapshot.report(self.observers.sightings), &findings)
    }
}

/// Takes note in the results of what of the inputs was not read: it may have told of a failure.
pub fn doubt_inputs(summary: &mut Summary) {
    let mut doubts = Vec::new();
    for input in &summary.inputs {
        doubts.extend(input.error.clone());
        if input.rejected > 0 {
            doubts.push(format!("{} of the records of {} were refused", input.rejected, input.path));
        }
    }
    doubts.into_iter().for_each(|doubt| summary.doubt_results(doubt));
}

/// Tells whether nothing was refused or lost.
#[must_use]
pub fn is_whole(summary: &Summary, losses: &[String]) -> bool {
    let short = |input: &InputSummary| input.error.is_some() || input.rejected > 0;
    losses.is_empty() && !summary.inputs.iter().any(short)
}
