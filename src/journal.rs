//! The journal: a run's records on disk, readable alone, with an account of everything that is not there.
//!
//! A [`JournalWriter`] puts records and definitions into a directory of segments; a [`JournalReader`] hands them
//! out in place, also while they are being written; [`verify`] lists what is wrong with a journal, and [`repair`]
//! writes a sound one from what can be read. A [`JournalWorker`] runs a writer on a thread of its own, and
//! [`JournalLog`] is the observer that hands a pipeline's events to it. [`keep`] makes a journal of what a flight recorder
//! held, [`snapshot`] of what one holds. What a journal survives is its [`Durability`].
//!
//! ```no_run
//! use panther_events::event::{Record, Symbol};
//! use panther_events::journal::{Durability, JournalReader, JournalWriter, Options, ReadOptions, RunId};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (now_ns, records): (u64, Vec<Record>) = (0, Vec::new());
//! let path = std::path::Path::new("run-1.journal");
//! let run = RunId(*b"drawn at random!");
//! let mut writer = JournalWriter::open(path, run, Options::new(Durability::ProcessCrash), now_ns)?;
//! writer.define(Symbol::of("client"), "client")?;
//! assert_eq!(writer.append(&records).lost, 0);
//! writer.close()?;
//!
//! let mut reader = JournalReader::open(path, ReadOptions::default())?;
//! while let Some(block) = reader.next_block()? {
//!     for record in block.records() {
//!         println!("{record:?}");
//!     }
//! }
//! assert!(reader.closed() && reader.findings().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Words
//!
//! - A *journal* is a directory with one run's records; it has one writer at a time, and any readers.
//! - A *segment* is one file of it. One is open; when it is full or old it ends, and the next one begins.
//! - A *block* is what is written at once: a header with checksums, a table of sources, and records or definitions.
//! - A *definition* is the name behind a symbol, the document behind a digest, or what a domain's kinds are: records refer to them. Or
//!   it says of a source what its emitter is named, or in which context it is, from a number on.
//! - The *watermark* says up to which record of each source the [`Durability`]'s promise holds.
//! - A *gap* is records that are missing, by source and numbers, as later blocks tell.
//! - A *stall* is what keeps a writer from writing. It holds records meanwhile and tries again; unless somebody removed the
//!   open segment or the lock file, when it stops for good ([`WriteStall`]).
//!
//! # On disk (format version 1)
//!
//! A directory holds the lock file `LOCK` and the segments `00000000.journal`, `00000001.journal`, and so on. A
//! segment is preallocated; behind its last block there are zeros, which are truncated when it ends in order. All
//! numbers are little-endian, on every host; payloads are opaque bytes.
//!
//! ```text
//! segment   ┌──────┬───────┬─────────────┬─────────┬─────────┬ ─ ─ ┬─────┐
//!           │ open │ notes │ definitions │ records │ records │     │ end │ zeros
//!           └──────┴───────┴─────────────┴─────────┴─────────┴ ─ ─ ┴─────┘
//!
//! block     ┌────────────┬──────────────────┬──────┬─────────┐
//!           │ header 192 │ table 24 a source │ body │ padding │    a multiple of 64 bytes;
//!           └────────────┴──────────────────┴──────┴─────────┘    header and table together too
//!
//! header      0  magic "PEVJRNL\n"             8      64  kind: 1 open, 2 definitions, 3 records, 4 loss, 5 end
//!             8  header checksum             4      65  0
//!            12  version                     2      66  sources: entries of the table     2
//!            14  header + table, bytes       2      68  records in the body               4
//!            16  block, bytes                4      72  synced up to: segment             4
//!            20  body, bytes                 4      76  oldest segment kept               4
//!            24  body checksum               4      80  synced up to: offset              8
//!            28  previous header checksum    4      88  records stored before             8
//!            32  run                        16      96  records lost in writing           8
//!            48  segment                     4     104  records not selected              8
//!            52  block number in segment     4     112  records lost before the journal   8
//!            56  byte offset in segment      8     120  earliest, 128 latest time, ns     8, 8
//!                                                  136  written at, ns                    8
//!                                                  144  domains, a bit each               4
//!                                                  148  0                                 4
//!                                                  152  origin of the records            16
//!                                                  168  0                                24
//!
//! table       0  source  2,  2  flags 2 (1: numbers do not rise, 2: has previous),  4  records 4,
//! entry       8  first number 4,  12  last number 4,  16  the source's last number before this block 4,
//!            20  the source's records before this block 4
//!
//! body        records       64 bytes each, as in memory; id 16, time 8, entity 8, kind 2, source 2, seq 4 turned
//!             definitions   tag 1 (1 name, 2 document, 3 name of a source, 4 context), 0 1, source 2 (of tags 3 and 4),
//!                           length 4, symbol, digest or origin 16, bytes, 0 to a multiple of 8; of tags 3 and 4 the bytes
//!                           begin with the number from which on it holds 4, 0 4; then the name, empty where it is not known,
//!                           or the digest of the context's document 8, 0 for no context
//!             open          previous segment 4 (2^32-1: none), 1 when resumed else 0 1, 0 3, its end 8
//!             loss          none; the table says what is lost
//!             end           reason 1 (1 rotated, 2 closed), 0 7
//! ```
//!
//! - Checksums are CRC-32C. The header's covers bytes 12 to the end of the table, the body's everything behind it,
//!   padding included, so that a damaged header is told from a damaged body, whose header still names what is lost.
//! - The first 16 bytes mean the same in every version.
//! - A block belongs where it lies: it says its run, segment, number and offset, and repeats the header checksum of
//!   the block before it. Copies, swaps and blocks of older files are foreign.
//! - A block has at most 162 sources; when another one comes, it is closed. Each entry says how many records of the
//!   source came before, so a gap is named by source and numbers by the first blocks behind it.
//! - Definitions come before their first use, in each segment: it holds those that its records refer to and no others, so that
//!   it can be read alone, whatever became of the others, and what is defined goes with the records when retention removes them.
//! - What is said of a source comes before the first block of a segment that has records of it, and again where it changes unless
//!   these records tell of it themselves, as those of the kind [`ContextEntered`](crate::emit::ContextEntered) do of contexts: of each
//!   source that ever was in a context, and of each whose emitter's name is known. A source of which a segment says no context is in
//!   none. Where the journal has not the document, the context is not known ([`EnteredContext::Unknown`]).
//! - Documents above 64 bits are not of events. Those that begin with `domain/`, a byte with the number of a domain and 8 bytes of
//!   the text's hash, are definitions of domains ([`DomainDef::to_json`](crate::domain::DomainDef::to_json)), and stand where a segment
//!   has records of the domain. The others are notes, which stand in each segment. Two are the journal's own: under `kinds/1:` (and 8 bytes of its digest) the kinds
//!   that its writer was to store, 16 hexadecimal digits for each domain, where these are not all; under `journal/1: lacks` what
//!   was missing of what it was made of, lines `removed N`, `absent N` and `unsure WHY` ([`Lacking`]). A pipeline's journal ends with
//!   the same under `account:` (and 8 bytes of its digest), behind a line `pipeline ORIGIN`, where the pipeline dropped or refused
//!   events or the journal was not there all the time.
//! - A segment's first block says where the one before it ends. Bytes behind that place do not count: that is how a
//!   writer leaves a segment that failed, and how a resumed run cuts a torn tail without touching it.
//! - A sync is preceded by padding to a page, so that no synced byte shares a page with a later write.
//!
//! A segment that has ended may be compressed: `00000007.journal.zst` is read in place of `00000007.journal`. Its form is
//! in [`mod@format`]; offsets are those of the segment that it was.
//!
//! # What a reader does where there is no intact block
//!
//! A block that is not what it should be can mean two things. Either it was synced once, and something damaged it since: then
//! what follows is good, and reading goes on behind the gap. Or it was never synced, and a crash kept a part of what was written
//! after it: then what follows came later than what is missing, and the journal ends here, so that it stays a prefix of what each
//! source sent. Every block's header says how far the writer had synced, which tells the two apart.
//! [`ReadOptions::salvage`] makes every place count as synced.
//!
//! | what is there ([`Found`]) | synced, nothing behind | synced, blocks behind | not synced, nothing behind | not synced, blocks behind | being written, nothing behind | being written, blocks behind |
//! |---|---|---|---|---|---|---|
//! | the announced end | next segment | next segment | next segment | next segment | next segment | next segment |
//! | nothing, an empty file | cut | skip | end | cut | wait | skip |
//! | damage, a foreign block, an unknown version, a missing segment | cut | skip | cut | cut | wait | skip |
//!
//! *Cut* ends the journal here and counts what is left out ([`Damage::TornTail`]); *skip* goes on at the next intact block and
//! names the gap by source and numbers ([`Damage::Quarantined`]); *end* says that the writer did not close the journal
//! ([`Damage::NotClosed`]).
//!
//! # Design choices
//!
//! - Writes, not a mapping: a full disk is an error that can be counted, not a signal.
//! - Reads, not a mapping: a writer that cuts off a segment's zeros must not kill its readers. "In place" means
//!   that records are used in the buffer that they were read into.
//! - A block is never written again, not even to grow: a torn write can only hurt what no one was promised.
//! - Nothing but a header is read of blocks that a filter or a seek passes over.

pub mod format;
mod read;
mod recover;
pub mod storage;
mod write;

pub use format::definition::{Definition, SourceFrom};
pub use format::marks::{Mark, Marks};
pub use format::select::Select;
pub use format::{Position, RunId};
pub use read::damage::{Damage, Finding, SourceGap};
pub use read::defined::Defined;
pub use read::error::ReadError;
pub use read::filter::Filter;
pub use read::lacking::Lacking;
pub use read::reader::{JournalReader, ReadBlock, ReadOptions, Status};
pub use read::recovery::Found;
pub use read::sources::EnteredContext;
pub use read::verify::{VerifyReport, holds_journal, verify};
pub use recover::arrive::RecoverError;
pub use recover::journal::recover;
pub use recover::recorder::{keep, overwritten, snapshot};
pub use recover::repair::{RepairError, repair};
pub use storage::lock::LOCK_NAME;
pub use write::durability::{CloseError, Durability, JournalAccount};
pub use write::log::{JournalLog, JournalReport};
pub use write::options::{DefineError, OpenError, Options};
pub use write::worker::{JournalNotes, JournalWorker, WorkerError};
pub use write::writer::{Appended, JournalWriter, WriteStall};
