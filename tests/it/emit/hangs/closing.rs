//! Ends of pipelines while others ask, emit, or do not return.

use super::*;

/// Commands that come all the time, while nothing more is emitted and the pipeline ends: nothing that was accepted is lost.
#[test]
fn whoever_asks_at_the_end_leaves_no_ring_behind() {
    for topology in TOPOLOGIES {
        in_time(&format!("{topology}"), move || {
            for _ in 0..20 {
                let mut builder = builder(topology);
                let (counted, count) = channel();
                let counted = Mutex::new(counted);
                builder.observer("count", move |_| Counts(0, counted.lock().unwrap().clone()));
                let pipeline = builder.start().unwrap();
                // Its ring is empty, and comes first.
                let idle = pipeline.emitter("idle").unwrap();
                let mut emitter = pipeline.emitter("one").unwrap();
                for value in 0..60 {
                    emit(&mut emitter, value).unwrap();
                }
                let handle = pipeline.handle();
                let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
                let twin = Arc::clone(&done);
                let asks = std::thread::spawn(move || {
                    while !twin.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = handle.drain(Duration::from_millis(1));
                    }
                });
                let last = pipeline.shutdown();
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                asks.join().unwrap();
                drop((idle, emitter));
                assert_eq!((last.account.unique, last.account.check()), (60, Ok(())), "{topology}");
                assert_eq!((last.unanswered, last.warnings), (vec![], vec![]), "{topology}");
                let mut all = 0;
                while let Ok(part) = count.recv_timeout(LONG) {
                    all += part;
                }
                assert_eq!(all, 60, "{topology}");
            }
        });
    }
}

/// The ring to the worker that is stuck is full, so that the shard waits there: the other worker tells all the same, and is flushed.
#[test]
fn a_worker_that_is_stuck_takes_no_other_with_it() {
    in_time("two workers", || {
        let (release, released) = channel::<()>();
        let (entered, has_entered) = channel();
        let mut builder = builder(Topology::Staged { dedup: 1, workers: 2 });
        let released = Arc::new(Mutex::new(released));
        // Of each worker one; that which has the entity is stuck.
        builder.observer("stuck", move |_| Stuck(entered.clone(), Arc::clone(&released)));
        let (flushed, has_flushed) = channel();
        let flushed = Mutex::new(flushed);
        builder.observer("other", move |_| Flushed(flushed.lock().unwrap().clone()));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter_with("one", FullPolicy::DropNewest).unwrap();
        while has_entered.try_recv().is_err() {
            let _ = emit(&mut emitter, 1);
        }
        // The worker's ring and the shard's are full.
        for value in 0..100_000 {
            let _ = emit(&mut emitter, value);
        }
        drop(emitter);
        let last = pipeline.shutdown();
        let stuck =
            last.unanswered.iter().filter(|missing| names_the_observer(std::slice::from_ref(missing)));
        assert_eq!((stuck.count(), last.unanswered.len()), (1, 2), "{:?}", last.unanswered);
        // One worker's instance has flushed, and the other's has not.
        assert!(has_flushed.try_recv().is_ok() && has_flushed.try_recv().is_err());
        drop(release);
    });
}

/// Within its first call until the sender is dropped.
struct Stuck(Sender<()>, Arc<Mutex<Receiver<()>>>);

impl Observer for Stuck {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        let _ = self.0.send(());
        let _ = self.1.lock().unwrap().recv();
        Ok(())
    }

    fn report(&self) {}
}

/// Says when it is flushed.
struct Flushed(Sender<()>);

impl Observer for Flushed {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        let _ = self.0.send(());
        Ok(())
    }

    fn report(&self) {}
}

/// One emitter is stuck, and others go on calling the closed pipeline.
#[test]
fn emitters_that_call_a_closed_pipeline_do_not_hide_one_that_is_stuck() {
    in_time("emitters", || {
        let pipeline = builder(Topology::Fused).start().unwrap();
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let others: Vec<_> = (0..4)
            .map(|number| {
                let mut emitter = pipeline.emitter(&format!("other {number}")).unwrap();
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = emit(&mut emitter, 1);
                    }
                })
            })
            .collect();
        let (release, blocked) = blocked(&pipeline);
        let start = Instant::now();
        let last = pipeline.shutdown();
        assert_eq!(last.unanswered, [Unanswered::Emitting { emitter: "blocked".into(), waited: STALL }]);
        assert!(start.elapsed() < 20 * STALL, "{:?}", start.elapsed());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        drop(release);
        assert_eq!(blocked.join().unwrap().1, Err(EmitError::Closed));
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
