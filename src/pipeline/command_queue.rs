//! Commands to a running thread, and its answers.

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// A command queue, polled by its owner between batches; polling an empty one costs one load.
///
/// Commands hold the sender's means to be answered; one that is dropped says that no answer comes.
pub(crate) struct CommandQueue<T> {
    waiting: AtomicBool,
    commands: Mutex<Commands<T>>,
}

struct Commands<T> {
    waiting: Vec<T>,
    /// The owner is gone: commands are dropped.
    closed: bool,
}

impl<T> CommandQueue<T> {
    pub(crate) fn new() -> CommandQueue<T> {
        let commands = Commands { waiting: Vec::new(), closed: false };
        CommandQueue { waiting: AtomicBool::new(false), commands: Mutex::new(commands) }
    }

    /// Puts a command in; the caller wakes the owner.
    pub(crate) fn put(&self, command: T) {
        let mut commands = lock(&self.commands);
        if !commands.closed {
            commands.waiting.push(command);
            // Release: partner is the load in `is_waiting`.
            self.waiting.store(true, Ordering::Release);
        }
    }

    /// Tells whether there are commands.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        // Acquire: partner is the store in `put`.
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes all commands.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut commands = lock(&self.commands);
        self.waiting.store(false, Ordering::Relaxed);
        std::mem::take(&mut commands.waiting)
    }

    /// Returns what closes the queue when the owner's thread ends, by a panic too.
    pub(crate) fn owned(&self) -> Owned<'_, T> {
        Owned(self)
    }
}

/// Closes the queue when dropped.
pub(crate) struct Owned<'a, T>(&'a CommandQueue<T>);

impl<T> Drop for Owned<'_, T> {
    fn drop(&mut self) {
        let mut commands = lock(&self.0.commands);
        commands.closed = true;
        commands.waiting.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvError, Sender, channel};

    #[test]
    fn whoever_writes_to_one_who_is_gone_is_not_left_waiting() {
        let commands: CommandQueue<Sender<()>> = CommandQueue::new();
        let (command, answer) = channel();
        let owned = commands.owned();
        commands.put(command);
        assert!(commands.is_waiting());
        drop(owned);
        assert_eq!(answer.recv(), Err(RecvError));
        let (command, answer) = channel();
        commands.put(command);
        assert_eq!(answer.recv(), Err(RecvError));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::mpsc::{Sender, channel};
    use crate::sync::{self, Arc};

    #[test]
    fn whoever_writes_to_one_who_goes_is_not_left_waiting() {
        loom::model(|| {
            let commands: Arc<CommandQueue<Sender<()>>> = Arc::new(CommandQueue::new());
            let twin = Arc::clone(&commands);
            let owner = sync::spawn("owner".to_owned(), move || drop(twin.owned()));
            let (command, answer) = channel();
            commands.put(command);
            assert!(answer.recv().is_err());
            owner.unwrap().join().unwrap();
        });
    }

    #[test]
    fn a_command_is_taken_once_however_many_give_them() {
        loom::model(|| {
            let commands: Arc<CommandQueue<u32>> = Arc::new(CommandQueue::new());
            let writers = [1, 2].map(|command| {
                let twin = Arc::clone(&commands);
                sync::spawn("writer".to_owned(), move || twin.put(command)).unwrap()
            });
            let mut taken = if commands.is_waiting() { commands.take() } else { Vec::new() };
            for writer in writers {
                writer.join().unwrap();
            }
            if commands.is_waiting() {
                taken.extend(commands.take());
            }
            taken.sort_unstable();
            assert_eq!(taken, [1, 2]);
        });
    }
}
