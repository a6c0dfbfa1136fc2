//! The places of everything in a recorder's file, and the check that each slot has.

/// Words of 64 bits in a page.
pub(super) const PAGE_WORDS: usize = 512;

/// Words of a record.
pub(super) const RECORD_WORDS: usize = 8;
/// A record's eight words, and their check.
pub(super) const SLOT_WORDS: usize = RECORD_WORDS + 1;

/// A writer tells the track's head every so many events, or behind the batch in which that falls.
pub(super) const HEAD_EVERY: u64 = 32;
/// Events that may be behind the head: those, and a batch.
pub(super) const HEAD_BEHIND: u64 = HEAD_EVERY + BATCH_MAX as u64;
/// Events that are written at once, at most.
pub(super) const BATCH_MAX: usize = 64;

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"PEVFLTR\n");
pub(super) const VERSION: u64 = 1;
/// Read on a host of the other byte order, it is another number.
pub(super) const ORDER_MARK: u64 = 0x0102_0304_0506_0708;

/// Words of the header, by their place.
pub(super) mod header {
    pub(in crate::recorder) const MAGIC: usize = 0;
    pub(in crate::recorder) const VERSION: usize = 1;
    pub(in crate::recorder) const ORDER: usize = 2;
    pub(in crate::recorder) const RUN: usize = 3;
    pub(in crate::recorder) const CREATED: usize = 5;
    pub(in crate::recorder) const TRACKS: usize = 6;
    pub(in crate::recorder) const SIZES: usize = 7;
    pub(in crate::recorder) const CHECK: usize = 8;
    pub(in crate::recorder) const STATE: usize = 16;
    pub(in crate::recorder) const DEFINITIONS_LEN: usize = 24;
    pub(in crate::recorder) const DEFINITIONS_LEFT_OUT: usize = 25;
    pub(in crate::recorder) const WITHOUT_TRACK: usize = 26;
    pub(in crate::recorder) const FORGOTTEN: usize = 27;
    pub(in crate::recorder) const DERIVING: usize = 28;
    pub(in crate::recorder) const CONTINUED: usize = 29;
    pub(in crate::recorder) const REFUSED: usize = 30;
}

/// Words of a track's header, by their place.
pub(super) mod track {
    pub(in crate::recorder) const WORDS: usize = 32;
    pub(in crate::recorder) const STATE: usize = 0;
    pub(in crate::recorder) const SALT: usize = 1;
    pub(in crate::recorder) const LEN: usize = 3;
    pub(in crate::recorder) const ORIGIN: usize = 4;
    pub(in crate::recorder) const NAME: usize = 6;
    pub(in crate::recorder) const NAME_WORDS: usize = 9;
    pub(in crate::recorder) const CHECK: usize = 15;
    pub(in crate::recorder) const HEAD: usize = 16;
}

/// The file was closed in order.
pub(super) const CLOSED: u64 = 1;
/// An emitter writes into the track.
pub(super) const IN_USE: u64 = 1;
/// The track's emitter is gone.
pub(super) const GONE: u64 = 2;

pub(super) const TRACKS_MAX: usize = 1 << 12;
pub(super) const SLOTS_MAX: usize = 1 << 24;
/// 1 GiB.
pub(super) const DEFINITION_PAGES_MAX: usize = 1 << 18;
/// No file is larger: 1 TiB. Keeps all places within 64 bits.
pub(super) const FILE_WORDS_MAX: u64 = 1 << 37;

/// Where the parts of a file are, in words from its begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub(super) tracks: usize,
    pub(super) slots: usize,
    pub(super) definition_pages: usize,
}

impl Layout {
    /// Returns the layout if its sizes are within bounds.
    pub(super) fn new(tracks: usize, slots: usize, definition_pages: usize) -> Option<Layout> {
        let fits = (1..=TRACKS_MAX).contains(&tracks)
            && (1..=SLOTS_MAX).contains(&slots)
            && slots.is_power_of_two()
            && definition_pages <= DEFINITION_PAGES_MAX;
        let layout = Layout { tracks, slots, definition_pages };
        (fits && layout.words() <= FILE_WORDS_MAX).then_some(layout)
    }

    /// Reads the sizes from their words.
    pub(super) fn from_words(tracks: u64, sizes: u64) -> Option<Layout> {
        let slots = sizes & 0xffff_ffff;
        Layout::new(
            usize::try_from(tracks).ok()?,
            usize::try_from(slots).ok()?,
            usize::try_from(sizes >> 32).ok()?,
        )
    }

    pub(super) fn sizes_word(self) -> u64 {
        self.slots as u64 | (self.definition_pages as u64) << 32
    }

    pub(super) fn track_header(self, track: usize) -> usize {
        PAGE_WORDS + track * track::WORDS
    }

    pub(super) fn definitions(self) -> usize {
        PAGE_WORDS + (self.tracks * track::WORDS).next_multiple_of(PAGE_WORDS)
    }

    pub(super) fn definition_words(self) -> usize {
        self.definition_pages * PAGE_WORDS
    }

