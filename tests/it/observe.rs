//! Observers and their reports.

mod observers;
mod panics;
mod report_merges;
