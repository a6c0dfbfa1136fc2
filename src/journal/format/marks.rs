//! How far a journal goes, by source.

use std::collections::TryReserveError;

/// One source's part of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The number of the source's last record; `None` when there is no record of it.
    pub last: Option<u32>,
    /// Records of the source.
    pub records: u64,
}

/// Marks by source: a watermark. Everything of a source up to its mark is safe in the sense of the journal's
/// [`Durability`](crate::journal::Durability), unless somebody removes files ([`JournalAccount::removed`](crate::journal::JournalAccount::removed)).
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Marks {
    by_source: Vec<Mark>,
    records: u64,
}

impl Marks {
    pub(crate) const NONE: Marks = Marks { by_source: Vec::new(), records: 0 };

    /// Returns the mark of `source`.
    #[must_use]
    pub fn get(&self, source: u16) -> Mark {
        self.by_source.get(usize::from(source)).copied().unwrap_or_default()
    }

    /// Returns the records of all sources.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Iterates over the sources that have records.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Mark)> + '_ {
        self.by_source
            .iter()
            .enumerate()
            .filter(|(_, mark)| mark.records > 0)
            .map(|(at, mark)| (at as u16, *mark))
    }

    /// Adds `count` records of `source`, the last of them numbered `last`.
    pub(crate) fn advance(&mut self, source: u16, last: u32, count: u64) {
        let mark = self.entry(source);
        mark.last = Some(last);
        mark.records += count;
        self.records += count;
    }

    /// Sets the mark of a source.
    pub(crate) fn set(&mut self, source: u16, last: u32, records: u64) {
        let mark = self.entry(source);
        let old = std::mem::replace(mark, Mark { last: Some(last), records });
        self.records = self.records.saturating_sub(old.records) + records;
    }

    /// Makes room for the marks of the sources up to `source`: advancing one of them takes no memory then.
    pub(crate) fn reserve(&mut self, source: u16) -> Result<(), TryReserveError> {
        let lacking = (usize::from(source) + 1).saturating_sub(self.by_source.len());
        self.by_source.try_reserve(lacking)
    }

    /// Becomes a copy of `other`, unless there is no memory for it.
    pub(crate) fn copy_from(&mut self, other: &Marks) -> Result<(), TryReserveError> {
        self.by_source.try_reserve(other.by_source.len().saturating_sub(self.by_source.len()))?;
        self.clone_from(other);
        Ok(())
    }

    fn entry(&mut self, source: u16) -> &mut Mark {
        let at = usize::from(source);
        if at >= self.by_source.len() {
            self.by_source.resize(at + 1, Mark::default());
        }
        &mut self.by_source[at]
    }
}

impl Clone for Marks {
    fn clone(&self) -> Marks {
        Marks { by_source: self.by_source.clone(), records: self.records }
    }

    /// Keeps the memory that there is.
    fn clone_from(&mut self, other: &Marks) {
        self.by_source.clone_from(&other.by_source);
        self.records = other.records;
    }
}
