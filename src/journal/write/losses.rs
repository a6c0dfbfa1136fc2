//! What a writer has lost, by source: the journal says so when it can be written again.

use crate::journal::format::block::Block;
use crate::journal::format::{BlockKind, HEADER_LEN_MAX, SPANS_MAX, SourceSpan};
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

#[derive(Default)]
pub(super) struct Losses(BTreeMap<u16, SourceSpan>);

impl Losses {
    /// Takes in that the records of `block` are lost, which came behind all that were lost before.
    pub(super) fn add(&mut self, block: &Block) {
        for span in block.spans() {
            let lost = self.0.entry(span.source).or_insert(SourceSpan { count: 0, ..*span });
            lost.count = lost.count.saturating_add(span.count);
            lost.unordered |= span.unordered || (lost.count > span.count && span.first <= lost.last);
            lost.last = span.last;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the block that tells of those of the sources behind `last`, as many as go into one, and the last of them; none
    /// when there is no more.
    pub(super) fn block_behind(&self, last: Option<u16>) -> io::Result<Option<(Block, u16)>> {
        let behind = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let spans = || self.0.range::<u16, _>(behind).take(SPANS_MAX);
        let Some((last, _)) = spans().last() else { return Ok(None) };
        let block = Block::of_spans(BlockKind::Loss, spans().map(|(_, span)| *span))?;
        Ok(Some((block, *last)))
    }

    /// Returns room for these blocks.
    pub(super) fn room(&self) -> u64 {
        ((self.0.len() / SPANS_MAX + 1) * HEADER_LEN_MAX) as u64
    }
}
