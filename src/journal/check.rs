//! Says what is wrong with a journal, and writes a sound one from what can be read.

use crate::event::Record;
use crate::journal::damage::Finding;
use crate::journal::defined::Defined;
use crate::journal::durability::{JournalAccount, Marks};
use crate::journal::format::{RunId, Totals};
use crate::journal::lacking::Lacking;
use crate::journal::options::{OpenError, Options};
use crate::journal::reader::{JournalReader, ReadError, ReadOptions};
use crate::journal::segment::parse_name;
use crate::journal::storage::Storage;
use crate::journal::writer::{CloseError, JournalWriter};
use std::io;

/// What [`verify`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// The journal's run; `None` when it has no intact block.
    pub run: Option<RunId>,
    /// Everything that is wrong: place, and what is missing. Empty for a sound journal that was closed.
    pub findings: Vec<Finding>,
    /// Records that can be read.
    pub records: u64,
    /// Names and documents that can be read.
    pub definitions: u64,
    /// What can be read, by source.
    pub marks: Marks,
    /// The running totals of the last intact block, with what the writer itself could not deliver.
    pub totals: Totals,
    /// The journal was closed in order.
    pub closed: bool,
    /// A live process is writing the journal: an end is not to be expected.
    pub writer: Option<String>,
}

impl VerifyReport {
    /// Tells whether all that was ever stored can be read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (self.closed || self.writer.is_some()) && !self.findings.iter().any(Finding::loses_records)
    }
}

/// Tells whether `storage` has a segment of a journal, in whatever state.
///
/// # Errors
/// When the directory cannot be listed; one that is missing holds nothing.
pub fn holds_journal(storage: &(impl Storage + ?Sized)) -> io::Result<bool> {
    match storage.list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        names => Ok(names?.iter().any(|name| parse_name(name).is_some())),
    }
}

/// Reads the whole journal in `storage` and lists what is wrong with it. Changes nothing.
///
/// # Errors
/// When the operating system refuses to read; damage is no error.
pub fn verify(storage: impl Storage, options: ReadOptions) -> Result<VerifyReport, ReadError> {
    let mut reader = JournalReader::over(&storage, options)?;
    let mut records = 0;
    while let Some(block) = reader.next_block()? {
        records += block.records().len() as u64;
    }
    Ok(VerifyReport {
        run: reader.run(),
        findings: reader.findings().to_vec(),
        records,
        definitions: reader.definitions() as u64,
        marks: reader.marks().clone(),
        totals: reader.totals(),
        closed: reader.closed(),
        writer: storage.writer(),
    })
}

/// Why a journal could not be repaired. The old journal is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The old journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The old journal has no intact block.
    #[error("nothing in the journal {path} can be read; there is nothing to repair")]
    Nothing {
        /// The old journal's directory.
        path: std::path::PathBuf,
    },
    /// There is a journal already where the new one was to go.
    #[error("the directory {path} already has a journal; choose an empty one")]
    NotEmpty {
        /// The new journal's directory.
        path: std::path::PathBuf,
    },
    /// The new journal cannot be begun.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new journal cannot be written.
    #[error(transparent)]
    Write(#[from] CloseError),
}

/// Writes what can be read of the journal `old` as a new journal into `new`; the old one stays as it is.
///
/// The new journal has the same run, and is synced before this returns. What is known to be missing of the old one counts in
/// it as lost before the journal; what retention removed, and why it may not be known what is missing, is its
/// [`Lacking`]. Returns what was wrong with the old one, and the new one's account.
///
/// # Errors
/// When the old journal cannot be read at all, `new` has a journal, or the new one cannot be written.
pub fn repair(
    old: impl Storage,
    new: Box<dyn Storage>,
    options: ReadOptions,
    now_ns: u64,
) -> Result<(VerifyReport, JournalAccount), RepairError> {
    let report = verify(&old as &dyn Storage, options)?;
    let run = report.run.ok_or_else(|| RepairError::Nothing { path: old.path().to_owned() })?;
    let mut reader = JournalReader::over(&old as &dyn Storage, options)?;
    if holds_journal(&*new).is_ok_and(|holds| holds) {
        return Err(RepairError::NotEmpty { path: new.path().to_owned() });
    }
    let mut writer = JournalWriter::over(new, run, Options::at_once(report.records), now_ns)?;
    let lost = report.findings.iter().filter_map(|finding| finding.records).sum::<u64>();
    writer.note_upstream_loss(lost + report.totals.lost + report.totals.lost_upstream);
    let mut batch: Vec<Record> = Vec::new();
    let mut known = 0;
    while let Some(block) = reader.next_block()? {
        batch.clear();
        batch.extend_from_slice(block.records());
        writer.set_origin(block.header().origin);
        copy_definitions(&reader, &mut known, &mut writer);
        if writer.append(&batch).lost > 0 {
            break;
        }
    }
    copy_definitions(&reader, &mut known, &mut writer);
    let lacking = Lacking::found(&reader, report.records, lost, report.writer.clone());
    if let Some((key, text)) = lacking.document() {
        let _ = writer.define_detail(key, &text);
    }
    let account = writer.close()?;
    Ok((report, account))
}

/// Hands on the definitions read behind the first `known`.
fn copy_definitions(reader: &JournalReader<'_>, known: &mut usize, writer: &mut JournalWriter) {
    for definition in reader.definitions_after(*known) {
        // A journal has one definition for each symbol, so none is refused.
        let _ = match definition {
            Defined::Name(symbol, name) => writer.define(symbol, name),
            Defined::Detail(key, _) if Lacking::is_document(key) => Ok(false),
            Defined::Detail(digest, bytes) => writer.define_detail(digest, bytes),
        };
    }
    *known = reader.definitions();
}
