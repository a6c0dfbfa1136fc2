//! A run and the result directory that it leaves: the standard observers, and the files that they fill.
//!
//! ```text
//!  RunOptions ──► Builder with observers ──► … the pipeline runs … ──► FinishedRun ──► summary ──► files, MANIFEST
//!                 Observers: their keys
//! ```
//!
//! The command writes its result directories by this. What it adds is what it reads, and what it prints.
//!
//! # Examples
//! ```
//! use panther_events::event::{Symbols, Value};
//! use panther_events::export::{Overwrite, ResultDir};
//! use panther_events::run::{FileFormat, FinishedRun, RunOptions};
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! # let out = tempfile::tempdir()?;
//! # let out = out.path();
//! let dir = ResultDir::create(out, Overwrite::Refuse)?;
//! let (options, start) = (RunOptions::default(), Instant::now());
//! let topology = options.topology;
//! let (builder, observers) = options.builder(&Arc::new(Symbols::new()), &dir)?;
//! let pipeline = builder.start()?;
//! let mut emitter = pipeline.emitter("runner")?;
//! emitter.test("handshake").created("handshake", Value::Null, Default::default())?;
//! drop(emitter);
//!
//! let snapshot = pipeline.shutdown();
//! let run =
//!     FinishedRun { snapshot, observers, inputs: Vec::new(), time_ns: None, elapsed: start.elapsed() };
//! let summary = run.summary(topology, None);
//! assert_eq!(run.losses(), Vec::<String>::new());
//! run.write(dir, &summary, &FileFormat::ALL)?;
//! assert!(out.join("events.jsonl").exists() && out.join("MANIFEST").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod files;
mod finished;
mod losses;
mod names;
mod observers;
mod options;

pub use files::{FileFormat, FormatError, WriteError};
pub use finished::{FinishedRun, InputTotals, doubt_inputs, is_whole};
pub use names::FILE_NAMES;
pub use observers::Observers;
pub use options::{EventChoice, IdElsewhere, RunOptions};
