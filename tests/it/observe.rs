//! Observers, their reports, and what sightings make of packets.

mod observers;
mod panics;
mod report_merges;
mod sightings;
mod sightings_exact;
