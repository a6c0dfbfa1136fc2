//! A block while it is filled: room for the header, then the body, in one buffer that is written at once.

use crate::event::{Origin, Record};
use crate::journal::format::definition::{Definition, DefinitionKey};
use crate::journal::format::marks::Marks;
use crate::journal::format::{
    ALIGN, BlockHeader, BlockKind, HEADER_LEN_MAX, Position, RunId, SPANS_MAX, SourceSpan, Totals, aligned,
    header_len, swap_records,
};
use std::collections::{HashSet, TryReserveError};
use std::io;
use std::sync::Arc;

/// Records' room in front of the body: the header is written right before the body once its length is known.
const HEADER_ROOM: usize = HEADER_LEN_MAX / size_of::<Record>();

/// A block of records whose definitions take so many bytes takes no more records: documents can be long, and are held with it.
const USES_LEN_MAX: usize = 1 << 20;

/// Definitions that the next record, and the sources that a block can have, may bring along: there is always room for them.
const USES_ROOM: usize = SPANS_MAX + 16;

/// A block of records or of definitions, not yet written.
pub(crate) struct Block {
    kind: BlockKind,
    buffer: Vec<Record>,
    body_len: usize,
    records: usize,
    /// How many of the records are later sightings of an event.
    pub(crate) duplicates: u64,
    spans: Vec<SourceSpan>,
    time_ns_min: u64,
    time_ns_max: u64,
    domains: u32,
    origin: Origin,
    encoded_header_len: usize,
    uses: Uses,
    /// Of each of `spans`.
    facts: Vec<SourceFacts>,
}

/// Knows what records refer to.
pub(crate) trait Refer {
    /// Tells whether the block being filled is known to have all that `record` refers to.
    fn are_with(&self, record: &Record) -> bool;

    /// Lets the block take along what `record` refers to.
    fn add_to(&mut self, uses: &mut Uses, record: &Record);

    /// Returns what is known of the source of `record`, which is its first in the block.
    fn facts_of(&self, uses: &mut Uses, record: &Record) -> SourceFacts;

    /// Takes in that the source of `record` is in another context, where the record says so; then tells whether it is known in which.
    fn takes_context(&mut self, record: &Record) -> Option<bool>;
}

/// What is known of a source.
#[derive(Default)]
pub(crate) struct SourceFacts {
    /// The name of its emitter.
    pub(crate) name: Option<Arc<Definition>>,
    /// The context that it is in at its first record in the block.
    pub(crate) context: Option<Arc<Definition>>,
    /// What that is, goes along with the block.
    pub(crate) is_told: bool,
    /// The number of the last of its records in the block that tell of another one, and whether what that is goes along.
    pub(crate) changed: Option<(u32, bool)>,
}

impl SourceFacts {
    /// Iterates over what is to be in a segment.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.name.iter().chain(&self.context)
    }
}

/// The definitions that a block's records refer to, each once.
#[derive(Default)]
pub(crate) struct Uses {
    definitions: Vec<Arc<Definition>>,
    keys: HashSet<DefinitionKey>,
    len: usize,
}

impl Uses {
    /// Makes room for what may come along before the next look at it.
    fn reserve(&mut self) -> Result<(), TryReserveError> {
        self.definitions.try_reserve(USES_ROOM)?;
        self.keys.try_reserve(USES_ROOM)
    }

    /// Takes a definition along.
    pub(crate) fn add(&mut self, definition: &Arc<Definition>) {
        if self.keys.insert(definition.key()) {
            self.len += definition.encoded_len();
            self.definitions.push(Arc::clone(definition));
        }
    }

    /// Tells whether they are so many, in bytes, that the block is to end.
    fn are_many(&self) -> bool {
        self.len >= USES_LEN_MAX
    }

    fn clear(&mut self) {
        self.definitions.clear();
        self.keys.clear();
        self.len = 0;
    }
}

/// What a block's header says of the place where it is written.
pub(crate) struct Stamp {
    pub(crate) run: RunId,
    pub(crate) at: Position,
    pub(crate) block: u32,
    pub(crate) previous: u32,
    pub(crate) synced: Position,
    pub(crate) oldest_segment: u32,
    pub(crate) totals: Totals,
    pub(crate) written_ns: u64,
    /// The block's end is brought to a multiple of this many bytes.
    pub(crate) end_align: u64,
}

/// Finds a source's entry in the block that is being filled. Never cleared: an entry counts only when the
/// table of sources agrees.
pub(crate) struct Slots(Vec<u16>);

