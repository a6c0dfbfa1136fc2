//! The observer `state`: one state machine an entity, driven by the tables of the schema.
//!
//! ```text
//!  record ──► machine of (domain, entity) ──► table: state × event ──► moved     applied, kept in the log
//!                                                                 ├──► unchanged
//!                                                                 └──► invalid   counted, kept, never applied
//! ```
//!
//! An entity exists from its first event on, in its table's initial state. Duplicates do not drive machines. A
//! domain of the user's takes part when its definition has a [`StateTable`](crate::domain::StateTable).
//!
//! **Contexts.** Tests, steps and assertions belong to what encloses them: three tests that run a step "connect", each in
//! its [context](crate::event::Context), have three steps. Their machines are one per domain, name and those parts of the
//! emitter's context that can enclose them: the experiment of a test; the experiment and test of a step; those and the
//! step of an assertion. What is emitted without a context drives the machine without one. Services, environments,
//! plugins, metrics and users' entities are shared between tests and threads: one per domain and name.
//!
//! ```
//! use panther_events::observe::state::{StateOptions, StateQuery};
//! use panther_events::pipeline::Pipeline;
//!
//! let states = StateQuery::new(StateOptions::default());
//! let mut builder = Pipeline::builder();
//! let query = states.clone();
//! let key = builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
//! let pipeline = builder.start()?;
//! // From any thread, while the pipeline runs: `states.state(…)`, `states.wait_until(…)`, …
//! assert_eq!(states.workflow().open(), 0);
//! let snapshot = pipeline.shutdown();
//! assert_eq!(snapshot.report(key).map(|report| report.entities_total()), Some(0));
//! # Ok::<(), panther_events::pipeline::StartError>(())
//! ```
//!
//! # Which events an answer has
//!
//! An event is on its way through rings until the pipeline's threads hand it to the observer: an answer may be older than
//! what has been emitted, and once its thread was joined an event is accepted, but not necessarily observed.
//!
//! | asked | has | has not |
//! |---|---|---|
//! | [`StateQuery::state`], [`transitions`](StateQuery::transitions) and their like | what a worker has taken | what is in rings |
//! | [`StateQuery::domains`], [`entities`](StateQuery::entities), [`workflow`](StateQuery::workflow), [`invalid`](StateQuery::invalid) | the same, each worker at another moment | what is in rings |
//! | a snapshot's [`StateReport`] | what was taken when the worker was asked; `entities` and `workflow` go on | what is in rings |
//! | any of these after `Pipeline::drain`, or of `Pipeline::settled` | everything that was accepted before that call | what came later, but for some |
//! | any of these after `Pipeline::shutdown` | everything that was accepted | nothing |
//! | [`StateQuery::wait_until`] | states from the call on, and the present one | states that had been left before the call |
//! | [`StateQuery::wait_until_after`] | states from the [`Point`] on | what the log has lost, which it says |
//!
//! # Design
//!
//! ```text
//!  plan, machine ──► machines, transition_log ──► tracked ──► waiter ──► shard ──► registry ──► observer, wait ──► query
//!  tables            found by name and context    both        notes      a lock    all shards   takes batches, or waits
//!                                                                          └──► entities, workflow, report: what is read
//! ```
//!
//! - Each worker's instance has a *shard*: the machines of its entities, behind a lock that the worker takes once a
//!   batch (up to 64 events). Queries take it too, for a few instructions, so they are answered even while the
//!   worker sleeps. On a shared two-core machine (AMD EPYC, best of many rounds of `benches/state.rs`) the lock costs
//!   5 ns a batch, an event 10 ns that changes nothing and 15 ns that moves one of 1,000 entities, and about 115 ns
//!   where there are a million.
//! - A machine takes 32 bytes in blocks that never move, and the index from entities to machines 16 to 32 bytes
//!   an entity: 64 bytes at most, plus up to one block of 32 KiB a worker. Names live in the symbol table. While
//!   the index doubles, the old one is there beside the new one.
//! - With many entities the cost is memory latency. A batch first loads what it will need, so that the misses of its
//!   64 events overlap.
//! - The last transitions of all entities of a shard share one ring, the *trail*, in which those of one entity are
//!   chained. Its memory does not grow with the number of entities.
//! - Machines of tests, steps and assertions have an entry beside them, with name and context; others have none and are
//!   found as if there were no contexts. The context of an event is looked up once for a run of events of one emitter.

mod base;
mod counts;
mod entities;
mod entity;
mod key;
mod machine;
mod machines;
mod observer;
mod options;
mod plan;
mod point;
mod query;
mod registry;
mod report;
mod scoped;
mod shard;
mod tracked;
mod transition_log;
mod wait;
mod wait_error;
mod waiter;
mod warnings;
mod workflow;

pub use counts::{DomainStates, InvalidTransition};
pub use entities::Entities;
pub use entity::{EntityState, Transition, Transitions};
pub use observer::States;
pub use options::StateOptions;
pub use point::Point;
pub(crate) use query::Standing;
pub use query::StateQuery;
pub use report::StateReport;
pub use wait_error::{Reached, WaitError};
pub use workflow::{Phase, Workflow};
