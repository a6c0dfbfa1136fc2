//! Paths between vantage points: what duplicates tell about them.
//!
//! The observer [`Sightings`] pairs the sightings of packets; its [`SightingsReport`] has the paths.
//!
//! The same packet at two vantage points is one event sighted twice. The vantage point that sees it first is
//! its *origin*; every other one ends a *path* from there. Along a path a packet arrives (its delay is the
//! difference of the times), arrives again (a duplicate), arrives only after the horizon
//! ([`PathReport::beyond_horizon`]), or does not arrive (lost).
//!
//! Packets that recur legitimately, such as neighbour discovery, are told apart by order: the n-th sighting at
//! the origin pairs with the n-th at the far end, as long as the horizon has not passed. A packet is *reordered*
//! by RFC 4737's definition: of first copies in order of arrival, it was sent before one that has arrived.
//!
//! # Time
//! Sightings are processed in order of their own times. They may come out of that order: within a vantage point
//! by up to [`SightingsOptions::disorder`], across vantage points (from different emitters, say) by up to
//! [`SightingsOptions::lateness`]. So each is held until every vantage point has been heard of at a time later by
//! `disorder`, or any one at a time later by `lateness`. What comes still later is counted in
//! [`SightingsReport::late`]. It is paired where it fits: one that is earlier than what was taken for its origin
//! becomes the origin. Where it does not fit, it is left out.
//!
//! A single wrong time must not move the clock. A sighting that is ahead of all the vantage points by more than
//! `lateness` is put aside until the next one at its vantage point. If that comes from no earlier than `lateness`
//! before it, there was a gap, and both count. Otherwise the sighting is left out and counted in
//! [`SightingsReport::outliers`].
//!
//! # Identical packets
//! When several identical packets are on their way, an arrival is paired with the one sent first, and counted in
//! [`SightingsReport::ambiguous`]. A candidate is given up as lost when it would have been on its way for more
//! than twice the longest delay of the path's unambiguous arrivals, so that one loss does not shift the pairs of
//! all that follow.
//!
//! # Limits
//! The clocks of the vantage points must agree better than the smallest delay: a packet's direction is taken from
//! its times. [`SightingsReport::clock_hints`] tells of pairs that look as if they did not.
//!
//! With three or more vantage points, paths run from the origin to each other one, not hop by hop: packets that
//! pass `a`, `m` and `b` make the paths from `a` to `m` and from `a` to `b`, and none from `m` to `b`. A packet
//! that does not arrive counts as lost on those paths that other packets of its flow have taken; if there are
//! none it is [`SightingsReport::unpaired`].
//!
//! A packet that takes more than five times the horizon counts as lost where it was to arrive, and as a lost one of the
//! other direction where it is seen so late: it is forgotten by then. So is the oldest of more than a million that some
//! vantage point has not seen.
//!
//! Memory holds what was sighted within the horizon, what some vantage point has not seen within five, one entry per flow,
//! and nothing else.

#[allow(dead_code, unused_imports, reason = "the pairing of sightings does not use it yet")]
mod clocks;
mod flows;
mod hint;
mod overdue;
mod packet;
mod pairing;
mod report;
mod seen;
mod sightings;
mod vantage;

pub use hint::{ClockDoubt, ClockHint};
pub use report::{PathReport, SightingsReport, VantageReport};
pub use sightings::{Sightings, SightingsOptions, VANTAGES_MAX};
