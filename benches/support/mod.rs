//! The work that several benchmarks share, and what it must come to.
//!
//! A stream of [`Hop`]s over 1,000 entities: of 16 events, 15 are new and one is an earlier one again. Each new event
//! steps its entity's state machine, is counted, and is recorded in two histograms. [`Sum`] is what a contestant found;
//! [`expected`] computes it without any of their parts.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use hdrhistogram::Histogram;
use panther_events::Shared;
use panther_events::dedup::{DedupOptions, Verdict};
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Origin, Payload, Symbol};
use panther_events::observe::metrics::{Metrics, MetricsReport, quantile};
use panther_events::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use panther_events::pipeline::{Builder, Pinning, PipelineOptions, ReportKey, Snapshot, Topology};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of which records are that no pipeline makes.
#[allow(dead_code, reason = "each bench uses a part")]
pub(crate) const ORIGIN: Origin = Origin::from_bits(7);
/// Entities that events are about.
pub(crate) const ENTITIES: u64 = 1_000;
/// Of so many events one is a redelivery.
pub(crate) const GROUP: u64 = 16;

panther_events::payload! {
    /// A packet left a hop.
    pub(crate) struct Hop [EventKind::new(Domain::FIRST_USER, 0)] {
        number: u64,
        delay_ns: u64,
        size_bytes: u32,
        phase: u32,
    }
}

/// The domain of [`Hop`]: the same content is the same event.
pub(crate) const WORK: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("work"),
    kinds: Shared::Static(&[KindDef::of::<Hop>("hop", Identity::Content)]),
    states: None,
};

/// The events of a run, by their place in the stream.
pub(crate) struct Stream {
    entities: Vec<Symbol>,
}

impl Stream {
    pub(crate) fn new() -> Stream {
        Stream { entities: (0..ENTITIES).map(|n| Symbol::of(&format!("hop-{n}"))).collect() }
    }

    /// Returns the event at `place`.
    #[inline]
    pub(crate) fn event(&self, place: u64) -> (Symbol, Hop) {
        let (group, member) = (place / GROUP, place % GROUP);
        let fresh = group * (GROUP - 1) + member;
        self.numbered(if member < GROUP - 1 { fresh } else { mix(group) % fresh })
    }

    /// Returns the event with this number.
    #[inline]
    pub(crate) fn numbered(&self, number: u64) -> (Symbol, Hop) {
        let mixed = mix(number);
        let hop = Hop {
            number,
            delay_ns: 50_000 + (mixed & 0xffff),
            size_bytes: 64 + (mixed >> 16 & 0x3ff) as u32,
            phase: (mixed >> 32 & 3) as u32,
        };
        (self.entities[(number % ENTITIES) as usize], hop)
    }
}

/// Returns how many events a stream of `ids` different ones has; `ids` is a multiple of 15.
pub(crate) fn events(ids: u64) -> u64 {
    assert_eq!(ids % (GROUP - 1), 0);
    ids / (GROUP - 1) * GROUP
}

/// The greatest multiple of 15 up to `ids`.
pub(crate) fn whole(ids: u64) -> u64 {
    ids - ids % (GROUP - 1)
}

#[inline]
pub(crate) fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    n ^ n >> 29
}

/// Where a phase leads from a state; `NO` where it is not allowed.
pub(crate) const NEXT: [[u8; 4]; 4] = [[0, 1, NO, 3], [1, 1, 2, NO], [NO, 2, 2, 3], [0, NO, 3, 3]];
/// No transition.
pub(crate) const NO: u8 = u8::MAX;

/// Takes `state` to where `phase` leads from it; false where that is not allowed. Which it is cannot be foretold, so there
/// is no branch.
#[inline]
pub(crate) fn step(state: &mut u8, phase: u32) -> bool {
    let next = NEXT[*state as usize & 3][phase as usize & 3];
    let moved = next != NO;
    *state = if moved { next } else { *state };
    moved
}

/// What a run found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) unique: u64,
    pub(crate) duplicates: u64,
    pub(crate) counted: u64,
    pub(crate) applied: u64,
    pub(crate) refused: u64,
    /// Entities in each state.
    pub(crate) states: [u64; 4],
    pub(crate) delay_sum: u128,
    pub(crate) size_sum: u128,
    /// Delay and size at p50 and p99.
    pub(crate) quantiles: [Option<u64>; 4],
}

