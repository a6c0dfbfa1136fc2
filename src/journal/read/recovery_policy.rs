//! What a reader does where there is no intact block: it looks at what follows, decides by the table in
//! [`crate::journal`], and reports.

use crate::journal::format::{BlockHeader, BlockKind, EndReason, Position};
use crate::journal::read::damage::{Damage, Finding};
use crate::journal::read::error::ReadError;
use crate::journal::read::plan::{self, Step};
use crate::journal::read::reader::{JournalReader, Status, plan_of};
use crate::journal::read::recovery::{Action, Behind, Found, Place, Surveyed, decide};
use std::io;

impl JournalReader<'_> {
    /// Acts on anything that is no intact block. `growing` when a live process was writing this segment after it was
    /// looked at.
    pub(super) fn decide(
        &mut self,
        step: &Step,
        found: Found,
        damaged: Option<BlockHeader>,
        growing: bool,
    ) -> io::Result<()> {
        let offset = self.cursor.as_ref().map_or(0, |cursor| cursor.offset);
        let at = Position { segment: step.number, offset };
        if found == Found::AnnouncedEnd {
            self.leave(step, at);
            return Ok(());
        }
        if growing {
            // It may have been written since the window was read.
            self.refresh();
        }
        let behind = if growing && matches!(found, Found::Nothing | Found::EmptyFile) {
            Rest::default()
        } else {
            self.survey(step, at, damaged)?
        };
        if growing && behind.blocks > 0 {
            // Half written when it was looked at, it may be whole now: what lies behind it was written later.
            self.refresh();
            if let (Found::Block, _) = self.try_look(step)? {
                return Ok(());
            }
        }
        let place = match () {
            () if growing => Place::Growing,
            () if self.options.salvage || at < self.synced => Place::Synced,
            () => Place::Unsynced,
        };
        let behind_kind = if behind.blocks > 0 { Behind::Blocks } else { Behind::Nothing };
        match decide(found, place, behind_kind) {
            Action::Read => {}
            Action::NextSegment => self.leave(step, at),
            Action::Wait => self.status = Status::Waiting,
            Action::EndUnclosed => {
                self.findings.push(Finding::new(Damage::NotClosed, at, 0));
                self.status = Status::Ended;
            }
            Action::CutTail => {
                let len = self.rest_len(step, offset)?;
                let mut finding = Finding::new(Damage::TornTail(found), at, len);
                let is_partial = behind.blocks > 0 && behind.is_partial;
                let behind = if is_partial { self.survey_all(step, at, damaged)? } else { behind };
                finding.set_aside = behind.records;
                self.findings.push(finding);
                self.status = Status::Ended;
            }
            Action::Quarantine => self.quarantine(step, found, at, damaged, &behind)?,
        }
        Ok(())
    }

    fn refresh(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.scan.refresh();
        }
    }

    /// Skips to the next intact header.
    fn quarantine(
        &mut self,
        step: &Step,
        found: Found,
        at: Position,
        damaged: Option<BlockHeader>,
        rest: &Rest,
    ) -> io::Result<()> {
        let len = match rest.next_offset {
            Some(next) => next - at.offset,
            None => self.rest_len(step, at.offset)?,
        };
        let mut finding = Finding::new(Damage::Quarantined(found), at, len);
        if damaged.is_some_and(|header| header.kind != BlockKind::Records) {
            finding.records = Some(0);
        }
        // Where an intact header accounts for all the bytes, it says what they were.
        let known = damaged.filter(|header| header.end().offset == at.offset + len);
        finding.definitions = known.is_none_or(|header| header.kind == BlockKind::Definitions);
        self.sources.skip(finding.definitions);
        self.findings.push(finding);
        match (&mut self.cursor, rest.next_offset) {
            (Some(cursor), Some(next)) => {
                cursor.block += 1;
                cursor.offset = next;
                cursor.previous =
                    damaged.filter(|header| header.end().offset == next).map(|header| header.header_crc);
            }
            _ => {
                self.cursor = None;
                self.step += 1;
            }
        }
        Ok(())
    }

    /// Goes to the next segment at this one's end.
    fn leave(&mut self, step: &Step, at: Position) {
        let cursor = self.cursor.take();
        let previous = cursor.as_ref().and_then(|cursor| cursor.previous);
        if let Some((end, crc)) = step.end
            && (end != at.offset || previous.is_some_and(|previous| previous != crc))
        {
            self.findings.push(Finding::new(Damage::BrokenLink, at, 0));
        }
        let ended = cursor.and_then(|cursor| cursor.ended);
        self.closed = ended == Some(EndReason::Closed);
        if self.step + 1 == self.plan.steps.len() && !self.closed {
            // Between two segments of a live writer, the next one is not in the plan yet.
            if self.options.as_ended || self.storage.writer().is_none() {
                self.findings.push(Finding::new(Damage::NotClosed, at, 0));
            }
        }
        self.step += 1;
    }

    pub(super) fn finish(&mut self) {
        let growing = !self.closed && self.storage.writer().is_some();
        self.status = if growing { Status::Waiting } else { Status::Ended };
        if !growing && self.plan.steps.is_empty() && self.findings.is_empty() {
            self.findings.push(Finding::new(Damage::NotClosed, Position::default(), 0));
        }
    }

    /// Reads the directory again: a live writer may have begun segments, or ended.
    pub(super) fn look_again(&mut self) -> Result<(), ReadError> {
        let plan = plan_of(&*self.storage)?;
        let number = self.plan.steps.get(self.step).map(|step| step.number);
        let after = self.plan.steps.last().map(|step| step.number);
        self.step = match (number, after) {
            (Some(number), _) => {
                let step = plan.steps.iter().take_while(|step| step.number < number).count();
                // It was removed, and nothing continues it.
                if plan.steps.get(step).is_none_or(|step| step.number != number) {
                    self.cursor = None;
                }
                step
            }
            (None, Some(last)) => plan.steps.iter().take_while(|step| step.number <= last).count(),
            (None, None) => 0,
        };
        self.plan = plan;
        self.surveyed = None;
        self.status = Status::Reading;
        if let Some(cursor) = &mut self.cursor {
            cursor.scan.refresh();
        }
        if self.plan.steps.get(self.step).is_none() && self.storage.writer().is_some() && !self.closed {
            self.status = Status::Waiting;
        }
        Ok(())
    }

    /// Looks for intact blocks behind a damaged place. What lies behind it in other segments is looked at once, however many
    /// places are damaged.
    fn survey(&mut self, step: &Step, at: Position, damaged: Option<BlockHeader>) -> io::Result<Rest> {
        let (Some(run), Some(surveyed)) = (self.plan.run, self.surveyed) else {
            return self.survey_all(step, at, damaged);
        };
        let mut rest = Rest { is_partial: true, ..Rest::default() };
        let (from, end) = (behind(at, damaged), end_of(step));
        if let Some(cursor) = &mut self.cursor
            && let Some(header) =
                cursor.scan.next_header(run, step.number, from)?.filter(|header| header.at.offset < end)
        {
            rest.next_offset = Some(header.at.offset);
            rest.add(&header);
            self.synced = self.synced.max(header.synced);
        } else {
            rest.blocks = u64::from(surveyed.last_with_blocks.is_some_and(|last| last > step.number));
        }
        Ok(rest)
    }

    /// Counts the intact blocks behind a damaged place, and learns how far the writer had synced.
    fn survey_all(&mut self, step: &Step, at: Position, damaged: Option<BlockHeader>) -> io::Result<Rest> {
        let (mut rest, mut surveyed) = (Rest::default(), Surveyed::default());
        let Some(run) = self.plan.run else { return Ok(rest) };
        let mut synced = self.synced;
        if let Some(cursor) = &mut self.cursor {
            let (mut from, end) = (behind(at, damaged), end_of(step));
            while let Some(header) =
                cursor.scan.next_header(run, step.number, from)?.filter(|header| header.at.offset < end)
            {
                rest.next_offset.get_or_insert(header.at.offset);
                rest.add(&header);
                synced = synced.max(header.synced);
                from = header.end().offset;
            }
        }
        for step in self.plan.steps.iter().skip(self.step + 1).filter(|step| step.name.is_some()) {
            let Some(mut scan) = plan::open(&*self.storage, step.number)? else { continue };
            let (mut from, end) = (0, end_of(step));
            while let Some(header) =
                scan.next_header(run, step.number, from)?.filter(|header| header.at.offset < end)
            {
                rest.add(&header);
                surveyed.last_with_blocks = Some(step.number);
                synced = synced.max(header.synced);
                from = header.end().offset;
            }
        }
        self.synced = synced;
        self.surveyed = Some(surveyed);
        Ok(rest)
    }

    fn rest_len(&self, step: &Step, offset: u64) -> io::Result<u64> {
        let Some(cursor) = &self.cursor else { return Ok(0) };
        let len = cursor.scan.len()?;
        Ok(step.end.map_or(len, |(end, _)| end.min(len)).saturating_sub(offset))
    }
}

/// Where the next intact block may be behind a damaged place.
fn behind(at: Position, damaged: Option<BlockHeader>) -> u64 {
    damaged.map_or(at.offset + 1, |header| header.end().offset)
}

fn end_of(step: &Step) -> u64 {
    step.end.map_or(u64::MAX, |(end, _)| end)
}

/// The intact blocks behind a place.
#[derive(Clone, Copy, Default)]
struct Rest {
    /// There may be more of them.
    is_partial: bool,
    blocks: u64,
    records: u64,
    /// The first of them, when it is in the same segment.
    next_offset: Option<u64>,
}

impl Rest {
    fn add(&mut self, header: &BlockHeader) {
        self.blocks += 1;
        self.records += u64::from(header.records);
    }
}
