//! What a reader found wrong, in terms of records where that is known.

use crate::journal::format::Position;
use crate::journal::read::recovery::Found;
use std::fmt;

/// Records of one source that are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceGap {
    /// The source.
    pub source: u16,
    /// How many of its records are missing.
    pub records: u64,
    /// They come after this number; `None` when the source's first ones are missing.
    pub after: Option<u32>,
    /// The last one has this number.
    pub through: u32,
}

/// What became of a damaged place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    /// The journal has no end: its writer was killed, or it was truncated right between two blocks.
    NotClosed,
    /// The journal ends here; what follows was never certain and is not read.
    TornTail(Found),
    /// The bytes were skipped, and reading went on behind them.
    Quarantined(Found),
    /// There are bytes behind the segment's end block.
    Trailing,
    /// The next segment continues another state of this one: its link names another checksum or end.
    BrokenLink,
    /// A segment that no later one continues: left by a writer that could not use it. No record is missing.
    Abandoned,
}

/// One thing that a reader found wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub damage: Damage,
    /// Where it begins.
    pub at: Position,
    /// How many bytes it covers; 0 when nothing is there.
    pub len: u64,
    /// How many records are missing; `None` when nothing tells (the writer's last ones).
    pub records: Option<u64>,
    /// Names or documents may have been there: what the bytes held is not known, or it is known that they held some.
    pub definitions: bool,
    /// Which records are missing, as far as later blocks tell.
    pub sources: Vec<SourceGap>,
    /// Intact records behind a torn tail that are not read unless
    /// [`ReadOptions::salvage`](crate::journal::ReadOptions::salvage) is set.
    pub set_aside: u64,
}

impl Finding {
    pub(crate) fn new(damage: Damage, at: Position, len: u64) -> Finding {
        Finding { damage, at, len, records: None, definitions: false, sources: Vec::new(), set_aside: 0 }
    }

    /// Tells whether records, or the names and documents that they refer to, may be missing because of this.
    #[must_use]
    pub fn loses_records(&self) -> bool {
        match self.damage {
            Damage::Abandoned | Damage::Trailing => false,
            Damage::Quarantined(_) => self.records != Some(0) || self.definitions,
            Damage::NotClosed | Damage::TornTail(_) | Damage::BrokenLink => true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { segment, offset } = self.at;
        write!(f, "segment {segment}, offset {offset}: ")?;
        match self.damage {
            Damage::NotClosed => write!(f, "the journal was not closed; records may be missing at its end")?,
            Damage::TornTail(found) => write!(f, "torn tail ({}), cut off here", word(found))?,
            Damage::Quarantined(found) => write!(f, "{}, {} bytes skipped", word(found), self.len)?,
            Damage::Trailing => write!(f, "{} bytes behind the end block", self.len)?,
            Damage::BrokenLink => write!(f, "the next segment continues another state of this one")?,
            Damage::Abandoned => write!(f, "a segment that the writer gave up; nothing is missing")?,
        }
        if let Some(records) = self.records.filter(|records| *records > 0) {
            write!(f, "; {records} records missing")?;
        }
        if self.definitions {
            write!(f, "; names or documents may be missing")?;
        }
        for gap in &self.sources {
            let SourceGap { source, records, through, .. } = gap;
            match gap.after {
                Some(after) => write!(f, "; source {source}: {records} after {after} through {through}")?,
                None => write!(f, "; source {source}: {records} through {through}")?,
            }
        }
        if self.set_aside > 0 {
            write!(f, "; {} intact records behind it (salvage reads them)", self.set_aside)?;
        }
        Ok(())
    }
}

fn word(found: Found) -> &'static str {
    match found {
        Found::Block => "an intact block",
        Found::AnnouncedEnd => "the end",
        Found::Nothing => "nothing where a block was",
        Found::Damaged => "damaged bytes",
        Found::Foreign => "a block that belongs elsewhere",
        Found::UnknownVersion => "a block of an unknown version",
        Found::EmptyFile => "an empty segment",
        Found::MissingSegment => "a missing segment",
    }
}
