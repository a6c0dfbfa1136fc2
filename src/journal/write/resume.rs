//! Where a resumed run begins: behind the end of what is there.

use crate::journal::format::names::{Form, parse_name};
use crate::journal::format::{Position, RunId, Tail, Totals};
use crate::journal::read::error::ReadError;
use crate::journal::read::reader::{JournalReader, ReadOptions};
use crate::journal::storage::Storage;
use crate::journal::write::ended::ClosedSegment;
use crate::journal::write::options::OpenError;
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// Where a run goes on.
pub(super) struct Resume {
    pub(super) tail: Option<Tail>,
    pub(super) next_segment: u32,
    pub(super) totals: Totals,
    pub(super) synced: Position,
    pub(super) kept: VecDeque<ClosedSegment>,
    pub(super) oldest_segment: u32,
}

/// Finds the end of the journal in `storage`, and syncs what is there: what comes before a new segment must not
/// be less certain than what is in it.
pub(super) fn resume(storage: &dyn Storage, run: RunId, now_ns: u64) -> Result<Resume, OpenError> {
    #[cfg_attr(not(feature = "zstd"), allow(unused_mut, reason = "nothing to tidy"))]
    let mut resume = find_end(storage, run, now_ns)?;
    #[cfg(feature = "zstd")]
    crate::journal::write::compress::tidy(storage, &mut resume.kept);
    Ok(resume)
}

fn find_end(storage: &dyn Storage, run: RunId, now_ns: u64) -> Result<Resume, OpenError> {
    let io = |action: &'static str, name: &str| {
        let path = storage.path().join(name);
        move |source: io::Error| OpenError::Io { action, path, source }
    };
    let names = match storage.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(io("list", ""))?,
    };
    let mut segments: BTreeMap<u32, ClosedSegment> = BTreeMap::new();
    for (number, form) in names.iter().filter_map(|name| parse_name(name)) {
        let kept = segments.entry(number).or_insert_with(|| ClosedSegment::found(number, now_ns));
        match form {
            Form::Plain => kept.plain = true,
            Form::Compressed => kept.compressed = true,
        }
    }
    let mut resume = Resume {
        tail: None,
        next_segment: segments.last_key_value().map_or(0, |(number, _)| number.saturating_add(1)),
        totals: Totals::default(),
        synced: Position::default(),
        kept: VecDeque::new(),
        oldest_segment: 0,
    };
    if segments.is_empty() {
        return Ok(resume);
    }
    let unreadable =
        |error: ReadError| OpenError::Unreadable { path: storage.path().to_owned(), why: error.to_string() };
    let mut reader = JournalReader::over(storage, ReadOptions::default()).map_err(unreadable)?;
    let Some(found) = reader.run() else {
        // Without a single intact block there is nothing to continue: a run that died while it began. What a later
        // version wrote is another matter.
        return if reader.unknown_version() {
            let why = "it was written by another version of the format".to_owned();
            Err(OpenError::Unreadable { path: storage.path().to_owned(), why })
        } else {
            Ok(resume)
        };
    };
    if found != run {
        return Err(OpenError::AnotherRun { path: storage.path().to_owned(), found, wanted: run });
    }
    // A journal that was closed is continued behind its end; any other where a reader stops, and what the reader
    // truncates stays truncated.
    reader.go_to_step(reader.steps().saturating_sub(1));
    while reader.next_block().map_err(unreadable)?.is_some() {}
    if !reader.closed() {
        reader.go_to_step(0);
        while reader.next_block().map_err(unreadable)?.is_some() {}
    }
    resume.tail = reader.tail();
    resume.totals = reader.totals();
    resume.oldest_segment = reader.oldest_segment();
    let mut all_synced = true;
    for mut kept in segments.into_values() {
        kept.synced = true;
        for name in kept.names() {
            let file = storage.open(&name).map_err(io("open", &name))?;
            kept.synced &= file.sync().is_ok();
            kept.len += file.size().map_err(io("measure", &name))?;
        }
        all_synced &= kept.synced;
        resume.kept.push_back(kept);
    }
    if let Some(tail) = resume.tail.filter(|_| all_synced && storage.sync_dir().is_ok()) {
        resume.synced = tail.end;
    }
    Ok(resume)
}
