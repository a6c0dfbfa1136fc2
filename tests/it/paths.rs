//! What sightings make of packets.

mod sightings;
mod sightings_exact;
