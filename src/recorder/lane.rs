//! One emitter's lane: where its events are written.

use crate::event::Record;
use crate::recorder::format::{BATCH_MAX, HEAD_EVERY, RECORD_WORDS, slot_check};
use crate::recorder::map::Part;
use crate::recorder::stores::{store, store_all};
use crate::recorder::write::Inner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes one emitter's events into its lane; dropping it ends the lane, whose events stay.
pub(crate) struct LaneWriter {
    number: u64,
    salt: u64,
    mask: usize,
    records: Part,
    checks: Part,
    /// One word.
    head: Part,
    lane: usize,
    recorder: Arc<Inner>,
}

impl LaneWriter {
    pub(super) fn new(
        recorder: Arc<Inner>,
        lane: usize,
        salt: u64,
        [records, checks, head]: [Part; 3],
    ) -> LaneWriter {
        let mask = checks.len() - 1;
        LaneWriter { number: 0, salt, mask, records, checks, head, lane, recorder }
    }

    /// Writes an event over the oldest one.
    #[inline(always)]
    pub(crate) fn put(&mut self, record: Record) {
        let words = record.to_words();
        let slot = self.number as usize & self.mask;
        // They are there: the mask is the lane's.
        let to = self.records.get(slot * RECORD_WORDS..).and_then(<[_]>::first_chunk);
        if let (Some(to), Some(check)) = (to, self.checks.get(slot)) {
            store(to, words);
            // Release: the compiler may not put it before the record's words. Who reads needs no partner, since it
            // believes a record by its check; who dies needs none, since its own stores are executed in order.
            check.store(slot_check(&words, self.salt, self.number), Ordering::Release);
        }
        self.number += 1;
        if self.number.is_multiple_of(HEAD_EVERY) {
            self.tell_head();
        }
    }

    /// Writes events over the oldest ones, one after the other and several words at once: what [`LaneWriter::put`] does, at
    /// half of the cost.
    pub(crate) fn put_all(&mut self, records: &[Record]) {
        for records in records.chunks(BATCH_MAX) {
            let before = self.number;
            let slots = self.mask + 1;
            let (front, rest) = records.split_at(records.len().min(slots - (before as usize & self.mask)));
            for records in std::iter::once(front).chain(rest.chunks(slots)) {
                let slot = self.number as usize & self.mask;
                // They are there: the mask is the lane's.
                let slots = self.records.as_chunks().0.get(slot..).unwrap_or_default();
                let checks = self.checks.get(slot..).unwrap_or_default();
                store_all(slots, checks, records, self.salt, self.number);
                self.number += records.len() as u64;
            }
            if before / HEAD_EVERY != self.number / HEAD_EVERY {
                self.tell_head();
            }
        }
    }

    /// Tells how many events there are. What is behind the head is found by its checks, so this need not be told each time;
    /// but only as far behind as [`HEAD_BEHIND`](super::format::HEAD_BEHIND).
    #[inline]
    fn tell_head(&self) {
        if let Some(head) = self.head.first() {
            // Release: not before the checks, as above.
            head.store(self.number, Ordering::Release);
        }
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        self.tell_head();
        self.recorder.end(self.lane);
    }
}
