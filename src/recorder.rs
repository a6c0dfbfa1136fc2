//! The flight recorder: the last events of each emitter, in a mapped file that outlives the process.
//!
//! A [`FlightRecorder`] makes the file; a pipeline that is given one
//! ([`Builder::recorder`](crate::pipeline::Builder::recorder)) lets each of its emitters write there too, before the event
//! goes into its ring. When the process dies, by a panic, a segmentation fault or `kill -9`, the file still has the last
//! events of each emitter with the names that they refer to. [`Recording::read`] brings them out, and says what is missing.
//!
//! A *track* is one emitter's part of the file, a ring of *slots* with an event each, the oldest of which is overwritten. A slot
//! is *torn* if the process died while it was written, and *damaged* if its check does not hold. A *recording* is what a reader
//! brought out of the file; a *snapshot* is a recording of a process that goes on.
//!
//! ```no_run
//! use panther_events::pipeline::Pipeline;
//! use panther_events::recorder::{FlightRecorder, Recording, RecorderOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now_ns = 0;
//! let path = std::path::Path::new("run-1.flight");
//! let recorder = FlightRecorder::create(path, &RecorderOptions::default(), now_ns)?;
//! let mut builder = Pipeline::builder();
//! builder.recorder(&recorder);
//! let pipeline = builder.start()?;
//! // … the process dies; another one reads:
//! for track in Recording::read(path)?.tracks {
//!     println!("{}: {} of {} events", track.name, track.records.len(), track.recorded);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - Whatever ends the *process*: of each emitter the last [`RecorderOptions::slots`] events are there, up to the last one
//!   whose call had returned. One event more may be there, or its place is torn: that is told.
//! - Of a batch whose call had not returned, whole steps are there, of at most 64 events, and perhaps the first events of one
//!   more. What the caller's iterator has given for the step at work is not recorded yet: who wants each event in the file
//!   before the next one is made emits them one by one. (With several dedup shards, a step is one event.)
//! - How many were overwritten is exact. (One thing can hide: where a wild write has zeroed the very last events, up to 95 that
//!   the head does not tell of yet, together with their checks, they look as if they had never been.)
//! - Names and documents are kept from the first one on until [`RecorderOptions::definition_bytes`] are full (1 MiB by
//!   default; each takes 24 bytes and its text, rounded up to 8). Later ones are left out, and
//!   [`Recording::definitions_left_out`] counts them: the last events are there, but where they are about an entity that
//!   came late, `recover` shows its symbol's number in place of its name.
//! - A power cut or a crash of the kernel: nothing is promised. What the kernel had written of the file is read, and
//!   each event that is not whole is told damaged.
//! - Events are written whatever becomes of them in the ring: the last events before a crash matter also when the
//!   consumer was stuck. So an event that was dropped because its ring was full is in the recording.
//!
//! # In the file (format version 1)
//!
//! All numbers are 64-bit words in the byte order of the host that wrote them; the word at 16 tells which. A reader on a
//! host of the other order refuses.
//!
//! ```text
//! file      ┌─────────────┬──────────────────────┬─────────────┬────────┬────────┬ ─
//!           │ header 4096 │ track headers 256 each│ definitions │ track 0 │ track 1 │
//!           └─────────────┴──────────────────────┴─────────────┴────────┴────────┴ ─    each part a multiple of 4096
//!
//! header      0  magic "PEVFLTR\n"          64  check of the words before
//!             8  version                    128  state: 0 open, 1 closed in order
//!            16  0x0102030405060708         192  bytes of definitions
//!            24  run, 2 words               200  definitions left out: no room
//!            40  created, ns since 1970     208  emitters without a track
//!            48  tracks                      216  events of tracks that were given to later emitters
//!                                            224  pipelines in which processors derive events, which are in no track
//!                                            232  pipelines that began with the ids of an earlier part of their run
//!                                            240  events that were refused: no emitter's number and no slot tells of them
//!            56  slots a track (a power of two) | bytes for definitions << 32, in pages
//!
//! track        0  state: 0 free, 1 in use, 2 its emitter is gone       32  origin of its pipeline, 2 words
//! header      8  salt                                                 48  name, 72 bytes, 0 behind it
//!            24  bytes of the name                                   120  check of the words from 8 on
//!                                                                    128  head: events written
//!
//! definition  0  tag (1 name, 2 document, 3 domain) << 32 | bytes  16  check of key, tag, length and text
//!             8  symbol, digest, or the domain's number      24  text, 0 to a multiple of 8
//!
//! track      ┌─────────────┬─────────────┬ ─ ┬───────────┬───────────┬ ─
//!           │ record 0 64 │ record 1 64 │   │ check 0 8 │ check 1 8 │     event n of a track is in slot n mod slots
//!           └─────────────┴─────────────┴ ─ ┴───────────┴───────────┴ ─
//!
//! record      0  id, low word, high word, or 0    32  kind | source << 16 | number << 32
//!            16  time, ns since 1970        40  payload, 24 bytes
//!            24  entity
//!
//! check          (salt + n) · 0x243f6a8885a308d3, and each word turned left by 8 bits for every word behind it, all added up
//! ```
//!
//! The head is told with every 32nd event, or behind the batch in which that is, and when the emitter is gone: up to 95 events
//! are behind it, which their checks tell. An id is
//! there where the emitter computes it (identities `Content` and `Digest`); that of an occurrence follows from the origin.
//!
//! # Design choices
//!
//! *Torn slots.* An event is written as eight words of the record, then the slot's check, and now and then the track's head.
//! A process that dies has executed its stores up to some instruction and none behind it, so at most one slot a track is
//! torn, that behind the last whole event: a sequence lock whose writer died would tell as much. But a program under test
//! shares the address space, and it dies because something wrote where it should not. So each slot has a check over its
//! words *and its event's number*: a slot that holds something else than the event that belongs there is told damaged,
//! and not returned, all but certainly: words that were changed to fit the check would pass. The check also lets a live reader ([`FlightRecorder::snapshot`]) take slots while they are written,
//! without a word between the two threads: what does not fit its check is read again.
//!
//! The check is the least that does this: it changes with every bit, with words that change places, and with the event's
//! number, and costs two instructions a word and a multiplication. Five of them, as a hash of this length has them, made an emission
//! half as expensive again. It is no proof against intent.
//!
//! *Few stores.* An emission costs what it stores, some quarter of a nanosecond for each. So two words are stored at once where
//! the machine can, records lie in cache lines of their own, which they would not with their checks behind them, and the
//! head is told when it must be. A batch is copied from the ring once it lies there, half a line at once, and the checks of four
//! records are computed together (AVX2): a third of what the same costs one by one. What is left is little more than the copy.
//!
//! *A mapping, where the journal writes.* A system call for each event would cost twenty times the emission. The price: a
//! file that is cut short, or a disk that fails, while it is mapped is a signal (SIGBUS), not an error. So the file is
//! written full of zeros when it is made: a full disk is an error then and there. Put it on a memory file system
//! (`/dev/shm`) where only the process may die; there the kernel never stops a writer to clean pages.
//!
//! *Names.* A name or document goes into the file when it is first interned, before any event can refer to it. That is
//! not the emit path. Where the room for definitions is used up, what comes later is left out and counted.

mod definitions;
mod fault;
mod file;
mod format;
mod map;
mod read;
mod stores;
mod track;
mod words;
mod write;

pub use definitions::RecordedDefinition;
pub use fault::RecordingError;
pub use read::{NumberGap, RecordedTrack, Recording};
pub(crate) use track::TrackWriter;
pub use write::{FlightRecorder, RecorderError, RecorderOptions};
