//! A journal that appears whole or not at all.

use crate::directory::rename_new;
use crate::journal::format::RunId;
use crate::journal::recover::repair::RepairError;
use crate::journal::write::durability::CloseError;
use crate::journal::write::options::OpenError;
use crate::recorder::RecordingError;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was recovered. What was to be recovered is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// Something is where the journal was to go: it may be what an earlier recovery wrote, which is whole then.
    #[error(
        "{path}: is there already; an earlier recovery may have written it: read it, or choose another place"
    )]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The journal was to go into the one that it is made of.
    #[error("{path}: is in the journal that is to be recovered; choose a place outside it")]
    Inside {
        /// The place.
        path: PathBuf,
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

/// Lets `write` make a journal in a directory that was not there before, and gives it its name when it is whole.
pub(super) fn arrive<T>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<T, RecoverError>,
) -> Result<T, RecoverError> {
    let exists = || RecoverError::Exists { path: path.to_owned() };
    // Without what may be behind the name: a slash at the end.
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Err(exists()) };
    let path = parent.join(name);
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(exists());
    }
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.partial", RunId::random()));
    let partial = parent.join(hidden);
    if parent != Path::new("") {
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    // Fails where anything is there already: what is removed below is what was made here.
    std::fs::create_dir(&partial).map_err(io_error("create", &partial))?;
    let arrived = write(&partial).and_then(|written| {
        sync_dir(&partial)?;
        rename_new(&partial, &path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => io_error("rename", &partial)(error),
        })?;
        Ok(written)
    });
    if arrived.is_err() {
        // What cannot be removed stays, under a name that tells what it is.
        let _ = std::fs::remove_dir_all(&partial);
    }
    let written = arrived?;
    // Its parent is what holds the new name.
    sync_dir(if parent == Path::new("") { Path::new(".") } else { parent })?;
    Ok(written)
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
