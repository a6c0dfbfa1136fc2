//! Nothing hangs: calls from the pipeline's own threads, observers that do not return, emitters that do not come out of a call.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod closing;

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::{EmitError, EmitStats, Emitter, FullPolicy};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Record, Symbol};
use panther_events::observe::{Batch, Interest, Observer, Scope, Undelivered};
use panther_events::pipeline::{
    AddError, Builder, DrainError, Handle, Pipeline, PipelineOptions, RemoveError, ReportKey, Topology,
    Unanswered,
};
use panther_events::process::{Derived, Processor};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 2 },
    Topology::Staged { dedup: 2, workers: 1 },
];

/// Beyond this, a call counts as one that hangs.
const LONG: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_millis(300);

panther_events::payload! {
    /// A sample.
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}
const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

fn builder(topology: Topology) -> Builder {
    let mut builder = Builder::new(PipelineOptions {
        topology,
        ring_capacity: 64,
        full_policy: FullPolicy::Block { timeout: Duration::from_secs(3600) },
        stall_timeout: STALL,
        ..PipelineOptions::default()
    });
    builder.domain(&LAB);
    builder
}

fn emit(emitter: &mut Emitter, value: u64) -> Result<(), EmitError> {
    emitter.emit(Symbol::of("one"), &Sample { value })
}

