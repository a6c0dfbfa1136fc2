//! Event pipeline for network tests: threads emit 64-byte events without locks, what happens twice is two events and what is
//! delivered twice is one, duplicates become measurements, and every event is accounted for.
//!
//! ```
//! use panther_events::domain::{DomainDef, KindDef};
//! use panther_events::observe::metrics::{Metrics, quantile};
//! use panther_events::{Domain, EventKind, Identity, Pipeline, Shared, Symbol};
//!
//! panther_events::payload! {
//!     /// An echo came back.
//!     struct Echo [EventKind::new(Domain::FIRST_USER, 0)] { rtt_ns: u64, size_bytes: u64 }
//! }
//! const LAB: DomainDef = DomainDef {
//!     domain: Domain::FIRST_USER,
//!     name: Shared::Static("lab"),
//!     kinds: Shared::Static(&[KindDef::of::<Echo>("echo", Identity::Occurrence)]),
//!     states: None,
//! };
//!
//! let mut builder = Pipeline::builder();
//! builder.domain(&LAB);
//! let metrics = builder.observer("metrics", |setup| Metrics::new(setup.schema));
//! let pipeline = builder.start()?;
//! let mut emitter = pipeline.emitter("client")?; // one per thread
//! for n in 1..=1000 {
//!     emitter.emit(Symbol::of("server-1"), &Echo { rtt_ns: n * 1_000, size_bytes: 64 })?;
//! }
//! let snapshot = pipeline.shutdown();
//! assert_eq!(snapshot.account.unique, 1000);
//! let rtt = &snapshot.report(metrics).ok_or("metrics panicked")?.measures[0];
//! assert_eq!(quantile(&rtt.histogram, 0.5), Some(500_223)); // three significant digits
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Terms
//!
//! - An *event* is something that happened; a *record* is its 64 bytes. Its *kind* says what happened, in one of the *domains* (test,
//!   service, step, …), to which *entity*: a name, which stands in the record as a *symbol* (its hash).
//! - What does not fit into a record's 24 bytes of *payload* is its *document*: JSON, kept beside, and referred to by a hash.
//! - A *source* is an emitter; a *number* counts what it has offered; the *origin* tells one start of a pipeline from all others.
//! - A *digest* is what the caller gives to say which event it is: of a packet's bytes, or of a key on which several agree.
//! - A *run* is one test run, capture reading or replay, with all its processes.
//!
//! # The way of an event
//!
//! ```text
//!  emit ──────► ring ──────► dedup ──────► observe ──────► export
//!  per thread   SPSC, rtrb   exact set,    workers: state, files
//!  64 B record               windows       metrics, …
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`guide`] | a page for each kind of user: tests, captures, benchmarks, metrics, operations |
//! | [`event`] | the record, kinds, identity, payloads, symbols |
//! | [`domain`] | the schema of kinds, one file a domain; users add theirs |
//! | [`clock`] | time stamps from the cycle counter, coarse ones, or by hand |
//! | [`emit`] | emitters: numbering, full-ring policies, batches, contexts, error events; sinks that distribute otherwise |
//! | `ring` | the rings between emitters and dedup |
//! | [`dedup`] | the exact set, windows |
//! | [`process`] | processors: see events before observers, and may derive others |
//! | [`observe`] | observers, and those that are built in |
//! | [`paths`] | an observer too: sightings of packets, and what they tell about the paths between vantage points |
//! | [`pipeline`] | builder, topologies, snapshots, the account |
//! | [`recorder`] | the last events of each emitter, in a file that outlives the process |
//! | [`export`] | result files, one module a format |
//! | `run` | a run with the standard observers, and the result directory that it leaves (feature `run`) |
//! | [`ingest`] | readers of captures and of PANTHER's events |
//! | `journal` | events on disk: segments of checksummed blocks, recovery (feature `journal`) |
//!
//! # What to look for where
//!
//! | you want to | look at |
//! |---|---|
//! | emit events of tests, services, steps and the like | [`domain`]: a typed emitter with a method an event |
//! | emit events of your own on a hot path | [`payload!`], [`emit::Emitter::emit`] |
//! | say once which test events belong to, and select by it | [`emit::Emitter::within`], [`event::Contexts`] |
//! | get the emitter of an entity by its name | [`pipeline::EmitterPool`] |
//! | send events into two pipelines, sample or limit them | [`emit::sink`] |
//! | refuse events that a state does not allow | [`pipeline::Validated`] |
//! | know in which state something is, or wait for it | [`observe::state`] |
//! | have tests, steps and assertions in one tree | [`observe::results`] |
//! | measure loss and delay between vantage points | [`paths`] |
//! | do something with events | [`observe::Observer`]; to derive others from them, [`process::Processor`] |
//! | tell of an error with its causes | [`emit::ErrorEvent`] |
//! | know what became of every event | [`pipeline::Account`] |
//!
//! # What holds
//!
//! - Data moves one way; `tests/tidy.rs` knows which module may import which. Only [`pipeline`] knows all stages; only [`export`],
//!   [`ingest`], `journal`, [`recorder`] and `run` know file formats.
//! - A verdict "duplicate" is given only because the exact set holds the whole id. Forgetting can let a duplicate
//!   through, and never drops a new event.
//! - Two things that happened are never one event unless the caller chose it ([`event::Identity`]): what is emitted live is
//!   known by the pipeline's start, source and number too.
//! - `offered = accepted + dropped_full + rejected`, `accepted = unique + duplicates + in flight`, and for each observer
//!   `unique = handled + skipped + failed`: see [`pipeline::Account`].
//! - On the emit path after start there is no lock and no allocation, and no system call unless a thread must be
//!   woken or must wait; a name or a document that is new takes a lock and memory once.
//! - `unsafe` stands in the few files that `tests/tidy.rs` names.
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod clock;
pub mod dedup;
pub mod domain;
pub mod emit;
pub mod event;
pub mod export;
pub mod guide;
pub mod ingest;
#[cfg(feature = "journal")]
pub mod journal;
pub mod observe;
pub mod paths;
pub mod pipeline;
pub mod process;
pub mod recorder;
#[cfg(feature = "run")]
pub mod run;

// `payload!` names the crate, within it too.
extern crate self as panther_events;

#[doc(inline)]
pub use domain::TypedSink;
#[doc(inline)]
pub use emit::{EmitError, Emitter, EventSink, FullPolicy};
#[doc(inline)]
pub use event::{
    Context, Domain, EventId, EventKind, Identity, KindSet, Level, Payload, Record, Shared, Symbol, Symbols,
    Value,
};
#[doc(inline)]
pub use observe::{Batch, Observer, Report, Undelivered};
#[doc(inline)]
pub use pipeline::{
    Account, Builder, ObserverSetup, Pipeline, PipelineOptions, ReportKey, Snapshot, Topology,
};

// Their types are in signatures of ours, and their versions must be the same.
pub use hdrhistogram;
pub use uuid;

mod directory;
mod fence;
mod fork;
mod hash;
mod ring;
mod sync;
mod wait;

/// Runs README's examples as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
