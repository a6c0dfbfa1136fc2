//! Which records a reader hands out, and which one it seeks.

use crate::event::{Domain, KindSet, Record, Symbol};
use crate::journal::format::{BlockHeader, SourceSpan};

/// Lets through the records that meet all of its conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The record's kind is in this set.
    pub kinds: KindSet,
    /// The record is about this entity.
    pub entity: Option<Symbol>,
    /// The record is of this source.
    pub source: Option<u16>,
    /// The record's time, ns since the Unix epoch, is in this range, both ends included.
    pub time_ns: Option<(u64, u64)>,
}

impl Filter {
    /// Lets everything through.
    pub const ALL: Filter = Filter { kinds: KindSet::ALL, entity: None, source: None, time_ns: None };

    /// Tells whether the record meets the conditions.
    #[inline]
    #[must_use]
    pub fn contains(&self, record: &Record) -> bool {
        self.kinds.contains(record.kind())
            && self.entity.is_none_or(|entity| record.entity() == entity)
            && self.source.is_none_or(|source| record.source() == source)
            && self.time_ns.is_none_or(|(from, to)| (from..=to).contains(&record.time_ns()))
    }

    /// Tells whether a block with this header can have such a record.
    pub(super) fn may_be_in(
        &self,
        header: &BlockHeader,
        mut spans: impl Iterator<Item = SourceSpan>,
    ) -> bool {
        let wanted = |number: u8| Domain::new(number).is_some_and(|domain| self.kinds.codes(domain) != 0);
        let domain = (0..32).any(|number| header.domains >> number & 1 != 0 && wanted(number));
        let time =
            self.time_ns.is_none_or(|(from, to)| header.time_ns_min <= to && header.time_ns_max >= from);
        domain && time && self.source.is_none_or(|source| spans.any(|span| span.source == source))
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter::ALL
    }
}

/// What a seek looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The first record at or after a time.
    Time(u64),
    /// The first record of a source with a number or a higher one.
    Seq(u16, u32),
}

impl Target {
    pub(super) fn may_be_in(self, header: &BlockHeader, mut spans: impl Iterator<Item = SourceSpan>) -> bool {
        match self {
            Target::Time(time_ns) => header.time_ns_max >= time_ns && header.records > 0,
            Target::Seq(source, seq) => {
                spans.any(|span| span.source == source && (span.unordered || span.last >= seq))
            }
        }
    }

    pub(super) fn is_met_by(self, record: &Record) -> bool {
        match self {
            Target::Time(time_ns) => record.time_ns() >= time_ns,
            Target::Seq(source, seq) => record.source() == source && record.seq() >= seq,
        }
    }
}
