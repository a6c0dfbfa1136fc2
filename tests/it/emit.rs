//! What is emitted: contexts, typed emitters, sinks, processors, and the account of it all.

mod accounting;
mod bounded_tables;
mod coarse_clock;
mod contexts;
mod contexts_dropped;
mod emitters;
mod errors;
mod hangs;
mod processors;
mod registration;
mod sinks;
