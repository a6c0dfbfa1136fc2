//! State machines of entities, held against an interpreter of the tables.

mod catalogue;
mod contexts;
mod machines;
mod reach;
mod settled;
mod unknown;
mod waits;
