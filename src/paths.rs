//! Paths between vantage points: what duplicates tell about them.
//!
//! The observer [`Sightings`] pairs the sightings of packets; its [`SightingsReport`] has the paths.
//!
//! The same packet at two vantage points is one event sighted twice. The vantage points that the packets of a flow pass, in their order,
//! are its *route*; a *path* leads from each to the next on it, and from the first to the last. Along a path a packet arrives (its delay
//! is the difference of the times), arrives again (a duplicate), arrives only after the horizon
//! ([`PathReport::beyond_horizon`]), or does not arrive. All sightings of a packet are looked at together when its horizon has passed: so
//! reports are behind by that.
//!
//! A [`Survey`] of captures that can be read twice tells routes, clocks, delays, and when each vantage point looked. By it, what does not
//! arrive is lost, or perhaps lost, or not charged to the path. Without one, all vantage points look all the time and have one clock, and a
//! packet comes from where it was seen first.
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
//! Without a survey, the clocks of the vantage points must agree better than the smallest delay: a packet's direction is taken from
//! its times. [`SightingsReport::clock_hints`] tells of pairs that look as if they did not. And with three or more vantage points,
//! a packet is missed only at those that other packets of its flow have passed; if there are none it is [`SightingsReport::unpaired`].
//!
//! A packet that takes more than five times the horizon counts as lost where it was to arrive, and as a lost one of the
//! other direction where it is seen so late: it is forgotten by then. So is the oldest of more than a million that some
//! vantage point has not seen.
//!
//! Memory holds what was sighted within the horizon, what some vantage point has not seen within five, one entry per flow,
//! and nothing else.

mod align;
mod clocks;
mod ends;
mod finding;
mod flows;
mod group;
mod hint;
mod overdue;
mod pairing;
mod path;
mod report;
mod route;
mod scope;
mod seen;
mod sightings;
mod survey;
mod vantage;

pub use ends::Ends;
pub use finding::Finding;
pub use group::VANTAGES_MAX;
pub use hint::{ClockDoubt, ClockHint};
pub use report::{ClockReport, Delays, PathReport, SightingsReport, VantageReport};
pub use sightings::{Sightings, SightingsOptions};
pub use survey::{Survey, SurveyOptions, SurveyedPacket, VantageSurvey};
