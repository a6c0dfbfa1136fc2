//! Waiting for the pipeline's threads, and giving up on those that do nothing: an observer that never returns must not hang whoever
//! asks.

use crate::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// What a snapshot, or whoever adds or removes an observer, could not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The caller is one of the pipeline's own threads (an observer or a processor), which would wait for itself.
    #[error("a thread of the pipeline cannot wait for its own answer; ask from another thread")]
    OwnThread,
    /// The process is a child of the one in which the pipeline was made: none of its threads is here.
    #[error(
        "the pipeline was made before this process was forked, and its threads are not here; ask in the parent"
    )]
    Forked,
    /// A thread neither took events nor answered for the pipeline's `stall_timeout`.
    #[error(
        "{thread} has done nothing for {waited:?}{}; its part is missing: mend what it waits for, or raise `stall_timeout`",
        within(observer.as_deref())
    )]
    Stalled {
        /// The thread's name.
        thread: String,
        /// The observer that it was calling, where it was calling one.
        observer: Option<String>,
        /// How long was waited.
        waited: Duration,
    },
    /// An emitter was in the middle of a call for the pipeline's `stall_timeout` while the pipeline closed: in an iterator that
    /// yields nothing, say. What it emits when it goes on is lost.
    #[error(
        "emitter {emitter:?} has been in the middle of a call for {waited:?}, and what it emits from now on is lost; end the \
         iterator that it emits from before the shutdown"
    )]
    Emitting {
        /// The emitter's name.
        emitter: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A thread panicked, which only a bug of this crate can bring about.
    #[error("{thread} died; please report this bug")]
    Died {
        /// The thread's name.
        thread: String,
    },
}

fn within(observer: Option<&str>) -> String {
    observer.map_or_else(String::new, |observer| format!(", within observer {observer:?}"))
}

/// Sends one thread's answer to whoever asked several.
pub(crate) struct Reply<T> {
    thread: usize,
    sender: Sender<(usize, T)>,
}

impl<T> Reply<T> {
    /// For the thread of that number.
    pub(crate) fn of(thread: usize, sender: &Sender<(usize, T)>) -> Reply<T> {
        Reply { thread, sender: sender.clone() }
    }

    /// Answers. Whoever asked may have given up.
    pub(crate) fn send(self, answer: T) {
        let _ = self.sender.send((self.thread, answer));
    }
}

/// So often is looked whether the threads that have not answered do anything.
const LOOK: Duration = Duration::from_millis(50);

/// How long threads have done nothing.
pub(crate) struct Patience {
    timeout: Duration,
    /// By thread: how far it was, and since when it has been there.
    threads: Vec<(u64, Instant)>,
}

impl Patience {
    /// Begins now, with how far each thread is.
    pub(crate) fn begin(timeout: Duration, progress: impl IntoIterator<Item = u64>) -> Patience {
        let now = Instant::now();
        Patience { timeout, threads: progress.into_iter().map(|progress| (progress, now)).collect() }
    }

    /// Tells whether the thread has been where it is for too long.
    pub(crate) fn is_over(&mut self, thread: usize, progress: u64) -> bool {
        let Some((before, since)) = self.threads.get_mut(thread) else { return true };
        if *before != progress {
            (*before, *since) = (progress, Instant::now());
        }
        since.elapsed() >= self.timeout
    }

    /// Collects an answer of each thread; `Err` with how it stands with those that gave none.
    pub(crate) fn collect<T>(
        &mut self,
        answers: &Receiver<(usize, T)>,
        progress: impl Fn(usize) -> u64,
    ) -> Vec<Result<T, NoAnswer>> {
        let mut collected: Vec<_> = self.threads.iter().map(|_| Err(NoAnswer::Waiting)).collect();
        while collected.iter().any(|answer| matches!(answer, Err(NoAnswer::Waiting))) {
            match answers.recv_timeout(self.timeout.min(LOOK)) {
                Ok((thread, answer)) => {
                    if let Some(slot) = collected.get_mut(thread) {
                        *slot = Ok(answer);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    for answer in collected.iter_mut().filter(|answer| answer.is_err()) {
                        *answer = Err(NoAnswer::Dropped);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    for (thread, answer) in collected.iter_mut().enumerate() {
                        if matches!(answer, Err(NoAnswer::Waiting)) && self.is_over(thread, progress(thread))
                        {
                            *answer = Err(NoAnswer::Stalled(self.timeout));
                        }
                    }
                }
            }
        }
        collected
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoAnswer {
    /// None yet.
    Waiting,
    /// The thread has ended, and what it was asked was dropped.
    Dropped,
    /// It has done nothing for so long.
    Stalled(Duration),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;

    #[test]
    fn who_does_something_is_waited_for_and_who_does_nothing_is_not() {
        let steps = AtomicU64::new(0);
        let mut patience = Patience::begin(Duration::from_millis(200), [0, 0, 0]);
        let (sender, answers) = channel();
        let replies: Vec<_> = (0..3).map(|thread| Reply::of(thread, &sender)).collect();
        drop(sender);
        let collected = std::thread::scope(|scope| {
            let mut replies = replies.into_iter();
            let (first, slow, stuck) = (replies.next().unwrap(), replies.next().unwrap(), replies.next());
            first.send("at once");
            let steps = &steps;
            scope.spawn(move || {
                for _ in 0..20 {
                    std::thread::sleep(Duration::from_millis(30));
                    steps.fetch_add(1, Ordering::Relaxed);
                }
                slow.send("late");
            });
            let progress = |thread| if thread == 1 { steps.load(Ordering::Relaxed) } else { 0 };
            let collected = patience.collect(&answers, progress);
            drop(stuck);
            collected
        });
        let stalled = NoAnswer::Stalled(Duration::from_millis(200));
        assert_eq!(collected, [Ok("at once"), Ok("late"), Err(stalled)]);
    }

    #[test]
    fn who_is_gone_is_not_waited_for() {
        let mut patience = Patience::begin(Duration::MAX, [0, 0]);
        let (sender, answers) = channel();
        Reply::of(1, &sender).send(5);
        drop(sender);
        assert_eq!(patience.collect(&answers, |_| 0), [Err(NoAnswer::Dropped), Ok(5)]);
    }
}
