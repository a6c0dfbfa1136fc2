//! What a writer has lost, by source: the journal says so when it can be written again.

use crate::journal::format::block::Block;
use crate::journal::format::{BlockKind, HEADER_LEN_MAX, SPANS_MAX, SourceSpan};
use std::collections::BTreeMap;

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

    /// Returns the blocks that tell of them.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let spans: Vec<SourceSpan> = self.0.values().copied().collect();
        spans.chunks(SPANS_MAX).map(|spans| Block::of_spans(BlockKind::Loss, spans)).collect()
    }

    /// Returns room for these blocks.
    pub(super) fn room(&self) -> u64 {
        ((self.0.len() / SPANS_MAX + 1) * HEADER_LEN_MAX) as u64
    }
}
