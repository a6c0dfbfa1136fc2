//! Whether the system's wall clock was set while a clock ran.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How often, and by how much, the system's wall clock was set since a clock was made. The clock does not follow: its times go on
/// as if nothing had happened, and times of a process that starts afterwards are apart by as much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockSteps {
    /// Steps that were seen; looked for each second in which the clock is read.
    pub count: u64,
    /// What they come to, in nanoseconds: above zero where the wall clock was put forward.
    pub total_ns: i64,
    /// The clock's time at which the last one was seen, in nanoseconds since the Unix epoch; 0 without one.
    pub last_ns: u64,
}

impl ClockSteps {
    /// Says so, if there was one.
    pub(crate) fn warning(&self) -> Option<String> {
        let (times, total) = (self.count, self.total_ns as f64 / 1e9);
        let last = self.last_ns;
        (times > 0).then(|| {
            format!(
                "the system's clock was set {times} times while the run's was going, by {total:+.6} s in all, last at {last}; the run's \
                 times go on without it, and those of processes that started afterwards do not agree with them"
            )
        })
    }
}

/// By how much the wall clock is ahead of the monotonic one, and how exactly that is known.
pub(super) struct Lead {
    /// Modulo 2^64.
    pub(super) value: u64,
    pub(super) width_ns: u64,
}

/// A change of this much is a step, unless the reading is less exact; slewing moves both clocks alike.
const STEP_MIN_NS: u64 = 100_000;

pub(super) struct StepWatch {
    /// By how much the wall clock was ahead of the monotonic one when that was last looked at, modulo 2^64.
    lead: AtomicU64,
    count: AtomicU64,
    total_ns: AtomicI64,
    last_ns: AtomicU64,
}

impl StepWatch {
    pub(super) fn new(lead: u64) -> StepWatch {
        StepWatch {
            lead: AtomicU64::new(lead),
            count: AtomicU64::new(0),
            total_ns: AtomicI64::new(0),
            last_ns: AtomicU64::new(0),
        }
    }

    /// Compares what was read at `now_ns` with what was read before; to be called by one thread at a time.
    pub(super) fn look(&self, lead: Lead, now_ns: u64) {
        let step_ns = lead.value.wrapping_sub(self.lead.load(Ordering::Relaxed)).cast_signed();
        if step_ns.unsigned_abs() < STEP_MIN_NS.max(lead.width_ns.saturating_mul(2)) {
            return;
        }
        self.lead.store(lead.value, Ordering::Relaxed);
        self.total_ns.fetch_add(step_ns, Ordering::Relaxed);
        self.last_ns.store(now_ns, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn so_far(&self) -> ClockSteps {
        ClockSteps {
            count: self.count.load(Ordering::Relaxed),
            total_ns: self.total_ns.load(Ordering::Relaxed),
            last_ns: self.last_ns.load(Ordering::Relaxed),
        }
    }
}
