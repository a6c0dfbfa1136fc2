//! Asking the pipeline's threads what they know, and ending them.

use crate::observe::worker::AtWork;
use crate::pipeline::shard::{ShardCommand, ShardThread};
use crate::pipeline::stall::{NoAnswer, Patience, Reply, Unanswered};
use crate::pipeline::threads::{Group, ThreadOf, Threads};
use crate::pipeline::worker::WorkerCommand;
use crate::pipeline::{Pipeline, Shared, Snapshot};
use crate::sync::thread;
use crate::sync::{self, Arc, Mutex, Ordering, lock, mpsc, sleep};
use std::sync::TryLockError;
use std::time::{Duration, Instant};

impl Pipeline {
    /// Returns what the pipeline knows now. Each thread answers between two batches.
    ///
    /// It has not what still lies in rings: `account.in_flight` says how many events those are. To have all that was
    /// accepted before, call [`Pipeline::drain`] first.
    ///
    /// What a thread does not tell that does nothing for [`stall_timeout`](crate::pipeline::PipelineOptions::stall_timeout) is
    /// missing, as all is that threads tell where one of them calls this itself; [`Snapshot::unanswered`] says so.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.shared;
        if let Err(error) = shared.may_wait() {
            return shared.without_threads(error);
        }
        let mut shard_patience = shared.patience(shared.shard_threads());
        let (sender, shard_answers) = mpsc::channel();
        for (number, shard) in shared.shards.iter().enumerate() {
            shard.commands.put(ShardCommand::Report(Reply::of(number, &sender)));
            shard.rings.parker.wake();
        }
        drop(sender);
        let mut worker_patience = shared.patience(shared.worker_threads());
        let (sender, worker_answers) = mpsc::channel();
        for (number, worker) in shared.workers.iter().enumerate() {
            worker.commands.put(WorkerCommand::Report(Reply::of(number, &sender)));
            worker.parker.wake();
        }
        drop(sender);
        let mut unanswered = Vec::new();
        if let Err(error) = self.answer_inline() {
            return shared.assemble(Vec::new(), Vec::new(), vec![error]);
        }
        let shards =
            shard_patience.collect(&shard_answers, |at| shared.progress_of(Some(&ThreadOf::Shard(at))));
        let workers =
            worker_patience.collect(&worker_answers, |at| shared.progress_of(Some(&ThreadOf::Worker(at))));
        let shards = shared.told(shards, ThreadOf::Shard, &mut unanswered);
        let workers = shared.told(workers, ThreadOf::Worker, &mut unanswered);
        shared.assemble(shards, workers, unanswered)
    }

    /// Under `Inline`, whoever gives a command carries it out.
    pub(super) fn answer_inline(&self) -> Result<(), Unanswered> {
        let Some(work) = &self.threads.inline else { return Ok(()) };
        let mut work = self.lock_inline(work)?;
        let _inside = self.shared.enter();
        work.answer();
        Ok(())
    }

    /// Locks what does the work under `Inline`; an error where whoever has it does nothing for too long.
    pub(super) fn lock_inline<'w>(
        &self,
        work: &'w Mutex<ShardThread>,
    ) -> Result<impl std::ops::DerefMut<Target = ShardThread> + use<'w>, Unanswered> {
        let mut patience = self.shared.patience(self.shared.shard_threads());
        loop {
            match work.try_lock() {
                Ok(work) => return Ok(work),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                // Whoever polls may be within an observer.
                Err(TryLockError::WouldBlock) => {
                    let thread = ThreadOf::Shard(0);
                    if patience.is_over(0, self.shared.progress_of(Some(&thread))) {
                        let waited = self.shared.options.stall_timeout;
                        return Err(self.shared.unanswered(thread, NoAnswer::Stalled(waited)));
                    }
                    sleep(REST);
                }
            }
        }
    }

    /// Closes the pipeline, brings everything that was accepted through all stages, and returns the last
    /// snapshot.
    ///
    /// Emitters that are still there find it closed from here on; one that is waiting for room is let finish. The
    /// account is checked; were it not to add up, the snapshot's warnings would say so.
    ///
    /// A thread or an emitter that does nothing for [`stall_timeout`](crate::pipeline::PipelineOptions::stall_timeout) is given up: it
    /// is left to itself, and what it would have said is missing, as [`Snapshot::unanswered`] tells. Where one of the pipeline's own
    /// threads calls this, or drops the pipeline, another thread ends it afterwards.
    #[must_use = "the last snapshot holds what the run has found"]
    pub fn shutdown(mut self) -> Snapshot {
        self.close()
    }

    fn close(&mut self) -> Snapshot {
        let threads = std::mem::take(&mut self.threads);
        let shared = &self.shared;
        if shared.emit_shared.gate.is_forked() {
            // They are the parent's.
            std::mem::forget(threads);
            return shared.without_threads(Unanswered::Forked);
        }
        shared.emit_shared.gate.close();
        if shared.is_own_thread() {
            let twin = Arc::clone(shared);
            let closing = sync::spawn("pe-close".to_owned(), move || drop(twin.end(threads)));
            if closing.is_err() {
                // The threads end by themselves, and what emitters are in the middle of emitting may be lost.
                shared.start_draining();
            }
            return shared.without_threads(Unanswered::OwnThread);
        }
        shared.end(threads)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.threads.are_there() {
            drop(self.close());
        }
    }
}

