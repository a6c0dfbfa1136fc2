//! Filling a piece of a ring, with a look at it before it is published.
//!
//! One of the files with `unsafe`: the slots of a ring are not initialized before they are written.
#![allow(unsafe_code, reason = "slots of a ring are not initialized before they are written")]

use crate::event::Record;
use crate::sync::rtrb::chunks::WriteChunkUninit;
use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// With what an iterator panicked.
pub(crate) type Panicked = Box<dyn Any + Send>;

/// Writes `records` into `chunk` until they end or it is full, shows `look` what was written, in order and in two pieces of
/// which the second may be empty, and publishes it; returns how many that were.
///
/// When `records` panics, what it gave before is published all the same: it happened. The caller goes on with the panic.
#[inline]
pub(crate) fn fill(
    mut chunk: WriteChunkUninit<'_, Record>,
    mut records: impl Iterator<Item = Record>,
    mut look: impl FnMut(&[Record]),
) -> (usize, Option<Panicked>) {
    let (front, back) = chunk.as_mut_slices();
    let room = front.len();
    let (front, mut panicked) = write(front, &mut records);
    let mut rest: &[Record] = &[];
    if front.len() == room {
        (rest, panicked) = write(back, &mut records);
    }
    look(front);
    look(rest);
    let filled = front.len() + rest.len();
    // SAFETY: the first `filled` slots were written: all of the front before any of the back.
    unsafe { chunk.commit(filled) };
    (filled, panicked)
}

/// Writes into the first slots; returns those that were written.
#[inline(always)]
fn write<'a>(
    slots: &'a mut [MaybeUninit<Record>],
    records: &mut impl Iterator<Item = Record>,
) -> (&'a [Record], Option<Panicked>) {
    let mut len = 0;
    let written = catch_unwind(AssertUnwindSafe(|| {
        for slot in &mut *slots {
            let Some(record) = records.next() else { break };
            slot.write(record);
            len += 1;
        }
    }));
    // SAFETY: the loop has written the first `len` slots, one after the other.
    (unsafe { std::slice::from_raw_parts(slots.as_ptr().cast(), len) }, written.err())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::Symbol;

    fn record(number: u64) -> Record {
        Record::from_words([0, 0, number, Symbol::NONE.bits(), 0, number, !number, 0])
    }

    fn numbers(records: &[Record]) -> Vec<u64> {
        records.iter().map(Record::time_ns).collect()
    }

    #[test]
    fn what_is_written_is_seen_and_published_whole() {
        // From every place of the ring on, so that chunks end before, at and behind its end.
        for before in 0..8 {
            for (len, given) in (0..=8).flat_map(|len| (0..=9).map(move |given| (len, given))) {
                let (mut producer, mut consumer) = rtrb::RingBuffer::new(8);
                for n in 0..before {
                    producer.push(record(n)).unwrap();
                    consumer.pop().unwrap();
                }
                let mut seen = Vec::new();
                let chunk = producer.write_chunk_uninit(len).unwrap();
                let (filled, panicked) =
                    fill(chunk, (100..100 + given).map(record), |records| seen.extend(numbers(records)));
                assert!(panicked.is_none());
                let expected: Vec<u64> = (100..100 + given.min(len as u64)).collect();
                assert_eq!((filled, &seen), (expected.len(), &expected), "{before} {len} {given}");
                let mut published = Vec::new();
                while let Ok(record) = consumer.pop() {
                    published.push(record);
                }
                assert_eq!(numbers(&published), expected, "{before} {len} {given}");
                assert!(published.iter().all(|found| *found == record(found.time_ns())));
            }
        }
    }

    #[test]
    fn what_came_before_a_panic_is_seen_and_published() {
        for (before, fails_at) in (0..8).flat_map(|before| (0..6).map(move |at| (before, at))) {
            let (mut producer, mut consumer) = rtrb::RingBuffer::new(8);
            for n in 0..before {
                producer.push(record(n)).unwrap();
                consumer.pop().unwrap();
            }
            let mut seen = Vec::new();
            let chunk = producer.write_chunk_uninit(6).unwrap();
            let records = (0..6).map(|n| if n == fails_at { panic!("as it is told") } else { record(n) });
            let (filled, panicked) = fill(chunk, records, |records| seen.extend(numbers(records)));
            let expected: Vec<u64> = (0..fails_at).collect();
            assert!(panicked.is_some() && filled == expected.len(), "{before} {fails_at}");
            assert_eq!(seen, expected, "{before}");
            let published: Vec<u64> =
                std::iter::from_fn(|| consumer.pop().ok()).map(|one| one.time_ns()).collect();
            assert_eq!(published, expected, "{before}");
            // The ring goes on.
            producer.push(record(7)).unwrap();
            assert_eq!(consumer.pop().unwrap().time_ns(), 7);
        }
    }
}
