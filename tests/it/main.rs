//! The tests that need no process of their own: a module a promise.

mod dedup;
mod emit;
mod export;
mod ingest;
mod journal;
mod observe;
mod paths;
#[cfg(feature = "run")]
mod run;
mod states;
mod support;
mod verdicts;