/// Returns what a run over `ids` different events must come to.
pub(crate) fn expected(ids: u64) -> Sum {
    let mut sum =
        Sum { unique: ids, duplicates: events(ids) - ids, counted: ids, states: [0; 4], ..Sum::default() };
    let stream = Stream::new();
    let mut states = vec![0u8; ENTITIES as usize];
    let mut delays = Histogram::<u64>::new(3).unwrap();
    let mut sizes = Histogram::<u64>::new(3).unwrap();
    for number in 0..ids {
        let (_, hop) = stream.numbered(number);
        let state = &mut states[(number % ENTITIES) as usize];
        match NEXT[*state as usize][hop.phase as usize] {
            NO => sum.refused += 1,
            next => {
                *state = next;
                sum.applied += 1;
            }
        }
        sum.delay_sum += u128::from(hop.delay_ns);
        sum.size_sum += u128::from(hop.size_bytes);
        delays.record(hop.delay_ns).unwrap();
        sizes.record(u64::from(hop.size_bytes)).unwrap();
    }
    for state in states {
        sum.states[state as usize] += 1;
    }
    // Entities beyond the first ids have not been seen.
    sum.states[0] -= ENTITIES.saturating_sub(ids);
    sum.quantiles = quantiles(&delays, &sizes);
    sum
}

pub(crate) fn quantiles(delays: &Histogram<u64>, sizes: &Histogram<u64>) -> [Option<u64>; 4] {
    [quantile(delays, 0.5), quantile(delays, 0.99), quantile(sizes, 0.5), quantile(sizes, 0.99)]
}

/// Follows each entity through [`NEXT`], and tells how far it is.
pub(crate) struct Machines {
    entities: Box<[Symbol; Machines::SLOTS]>,
    states: Box<[u8; Machines::SLOTS]>,
    report: MachinesReport,
    progress: Arc<AtomicU64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MachinesReport {
    applied: u64,
    refused: u64,
    states: [u64; 4],
}

impl Machines {
    const SLOTS: usize = 4096;

    pub(crate) fn new(progress: Arc<AtomicU64>) -> Machines {
        let (entities, states) = (Box::new([Symbol::NONE; Machines::SLOTS]), Box::new([0; Machines::SLOTS]));
        Machines { entities, states, report: MachinesReport::default(), progress }
    }

    /// Adds what was found.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        let report = self.report();
        (sum.applied, sum.refused, sum.states) = (report.applied, report.refused, report.states);
    }

    #[inline]
    fn state(&mut self, entity: Symbol) -> &mut u8 {
        let mut at = entity.bits() as usize % Machines::SLOTS;
        // 1,000 entities in 4,096 slots: there is a free one.
        while self.entities[at] != entity {
            if self.entities[at] == Symbol::NONE {
                self.entities[at] = entity;
                break;
            }
            at = (at + 1) % Machines::SLOTS;
        }
        &mut self.states[at]
    }
}

impl Observer for Machines {
    type Report = MachinesReport;

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::of(&[Hop::KIND]), duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let (mut applied, mut refused) = (0, 0);
        for (record, verdict) in batch.iter() {
            assert_eq!(*verdict, Verdict::New);
            let Some(hop) = record.payload::<Hop>() else { continue };
            let moved = step(self.state(record.entity()), hop.phase);
            applied += u64::from(moved);
            refused += u64::from(!moved);
        }
        self.report.applied += applied;
        self.report.refused += refused;
        self.progress.fetch_add(applied + refused, Ordering::Release);
        Ok(())
    }

    fn report(&self) -> MachinesReport {
        let mut report = self.report.clone();
        for (_, state) in
            self.entities.iter().zip(&*self.states).filter(|(entity, _)| **entity != Symbol::NONE)
        {
            report.states[*state as usize] += 1;
        }
        report
    }
}

impl Report for MachinesReport {
    fn merge(&mut self, other: MachinesReport) {
        self.applied += other.applied;
        self.refused += other.refused;
        for (sum, more) in self.states.iter_mut().zip(other.states) {
            *sum += more;
        }
    }
}

/// A builder with the observers of the work, and what is needed to follow and to check them.
pub(crate) struct Plan {
    pub(crate) builder: Builder,
    inline: bool,
    pub(crate) progress: Arc<AtomicU64>,
    metrics: ReportKey<MetricsReport>,
    machines: ReportKey<MachinesReport>,
}

/// What finds the reports in a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    metrics: ReportKey<MetricsReport>,
    machines: ReportKey<MachinesReport>,
}

