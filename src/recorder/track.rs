//! One emitter's track: where its events are written.

use crate::event::Record;
use crate::recorder::file::RecorderFile;
use crate::recorder::format::{BATCH_MAX, HEAD_EVERY, header, slot_check};
use crate::recorder::map::{Part, SlotRing};
use crate::recorder::stores::{store, store_all};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes one emitter's events into its track; dropping it ends the track, whose events stay.
pub(crate) struct TrackWriter {
    number: u64,
    salt: u64,
    slots: SlotRing,
    /// One word.
    head: Part,
    track: usize,
    recorder: Arc<RecorderFile>,
}

impl TrackWriter {
    pub(super) fn new(
        recorder: Arc<RecorderFile>,
        track: usize,
        salt: u64,
        slots: SlotRing,
        head: Part,
    ) -> TrackWriter {
        TrackWriter { number: 0, salt, slots, head, track, recorder }
    }

    /// Takes down how many events the emitter refused, when it is gone.
    pub(crate) fn count_refused(&self, refused: u64) {
        self.recorder.count(header::REFUSED, refused);
    }

    /// Writes an event over the oldest one.
    #[inline(always)]
    pub(crate) fn put(&mut self, record: Record) {
        let words = record.to_words();
        let (to, check) = self.slots.of(self.number);
        store(to, words);
        // Release: the compiler may not put it before the record's words. Who reads needs no partner, since it believes a
        // record by its check; who dies needs none, since its own stores are executed in order.
        check.store(slot_check(&words, self.salt, self.number), Ordering::Release);
        self.number += 1;
        if self.number.is_multiple_of(HEAD_EVERY) {
            self.tell_head();
        }
    }

    /// Writes events over the oldest ones, one after the other and several words at once: what [`TrackWriter::put`] does, at
    /// a third of the cost.
    pub(crate) fn put_all(&mut self, records: &[Record]) {
        for mut records in records.chunks(BATCH_MAX) {
            let before = self.number;
            while !records.is_empty() {
                let (to, checks) = self.slots.rest(self.number);
                // There is always a slot; without one, no event could be written.
                let (now, later) = records.split_at(records.len().min(to.len().max(1)));
                store_all(to, checks, now, self.salt, self.number);
                self.number += now.len() as u64;
                records = later;
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

impl Drop for TrackWriter {
    fn drop(&mut self) {
        if self.recorder.is_here() {
            self.tell_head();
            self.recorder.end(self.track);
        }
    }
}
