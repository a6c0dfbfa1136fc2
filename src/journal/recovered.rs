//! What a dead process left, made a journal that appears whole or not at all.

use crate::journal::check::{RepairError, Report, repair};
use crate::journal::durability::{Account, Durability};
use crate::journal::format::RunId;
use crate::journal::lock;
use crate::journal::options::{OpenError, Options};
use crate::journal::reader::ReadOptions;
use crate::journal::segment::parse_name;
use crate::journal::storage::{DirStorage, Storage};
use crate::journal::writer::{CloseError, JournalWriter};
use crate::recorder::{Definition, FlightRecorder, Recording, RecordingError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was recovered. What was to be recovered is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Something is where the journal was to go: it may be what an earlier recovery wrote, which is whole then.
    #[error(
        "{path}: is there already; an earlier recovery may have written it: read it, or choose another place"
    )]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// Another recovery is under way.
    #[error("{path}: is being written by {holder}; wait for it")]
    Busy {
        /// Its directory.
        path: PathBuf,
        /// Who writes it.
        holder: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; check the directory that it is in, and its free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The flight recorder's file gave nothing.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The journal gave nothing.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// The new journal cannot be begun.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new journal cannot be written.
    #[error(transparent)]
    Write(#[from] CloseError),
}

/// Writes what a flight recorder held as a new journal at `path`, by source and number.
///
/// The journal appears under its name when it is whole and synced. A recovery that dies leaves `path` with `.partial`
/// behind it, which the next one removes. Overwritten and damaged events count as lost before the journal.
///
/// # Errors
/// When there is something at `path`, another recovery writes there, or the journal cannot be written.
pub fn keep(recording: &Recording, path: &Path, now_ns: u64) -> Result<Account, RecoverError> {
    arrive(path, |partial| {
        let options = Options::new(Durability::Buffered);
        let mut writer = JournalWriter::open(partial, RunId(recording.run), options, now_ns)?;
        for definition in &recording.definitions {
            // The account has what is refused.
            let _ = match definition {
                Definition::Name(symbol, name) => writer.define(*symbol, name),
                Definition::Document(detail, text) => {
                    writer.define_detail(u128::from(detail.bits()), text.as_bytes())
                }
            };
        }
        // A damaged file may tell any numbers.
        let missing = recording.lanes.iter().flat_map(|lane| [lane.overwritten, lane.damaged]);
        writer.note_upstream_loss(missing.fold(recording.forgotten, u64::saturating_add));
        // What is lost makes `close` fail.
        let _ = writer.append(&recording.records());
        Ok(writer.close()?)
    })
}

/// Copies what a running recorder holds to a new journal at `path`: for the moment when something interesting happens.
///
/// Emitters write on meanwhile. Takes some milliseconds, and memory for all that the recorder holds.
///
/// # Errors
/// As for [`keep`].
pub fn snapshot(recorder: &FlightRecorder, path: &Path, now_ns: u64) -> Result<Account, RecoverError> {
    keep(&recorder.snapshot()?, path, now_ns)
}

/// Writes what can be read of the journal `old` as a new one at `path`: [`repair`], which appears whole or not at all.
///
/// # Errors
/// As for [`keep`], and when nothing of the old journal can be read.
pub fn recover(
    old: &Path,
    path: &Path,
    options: ReadOptions,
    now_ns: u64,
) -> Result<(Report, Account), RecoverError> {
    arrive(path, |partial| {
        std::fs::create_dir_all(partial).map_err(io_error("create", partial))?;
        // Held until the new journal is whole, against a second recovery.
        let _lock = lock::acquire(partial, now_ns)
            .map_err(io_error("lock", partial))?
            .map_err(|holder| RecoverError::Busy { path: partial.to_owned(), holder })?;
        Ok(repair(DirStorage::new(old), Box::new(DirStorage::new(partial)), options, now_ns)?)
    })
}

/// Lets `write` make a journal under another name, and gives it its own when it is whole.
fn arrive<T>(path: &Path, write: impl FnOnce(&Path) -> Result<T, RecoverError>) -> Result<T, RecoverError> {
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(RecoverError::Exists { path: path.to_owned() });
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    clear(&partial)?;
    let written = write(&partial)?;
    sync_dir(&partial)?;
    std::fs::rename(&partial, path).map_err(io_error("rename", &partial))?;
    // Its parent is what holds the new name.
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync_dir(parent)?,
        _ => sync_dir(Path::new("."))?,
    }
    Ok(written)
}

/// Removes what a recovery that died has left; nothing else.
fn clear(partial: &Path) -> Result<(), RecoverError> {
    let storage = DirStorage::new(partial);
    let names = match storage.list() {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("list", partial)(error)),
    };
    if let Some(holder) = lock::holder(partial) {
        return Err(RecoverError::Busy { path: partial.to_owned(), holder });
    }
    for name in names.iter().filter(|name| *name == lock::LOCK_NAME || parse_name(name).is_some()) {
        let file = partial.join(name);
        std::fs::remove_file(&file).map_err(io_error("remove", &file))?;
    }
    std::fs::remove_dir(partial).map_err(io_error("remove", partial))
}

fn sync_dir(path: &Path) -> Result<(), RecoverError> {
    // Only Unix opens directories; elsewhere there is nothing to sync.
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("sync", path))?;
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_owned();
    move |source| RecoverError::Io { action, path, source }
}