impl Slots {
    pub(crate) fn new() -> io::Result<Slots> {
        bytemuck::try_zeroed_vec(1 << 16).map(Slots).map_err(|()| io::ErrorKind::OutOfMemory.into())
    }
}

impl Block {
    /// Makes an empty block of records, at most `len_max` bytes with its header. Filling it takes no more memory, but for the
    /// list of its definitions.
    pub(crate) fn of_records(len_max: usize) -> io::Result<Block> {
        let mut block = Block::new(BlockKind::Records, len_max.saturating_sub(HEADER_LEN_MAX).max(ALIGN))?;
        block.spans.try_reserve_exact(SPANS_MAX)?;
        block.facts.try_reserve_exact(SPANS_MAX)?;
        block.uses.reserve()?;
        Ok(block)
    }

    /// Makes a block with `body`.
    pub(crate) fn of_bytes(kind: BlockKind, body: &[u8]) -> io::Result<Block> {
        let mut block = Block::new(kind, body.len())?;
        if let Some(to) = block.body_mut().get_mut(..body.len()) {
            to.copy_from_slice(body);
        }
        block.body_len = body.len();
        Ok(block)
    }

    /// Makes a block without a body whose table of sources is `spans`, the first [`SPANS_MAX`] of them.
    pub(crate) fn of_spans(kind: BlockKind, spans: impl Iterator<Item = SourceSpan>) -> io::Result<Block> {
        let mut block = Block::new(kind, 0)?;
        block.spans.try_reserve_exact(SPANS_MAX)?;
        block.spans.extend(spans.take(SPANS_MAX));
        Ok(block)
    }

    fn new(kind: BlockKind, body_max: usize) -> io::Result<Block> {
        // One page more than the body, for padding.
        let buffer = aligned(HEADER_LEN_MAX + body_max.next_multiple_of(ALIGN) + HEADER_LEN_MAX)?;
        Ok(Block {
            kind,
            buffer,
            body_len: 0,
            records: 0,
            duplicates: 0,
            spans: Vec::new(),
            time_ns_min: u64::MAX,
            time_ns_max: 0,
            domains: 0,
            origin: Origin::from_bits(0),
            encoded_header_len: 0,
            uses: Uses::default(),
            facts: Vec::new(),
        })
    }

    /// Empties the block.
    pub(crate) fn clear(&mut self) {
        self.body_len = 0;
        self.records = 0;
        self.duplicates = 0;
        self.spans.clear();
        self.time_ns_min = u64::MAX;
        self.time_ns_max = 0;
        self.domains = 0;
        self.uses.clear();
        self.facts.clear();
    }

    /// Returns the definitions that the records refer to.
    pub(crate) fn definitions(&self) -> &[Arc<Definition>] {
        &self.uses.definitions
    }

    /// Returns how many bytes all that the records need takes at most, and how many definitions that is.
    pub(crate) fn needs(&self) -> (u64, usize) {
        let of_sources = self.facts.iter().flat_map(SourceFacts::definitions);
        let own = (self.uses.len as u64, self.uses.definitions.len());
        of_sources.fold(own, |(len, count), definition| (len + definition.encoded_len() as u64, count + 1))
    }

