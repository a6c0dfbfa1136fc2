//! Result files: one directory for a run, one file per format.
//!
//! Only this module, `ingest`, `journal`, `recorder` and `run` know text and file formats. Each format takes plain
//! arguments (names, numbers, records, histograms), so that it can be tested, and used, without a
//! pipeline; only [`from_snapshot`] knows that.
//!
//! | module | writes | feature |
//! |---|---|---|
//! | [`dir`] | the directory: whole results or none | |
//! | `summary` | `summary.json`, the account of a run | `json` |
//! | `jsonl` | `events.jsonl`, one event a line | `json` |
//! | `openmetrics` | `metrics.om`, OpenMetrics 1.0 text | `openmetrics` |
//! | `hlog` | `delay.hlog`, HdrHistogram interval log | `hlog` |
//! | `csv` | `paths.csv`, one path a row, and `states.csv`, one entity a row | `csv` |
//! | [`from_snapshot`] | nothing: it makes of a snapshot what the others take | |

pub mod dir;

#[cfg(feature = "csv")]
pub mod csv;
pub mod from_snapshot;
#[cfg(feature = "hlog")]
pub mod hlog;
#[cfg(feature = "json")]
pub mod jsonl;
#[cfg(feature = "openmetrics")]
pub mod openmetrics;

#[cfg(feature = "json")]
pub mod summary;

pub use dir::{DirError, FileError, Overwrite, ResultDir, ResultFile};
