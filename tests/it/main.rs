//! The tests that need no process of their own: a module a promise.

mod dedup;
mod emit;
mod export;
mod ingest;
mod journal;
mod observe;
mod paths;
mod states;
mod support;
mod verdicts;
