//! The ids of many records: four at a time where the processor has AVX2.
//!
//! One of the files with `unsafe`: vector instructions, which not every x86-64 has. The hash is that of
//! [`EventId::of_content`], xxh3-128 of 56 bytes, word by word in four lanes; its products of 64 bits are put together from
//! products of 32 bits.
#![allow(unsafe_code, reason = "vector instructions that not every x86-64 processor has")]

use crate::event::identity::{Origin, Scope};
use crate::event::record::Record;

impl Record {
    /// Writes into each record its id, as [`Record::id_in`] gives it for `origin`, unless it is there. Many at once take half
    /// as long as one by one where the processor has AVX2.
    #[inline]
    pub fn fill_ids(records: &mut [Record], origin: Origin) {
        Record::fill_ids_in(records, &Scope::new(origin.bits()));
    }

    /// As [`Record::fill_ids`], for an origin's scope.
    #[inline]
    pub(crate) fn fill_ids_in(records: &mut [Record], scope: &Scope) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { fill_ids_avx2(records, scope) };
        }
        for record in records {
            record.set_id(scope);
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
fn fill_ids_avx2(records: &mut [Record], scope: &Scope) {
    let (fours, rest) = records.as_chunks_mut::<4>();
    for four in fours {
        if !avx2::set_four(four, scope) {
            for record in four {
                record.set_id(scope);
            }
        }
    }
    for record in rest {
        record.set_id(scope);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2 {
    use crate::event::identity::{
        LENGTH, PRIME_1, PRIME_2, PRIME_4, PRIME_MX, SECRET, Scope, UUID_FIXED, UUID_V8,
    };
    use crate::event::record::{IDENTITY_BITS, NO_CONTEXT, Record};
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_andnot_si256, _mm256_blend_epi32,
        _mm256_blendv_epi8, _mm256_castsi256_si128, _mm256_cmpeq_epi64, _mm256_extracti128_si256,
        _mm256_mul_epu32, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi64x,
        _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_sub_epi64, _mm256_testz_si256,
        _mm256_unpackhi_epi64, _mm256_unpacklo_epi64, _mm256_xor_si256,
    };

    /// Writes the ids of four records that have none; false, and nothing written, when one has.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn set_four(records: &mut [Record; 4], scope: &Scope) -> bool {
        // Closures and arrays' `map` are not compiled for AVX2, so everything is spelled out.
        let [[front_0, back_0], [front_1, back_1], [front_2, back_2], [front_3, back_3]]: [[__m256i; 2]; 4] =
            bytemuck::must_cast(*records);
        let there = or(or(front_0, front_1), or(front_2, front_3));
        if _mm256_testz_si256(there, _mm256_set_epi64x(0, 0, -1, -1)) == 0 {
            return false;
        }
        // The entity is the last word of a front half; the back halves hold the rest.
        let [_, _, _, a] = transposed([front_0, front_1, front_2, front_3]);
        let [names, c, d, e] = transposed([back_0, back_1, back_2, back_3]);
        let is_content =
            _mm256_cmpeq_epi64(_mm256_and_si256(names, splat(IDENTITY_BITS)), _mm256_setzero_si256());
        // Of content, the names count as far as they are the kind's, and the scope is that without a context.
        let b = _mm256_andnot_si256(_mm256_and_si256(is_content, splat(!u64::from(u16::MAX))), names);
        let added = _mm256_blendv_epi8(splat(scope.added), splat(NO_CONTEXT.added), is_content);
        let mixed = _mm256_blendv_epi8(splat(scope.mixed), splat(NO_CONTEXT.mixed), is_content);
        let [low, high] = hash([added, mixed], [a, b, c, d, e]);
        let low = or(_mm256_andnot_si256(splat(UUID_FIXED as u64), low), splat(UUID_V8 as u64));
        let high =
            or(_mm256_andnot_si256(splat((UUID_FIXED >> 64) as u64), high), splat((UUID_V8 >> 64) as u64));
        let (even, odd) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
        let [record_0, record_1, record_2, record_3] = records;
        record_0.put_id(_mm256_castsi256_si128(even));
        record_1.put_id(_mm256_castsi256_si128(odd));
        record_2.put_id(_mm256_extracti128_si256::<1>(even));
        record_3.put_id(_mm256_extracti128_si256::<1>(odd));
        true
    }

    /// As `xxh3_128_of_56`, which has the reasons and the names.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn hash([scope_added, scope_mixed]: [__m256i; 2], [a, b, c, d, e]: [__m256i; 5]) -> [__m256i; 2] {
        let low = add(splat(LENGTH.wrapping_mul(PRIME_1)), fold(salted::<4>(a), salted::<5>(b)));
        let low = add(xor(low, add(b, c)), scope_added);
        let low = xor(low, add(d, e));
        let high = xor(fold(salted::<6>(b), salted::<7>(c)), add(a, b));
        let high = xor(add(high, fold(salted::<2>(d), salted::<3>(e))), scope_mixed);
        let mixed = add(add(times(low, PRIME_1), times(high, PRIME_4)), splat(LENGTH.wrapping_mul(PRIME_2)));
        [avalanche(add(low, high)), _mm256_sub_epi64(_mm256_setzero_si256(), avalanche(mixed))]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn salted<const AT: usize>(words: __m256i) -> __m256i {
        xor(words, splat(SECRET[AT]))
    }

    /// The two halves of a product of 128 bits, added without carry.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn fold(left: __m256i, right: __m256i) -> __m256i {
        let (left_high, right_high) = (upper(left), upper(right));
        let low = _mm256_mul_epu32(left, right);
        let one = _mm256_mul_epu32(left, right_high);
        let other = _mm256_mul_epu32(left_high, right);
        let high = _mm256_mul_epu32(left_high, right_high);
        // No carry is lost: (2^32 - 1)² + 2 (2^32 - 1) is below 2^64.
        let middle = add(add(upper(low), lower(one)), other);
        let low = _mm256_blend_epi32::<0b1010_1010>(low, _mm256_slli_epi64::<32>(middle));
        xor(low, add(add(high, upper(one)), upper(middle)))
    }

    /// The low 64 bits of a product.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn times(words: __m256i, factor: u64) -> __m256i {
        let (low, high) = (splat(factor), splat(factor >> 32));
        let crossed = add(_mm256_mul_epu32(upper(words), low), _mm256_mul_epu32(words, high));
        add(_mm256_mul_epu32(words, low), _mm256_slli_epi64::<32>(crossed))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn avalanche(words: __m256i) -> __m256i {
        let words = times(xor(words, _mm256_srli_epi64::<37>(words)), PRIME_MX);
        xor(words, upper(words))
    }

    /// The words of four records by their place in a record.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn transposed([r, s, t, u]: [__m256i; 4]) -> [__m256i; 4] {
        let (even, odd) = (_mm256_unpacklo_epi64(r, s), _mm256_unpackhi_epi64(r, s));
        let (even_too, odd_too) = (_mm256_unpacklo_epi64(t, u), _mm256_unpackhi_epi64(t, u));
        [
            _mm256_permute2x128_si256::<0x20>(even, even_too),
            _mm256_permute2x128_si256::<0x20>(odd, odd_too),
            _mm256_permute2x128_si256::<0x31>(even, even_too),
            _mm256_permute2x128_si256::<0x31>(odd, odd_too),
        ]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn upper(words: __m256i) -> __m256i {
        _mm256_srli_epi64::<32>(words)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn lower(words: __m256i) -> __m256i {
        _mm256_blend_epi32::<0b1010_1010>(words, _mm256_setzero_si256())
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn splat(word: u64) -> __m256i {
        _mm256_set1_epi64x(word as i64)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(left: __m256i, right: __m256i) -> __m256i {
        _mm256_add_epi64(left, right)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor(left: __m256i, right: __m256i) -> __m256i {
        _mm256_xor_si256(left, right)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn or(left: __m256i, right: __m256i) -> __m256i {
        _mm256_or_si256(left, right)
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a random test prints its seed")]
mod tests {
    use super::*;

    #[test]
    fn ids_of_many_are_those_of_each() {
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        println!("seed {seed}");
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        };
        let origin = Origin::from_bits(u128::from(next()) << 64 | u128::from(next()));
        for round in 0..20_000_u64 {
            let len = next() % 19;
            let mut records: Vec<Record> = (0..len)
                .map(|_| {
                    let mut words: [u64; 8] = std::array::from_fn(|_| match next() % 8 {
                        0 => 0,
                        1 => u64::MAX,
                        _ => next(),
                    });
                    let identity = next() % 4;
                    words[4] = words[4] & !0xffff | next() & 0x7ff | identity << 14;
                    // Mostly there is no id; else a good one, or bits that are none.
                    match next() % 24 {
                        0 => {}
                        1 => words[1] = 0,
                        2 => words[0] = 0,
                        3 => {
                            let id = Record::from_words(words).id_in(origin).bits();
                            (words[0], words[1]) = (id as u64, (id >> 64) as u64);
                        }
                        _ => (words[0], words[1]) = (0, 0),
                    }
                    Record::from_words(words)
                })
                .collect();
            let mut each = records.clone();
            for record in &mut each {
                *record = record.identified(origin);
            }
            Record::fill_ids(&mut records, origin);
            assert_eq!(records, each, "round {round}");
        }
    }
}
