//! Results of tests: what passes, and what must not.

mod apart;
mod counts;
mod executions;
mod experiments;
mod failures;
mod keyed;
mod late;
mod mixtures;
mod open;
mod origins;
mod plans;
mod random;
mod results;
mod several;
mod stories;
mod ties;
