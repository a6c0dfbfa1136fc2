//! Counts of values in the buckets of an HdrHistogram of three digits, without the histogram.
//!
//! `hdrhistogram` keeps a minimum, a maximum, a total and a saturating count for every value it records. Here a value
//! costs the count of its bucket and a sum; what the histogram wants besides is found when a snapshot is taken.

use hdrhistogram::Histogram;

/// Significant decimal digits that histograms keep.
pub const SIGNIFICANT_DIGITS: u8 = 3;

/// Bits of a value that a bucket keeps: 2,048 steps hold three digits.
const KEPT: u32 = 11;
const HALF: usize = 1 << (KEPT - 1);

/// How often each value was recorded, to three digits, and their exact sum.
///
/// Counts of 32 bits: what a value costs is the wait for the cache line of its count, and lines with twice as many counts are
/// more often there. A count that is full begins anew, and that is counted, too.
#[derive(Default)]
pub(super) struct Buckets {
    counts: Vec<u32>,
    /// How often each count has begun anew; empty until one has.
    carries: Vec<u32>,
    sum: u128,
}

impl Buckets {
    /// Counts values, of which there are at most 64.
    #[inline]
    pub(super) fn count(&mut self, values: impl Iterator<Item = u64>) {
        let mut sum = 0;
        for value in values {
            let index = index_of(value);
            match self.counts.get_mut(index) {
                Some(count) => {
                    *count = count.wrapping_add(1);
                    if *count == 0 {
                        self.carry(index);
                    }
                }
                None => self.grow(index),
            }
            sum += u128::from(value);
        }
        self.sum += sum;
    }

    /// Returns the sum of all values.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the histogram that would have come of recording the same values; `None` when there is no value.
    pub(super) fn histogram(&self) -> Option<Histogram<u64>> {
        let carries = |index| u64::from(self.carries.get(index).copied().unwrap_or_default());
        let counts = || {
            self.counts
                .iter()
                .enumerate()
                .map(|(index, count)| (index, carries(index) << 32 | u64::from(*count)))
        };
        let (highest, _) = counts().rfind(|(_, count)| *count > 0)?;
        let mut histogram = Histogram::new(SIGNIFICANT_DIGITS).ok()?;
        // The highest value first: it makes the histogram large enough for all others.
        for (index, count) in counts().take(highest + 1).rev() {
            if count > 0 {
                histogram.record_n(value_of(index), count).ok()?;
            }
        }
        Some(histogram)
    }

    /// Makes room as far as `index` and counts there: by doublings of the values, so that it happens seldom.
    #[cold]
    fn grow(&mut self, index: usize) {
        self.counts.resize((index / HALF + 1) * HALF, 0);
        if let Some(count) = self.counts.get_mut(index) {
            *count = 1;
        }
    }

    #[cold]
    fn carry(&mut self, index: usize) {
        self.carries.resize(self.counts.len(), 0);
        if let Some(carries) = self.carries.get_mut(index) {
            *carries += 1;
        }
    }
}

/// Returns the number of the bucket that holds `value`, as HdrHistogram numbers them.
#[inline]
fn index_of(value: u64) -> usize {
    let doublings = (u64::BITS - KEPT) - (value | ((1 << KEPT) - 1)).leading_zeros();
    doublings as usize * HALF + (value >> doublings) as usize
}

/// Returns the lowest value of a bucket.
fn value_of(index: usize) -> u64 {
    let doublings = (index / HALF).saturating_sub(1);
    ((index - doublings * HALF) as u64) << doublings
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::print_stdout, reason = "a random test prints its seed")]
mod tests {
    use super::*;

    fn seed() -> u64 {
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        println!("seed {seed}");
        seed
    }

    #[test]
    fn a_histogram_made_of_buckets_is_the_histogram_of_the_values() {
        let mut state = seed();
        for spread in [1, 8, 11, 12, 20, 33, 63] {
            let (mut buckets, mut histogram) = (Buckets::default(), Histogram::<u64>::new(3).unwrap());
            let edges = [0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, (1 << spread) - 1, 1 << spread];
            let random = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state ^ state >> 31) >> (63 - spread)
            });
            let mut sum = 0;
            for value in edges.into_iter().chain(random.take(5_000)) {
                buckets.count(std::iter::once(value));
                histogram.record(value).unwrap();
                sum += u128::from(value);
            }
            let made = buckets.histogram().unwrap();
            assert_eq!(made, histogram, "spread {spread}");
            assert_eq!(
                (made.min(), made.max(), made.len()),
                (histogram.min(), histogram.max(), histogram.len())
            );
            assert_eq!(buckets.sum(), sum);
            let counts = |histogram: &Histogram<u64>| -> Vec<_> {
                histogram
                    .iter_recorded()
                    .map(|step| (step.value_iterated_to(), step.count_at_value()))
                    .collect()
            };
            assert_eq!(counts(&made), counts(&histogram));
        }
        assert!(Buckets::default().histogram().is_none());
    }

    #[test]
    fn the_greatest_value_has_a_bucket() {
        let mut buckets = Buckets::default();
        buckets.count([u64::MAX, u64::MAX].into_iter());
        assert_eq!(buckets.histogram().unwrap().len(), 2);
        assert_eq!(buckets.sum(), 2 * u128::from(u64::MAX));
    }

    #[test]
    fn a_full_count_goes_on() {
        let mut buckets = Buckets::default();
        buckets.count([7, 9].into_iter());
        for _ in 0..3 {
            buckets.counts[7] = u32::MAX;
            buckets.count([7, 7].into_iter());
        }
        // As if it had been counted up to there: three times full, and one more.
        let histogram = buckets.histogram().unwrap();
        assert_eq!((histogram.count_at(7), histogram.count_at(9)), ((3 << 32) + 1, 1));
        assert_eq!(histogram.len(), (3 << 32) + 2);
    }
}