    fn track_words(self) -> usize {
        (self.slots * SLOT_WORDS).next_multiple_of(PAGE_WORDS)
    }

    pub(super) fn slots_of(self, track: usize) -> usize {
        self.definitions() + self.definition_words() + track * self.track_words()
    }

    /// The place of a slot's record, and that of its check.
    pub(super) fn slot(self, track: usize, slot: usize) -> (usize, usize) {
        let begin = self.slots_of(track);
        (begin + slot * RECORD_WORDS, begin + self.slots * RECORD_WORDS + slot)
    }

    /// Words of the whole file.
    pub(super) fn words(self) -> u64 {
        self.definitions() as u64
            + self.definition_words() as u64
            + self.tracks as u64 * self.track_words() as u64
    }
}

/// Digits of pi, so that nobody chose them.
const KEYS: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// Returns the check of event `number` of a track that has `salt`: the number's share and the words, each turned left by a byte
/// more than the word behind it, all added up.
///
/// Any change to one word changes it, and so does the number; so does one byte over several words that were alike, such as
/// zeros, the commonest of wild writes. It is on the way of every emission, so it is no more than that. Vector
/// instructions turn several words by whole bytes at once.
#[inline(always)]
pub(super) fn slot_check(words: &[u64; RECORD_WORDS], salt: u64, number: u64) -> u64 {
    // Word by word, in registers: gathered in memory first, as a loop over them is compiled, they would wait for their stores.
    let [a, b, c, d, e, f, g, h] = *words;
    number_share(salt, number)
        .wrapping_add(a.rotate_left(turn(0)))
        .wrapping_add(b.rotate_left(turn(1)))
        .wrapping_add(c.rotate_left(turn(2)))
        .wrapping_add(d.rotate_left(turn(3)))
        .wrapping_add(e.rotate_left(turn(4)))
        .wrapping_add(f.rotate_left(turn(5)))
        .wrapping_add(g.rotate_left(turn(6)))
        .wrapping_add(h.rotate_left(turn(7)))
}

/// Bits by which the word at `at` is turned left in a check.
pub(super) const fn turn(at: usize) -> u32 {
    8 * (RECORD_WORDS - 1 - at) as u32
}

/// Numbers that are near each other must differ in many bits in a check, or few changed bits of a word could make one
/// event's words pass for another's.
pub(super) const NUMBER_KEY: u64 = KEYS[0] | 1;

/// Returns the part of a check that is the number's.
#[inline(always)]
pub(super) fn number_share(salt: u64, number: u64) -> u64 {
    salt.wrapping_add(number).wrapping_mul(NUMBER_KEY)
}

/// Returns the check of words that are written once.
pub(super) fn words_check(words: &[u64]) -> u64 {
    let mut check = KEYS[0] ^ words.len() as u64;
    for word in words {
        check = fold(check ^ *word, KEYS[1] | 1).rotate_left(23).wrapping_add(KEYS[2]);
    }
    check
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_fill_the_file() {
        for (tracks, slots, pages) in [(1, 1, 0), (1, 64, 1), (17, 512, 3), (100, 4096, 256)] {
            let layout = Layout::new(tracks, slots, pages).unwrap();
            assert!(layout.track_header(tracks) <= layout.definitions());
            assert_eq!(layout.slots_of(0), layout.definitions() + layout.definition_words());
            for track in 0..tracks {
                assert!(layout.slots_of(track) + slots * SLOT_WORDS <= layout.slots_of(track + 1));
            }
            assert_eq!(layout.slots_of(tracks) as u64, layout.words());
            assert_eq!(Layout::from_words(tracks as u64, layout.sizes_word()), Some(layout));
            let mut places: Vec<usize> = (0..slots)
                .flat_map(|slot| {
                    let (record, check) = layout.slot(0, slot);
                    (record..record + RECORD_WORDS).chain([check])
                })
                .collect();
            places.sort_unstable();
            let begin = layout.slots_of(0);
            assert!(places.into_iter().eq(begin..begin + slots * SLOT_WORDS));
        }
        for (tracks, slots, pages) in [(0, 1, 0), (1, 3, 0), (TRACKS_MAX, SLOTS_MAX, 0), (1, 1, 1 << 19)] {
            assert_eq!(Layout::new(tracks, slots, pages), None);
        }
    }

    #[test]
    fn a_check_changes_with_every_bit_and_with_the_number() {
        let words = [1, 0, 3, u64::MAX, 5, 0, 0, 8];
        let check = slot_check(&words, 9, 100);
        for bit in 0..512 {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            assert_ne!(slot_check(&other, 9, 100), check, "bit {bit}");
        }
        assert!((0..100).all(|number| slot_check(&words, 9, number) != check));
        for (a, b) in [(0, 1), (2, 5), (6, 7)] {
            let mut other = words;
            other.swap(a, b);
            assert_ne!(slot_check(&other, 9, 100), check, "words {a} and {b} swapped");
        }
    }
}
