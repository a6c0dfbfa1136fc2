//! One emitter's lane: where its events are written.

use crate::event::Record;
use crate::recorder::format::{SLOT_WORDS, slot_check};
use crate::recorder::map::Part;
use crate::recorder::write::Inner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes one emitter's events into its lane; dropping it ends the lane, whose events stay.
pub(crate) struct LaneWriter {
    number: u64,
    salt: u64,
    mask: usize,
    slots: Part,
    /// One word.
    head: Part,
    lane: usize,
    recorder: Arc<Inner>,
}

impl LaneWriter {
    pub(super) fn new(recorder: Arc<Inner>, lane: usize, salt: u64, [slots, head]: [Part; 2]) -> LaneWriter {
        let mask = slots.len() / SLOT_WORDS - 1;
        LaneWriter { number: 0, salt, mask, slots, head, lane, recorder }
    }

    /// Writes an event over the oldest one.
    #[inline(always)]
    pub(crate) fn put(&mut self, record: Record) {
        let words = record.to_words();
        let at = (self.number as usize & self.mask) * SLOT_WORDS;
        // It is there: the mask is the lane's.
        let slot = self.slots.get(at..).and_then(<[_]>::first_chunk::<SLOT_WORDS>);
        if let Some([to @ .., check]) = slot {
            for (to, word) in to.iter().zip(words) {
                to.store(word, Ordering::Relaxed);
            }
            check.store(slot_check(&words, self.salt, self.number), Ordering::Relaxed);
        }
        self.number += 1;
        if let Some(head) = self.head.first() {
            // Release: the compiler may not put it before the slot's words. Whoever reads needs no partner, since it
            // believes a slot by its check; who dies needs none, since its own stores are executed in order.
            head.store(self.number, Ordering::Release);
        }
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        self.recorder.end(self.lane);
    }
}
