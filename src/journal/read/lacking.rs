//! What a journal is short of and no count of its own tells: what was removed from, or never known of, the journal or the
//! flight recorder that it was made of; what its pipeline dropped or refused; writers that died before a later one went on;
//! kinds that were not to be stored.
//!
//! All but the writers stand in the journal as documents, and a repair hands them on.

use crate::event::{Domain, EventId, EventKind, KindSet, Origin};
use crate::journal::format::select::Select;
use crate::journal::read::damage::{Damage, Finding};
use crate::journal::read::reader::JournalReader;

/// The key of the document with a [`Lacking`]: above 64 bits, where no event's document is.
const KEY: u128 = u128::from_be_bytes(*b"journal/1: lacks");

/// The upper half of the keys of documents with a selection; the lower half is of the document's digest.
const KINDS_PREFIX: u64 = u64::from_be_bytes(*b"kinds/1:");

/// The key of the document that says that duplicates were not to be stored.
const UNIQUE_KEY: u128 = u128::from_be_bytes(*b"select/1: unique");

/// The upper half of the keys of documents that a pipeline's journal ends with; the lower half is of the document's digest.
const PIPELINE_PREFIX: u64 = u64::from_be_bytes(*b"account:");

/// Reasons that are kept one by one.
const REASONS_MAX: usize = 20;

/// What never came into a journal and no count of the journal tells: what was missing of the journal or the flight recorder that
/// it was made of, and what the pipelines had not for it that filled it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lacking {
    /// Records that retention had removed by then.
    pub removed: u64,
    /// Events that a pipeline had dropped or refused by the end.
    pub absent: u64,
    /// Why it was not known whether more was missing, a line each: the writer had not closed the journal, its tail was torn.
    pub unsure: Vec<String>,
}

impl Lacking {
    /// Reads what a journal says of its making, and of the pipelines that filled it. Known once it was read.
    #[must_use]
    pub fn of(reader: &JournalReader<'_>) -> Lacking {
        let mut lacking = Lacking::default();
        for (_, bytes) in reader.details().filter(|(key, _)| Lacking::is_document(*key)) {
            lacking.take_in(bytes);
        }
        lacking
    }

    fn take_in(&mut self, document: &[u8]) {
        let count = |sum: u64, text: &str| sum.saturating_add(text.parse().unwrap_or(u64::MAX));
        for line in String::from_utf8_lossy(document).lines() {
            match line.split_once(' ') {
                Some(("removed", removed)) => self.removed = count(self.removed, removed),
                Some(("absent", absent)) => self.absent = count(self.absent, absent),
                Some(("unsure", why)) => self.unsure.push(why.to_owned()),
                // Makes two documents of two pipelines.
                Some(("pipeline", _)) => {}
                // Whatever it is, it says that something is missing.
                _ => self.unsure.push(line.to_owned()),
            }
        }
    }

    /// Says what a journal is short of that was read to its end, beyond what its own counts tell. `records` could be read,
    /// and `lost` are known to be missing. `writer` has it open.
    pub(crate) fn found(
        reader: &JournalReader<'_>,
        records: u64,
        lost: u64,
        writer: Option<String>,
    ) -> Lacking {
        let mut lacking = Lacking::of(reader);
        let gone = reader.totals().records.saturating_sub(records.saturating_add(lost));
        lacking.removed = lacking.removed.saturating_add(gone);
        let is_unsure = |finding: &&Finding| match finding.damage {
            Damage::Abandoned => true,
            _ => finding.loses_records() && finding.records.is_none_or(|records| records == 0),
        };
        lacking.unsure.extend(reader.findings().iter().filter(is_unsure).map(ToString::to_string));
        lacking.unsure.extend(unclosed_text(reader.unclosed()));
        lacking.unsure.extend(writer.map(|writer| format!("it was being written by {writer}")));
        lacking
    }

    /// Returns the document for the journal that is being made; `None` where nothing is missing.
    pub(crate) fn document(&self) -> Option<(u128, Vec<u8>)> {
        if *self == Lacking::default() {
            return None;
        }
        Some((KEY, self.text().into_bytes()))
    }

    /// Returns the document for the journal that the pipeline `origin` has filled; `None` where nothing is missing.
    pub(crate) fn document_of(&self, origin: Origin) -> Option<(u128, Vec<u8>)> {
        if *self == Lacking::default() {
            return None;
        }
        let text = format!("pipeline {:032x}\n{}", origin.bits(), self.text()).into_bytes();
        Some((key_of(PIPELINE_PREFIX, &text), text))
    }

    fn text(&self) -> String {
        let mut text = format!("removed {}\nabsent {}\n", self.removed, self.absent);
        for why in self.unsure.iter().take(REASONS_MAX) {
            // A line each; the rest of a long one says no more.
            let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
            text.push_str(&format!("unsure {why}\n"));
        }
        let more = self.unsure.len().saturating_sub(REASONS_MAX);
        if more > 0 {
            text.push_str(&format!("unsure {more} more reasons\n"));
        }
        text
    }

    /// Tells whether a document is one of these: it is not copied, but taken in.
    pub(crate) fn is_document(key: u128) -> bool {
        key == KEY || (key >> 64) as u64 == PIPELINE_PREFIX
    }
}

/// Says that earlier writers did not close the journal, where there were any.
fn unclosed_text(writers: u64) -> Option<String> {
    let why = "did not close it before another one went on; its last records may be missing";
    (writers > 0).then(|| format!("{writers} times, a writer {why}"))
}

