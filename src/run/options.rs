//! How the events of a run are looked at.

use crate::dedup::Window;
use crate::emit::FullPolicy;
use crate::event::{Context, Symbol};
use crate::export::jsonl;
use crate::paths::Survey;
use crate::pipeline::Topology;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which events go into `events.jsonl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventChoice {
    /// Every event once.
    Unique,
    /// Duplicates too.
    All,
    /// No file.
    None,
}

/// An id that events have elsewhere, and the member of `events.jsonl` that shows it.
#[derive(Clone)]
pub struct IdElsewhere {
    /// The member's name.
    pub member: String,
    /// Returns an event's id there, if it has one.
    pub id: jsonl::IdLookup,
}

/// How the events of a run are looked at.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The pipeline's threads.
    pub topology: Topology,
    /// What emitters do when their rings are full.
    pub full_policy: FullPolicy,
    /// How far back duplicates are remembered.
    pub window: Window,
    /// How long a packet may take from one vantage point to another.
    pub horizon: Duration,
    /// Vantage points that are known to come.
    pub vantages: Vec<Symbol>,
    /// What is known of them.
    pub survey: Option<Arc<Survey>>,
    /// Which events go into `events.jsonl`.
    pub events: EventChoice,
    /// What those belong to; all where it is [`Context::NONE`].
    pub within: Context,
    /// The ids that they have elsewhere.
    pub id_elsewhere: Option<IdElsewhere>,
}

impl Default for RunOptions {
    /// One thread, which remembers everything. Emitters wait, so that nothing is dropped: what is read from files can wait.
    fn default() -> RunOptions {
        RunOptions {
            topology: Topology::Fused,
            full_policy: FullPolicy::Block { timeout: Duration::MAX },
            window: Window::Unbounded,
            horizon: Duration::from_secs(1),
            vantages: Vec::new(),
            survey: None,
            events: EventChoice::Unique,
            within: Context::NONE,
            id_elsewhere: None,
        }
    }
}

impl fmt::Debug for IdElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdElsewhere").field("member", &self.member).finish_non_exhaustive()
    }
}
