//! Writes a sound journal from what can be read of a damaged one.

use crate::event::{Detail, Record};
use crate::journal::read::defined::Defined;
use crate::journal::read::error::ReadError;
use crate::journal::read::lacking::Lacking;
use crate::journal::read::reader::{JournalReader, ReadOptions};
use crate::journal::read::sources::EnteredContext;
use crate::journal::read::verify::{VerifyReport, holds_journal, verify};
use crate::journal::storage::Storage;
use crate::journal::write::durability::CloseError;
use crate::journal::write::durability::JournalAccount;
use crate::journal::write::options::{OpenError, Options};
use crate::journal::write::writer::JournalWriter;

/// Stands for a document that no journal has, so that a context is not known.
const NO_DOCUMENT: Detail = Detail::from_bits(u64::MAX);

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
    let (mut known, mut forgettings) = (0, 0);
    while let Some(block) = reader.next_block()? {
        batch.clear();
        batch.extend_from_slice(block.records());
        writer.set_origin(block.header().origin);
        if std::mem::replace(&mut forgettings, reader.forgettings()) != reader.forgettings() {
            writer.forget_definitions();
        }
        copy_definitions(&reader, &mut known, &mut writer);
        copy_sources(&reader, &mut writer);
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

/// Hands on what was told of sources before the block read last.
fn copy_sources(reader: &JournalReader<'_>, writer: &mut JournalWriter) {
    for (from, name) in reader.names_told() {
        // A name that has no room is not known then.
        let _ = writer.define_source(from, name);
    }
    for (from, context) in reader.contexts_told() {
        writer.define_context(
            from,
            match context {
                EnteredContext::None => Detail::NONE,
                EnteredContext::Of(detail) => detail,
                EnteredContext::Unknown => NO_DOCUMENT,
            },
        );
    }
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
