//! Why a result directory, or a file of it, was not made.

use crate::export::dir::name::FILES_MAX;
use std::io;
use std::path::{Path, PathBuf};

/// Why a result directory could not be made or completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirError {
    /// The directory that should hold it does not exist.
    #[error("{}: the directory {} does not exist; create it first", path.display(), parent.display())]
    ParentMissing {
        /// The directory that was asked for.
        path: PathBuf,
        /// What is missing.
        parent: PathBuf,
    },
    /// Something else has this name.
    #[error("{}: not a directory; choose another path or remove what is there", path.display())]
    NotADirectory {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The directory holds files, and overwriting was not allowed.
    #[error("{}: the directory holds files ({example:?}, for one); choose another or allow overwriting",
            path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of the files in it.
        example: String,
    },
    /// The directory is that of the process by which this one was forked.
    #[error("{}: was opened before this process was forked; commit it in the parent", path.display())]
    Forked {
        /// The directory.
        path: PathBuf,
    },
    /// Another run is writing into the directory.
    #[error("{}: another run is writing into this directory; wait for it or choose another", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The user may not write here, or the filesystem is read-only.
    #[error("{}: no permission to {action}; choose a directory that you may write to", path.display())]
    NotPermitted {
        /// What was tried.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something has the name of a file of this crate's, and is not one.
    #[error("{}: is not of an earlier result, and stays as it is; move it away or choose another directory", path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
    },
    /// The path leads elsewhere than at the beginning.
    #[error("{}: the directory was moved away while the run wrote; the result is whole where the directory is now, \
            and what is at this path is not of this run", path.display())]
    Moved {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file was neither committed nor dropped when the directory was committed.
    #[error("{}: the file is still being written; commit or drop it before the directory", path.display())]
    StillOpen {
        /// The file.
        path: PathBuf,
    },
    /// Any other failure, a full disk among them.
    #[error("{}: cannot {action}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a result file could not be made or completed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The name cannot be that of a result file.
    #[error("{name:?} cannot name a result file: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The run has already made a file of this name.
    #[error("{}: this run has made the file already; write it once", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
    },
    /// Something has the name, and is no file of an earlier result.
    #[error("{}: is not of an earlier result, and stays as it is; move it away or choose another directory", path.display())]
    Foreign {
        /// What is there.
        path: PathBuf,
    },
    /// The result has as many files as one can have.
    #[error("{}: the result has {FILES_MAX} files already; put more into fewer", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// The directory is that of the process by which this one was forked.
    #[error("{}: its directory was opened before this process was forked; write it in the parent", path.display())]
    Forked {
        /// The file.
        path: PathBuf,
    },
    /// The directory was committed or dropped.
    #[error("{}: the result is already committed or given up; commit files before their directory",
            path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// An earlier write to the file failed, so that it cannot be whole.
    #[error("{}: an earlier write failed, the file is not whole; see that write's error", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// A system call failed: a full disk, for example.
    #[error("{}: cannot {action}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file's final name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn refused(action: &'static str, path: &Path, source: io::Error) -> DirError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            DirError::NotPermitted { action, path, source }
        }
        _ => DirError::Io { action, path, source },
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => "free space there or choose another directory",
        io::ErrorKind::FileTooLarge => "raise the limit on the size of files (`ulimit -f`)",
        io::ErrorKind::QuotaExceeded => "raise the quota or choose another directory",
        io::ErrorKind::PermissionDenied => "choose a directory that you may write to",
        _ => "check the path and its filesystem, or choose another directory",
    }
}
