//! The guide: a page for each kind of user.

#[doc = include_str!("guide/tests.md")]
pub mod tests {}

#[doc = include_str!("guide/captures.md")]
pub mod captures {}

#[doc = include_str!("guide/benchmarks.md")]
pub mod benchmarks {}

#[doc = include_str!("guide/metrics.md")]
pub mod metrics {}

#[doc = include_str!("guide/operations.md")]
pub mod operations {}
