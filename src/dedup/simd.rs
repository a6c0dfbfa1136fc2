//! The look into a cache line: four words of a bucket at once, or the eight slots of an index.
//!
//! One of the files with `unsafe`: on x86-64 the comparisons are vector instructions, which are part of every such
//! processor and still count as unsafe to call. Measured against the portable forms, which are used elsewhere.
#![allow(unsafe_code, reason = "vector instructions that every x86-64 processor has")]

/// Slots of a bucket.
pub(super) const SLOTS: usize = 4;

/// Returns the mask of the words whose low half is `low`, and how many words come before the first of which the high
/// half is zero.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn scan(words: &[u64; SLOTS], low: u32) -> (u32, usize) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { scan_sse2(words, low) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn scan_sse2(words: &[u64; SLOTS], low: u32) -> (u32, usize) {
    use std::arch::x86_64::{
        __m128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set1_epi32,
        _mm_setzero_si128, _mm_shuffle_ps,
    };
    let [left, right]: [__m128; 2] = bytemuck::must_cast(*words);
    let lows = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(left, right));
    let highs = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(left, right));
    let alike = _mm_cmpeq_epi32(lows, _mm_set1_epi32(low as i32));
    let zero = _mm_cmpeq_epi32(highs, _mm_setzero_si128());
    let zero = _mm_movemask_ps(_mm_castsi128_ps(zero)) as u32 | 1 << SLOTS;
    (_mm_movemask_ps(_mm_castsi128_ps(alike)) as u32, zero.trailing_zeros() as usize)
}

/// Slots of a bucket of an index.
pub(super) const BUCKET_SLOTS: usize = 8;

/// Returns the mask of the slots that equal `wanted` in the bits of `mask`, and how many slots come before the first that
/// is zero.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn scan_slots(slots: &[u16; BUCKET_SLOTS], wanted: u16, mask: u16) -> (u32, usize) {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { scan_slots_sse2(slots, wanted, mask) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn scan_slots_sse2(slots: &[u16; BUCKET_SLOTS], wanted: u16, mask: u16) -> (u32, usize) {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    let slots: __m128i = bytemuck::must_cast(*slots);
    let masked = _mm_and_si128(slots, _mm_set1_epi16(mask as i16));
    let alike = _mm_cmpeq_epi16(masked, _mm_set1_epi16(wanted as i16));
    let zero = _mm_cmpeq_epi16(slots, _mm_setzero_si128());
    // Each comparison gives all ones or none, which saturation to eight bits keeps.
    let bits = _mm_movemask_epi8(_mm_packs_epi16(alike, zero)) as u32;
    (bits & 0xff, (bits >> BUCKET_SLOTS | 1 << BUCKET_SLOTS).trailing_zeros() as usize)
}

/// Does the same on any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn scan_slots_portable(slots: &[u16; BUCKET_SLOTS], wanted: u16, mask: u16) -> (u32, usize) {
    let (mut alike, mut zero) = (0, 1 << BUCKET_SLOTS);
    for (at, slot) in slots.iter().enumerate() {
        alike |= u32::from(slot & mask == wanted) << at;
        zero |= u32::from(*slot == 0) << at;
    }
    (alike, u32::trailing_zeros(zero) as usize)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use scan_slots_portable as scan_slots;

/// Does the same as [`scan`] on any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn scan_portable(words: &[u64; SLOTS], low: u32) -> (u32, usize) {
    let (mut alike, mut zero) = (0, 1 << SLOTS);
    for (slot, word) in words.iter().enumerate() {
        alike |= u32::from(*word as u32 == low) << slot;
        zero |= u32::from(word >> 32 == 0) << slot;
    }
    (alike, zero.trailing_zeros() as usize)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use scan_portable as scan;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_see_what_the_portable_form_sees() {
        let parts = [0u64, 1, 7, 0x8000_0000, 0xffff_ffff];
        let words: Vec<u64> = parts.iter().flat_map(|high| parts.map(|low| high << 32 | low)).collect();
        for pick in 0..words.len().pow(3) {
            let at = |power: u32| words[pick / words.len().pow(power) % words.len()];
            let bucket = [at(0), at(1), at(2), at(1) ^ at(2)];
            for low in parts {
                assert_eq!(
                    scan(&bucket, low as u32),
                    scan_portable(&bucket, low as u32),
                    "{bucket:x?} {low:x}"
                );
            }
        }
        assert_eq!(scan_portable(&[1 << 32, 5 | 1 << 63, 0, 9], 5), (0b10, 2));
    }

    #[test]
    fn vectors_see_in_an_index_what_the_portable_form_sees() {
        let parts = [0u16, 1, 0x10, 0x11, 0x7ff0, 0x8003, 0xfff1, 0xffff];
        for pick in 0..parts.len().pow(3) {
            let at = |power: u32| parts[pick / parts.len().pow(power) % parts.len()];
            for free_from in 0..=BUCKET_SLOTS {
                let slot = |i: usize| if i < free_from { at(i as u32 % 3) } else { 0 };
                let slots: [u16; BUCKET_SLOTS] = std::array::from_fn(slot);
                for (wanted, mask) in
                    parts.iter().flat_map(|part| [0, 0xfff0, 0xffff].map(|mask| (*part, mask)))
                {
                    let seen = scan_slots(&slots, wanted, mask);
                    assert_eq!(
                        seen,
                        scan_slots_portable(&slots, wanted, mask),
                        "{slots:x?} {wanted:x} {mask:x}"
                    );
                }
            }
        }
        let slots = [0x21, 3, 3, 0x2f, 3, 3, 3, 0x20];
        assert_eq!(scan_slots_portable(&slots, 0x20, 0xfff0), (0b1000_1001, BUCKET_SLOTS));
        assert_eq!(scan_slots_portable(&[1, 2, 0, 4, 0, 6, 7, 8], 0, 0xffff), (0b0001_0100, 2));
    }
}
