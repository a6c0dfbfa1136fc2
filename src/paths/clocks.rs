//! What packets that two vantage points saw prove about their clocks.
//!
//! Nothing arrives before it was sent. So a packet from the first vantage point to the second bounds the *offset*, the second clock
//! less the first, from above: by the difference of its stamps. A packet back bounds it from below. Over time, the bounds form a
//! *corridor* between the lower hull of the ones and the upper hull of the others, in which the offset runs: [`fit`].
//!
//! # What is assumed
//! - Over a *stretch* of time a clock is a line: a constant drift, of at most 1000 ppm. Where no line fits, a new stretch begins.
//! - The hard bounds ([`Stretch::bounds`]) assume less: a line over ten seconds (or over 64 packets each way, where that takes
//!   longer). A clock whose drift wanders within a stretch stays inside them.
//! - Three packets that agree are right. What contradicts the corridor and finds no two others that contradict it alike is left out,
//!   and counted ([`Fit::outliers`]).
//!
//! # What cannot be known
//! How the sum of the smallest delays there and back divides between the directions. The width of the corridor is that sum, and each
//! one-way delay is uncertain by it. The middle of the corridor would make every path symmetric. So [`solve`] corrects only what is
//! proved wrong: where no offset at all is possible, delays stay as they were measured, with the bounds as their uncertainty.
//!
//! Likewise for drift: [`Stretch::offset`] has a slope only where none is impossible. A short corridor, or one of few packets, admits
//! slopes of hundreds of ppm; the one in its middle follows the jitter of two or three packets, and is further from the truth of some
//! ten ppm than none. Where no constant fits, it is the slope for which the corridor is widest, rather than the smallest possible one,
//! which would make the delay of some packets zero.
//!
//! In one direction only, the offset is bounded on one side, and drift cannot be told from a queue that fills: there, no drift is
//! estimated, and an offset only where delays would be negative; the delays are then those above the smallest.

mod bounds;
mod corridor;
mod fit;
mod hull;
mod line;
mod pair;
mod select;
mod solve;
mod splitter;
mod stretch;
mod vantage_clock;

#[cfg(test)]
mod tests;

pub(super) use fit::fit;
#[cfg(test)]
pub(super) use fit::{Fit, Step};
#[cfg(test)]
pub(super) use line::Line;
pub(super) use solve::{ClockMode, ClockOptions, Clocks, Contradiction, solve};
pub(super) use splitter::Crossing;
#[cfg(test)]
pub(super) use stretch::Stretch;
pub(super) use vantage_clock::VantageClock;
