//! One journal made of another, or of a flight recorder.

pub(super) mod arrive;
pub(super) mod journal;
pub(super) mod recorder;
pub(super) mod repair;
