//! A split-block Bloom filter, as in the specification of Apache Parquet: what a filter in front of the set in memory would
//! cost is measured with it.
//!
//! A block is 32 bytes, eight words; an id sets one bit in each word of one block, so that a lookup costs one cache line.

use memmap2::{Advice, MmapMut};
use panther_events::dedup::BATCH;
use panther_events::event::EventId;

const BITS_PER_ID: usize = 12;
const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

pub(crate) struct BloomFilter {
    map: MmapMut,
    rows: usize,
}

impl BloomFilter {
    /// Makes an empty filter for up to `ids` members, at 12 bits each, in huge pages where there are any.
    pub(crate) fn new(ids: usize) -> std::io::Result<BloomFilter> {
        let rows = (ids * BITS_PER_ID).div_ceil(256);
        let map = MmapMut::map_anon(rows * 32)?;
        let _ = map.advise(Advice::HugePage);
        Ok(BloomFilter { map, rows })
    }

    pub(crate) fn insert_batch(&mut self, ids: &[EventId]) {
        ids.iter().for_each(|id| self.prefetch(*id));
        for id in ids {
            let row = self.row(*id);
            let blocks: &mut [[u32; 8]] = bytemuck::cast_slice_mut(&mut self.map);
            blocks[row].iter_mut().zip(bits(*id)).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// Returns the mask of those of `ids`, the first [`BATCH`], that may be members; the others certainly are not.
    pub(crate) fn may_contain_batch(&self, ids: &[EventId]) -> u64 {
        ids.iter().for_each(|id| self.prefetch(*id));
        let blocks: &[[u32; 8]] = bytemuck::cast_slice(&self.map);
        let maybe = ids.iter().take(BATCH).map(|id| {
            let missing =
                blocks[self.row(*id)].iter().zip(bits(*id)).fold(0, |all, (word, bit)| all | !word & bit);
            missing == 0
        });
        maybe.enumerate().fold(0, |mask, (i, maybe)| mask | u64::from(maybe) << i)
    }

    fn row(&self, id: EventId) -> usize {
        (((id.bits() >> 64) * self.rows as u128) >> 64) as usize
    }

    fn prefetch(&self, id: EventId) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = self.map.as_ptr().wrapping_add(self.row(id) * 32).cast::<i8>();
            // SAFETY: a prefetch faults on no address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
    }
}

fn bits(id: EventId) -> [u32; 8] {
    SALT.map(|salt| 1 << ((id.bits() as u32).wrapping_mul(salt) >> 27))
}