/// Runs `call` on a thread of its own, and panics where it takes too long.
fn in_time<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, answer) = channel();
    let thread = std::thread::spawn(move || {
        // Whoever asked may have given up.
        let _ = sender.send(call());
    });
    match answer.recv_timeout(LONG) {
        Ok(answer) => {
            thread.join().unwrap();
            answer
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Does once, at the first sample, what it is given.
struct Once<F>(Option<F>);

type Call = Box<dyn FnOnce() + Send>;

impl Observer for Once<Call> {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { kinds: KindSet::of(&[Sample::KIND]), duplicates: false, scope: Scope::Whole }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        if let Some(call) = self.0.take() {
            call();
        }
        Ok(())
    }

    fn report(&self) {}
}

impl Processor for Once<Call> {
    fn interest(&self) -> KindSet {
        KindSet::of(&[Sample::KIND])
    }

    fn process(&mut self, _: &Record, _: &mut Derived<'_>) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// An observer, or a processor, that does `call` once.
fn with(builder: &mut Builder, processor: bool, call: Call) -> Option<ReportKey<()>> {
    let call = Arc::new(Mutex::new(Some(call)));
    let take = move || Once(call.lock().unwrap().take());
    if processor {
        builder.processor("once", move |_| take());
        return None;
    }
    Some(builder.observer("once", move |_| take()))
}

/// What the pipeline's own thread got, and the pipeline that it asks.
#[derive(Default)]
struct Lent {
    pipeline: Mutex<Option<Arc<Pipeline>>>,
    handle: Mutex<Option<Handle>>,
}

#[test]
fn each_call_from_an_own_thread_is_an_error_with_a_name() {
    for (topology, processor) in
        TOPOLOGIES.into_iter().flat_map(|topology| [(topology, false), (topology, true)])
    {
        in_time(&format!("{topology}, processor {processor}"), move || {
            let (told, heard) = channel();
            let lent = Arc::new(Lent::default());
            let twin = Arc::clone(&lent);
            let mut builder = builder(topology);
            let idle = builder.observer(
                panther_events::pipeline::ObserverOptions { scope: Some("all".into()), .."idle".into() },
                |_| Once::<Call>(None),
            );
            let call: Call = Box::new(move || {
                let pipeline = twin.pipeline.lock().unwrap().take().unwrap();
                let handle = twin.handle.lock().unwrap().take().unwrap();
                let own = Unanswered::OwnThread;
                assert_eq!(pipeline.snapshot().unanswered, [Unanswered::OwnThread]);
                let added = pipeline.add_observer("new", |_| Once::<Call>(None));
                assert_eq!(added.err(), Some(AddError::Unanswered("new".into(), own.clone())));
                assert_eq!(pipeline.remove_observer(idle).err(), Some(RemoveError::Unanswered(own.clone())));
                assert_eq!(pipeline.remove_scope("all").err(), Some(RemoveError::Unanswered(own)));
                assert_eq!(pipeline.drain(Duration::MAX), Err(DrainError::OwnThread));
                assert_eq!(handle.drain(Duration::MAX), Err(DrainError::OwnThread));
                assert_eq!(pipeline.poll(), 0);
                assert!(pipeline.emitter("from within").is_ok() && handle.emitter("from within").is_ok());
                told.send(()).unwrap();
            });
            with(&mut builder, processor, call);
            let pipeline = Arc::new(builder.start().unwrap());
            *lent.handle.lock().unwrap() = Some(pipeline.handle());
            *lent.pipeline.lock().unwrap() = Some(Arc::clone(&pipeline));
            let mut emitter = pipeline.emitter("one").unwrap();
            emit(&mut emitter, 1).unwrap();
            pipeline.poll();
            heard.recv_timeout(LONG).unwrap();
            drop(emitter);
            let mut pipeline = pipeline;
            let pipeline = loop {
                match Arc::try_unwrap(pipeline) {
                    Ok(pipeline) => break pipeline,
                    Err(shared) => pipeline = shared,
                }
            };
            let last = pipeline.shutdown();
            assert_eq!((last.unanswered, last.account.check()), (vec![], Ok(())));
            assert!(last.account.observers.iter().any(|(name, _)| &**name == "idle"));
        });
    }
}

/// The pipeline goes with the call, so that another thread must end it: what was accepted is handled all the same.
#[test]
fn a_pipeline_that_its_own_thread_ends_is_ended_by_another_thread() {
    for topology in TOPOLOGIES.into_iter().filter(|topology| *topology != Topology::Inline) {
        for shuts_down in [true, false] {
            let (told, heard) = channel();
            let (counted, count) = channel();
            let lent: Arc<Mutex<Option<Pipeline>>> = Arc::default();
            let (twin, counted) = (Arc::clone(&lent), Mutex::new(counted));
            let mut builder = builder(topology);
            let call: Call = Box::new(move || {
                let pipeline = twin.lock().unwrap().take().unwrap();
                if shuts_down {
                    told.send(pipeline.shutdown().unanswered).unwrap();
                } else {
                    drop(pipeline);
                    told.send(vec![Unanswered::OwnThread]).unwrap();
                }
            });
            with(&mut builder, false, call);
            builder.observer("count", move |_| Counts(0, counted.lock().unwrap().clone()));
            let mut held = lent.lock().unwrap();
            let pipeline = builder.start().unwrap();
            let mut emitter = pipeline.emitter("one").unwrap();
            for value in 0..40 {
                emit(&mut emitter, value).unwrap();
            }
            *held = Some(pipeline);
            drop(held);
            assert_eq!(heard.recv_timeout(LONG).unwrap(), [Unanswered::OwnThread], "{topology}");
            assert_eq!(emit(&mut emitter, 40), Err(EmitError::Closed));
            drop(emitter);
            let mut all = 0;
            while let Ok(part) = count.recv_timeout(LONG) {
                all += part;
            }
            assert_eq!(all, 40, "{topology}");
        }
    }
}

/// Counts, and tells how many there were when it is dropped.
struct Counts(u64, Sender<u64>);

impl Observer for Counts {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0 += batch.iter().count() as u64;
        Ok(())
    }

    fn report(&self) {}
}

impl Drop for Counts {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

/// A pipeline of which the observer "stuck" is within a call until the sender is dropped.
fn stuck(topology: Topology) -> (Pipeline, Sender<()>, ReportKey<()>) {
    let (release, released) = channel::<()>();
    let (entered, has_entered) = channel();
    let mut builder = builder(topology);
    let call: Call = Box::new(move || {
        entered.send(()).unwrap();
        let _ = released.recv();
    });
    let call = Arc::new(Mutex::new(Some(call)));
    let key = builder.observer("stuck", move |_| Once(call.lock().unwrap().take()));
    builder.observer("other", |_| Once::<Call>(None));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("one").unwrap();
    emit(&mut emitter, 1).unwrap();
    drop(emitter);
    wait(&has_entered, &pipeline);
    (pipeline, release, key)
}

/// Waits for a thread of the pipeline's; an inline one has none.
fn wait(entered: &Receiver<()>, pipeline: &Pipeline) {
    let _ = pipeline;
    entered.recv_timeout(LONG).unwrap();
}

/// Tells whether all that is missing is the answer of a thread that is within the observer.
fn names_the_observer(unanswered: &[Unanswered]) -> bool {
    let within = |missing: &Unanswered| {
        matches!(missing, Unanswered::Stalled { observer: Some(observer), waited, .. }
            if observer == "stuck" && *waited == STALL)
    };
    !unanswered.is_empty() && unanswered.iter().all(within)
}

#[test]
fn an_observer_that_does_not_return_hangs_nobody_and_is_named() {
    for topology in TOPOLOGIES.into_iter().filter(|topology| *topology != Topology::Inline) {
        in_time(&format!("{topology}"), move || {
            let (pipeline, release, key) = stuck(topology);
            let start = Instant::now();
            let snapshot = pipeline.snapshot();
            assert!(names_the_observer(&snapshot.unanswered), "{topology}: {:?}", snapshot.unanswered);
            assert!(snapshot.warnings[0].contains("within observer \"stuck\""), "{:?}", snapshot.warnings);
            assert_eq!(snapshot.account.accepted, 1, "the counters are there");
            assert_eq!(pipeline.drain(STALL), Err(DrainError::Timeout { timeout: STALL }));
            let Err(AddError::Unanswered(name, missing)) =
                pipeline.add_observer("new", |_| Once::<Call>(None))
            else {
                panic!("it cannot have been added")
            };
            assert!(name == "new" && names_the_observer(&[missing]));
            let Err(RemoveError::Unanswered(missing)) = pipeline.remove_observer(key) else {
                panic!("it cannot have been removed")
            };
            assert!(names_the_observer(&[missing]));
            let last = pipeline.shutdown();
            assert!(names_the_observer(&last.unanswered), "{:?}", last.unanswered);
            assert!(start.elapsed() < LONG / 2);
            drop(release);
        });
    }
}

/// After a while it goes on: what it was told meanwhile is carried out, and the account is whole.
#[test]
fn an_observer_that_goes_on_after_all_loses_nothing() {
    for topology in TOPOLOGIES.into_iter().filter(|topology| *topology != Topology::Inline) {
        in_time(&format!("{topology}"), move || {
            let (pipeline, release, key) = stuck(topology);
            assert!(!pipeline.snapshot().unanswered.is_empty());
            assert!(pipeline.add_observer("new", |_| Once::<Call>(None)).is_err());
            assert!(matches!(pipeline.remove_observer(key), Err(RemoveError::Unanswered(_))));
            for name in ["new", "stuck"] {
                let again = pipeline.add_observer(name, |_| Once::<Call>(None));
                assert_eq!(again.err(), Some(AddError::Name(name.into())), "they are not gone");
            }
            drop(release);
            pipeline.drain(LONG).unwrap();
            for name in ["new", "stuck"] {
                let again = pipeline.add_observer(name, |_| Once::<Call>(None));
                assert!(again.is_ok(), "{topology}: {again:?}");
            }
            let snapshot = pipeline.snapshot();
            assert!(snapshot.unanswered.is_empty(), "{:?}", snapshot.unanswered);
            let last = pipeline.shutdown();
            assert_eq!((last.unanswered, last.account.check()), (vec![], Ok(())), "{topology}");
        });
    }
}

#[test]
fn whoever_asks_an_inline_pipeline_that_is_stuck_elsewhere_is_told() {
    in_time("inline", || {
        let (release, released) = channel::<()>();
        let (entered, has_entered) = channel();
        let mut builder = builder(Topology::Inline);
        let call: Call = Box::new(move || {
            entered.send(()).unwrap();
            let _ = released.recv();
        });
        let call = Arc::new(Mutex::new(Some(call)));
        let key = builder.observer("stuck", move |_| Once(call.lock().unwrap().take()));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("one").unwrap();
        emit(&mut emitter, 1).unwrap();
        drop(emitter);
        std::thread::scope(|scope| {
            scope.spawn(|| pipeline.poll());
            has_entered.recv_timeout(LONG).unwrap();
            assert!(names_the_observer(&pipeline.snapshot().unanswered));
            assert!(matches!(
                pipeline.add_observer("new", |_| Once::<Call>(None)),
                Err(AddError::Unanswered(_, Unanswered::Stalled { .. }))
            ));
            assert!(matches!(
                pipeline.remove_observer(key),
                Err(RemoveError::Unanswered(Unanswered::Stalled { .. }))
            ));
            drop(release);
        });
        assert_eq!(pipeline.shutdown().unanswered, []);
    });
}

/// What became of a batch, and of one event behind it.
type Sent = (EmitStats, Result<(), EmitError>);

/// An emitter "blocked" within an iterator, which yields what it is sent and ends with the sender; what became of that, and of one more
/// event.
fn blocked(pipeline: &Pipeline) -> (Sender<u64>, JoinHandle<Sent>) {
    let mut emitter = pipeline.emitter("blocked").unwrap();
    let (release, released) = channel::<u64>();
    let (entered, has_entered) = channel();
    let thread = std::thread::spawn(move || {
        let values = std::iter::from_fn(|| {
            let _ = entered.send(());
            released.recv().ok()
        });
        let sent = emitter.emit_batch(values.map(|value| (Symbol::of("one"), Sample { value })));
        (sent, emit(&mut emitter, 1))
    });
    has_entered.recv_timeout(LONG).unwrap();
    (release, thread)
}

#[test]
fn an_emitter_whose_iterator_blocks_is_named_at_the_shutdown() {
    for topology in TOPOLOGIES {
        in_time(&format!("{topology}"), move || {
            let pipeline = builder(topology).start().unwrap();
            let (release, blocked) = blocked(&pipeline);
            let last = pipeline.shutdown();
            if topology == (Topology::Staged { dedup: 2, workers: 1 }) {
                // With several shards, each event is a step of its own, and the iterator is asked between two.
                assert_eq!(last.unanswered, []);
            } else {
                let missing = Unanswered::Emitting { emitter: "blocked".into(), waited: STALL };
                assert_eq!(last.unanswered, [missing], "{topology}");
                assert!(last.warnings[0].contains("\"blocked\""), "{:?}", last.warnings);
            }
            release.send(5).unwrap();
            drop(release);
            let (sent, after) = blocked.join().unwrap();
            assert_eq!((sent.accepted, sent.rejected, after), (0, 1, Err(EmitError::Closed)), "{topology}");
        });
    }
}

/// Emits into its own pipeline until the ring is full.
#[test]
fn an_observer_that_fills_its_own_ring_does_not_wait_for_itself() {
    for topology in TOPOLOGIES {
        in_time(&format!("{topology}"), move || {
            let (told, heard) = channel();
            let lent: Arc<Mutex<Option<Emitter>>> = Arc::default();
            let twin = Arc::clone(&lent);
            let mut builder = builder(topology);
            let call: Call = Box::new(move || {
                let mut own = twin.lock().unwrap().take().unwrap();
                let mut full = 0;
                // More than the ring holds, and all that a shard on another thread could take out meanwhile.
                for value in 0.. {
                    match emit(&mut own, value) {
                        Ok(()) => {}
                        Err(EmitError::FullWithin) => full += 1,
                        Err(error) => panic!("{error}"),
                    }
                    if full == 3 {
                        break;
                    }
                }
                let many = own.emit_batch((0..1_000).map(|value| (Symbol::of("one"), Sample { value })));
                told.send((own.sent(), many.dropped_full)).unwrap();
            });
            with(&mut builder, false, call);
            let pipeline = builder.start().unwrap();
            *lent.lock().unwrap() = Some(pipeline.emitter("own").unwrap());
            let mut emitter = pipeline.emitter("one").unwrap();
            emit(&mut emitter, 1).unwrap();
            pipeline.poll();
            let (sent, _) = heard.recv_timeout(LONG).unwrap();
            assert!(sent.dropped_full >= 3, "{topology}: {sent:?}");
            drop(emitter);
            let last = pipeline.shutdown();
            assert_eq!((last.account.check(), last.account.dropped_full), (Ok(()), sent.dropped_full));
        });
    }
}

/// Flushes for longer than the pipeline waits for a thread that does nothing.
struct Long {
    says_so: bool,
}

impl Observer for Long {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { scope: Scope::Whole, ..Interest::ALL }
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        for _ in 0..12 {
            std::thread::sleep(STALL / 4);
            if self.says_so {
                panther_events::observe::still_at_work();
            }
        }
        Ok(())
    }

    fn report(&self) {}
}

#[test]
fn an_observer_that_says_that_it_goes_on_is_waited_for() {
    for topology in TOPOLOGIES.into_iter().filter(|topology| *topology != Topology::Inline) {
        for says_so in [true, false] {
            in_time(&format!("{topology}"), move || {
                let mut builder = builder(topology);
                let key = builder.observer("long", move |_| Long { says_so });
                let pipeline = builder.start().unwrap();
                let late = pipeline.add_observer("late", |_| Long { says_so }).unwrap();
                assert_eq!(pipeline.remove_observer(late).is_ok(), says_so, "{topology}");
                if says_so {
                    let last = pipeline.shutdown();
                    assert_eq!((last.unanswered.len(), last.report(key)), (0, Some(&())), "{topology}");
                } else {
                    assert!(!pipeline.shutdown().unanswered.is_empty(), "{topology}");
                }
            });
        }
    }
}
