//! Topologies: which threads there are, and on which cores they run.

use std::fmt;
use std::str::FromStr;

/// Says which threads a pipeline has besides those that emit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Topology {
    /// None: whoever owns the pipeline polls it. Deterministic; for tests, tools and simulations.
    Inline,
    /// One thread runs dedup and all observers. The best on one or two cores.
    #[default]
    Fused,
    /// Dedup threads, which share entities out among themselves, and worker threads behind them.
    ///
    /// Events are shared out by entity, not by id, so that each entity's events stay in order; one entity with
    /// most of the events therefore loads one thread.
    Staged {
        /// Dedup threads, 1 to 64.
        dedup: usize,
        /// Worker threads, 1 to 64.
        workers: usize,
    },
}

/// Dedup threads there can be.
pub const DEDUP_MAX: usize = 64;
/// Worker threads there can be.
pub const WORKERS_MAX: usize = super::worker::WORKERS_MAX;

impl Topology {
    /// Chooses by the cores that this process may use (affinity mask and cgroup quota): `Fused` below four, and
    /// a dedup thread and a worker for each four of them from there.
    #[must_use]
    pub fn auto() -> Topology {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Topology::for_cores(cores)
    }

    fn for_cores(cores: usize) -> Topology {
        match cores / 4 {
            0 => Topology::Fused,
            n => Topology::Staged { dedup: n.min(8), workers: n.min(8) },
        }
    }

    /// Returns how many dedup shards there are.
    #[must_use]
    pub fn shards(self) -> usize {
        match self {
            Topology::Inline | Topology::Fused => 1,
            Topology::Staged { dedup, .. } => dedup,
        }
    }

    /// Returns how many threads the pipeline starts.
    #[must_use]
    pub fn threads(self) -> usize {
        match self {
            Topology::Inline => 0,
            Topology::Fused => 1,
            Topology::Staged { dedup, workers } => dedup + workers,
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topology::Inline => f.write_str("inline"),
            Topology::Fused => f.write_str("fused"),
            Topology::Staged { dedup, workers } => write!(f, "staged:{dedup}x{workers}"),
        }
    }
}

/// Topology parse error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is no topology; write inline, fused, auto or staged:DxW with D dedup threads (1 to {DEDUP_MAX}) and W workers (1 to {WORKERS_MAX})"
)]
pub struct TopologyError(String);

impl FromStr for Topology {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Topology, TopologyError> {
        match text {
            "inline" => return Ok(Topology::Inline),
            "fused" => return Ok(Topology::Fused),
            "auto" => return Ok(Topology::auto()),
            _ => {}
        }
        let parts = text.strip_prefix("staged:").and_then(|counts| counts.split_once('x'));
        match parts.map(|(dedup, workers)| (dedup.parse(), workers.parse())) {
            Some((Ok(dedup @ 1..=DEDUP_MAX), Ok(workers @ 1..=WORKERS_MAX))) => {
                Ok(Topology::Staged { dedup, workers })
            }
            _ => Err(TopologyError(text.to_owned())),
        }
    }
}

/// Says on which cores the pipeline's threads run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Pinning {
    /// The system decides. The default, because pipelines do not know of each other: those of several tests that
    /// run at once would all choose the same cores.
    #[default]
    Off,
    /// Each thread gets a core of its own, the last ones first, if that leaves at least one core free for
    /// emitters; else the system decides.
    Auto,
    /// These cores in turn: dedup threads first, then workers. A core that cannot be had is a warning in the
    /// snapshot.
    Cores(Vec<usize>),
}

impl Pinning {
    /// Chooses a core for each of `threads` threads.
    pub(crate) fn choose(&self, threads: usize) -> Vec<Option<usize>> {
        let cores = match self {
            Pinning::Off => Vec::new(),
            Pinning::Auto => {
                let cores: Vec<_> = core_affinity::get_core_ids()
                    .unwrap_or_default()
                    .iter()
                    .rev()
                    .map(|core| core.id)
                    .collect();
                let usable = std::thread::available_parallelism().map_or(1, usize::from).min(cores.len());
                if threads < usable { cores } else { Vec::new() }
            }
            Pinning::Cores(cores) => cores.clone(),
        };
        (0..threads).map(|thread| cores.get(thread % cores.len().max(1)).copied()).collect()
    }
}

/// Pins the current thread; a warning where that fails.
pub(crate) fn pin(thread: &str, core: usize) -> Option<String> {
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
    (!pinned).then(|| format!("thread {thread} could not be pinned to core {core}; the system places it"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_topology_reads_back_from_its_text() {
        for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 3, workers: 64 }] {
            assert_eq!(topology.to_string().parse(), Ok(topology));
        }
        assert!("auto".parse::<Topology>().is_ok());
        for bad in ["", "staged", "staged:", "staged:0x1", "staged:1x0", "staged:65x1", "staged:1", "Fused"] {
            assert_eq!(bad.parse::<Topology>(), Err(TopologyError(bad.to_owned())));
        }
    }

    #[test]
    fn auto_leaves_cores_to_emitters() {
        for cores in 1..200 {
            let topology = Topology::for_cores(cores);
            assert!(topology.threads() <= (cores / 2).max(1), "{cores}: {topology}");
        }
    }

    #[test]
    fn pinning_takes_cores_in_turn() {
        assert_eq!(Pinning::Off.choose(2), [None, None]);
        assert_eq!(Pinning::Cores(vec![3, 5]).choose(3), [Some(3), Some(5), Some(3)]);
    }
}
