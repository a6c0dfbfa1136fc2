//! The emit path after start allocates nothing, whatever becomes of the event.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::FullPolicy;
use panther_events::event::{Domain, EventKind, Identity, Level, Symbol};
use panther_events::pipeline::{Pipeline, PipelineOptions, Topology};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

struct Counting;

thread_local! {
    /// Allocations of this thread. Constant and without a destructor, so that reading it allocates nothing.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised to this function.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

panther_events::payload! {
    struct Tick [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}

const CLOCKWORK: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("clockwork"),
    kinds: Shared::Static(&[KindDef::of::<Tick>("tick", Identity::Occurrence)]),
    states: None,
};

panther_events::payload! {
    struct Stranger [EventKind::new(Domain::FIRST_USER, 1)] { number: u64 }
}

/// Returns how often `work` allocated on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn pipeline(topology: Topology, full_policy: FullPolicy) -> Pipeline {
    let options = PipelineOptions { topology, full_policy, ring_capacity: 64, ..PipelineOptions::default() };
    let mut builder = panther_events::pipeline::Builder::new(options);
    builder.domain(&CLOCKWORK);
    builder.start().unwrap()
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) == 1);
}

#[test]
fn emitting_allocates_nothing_while_the_ring_fills_overflows_and_empties() {
    let pipeline = pipeline(Topology::Inline, FullPolicy::DropNewest);
    let mut emitter = pipeline.emitter("test").unwrap();
    let entity = Symbol::of("clock");
    for round in 0..20u64 {
        let allocated = allocations(|| {
            for number in 0..100 {
                // Whether it fits is the ring's to say.
                let _ = emitter.emit(entity, &Tick { number });
                let _ = emitter.emit_at(number, entity, &Tick { number });
                let _ = emitter.emit(entity, &Stranger { number });
            }
            emitter.emit_batch((0..100).map(|number| (entity, Tick { number })));
        });
        assert_eq!(allocated, 0, "round {round}");
        while pipeline.poll() > 0 {}
    }
    let account = pipeline.snapshot().account;
    assert_eq!((account.offered, account.rejected), (20 * 400, 20 * 100));
    assert_eq!(account.accepted, 20 * 64);
}

/// Names, documents and memberships that are known cost no memory either.
#[test]
fn emitting_in_a_context_allocates_nothing() {
    let pipeline = pipeline(Topology::Inline, FullPolicy::DropNewest);
    let mut emitter = pipeline.emitter("test").unwrap();
    emitter.enter(Level::Test, "handshake").unwrap();
    let mut emit = |number| {
        emitter.emit(Symbol::of("clock"), &Tick { number }).unwrap();
        emitter.metrics("load").resource("cpu", 0.5, Default::default()).unwrap();
    };
    emit(0);
    assert_eq!(allocations(|| (1..20).for_each(&mut emit)), 0);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.unique, 2 * 20 + 1);
}

#[test]
fn emitting_allocates_nothing_while_it_blocks_and_wakes() {
    let pipeline = pipeline(Topology::Fused, FullPolicy::Block { timeout: Duration::from_secs(30) });
    let mut emitter = pipeline.emitter("test").unwrap();
    // The first park of a thread may make its handle; waking needs the consumer's only.
    std::thread::park_timeout(Duration::from_nanos(1));
    let allocated = allocations(|| {
        for number in 0..20_000 {
            emitter.emit(Symbol::of("clock"), &Tick { number }).unwrap();
            if number % 1_000 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    assert_eq!(allocated, 0);
    drop(emitter);
    assert_eq!(pipeline.shutdown().account.unique, 20_000);
}

#[test]
fn a_closed_pipeline_refuses_without_allocating() {
    let pipeline = pipeline(Topology::Fused, FullPolicy::DropNewest);
    let mut emitter = pipeline.emitter("test").unwrap();
    drop(pipeline.shutdown());
    assert_eq!(allocations(|| assert!(emitter.emit(Symbol::of("clock"), &Tick { number: 1 }).is_err())), 0);
}
