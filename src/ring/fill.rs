//! Filling a piece of a ring, with a look at it before it is published.
//!
//! One of the files with `unsafe`: the slots of a ring are not initialized before they are written.
#![allow(unsafe_code, reason = "slots of a ring are not initialized before they are written")]

use crate::event::Record;
use rtrb::chunks::WriteChunkUninit;
use std::mem::MaybeUninit;

/// Writes `records` into `chunk` until they end or it is full, shows `look` what was written, in order and in at most two
/// pieces, and publishes it; returns how many that were.
///
/// When `records` or `look` panics, nothing is published.
#[inline]
pub(crate) fn fill(
    mut chunk: WriteChunkUninit<'_, Record>,
    mut records: impl Iterator<Item = Record>,
    mut look: impl FnMut(&[Record]),
) -> usize {
    let mut filled = 0;
    let (front, back) = chunk.as_mut_slices();
    for slots in [front, back] {
        let written = write(slots, &mut records);
        look(written);
        filled += written.len();
        if written.len() < slots.len() {
            break;
        }
    }
    // SAFETY: the first `filled` slots were written: all of the front before any of the back.
    unsafe { chunk.commit(filled) };
    filled
}

/// Writes into the first slots; returns those that were written.
#[inline(always)]
fn write<'a>(
    slots: &'a mut [MaybeUninit<Record>],
    records: &mut impl Iterator<Item = Record>,
) -> &'a [Record] {
    let mut len = 0;
    for slot in &mut *slots {
        let Some(record) = records.next() else { break };
        slot.write(record);
        len += 1;
    }
    // SAFETY: the loop has written the first `len` slots, one after the other.
    unsafe { std::slice::from_raw_parts(slots.as_ptr().cast(), len) }
}
