//! The names of the files of a result directory.

use crate::export::ResultDir;

pub(super) const SUMMARY: &str = "summary.json";
pub(super) const SCHEMA: &str = "schema.json";
pub(super) const METRICS: &str = "metrics.om";
pub(super) const DELAYS: &str = "delay.hlog";
pub(super) const PATHS: &str = "paths.csv";
pub(super) const STATES: &str = "states.csv";
pub(super) const EVENTS: &str = "events.jsonl";

/// Names that a run writes to, or whose files it removes, in its directory.
pub const FILE_NAMES: [&str; 8] =
    [SUMMARY, SCHEMA, METRICS, DELAYS, PATHS, STATES, EVENTS, ResultDir::MANIFEST];
