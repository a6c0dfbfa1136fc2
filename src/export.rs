//! Result files: one directory for a run, one file per format.
//!
//! This module and `ingest` are the only ones that know text and file formats. What lies here takes plain
//! arguments (names, numbers, records, histograms), so that a format can be tested, and used, without a
//! pipeline.
//!
//! | module | writes | feature |
//! |---|---|---|
//! | [`dir`] | the directory: whole results or none | |
//! | `summary` | `summary.json`, the account of a run | `json` |
//! | `event_log`, `jsonl` | `events.jsonl`, one event a line | `json` |
//! | `exposition`, `openmetrics` | `metrics.om`, OpenMetrics 1.0 text | `openmetrics` |
//! | `hlog` | `delay.hlog`, HdrHistogram interval log | `hlog` |
//! | `csv` | `paths.csv`, one path a row | `csv` |

pub mod dir;

#[cfg(feature = "csv")]
pub mod csv;
#[cfg(feature = "json")]
pub mod event_log;
#[cfg(feature = "openmetrics")]
pub mod exposition;
#[cfg(feature = "hlog")]
pub mod hlog;
#[cfg(feature = "json")]
pub mod jsonl;
#[cfg(feature = "openmetrics")]
pub mod openmetrics;

#[cfg(feature = "json")]
pub mod summary;

pub use dir::{DirError, FileError, Overwrite, ResultDir, ResultFile};
