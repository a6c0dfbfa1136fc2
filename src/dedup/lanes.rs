//! The look into a bucket: four words at once.
//!
//! One of the files with `unsafe`: on x86-64 the four comparisons are two vector instructions, which are part of every such
//! processor and still count as unsafe to call. Measured against the portable form below, which is used elsewhere.
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

/// Does the same on any processor.
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
}