impl JournalReader<'_> {
    /// Returns how often a writer went on with the journal that the one before had not closed, in what was read: what that
    /// one had not written is in no count.
    #[must_use]
    pub fn unclosed(&self) -> u64 {
        self.unclosed
    }

    /// Tells whether all of the journal's writers were to store all that they got, duplicates too
    /// ([`Select::ALL`](crate::journal::Select::ALL)), as far as the journal was read. Then a number of a source that is not in the
    /// journal is that of an event which never came there.
    #[must_use]
    pub fn stores_all(&self) -> bool {
        self.stored_kinds() == KindSet::ALL && self.stores_duplicates()
    }

    /// Tells whether all of the journal's writers were to store later sightings of an event too, as far as the journal was read. If
    /// not, of several who told of one fact under a key it has the first alone.
    #[must_use]
    pub fn stores_duplicates(&self) -> bool {
        self.detail(UNIQUE_KEY).is_none()
    }

    /// Returns the kinds that all of the journal's writers were to store ([`Select`]), as far as the
    /// journal was read.
    #[must_use]
    pub fn stored_kinds(&self) -> KindSet {
        let selections = self.details().filter(|(key, _)| (key >> 64) as u64 == KINDS_PREFIX);
        selections.fold(KindSet::ALL, |kinds, (_, text)| {
            let these = kinds_of(text).unwrap_or(KindSet::EMPTY);
            if kinds == KindSet::ALL {
                these
            } else {
                kinds.iter().filter(|kind| these.contains(*kind)).collect()
            }
        })
    }
}

/// Returns the document that tells of a selection; `None` where everything is stored.
pub(crate) fn selection_document(select: &Select) -> Option<(u128, Vec<u8>)> {
    let unique = || (!select.duplicates).then(|| (UNIQUE_KEY, b"no duplicates".to_vec()));
    kinds_document(&select.kinds).or_else(unique)
}

/// As [`selection_document`], of the kinds.
fn kinds_document(kinds: &KindSet) -> Option<(u128, Vec<u8>)> {
    if *kinds == KindSet::ALL {
        return None;
    }
    let words = domains().map(|domain| format!("{:016x}", kinds.codes(domain)));
    let text = words.collect::<Vec<_>>().join("\n").into_bytes();
    Some((key_of(KINDS_PREFIX, &text), text))
}

/// The key of a document of which there may be several.
fn key_of(prefix: u64, text: &[u8]) -> u128 {
    let low = EventId::digest(text).bits() as u64;
    u128::from(prefix) << 64 | u128::from(low)
}

/// Reads such a document.
fn kinds_of(text: &[u8]) -> Option<KindSet> {
    let words: Option<Vec<u64>> =
        std::str::from_utf8(text).ok()?.lines().map(|word| u64::from_str_radix(word, 16).ok()).collect();
    let words = words.filter(|words| words.len() == domains().count())?;
    let of_domain = |(domain, codes): (Domain, u64)| {
        (0..64).filter(move |code| codes >> code & 1 != 0).map(move |code| EventKind::new(domain, code))
    };
    Some(domains().zip(words).flat_map(of_domain).collect())
}

fn domains() -> impl Iterator<Item = Domain> {
    (0..=u8::MAX).map_while(Domain::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_selection_reads_as_it_was_written() {
        assert_eq!(selection_document(&Select::ALL), None);
        assert_eq!(selection_document(&Select::UNIQUE).map(|(key, _)| key), Some(UNIQUE_KEY));
        let some = KindSet::domain(Domain::TEST).with(EventKind::new(Domain::STEP, 3));
        let last = KindSet::ALL.without(EventKind::from_index(u16::MAX));
        for kinds in [KindSet::EMPTY, some, last] {
            let (key, text) = kinds_document(&kinds).unwrap();
            assert_eq!(kinds_of(&text), Some(kinds));
            assert_eq!((key >> 64) as u64, KINDS_PREFIX);
        }
        assert_eq!((kinds_of(b"no such"), kinds_of(b"0\n0"), kinds_of(b"\xff")), (None, None, None));
    }

    #[test]
    fn nothing_that_is_lacking_is_no_document_and_many_reasons_stay_short() {
        assert_eq!(Lacking::default().document(), None);
        let unsure = vec!["one\ntwo".repeat(10_000); REASONS_MAX + 5];
        let lacking = Lacking { removed: 7, absent: 3, unsure };
        let (_, text) = lacking.document().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 2 + REASONS_MAX + 1);
        assert!(
            text.starts_with("removed 7\nabsent 3\nunsure one two")
                && text.ends_with("unsure 5 more reasons\n")
        );
        assert!(text.len() < crate::journal::format::definition::Definition::DETAIL_LEN_MAX);
    }

    #[test]
    fn what_several_pipelines_lacked_is_added_up() {
        let lacking = Lacking { removed: 0, absent: 3, unsure: vec!["why".into()] };
        let one = lacking.document_of(Origin::from_bits(1)).unwrap();
        let other = lacking.document_of(Origin::from_bits(2)).unwrap();
        assert_ne!(one.0, other.0);
        let mut both = Lacking::default();
        for (key, text) in [one, other, Lacking { removed: 5, ..lacking }.document().unwrap()] {
            assert!(Lacking::is_document(key));
            both.take_in(&text);
        }
        assert_eq!((both.removed, both.absent, both.unsure.len()), (5, 9, 3));
        both.take_in(b"absent many\nremoved 2\nno such");
        assert_eq!((both.removed, both.absent, both.unsure.len()), (7, u64::MAX, 4));
        assert_eq!(Lacking::default().document_of(Origin::from_bits(1)), None);
    }
}