impl Shared {
    /// Says why this thread may not wait for the pipeline's.
    pub(super) fn may_wait(&self) -> Result<(), Unanswered> {
        if self.emit_shared.gate.is_forked() {
            Err(Unanswered::Forked)
        } else if self.is_own_thread() {
            Err(Unanswered::OwnThread)
        } else {
            Ok(())
        }
    }

    pub(super) fn shard_threads(&self) -> impl Iterator<Item = ThreadOf> + Clone + use<> {
        (0..self.shards.len()).map(ThreadOf::Shard)
    }

    pub(super) fn worker_threads(&self) -> impl Iterator<Item = ThreadOf> + Clone + use<> {
        (0..self.workers.len()).map(ThreadOf::Worker)
    }

    /// Returns the threads that call observers.
    pub(super) fn hosts(&self) -> impl Iterator<Item = ThreadOf> + Clone + use<> {
        let alone = self.workers.is_empty().then_some(ThreadOf::Shard(0));
        alone.into_iter().chain(self.worker_threads())
    }

    pub(super) fn patience(&self, threads: impl Iterator<Item = ThreadOf>) -> Patience {
        let progress = threads.map(|thread| self.progress_of(Some(&thread)));
        Patience::begin(self.options.stall_timeout, progress)
    }

    /// Returns a number that changes while the thread does something.
    pub(super) fn progress_of(&self, thread: Option<&ThreadOf>) -> u64 {
        let taken = match thread {
            Some(ThreadOf::Shard(at)) => self.shards.get(*at).map_or(0, |shard| {
                let (unique, duplicates) = (&shard.counts.unique, &shard.counts.duplicates);
                unique.load(Ordering::Relaxed) + duplicates.load(Ordering::Relaxed)
            }),
            Some(ThreadOf::Worker(at)) => {
                self.workers.get(*at).map_or(0, |worker| worker.taken.load(Ordering::Relaxed))
            }
            None => 0,
        };
        let at_work = thread.and_then(|thread| self.at_work_of(*thread));
        let calls = at_work.and_then(|at_work| at_work.number()).map_or(0, |number| number as u64 + 1);
        let beats = at_work.map_or(0, |at_work| at_work.beats.count());
        // Odd factors: what changes in one of them alone changes the sum.
        taken
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(beats.wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_add(calls)
    }

    fn at_work_of(&self, thread: ThreadOf) -> Option<&AtWork> {
        let host = self.hosts().position(|host| host == thread)?;
        self.at_work.get(host).map(|at_work| &**at_work)
    }

    /// Names what did not answer.
    pub(super) fn unanswered(&self, thread: ThreadOf, why: NoAnswer) -> Unanswered {
        let name = match thread {
            ThreadOf::Shard(number) => format!("dedup thread {number}"),
            ThreadOf::Worker(number) => format!("worker {number}"),
        };
        match why {
            NoAnswer::Stalled(waited) => {
                let observer = self
                    .at_work_of(thread)
                    .and_then(AtWork::number)
                    .and_then(|number| self.registry.name(number));
                Unanswered::Stalled { thread: name, observer, waited }
            }
            NoAnswer::Waiting | NoAnswer::Dropped => Unanswered::Died { thread: name },
        }
    }

    /// Sorts out what threads have told.
    fn told<T>(
        &self,
        answers: Vec<Result<T, NoAnswer>>,
        thread_of: fn(usize) -> ThreadOf,
        unanswered: &mut Vec<Unanswered>,
    ) -> Vec<T> {
        let mut told = Vec::new();
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(answer) => told.push(answer),
                Err(why) => unanswered.push(self.unanswered(thread_of(number), why)),
            }
        }
        told
    }

    /// Waits for each of the threads that does something, and returns what they say.
    fn end_group<T>(
        &self,
        group: Group<T>,
        patience: &mut Patience,
        thread_of: fn(usize) -> ThreadOf,
        unanswered: &mut Vec<Unanswered>,
    ) -> Vec<T> {
        let (handles, ended) = group.into_parts();
        let collected = patience.collect(&ended, |number| self.progress_of(Some(&thread_of(number))));
        let joined = handles.into_iter().zip(collected).map(|(handle, ended)| match ended {
            // The thread is left to itself: it may never end.
            Err(why @ NoAnswer::Stalled(_)) => Err(why),
            _ => handle.join().map_err(|_| NoAnswer::Dropped),
        });
        self.told(joined.collect(), thread_of, unanswered)
    }

    /// Ends the threads, once they have done their work; the gate is closed.
    fn end(&self, mut threads: Threads) -> Snapshot {
        let mut unanswered = self.wait_for_emitters(threads.inline.as_mut());
        self.emit_shared.sources.set_closed();
        let mut shard_patience = self.patience(self.shard_threads().take(threads.shards.len()));
        self.start_draining();
        let mut shards = Vec::new();
        if let Some(work) = threads.inline.take() {
            let mut work = work.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            let _inside = self.enter();
            while work.poll() > 0 {}
            shards.push(work.finish());
        }
        let given_up = unanswered.len();
        shards.extend(self.end_group(threads.shards, &mut shard_patience, ThreadOf::Shard, &mut unanswered));
        if unanswered.len() > given_up {
            // A shard waits for room at a worker that does not return. The others have to tell what they know all the same.
            self.workers.iter().for_each(|worker| worker.leave_behind());
        }
        let mut worker_patience = self.patience(self.worker_threads());
        let workers =
            self.end_group(threads.workers, &mut worker_patience, ThreadOf::Worker, &mut unanswered);
        threads.ticker = None;
        let mut snapshot = self.assemble(shards, workers, unanswered);
        if let Err(error) = snapshot.account.check_final()
            && snapshot.unanswered.is_empty()
        {
            snapshot.warnings.push(format!("the account does not add up: {error}"));
        }
        snapshot
    }

    /// Waits until no emitter is in the middle of a call; names those that stay there and do nothing.
    fn wait_for_emitters(&self, mut inline: Option<&mut Mutex<ShardThread>>) -> Vec<Unanswered> {
        // Whoever is seen outside once, after the gate was closed, pushes nothing more.
        let inside = self.emit_shared.sources.inside();
        let mut inside: Vec<_> =
            inside.into_iter().map(|source| (source.next_seq(), Instant::now(), source)).collect();
        let (mut stuck, mut looks) = (Vec::new(), 0_u32);
        loop {
            inside.retain(|(_, _, source)| source.active.is_occupied());
            if inside.is_empty() {
                return stuck;
            }
            if let Some(work) = &mut inline {
                let _inside = self.enter();
                lock(work).poll();
            }
            let waited = self.options.stall_timeout;
            inside.retain_mut(|(next_seq, since, source)| {
                if *next_seq != source.next_seq() {
                    (*next_seq, *since) = (source.next_seq(), Instant::now());
                }
                let is_stuck = since.elapsed() >= waited;
                if is_stuck {
                    stuck.push(Unanswered::Emitting { emitter: source.name().to_owned(), waited });
                }
                !is_stuck
            });
            looks += 1;
            if looks < LOOKS { thread::yield_now() } else { sleep(REST) }
        }
    }
}

/// So often is looked at once for emitters at work, and then after a rest.
const LOOKS: u32 = 1_000;
/// So long a thread rests that waits for another one to have done its work.
pub(super) const REST: Duration = Duration::from_micros(100);