    /// Iterates over the block's sources, with what is known of each.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (u16, &SourceFacts)> {
        self.spans.iter().map(|span| span.source).zip(&self.facts)
    }

    /// Returns whose records they are.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Takes records from the front of `records`, which are of `origin`, while there is room and returns how many. Those that
    /// have no id yet get it: nobody who reads them is to give them another. What they refer to comes along. An empty block has
    /// room for one.
    pub(crate) fn push(
        &mut self,
        slots: &mut Slots,
        origin: Origin,
        records: &[Record],
        definitions: &mut impl Refer,
    ) -> usize {
        self.origin = origin;
        let room = self.room();
        let mut taken = 0;
        for record in records.iter().take(room) {
            let refers = !definitions.are_with(record);
            if refers {
                // Without memory for more definitions, the block ends early.
                if self.uses.are_many() || self.uses.reserve().is_err() {
                    break;
                }
                definitions.add_to(&mut self.uses, record);
            }
            let known = self.spans.len();
            if !self.enter(slots, record) {
                break;
            }
            if self.spans.len() > known {
                let facts = definitions.facts_of(&mut self.uses, record);
                self.facts.push(facts);
            }
            if refers && let Some(is_told) = definitions.takes_context(record) {
                self.note_change(slots, record, is_told);
            }
            self.time_ns_min = self.time_ns_min.min(record.time_ns());
            self.time_ns_max = self.time_ns_max.max(record.time_ns());
            self.domains |= 1 << record.kind().domain().number();
            taken += 1;
        }
        let start = HEADER_ROOM + self.records;
        if let (Some(to), Some(from)) = (self.buffer.get_mut(start..start + taken), records.get(..taken)) {
            to.copy_from_slice(from);
            Record::fill_ids(to, origin);
            swap_records(to);
        }
        self.records += taken;
        self.body_len += taken * size_of::<Record>();
        taken
    }

    /// Enters the record in the table of sources; `false` when the table is full.
    fn enter(&mut self, slots: &mut Slots, record: &Record) -> bool {
        let (source, seq) = (record.source(), record.seq());
        let Some(slot) = slots.0.get_mut(usize::from(source)) else { return false };
        let known = self.spans.len();
        match self.spans.get_mut(usize::from(*slot)) {
            Some(span) if span.source == source => {
                span.unordered |= seq <= span.last;
                span.last = seq;
                span.count += 1;
            }
            _ if known == SPANS_MAX => return false,
            _ => {
                *slot = known as u16;
                self.spans.push(SourceSpan {
                    source,
                    count: 1,
                    first: seq,
                    last: seq,
                    ..SourceSpan::default()
                });
            }
        }
        true
    }

    #[cold]
    fn note_change(&mut self, slots: &Slots, record: &Record, is_told: bool) {
        let slot = slots.0.get(usize::from(record.source())).copied().unwrap_or_default();
        if let Some(facts) = self.facts.get_mut(usize::from(slot)) {
            facts.changed = Some((record.seq(), is_told));
        }
    }

    /// Returns how many records fit.
    pub(crate) fn room(&self) -> usize {
        // The last page is for padding.
        self.buffer.len().saturating_sub(2 * HEADER_ROOM + self.records)
    }

    /// Tells whether no record fits any more.
    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0 || self.uses.are_many()
    }

    /// Returns how many records are in the block.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Returns the records by source.
    pub(crate) fn spans(&self) -> &[SourceSpan] {
        &self.spans
    }

    /// Returns how many bytes the buffer takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.buffer.len() * size_of::<Record>() + self.uses.len
    }

    /// Returns how many bytes the block takes in a segment, at most: with its padding to a page.
    pub(crate) fn len_max(&self) -> u64 {
        (header_len(self.spans.len()) + self.body_len.next_multiple_of(ALIGN) + HEADER_LEN_MAX) as u64
    }

    /// Writes the header for this place, and returns it with the block's bytes. Can be called again for
    /// another place.
    pub(crate) fn encode(&mut self, stamp: &Stamp, marks: &Marks) -> (BlockHeader, &[u8]) {
        if self.kind == BlockKind::Records {
            for span in &mut self.spans {
                let mark = marks.get(span.source);
                span.previous = mark.last;
                span.before = mark.records as u32;
            }
        }
        self.encoded_header_len = header_len(self.spans.len());
        let end = stamp.at.offset + (self.encoded_header_len + self.body_len.next_multiple_of(ALIGN)) as u64;
        let len = (end.next_multiple_of(stamp.end_align.max(ALIGN as u64)) - stamp.at.offset) as usize;
        let body_end = HEADER_LEN_MAX + self.body_len;
        let padded_end = HEADER_LEN_MAX - self.encoded_header_len + len;
        let start = HEADER_LEN_MAX - self.encoded_header_len;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer);
        if let Some(padding) = bytes.get_mut(body_end..padded_end) {
            padding.fill(0);
        }
        let body = bytes.get(HEADER_LEN_MAX..padded_end).unwrap_or_default();
        let mut header = BlockHeader {
            header_crc: 0,
            header_len: self.encoded_header_len as u32,
            len: len as u32,
            body_len: self.body_len as u32,
            body_crc: crc32c::crc32c(body),
            previous: stamp.previous,
            run: stamp.run,
            at: stamp.at,
            block: stamp.block,
            kind: self.kind,
            sources: self.spans.len() as u16,
            records: self.records as u32,
            synced: stamp.synced,
            oldest_segment: stamp.oldest_segment,
            totals: stamp.totals,
            time_ns_min: self.time_ns_min,
            time_ns_max: self.time_ns_max,
            written_ns: stamp.written_ns,
            domains: self.domains,
            origin: self.origin,
        };
        if let Some(room) = bytes.get_mut(start..HEADER_LEN_MAX) {
            header.header_crc = header.encode(&self.spans, room);
        }
        (header, bytes.get(start..padded_end).unwrap_or_default())
    }

    fn body_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer);
        bytes.get_mut(HEADER_LEN_MAX..).unwrap_or_default()
    }
}
