//! Stores of whole records into words that others may look at meanwhile, as many words at once as the machine can.
//!
//! One of the files with `unsafe`: on x86-64 the stores are vector instructions. To the rest of the program each is some
//! relaxed stores of a word; that they happen at once is more than anybody relies on.
#![allow(unsafe_code, reason = "stores of several atomic words at once")]

use crate::event::Record;
use crate::recorder::format::{RECORD_WORDS, slot_check};
use std::sync::atomic::{AtomicU64, Ordering};

/// Stores words one after the other, as many at once as the machine can.
#[inline(always)]
pub(super) fn store(to: &[AtomicU64; RECORD_WORDS], words: [u64; RECORD_WORDS]) {
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
    {
        use std::arch::x86_64::_mm_set_epi64x;
        let [a, b, c, d, e, f, g, h] = words;
        // SAFETY: every x86-64 has the instructions that this takes, SSE2.
        let pair = |low: u64, high: u64| unsafe { _mm_set_epi64x(high as i64, low as i64) };
        // SAFETY: `to` is eight words that may be written through a shared reference, since they are atomics. The
        // instructions write these and nothing else, at any alignment.
        unsafe {
            std::arch::asm!(
                "movups xmmword ptr [{to}], {ab}",
                "movups xmmword ptr [{to} + 16], {cd}",
                "movups xmmword ptr [{to} + 32], {ef}",
                "movups xmmword ptr [{to} + 48], {gh}",
                to = in(reg) to.as_ptr(),
                ab = in(xmm_reg) pair(a, b),
                cd = in(xmm_reg) pair(c, d),
                ef = in(xmm_reg) pair(e, f),
                gh = in(xmm_reg) pair(g, h),
                options(nostack, preserves_flags),
            );
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
    {
        // The compiler may not put them before the check of the record before.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        for (to, word) in to.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
    }
}

/// Stores `records`, the first of which is event `number` of a track with `salt`, and their checks: each check behind its
/// record, and before the next one.
#[inline]
pub(super) fn store_all(
    to: &[[AtomicU64; RECORD_WORDS]],
    checks: &[AtomicU64],
    records: &[Record],
    salt: u64,
    number: u64,
) {
    let done = store_many(to, checks, records, salt, number);
    let rest = to.iter().zip(checks).zip(records).enumerate().skip(done);
    for (at, ((to, check), record)) in rest {
        let words = record.to_words();
        store(to, words);
        // Release: the compiler may not put it before the record's words.
        check.store(slot_check(&words, salt, number.wrapping_add(at as u64)), Ordering::Release);
    }
}

/// Stores the first of the records, as many as the processor can at once; returns how many.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
#[inline]
fn store_many(
    to: &[[AtomicU64; RECORD_WORDS]],
    checks: &[AtomicU64],
    records: &[Record],
    salt: u64,
    number: u64,
) -> usize {
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { store_fours(to, checks, records, salt, number) }
    } else {
        0
    }
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64", not(miri))))]
fn store_many(_: &[[AtomicU64; RECORD_WORDS]], _: &[AtomicU64], _: &[Record], _: u64, _: u64) -> usize {
    0
}

/// Does what [`store_all`] does for a multiple of four records; returns for how many.
///
/// A check is a sum of turned words: those of four records are turned at once and added crosswise.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64", not(miri)))]
#[target_feature(enable = "avx2")]
fn store_fours(
    to: &[[AtomicU64; RECORD_WORDS]],
    checks: &[AtomicU64],
    records: &[Record],
    salt: u64,
    number: u64,
) -> usize {
    use crate::recorder::format::{NUMBER_KEY, number_share, turn};
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_castsi256_si128, _mm256_extracti128_si256,
        _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_shuffle_epi8,
        _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    };
    /// Where the bytes of the word at `at` come from when it is turned.
    const fn turned(at: usize) -> i64 {
        let mut from = [0; 8];
        let mut byte = 0;
        while byte < 8 {
            // In the upper word of half a register, bytes count from 8 on.
            from[(byte + turn(at) as usize / 8) % 8] = byte as u8 + at as u8 % 2 * 8;
            byte += 1;
        }
        i64::from_le_bytes(from)
    }
    // Closures are not compiled for AVX2.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn sum([front, back]: [__m256i; 2], turns: [__m256i; 2]) -> __m256i {
        _mm256_add_epi64(_mm256_shuffle_epi8(front, turns[0]), _mm256_shuffle_epi8(back, turns[1]))
    }
    /// Adds two words of each sum, crosswise.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pair(one: __m256i, other: __m256i) -> __m256i {
        _mm256_add_epi64(_mm256_unpacklo_epi64(one, other), _mm256_unpackhi_epi64(one, other))
    }
    let turns = [
        _mm256_set_epi64x(turned(3), turned(2), turned(1), turned(0)),
        _mm256_set_epi64x(turned(7), turned(6), turned(5), turned(4)),
    ];
    const fn step(numbers: u64) -> i64 {
        numbers.wrapping_mul(NUMBER_KEY) as i64
    }
    let mut shares = _mm256_add_epi64(
        _mm256_set1_epi64x(number_share(salt, number) as i64),
        _mm256_set_epi64x(step(3), step(2), step(1), step(0)),
    );
    let step = _mm256_set1_epi64x(step(4));
    let mut done = 0;
    let fours = to.as_chunks::<4>().0.iter().zip(checks.as_chunks::<4>().0).zip(records.as_chunks::<4>().0);
    for ((to, checks), records) in fours {
        let halves: [[__m256i; 2]; 4] = bytemuck::must_cast(*records);
        let front = pair(sum(halves[0], turns), sum(halves[1], turns));
        let back = pair(sum(halves[2], turns), sum(halves[3], turns));
        let sums = _mm256_add_epi64(
            _mm256_permute2x128_si256::<0x20>(front, back),
            _mm256_permute2x128_si256::<0x31>(front, back),
        );
        let sums = _mm256_add_epi64(sums, shares);
        shares = _mm256_add_epi64(shares, step);
        let (low, high) = (_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        // In this order, which a process that dies has kept: `tests/recorder_kill.rs` steps through it.
        // SAFETY: `to` and `checks` are 32 and four words that may be written through a shared reference, since they are
        // atomics. The instructions write these and nothing else, at any alignment, and AVX2 is there.
        unsafe {
            asm!(
                "vmovdqu ymmword ptr [{to}], {a}",
                "vmovdqu ymmword ptr [{to} + 32], {b}",
                "vmovq qword ptr [{checks}], {low}",
                "vmovdqu ymmword ptr [{to} + 64], {c}",
                "vmovdqu ymmword ptr [{to} + 96], {d}",
                "vmovhps qword ptr [{checks} + 8], {low}",
                "vmovdqu ymmword ptr [{to} + 128], {e}",
                "vmovdqu ymmword ptr [{to} + 160], {f}",
                "vmovq qword ptr [{checks} + 16], {high}",
                "vmovdqu ymmword ptr [{to} + 192], {g}",
                "vmovdqu ymmword ptr [{to} + 224], {h}",
                "vmovhps qword ptr [{checks} + 24], {high}",
                to = in(reg) to.as_ptr(),
                checks = in(reg) checks.as_ptr(),
                a = in(ymm_reg) halves[0][0],
                b = in(ymm_reg) halves[0][1],
                c = in(ymm_reg) halves[1][0],
                d = in(ymm_reg) halves[1][1],
                e = in(ymm_reg) halves[2][0],
                f = in(ymm_reg) halves[2][1],
                g = in(ymm_reg) halves[3][0],
                h = in(ymm_reg) halves[3][1],
                low = in(xmm_reg) low,
                high = in(xmm_reg) high,
                options(nostack, preserves_flags),
            );
        }
        done += 4;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_stored_as_one_by_one() {
        let mut word = 7_u64;
        let mut next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word ^ word >> 29
        };
        for len in 0..=21 {
            let records: Vec<Record> =
                (0..len).map(|_| Record::from_words(std::array::from_fn(|_| next()))).collect();
            let (salt, number) = (next(), if len % 2 == 0 { next() } else { u64::MAX - 2 });
            // Words around those that are written: nothing reaches them.
            let words: Vec<[AtomicU64; 8]> =
                (0..len + 2).map(|_| [(); 8].map(|()| AtomicU64::new(5))).collect();
            let checks: Vec<AtomicU64> = (0..len + 2).map(|_| AtomicU64::new(5)).collect();
            store_all(&words[1..=len], &checks[1..=len], &records, salt, number);
            for at in [0, len + 1] {
                assert!(words[at].iter().chain([&checks[at]]).all(|word| word.load(Ordering::Relaxed) == 5));
            }
            for (at, record) in records.iter().enumerate() {
                let stored = words[at + 1].each_ref().map(|word| word.load(Ordering::Relaxed));
                assert_eq!(stored, record.to_words(), "record {at} of {len}");
                let check = slot_check(&stored, salt, number.wrapping_add(at as u64));
                assert_eq!(checks[at + 1].load(Ordering::Relaxed), check, "check {at} of {len}");
            }
        }
    }
}
