//! Full rings: what is done when there is no room, and waiting for some.

use crate::emit::refusal::EmitError;
use crate::emit::source::{EmitShared, Source};
use crate::event::Record;
use crate::ring::ShardSender;
use crate::sync::{Backoff, sleep, thread};
use std::time::{Duration, Instant};

/// Says what an emitter does when its ring is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FullPolicy {
    /// Wait for room; after `timeout` drop the event. A zero timeout is [`FullPolicy::DropNewest`].
    ///
    /// Under [`Topology::Inline`](crate::pipeline::Topology::Inline) nobody makes room while the only thread
    /// waits. An observer or a processor that emits into its own pipeline does not wait: the event is dropped at once
    /// ([`EmitError::FullWithin`]).
    Block {
        /// How long to wait for one event.
        timeout: Duration,
    },
    /// Drop the event that does not fit.
    DropNewest,
}

/// Looks for room so often before it gives the core away; some 20 microseconds.
const SPINS: u32 = 16;
/// How long to nap before looking for room again: first, and at most. What is in the ring meanwhile keeps its consumer
/// busy for longer than the first, unless the consumer has no core, which a nap gives it.
const NAP_FIRST: Duration = Duration::from_micros(40);
const NAP_MAX: Duration = Duration::from_millis(1);

#[cold]
#[inline(never)]
pub(super) fn push_when_room(
    sender: &mut ShardSender,
    source: &Source,
    policy: FullPolicy,
    emit_shared: &EmitShared,
    record: &dyn Fn() -> Record,
) -> Result<(), EmitError> {
    if let Err(error) = wait_for_room(sender, policy, emit_shared) {
        return source.fail(error);
    }
    // Only this emitter fills the ring: the room that was seen is still there.
    if sender.producer.push(record()).is_err() {
        return source.fail(EmitError::Full);
    }
    sender.published();
    source.accept(1);
    Ok(())
}

/// Waits for some room, by looking for it now and then. Nobody has to wake who waits here: a wake-up would cost the
/// consumer a system call, and the ring is far from empty.
pub(super) fn wait_for_room(
    sender: &mut ShardSender,
    policy: FullPolicy,
    emit_shared: &EmitShared,
) -> Result<(), EmitError> {
    let FullPolicy::Block { timeout } = policy else { return Err(EmitError::Full) };
    if emit_shared.is_own_thread() {
        return Err(EmitError::FullWithin);
    }
    let start = Instant::now();
    let backoff = Backoff::new();
    let (mut room, mut spins, mut nap) = (0, 0, NAP_FIRST);
    // Who fills every slot as it becomes free contends with the consumer for each line; who waits for some room does
    // not.
    let wanted = (sender.producer.buffer().capacity() / 8).max(1);
    loop {
        let present = sender.producer.slots();
        if present >= wanted {
            break;
        }
        if present >= room + wanted.div_ceil(8) {
            // The consumer has a core and is at work: what is wanted comes sooner than a nap would end, which can take
            // ten times what was asked for. Eight times at most: a slow one is not worth a core.
            (room, spins) = (present, 0);
        }
        if sender.producer.is_abandoned() {
            return Err(EmitError::Closed);
        }
        match timeout.checked_sub(start.elapsed()) {
            None | Some(Duration::ZERO) if sender.producer.is_full() => return Err(EmitError::Full),
            None | Some(Duration::ZERO) => return Ok(()),
            Some(_) if spins < SPINS => {
                spins += 1;
                for _ in 0..64 {
                    std::hint::spin_loop();
                }
                // Where there are more threads than cores, somebody else can use this one: a journal's thread, say.
                thread::yield_now();
            }
            Some(left) if backoff.is_completed() => {
                sleep(nap.min(left));
                nap = (nap * 2).min(NAP_MAX);
            }
            Some(_) => backoff.snooze(),
        }
    }
    Ok(())
}
