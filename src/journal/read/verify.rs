//! Says what is wrong with a journal.

use crate::journal::format::marks::Marks;
use crate::journal::format::names::parse_name;
use crate::journal::format::{RunId, Totals};
use crate::journal::read::damage::Finding;
use crate::journal::read::error::ReadError;
use crate::journal::read::reader::{JournalReader, ReadOptions};
use crate::journal::storage::Storage;
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