impl Plan {
    pub(crate) fn new(options: PipelineOptions) -> Plan {
        let inline = options.topology == Topology::Inline;
        let mut builder = Builder::new(options);
        builder.domain(&WORK);
        let metrics = builder.observer("metrics", |setup| Metrics::new(setup.schema));
        let progress = Arc::new(AtomicU64::new(0));
        let twin = Arc::clone(&progress);
        // Called after the metrics: what it has counted has been through everything.
        let machines = builder.observer("machines", move |_| Machines::new(Arc::clone(&twin)));
        Plan { builder, inline, progress, metrics, machines }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys { metrics: self.metrics, machines: self.machines }
    }
}

/// Options with room for `ids` from the start.
pub(crate) fn options(ids: u64) -> PipelineOptions {
    PipelineOptions {
        dedup: DedupOptions { expected_ids: ids as usize, first_sightings: false, ..DedupOptions::default() },
        // The emitter has the first core.
        pinning: Pinning::Auto,
        ..PipelineOptions::default()
    }
}

/// Returns what the last snapshot says, after the account has been checked.
pub(crate) fn sum_of(snapshot: &Snapshot, keys: Keys) -> Sum {
    assert!(snapshot.warnings.is_empty(), "{:?}", snapshot.warnings);
    snapshot.account.check().unwrap();
    assert_eq!(snapshot.account.dropped_full + snapshot.account.rejected, 0, "events were lost");
    let metrics = snapshot.report(keys.metrics).unwrap();
    let machines = snapshot.report(keys.machines).unwrap();
    let mut sum = Sum {
        unique: snapshot.account.unique,
        duplicates: snapshot.account.duplicates,
        applied: machines.applied,
        refused: machines.refused,
        states: machines.states,
        ..Sum::default()
    };
    add_metrics(metrics, &mut sum);
    sum
}

/// Adds what the metrics found.
pub(crate) fn add_metrics(metrics: &MetricsReport, sum: &mut Sum) {
    let of = |name: &str| metrics.measures.iter().find(|measure| measure.field.name == name).unwrap();
    sum.counted = metrics.kinds.iter().map(|kind| kind.new).sum();
    sum.delay_sum = of("delay_ns").sum;
    sum.size_sum = of("size_bytes").sum;
    sum.quantiles = quantiles(&of("delay_ns").histogram, &of("size_bytes").histogram);
}

/// How events are emitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// One by one, each with its own time stamp.
    Single,
    /// In batches of so many, one time stamp each.
    Batch(u64),
}

/// Runs the work through a pipeline: from the first emit until the last event has been through everything.
pub(crate) fn run_pipeline(ids: u64, options: PipelineOptions, way: Way) -> (Duration, Sum) {
    let plan = Plan::new(options);
    let keys = plan.keys();
    let (elapsed, snapshot) = run_plan(ids, plan, way);
    (elapsed, sum_of(&snapshot, keys))
}

/// Runs the work through a pipeline that may have more observers; returns the last snapshot beside the time.
pub(crate) fn run_plan(ids: u64, plan: Plan, way: Way) -> (Duration, Snapshot) {
    let inline = plan.inline;
    let progress = Arc::clone(&plan.progress);
    let pipeline = plan.builder.start().unwrap();
    let mut emitter = pipeline.emitter("bench").unwrap();
    let elapsed = on_first_core(|| {
        let stream = Stream::new();
        let count = events(ids);
        let step = if let Way::Batch(size) = way { size } else { 64 };
        let start = Instant::now();
        let mut place = 0;
        while place < count {
            let places = place..(place + step).min(count);
            place = places.end;
            if way == Way::Single {
                for place in places {
                    let (entity, hop) = stream.event(place);
                    emitter.emit(entity, &hop).unwrap();
                }
            } else {
                let offered = places.end - places.start;
                let sent = emitter.emit_batch(places.map(|place| stream.event(place)));
                assert_eq!(sent.accepted, offered);
            }
            if inline && place % 1024 == 0 {
                pipeline.poll();
            }
        }
        while progress.load(Ordering::Acquire) < ids {
            pipeline.poll();
            std::hint::spin_loop();
        }
        start.elapsed()
    });
    drop(emitter);
    (elapsed, pipeline.shutdown())
}

/// Runs `work` on a thread of its own on the first core, away from the pipeline's, which take the last ones.
pub(crate) fn on_first_core<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let run = || {
            if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.first().copied()) {
                core_affinity::set_for_current(core);
            }
            work()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// The core that a pipeline's only thread takes under [`Pinning::Auto`].
pub(crate) fn last_core() -> usize {
    core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id)).unwrap_or(0)
}

/// Puts a contestant's consumer where ours runs.
pub(crate) fn pin_to_last_core() {
    core_affinity::set_for_current(core_affinity::CoreId { id: last_core() });
}
