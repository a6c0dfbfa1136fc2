//! What a wait comes to.

use super::entity::EntityState;
use crate::event::{Domain, Shared};
use std::fmt;
use std::time::Duration;

/// What a wait has come to: a state that was waited for, and where the entity is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// That one of the states that were asked for which came about first. The entity may only have passed through it.
    pub state: Shared<str>,
    /// Which of the entity's transitions led into that state or through it, from 1; 0 for the state in which the entity
    /// came to be.
    pub transition: u32,
    /// The time of the event that brought it, in nanoseconds since the Unix epoch; `None` where the entity came to be in
    /// the state and had left it before the call.
    pub time_ns: Option<u64>,
    /// Transitions after the point, up to this one, of which the log no longer tells what they passed: so many at most, those of
    /// other entities of the name included where it was waited for any of them. 0 where this is surely the first time after the
    /// point.
    pub unknown: u32,
    /// The entity when the wait returned.
    pub now: EntityState,
}

/// Why a wait did not end in a state that was waited for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum WaitError {
    /// It took too long.
    #[error("none of the states within {timeout:?}; the entity {}", Place(last.as_deref()))]
    Timeout { timeout: Duration, last: Option<Box<EntityState>> },
    /// None of the states can be had any more.
    #[error("none of the states can be had any more; the entity {}", Place(Some(last)))]
    Unreachable { last: Box<EntityState> },
    /// What came after the point is not known any more, and the entity may have been in one of the states.
    #[error(
        "whether one of the states came after the point is not known any more; raise `transitions_max`, or wait sooner; \
         the entity {}",
        Place(Some(last))
    )]
    Overwritten { last: Box<EntityState> },
    /// The pipeline has ended.
    #[error("no more events will come; the entity {}", Place(last.as_deref()))]
    Ended { last: Option<Box<EntityState>> },
    /// The observer that fills the query was removed, or panicked and was disabled.
    #[error(
        "the observer that fills the query was removed or disabled, and what came since is not known; the entity {}",
        Place(last.as_deref())
    )]
    Gone { last: Option<Box<EntityState>> },
    /// The caller is called by the pipeline, which would wait for itself.
    #[error("a thread of the pipeline cannot wait for what it has to do itself; wait on another thread")]
    OwnThread,
    /// The process is a child of the one in which the query was made.
    #[error("the query was made before this process was forked, and no events come here; wait in the parent")]
    Forked,
    /// No observer is there yet.
    #[error("the pipeline has not started; start it before waiting for a state")]
    NotStarted,
    /// The domain has no states.
    #[error("domain {0:?} has no states; give its definition a state table")]
    NoStates(Domain),
    /// The domain has no such state.
    #[error("{domain} has no state {state:?}; it has {}", List(known))]
    UnknownState { domain: Shared<str>, state: String, known: Shared<[Shared<str>]> },
}

/// Names with commas between them, in an error message.
struct List<'a>(&'a [Shared<str>]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Says where an entity is, in an error message.
struct Place<'a>(Option<&'a EntityState>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(state) => write!(f, "is {} since {} ns", state.state, state.since_ns),
            None => f.write_str("has had no event"),
        }
    }
}
