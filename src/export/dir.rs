//! The directory that a run's result files appear in: all of them, or none.
//!
//! Every file is written under a temporary name (`.NAME.panther-partial`) and gets its own name only in
//! [`ResultDir::commit`], when all files are complete and on the disk. The last file to appear is
//! `MANIFEST`: one line for each file of the result, its size in bytes and its name.
//!
//! # What holds after a kill, a crash or a failed write, at any moment
//!
//! - **`MANIFEST` is there: the result is whole.** Every file that it lists has the listed size, all are of
//!   the same run, and no file of an earlier result of this crate lies beside them.
//! - Before [`ResultDir::commit`], an earlier result in the directory is untouched, `MANIFEST` included.
//! - Within [`ResultDir::commit`], for the time of a few renames, there is no `MANIFEST`. Each file under a
//!   final name is whole even then, but the files may be of two runs, or some may be missing.
//! - Files named `.*.panther-partial` are leftovers. The next run in the directory removes them, and with
//!   [`Overwrite::Force`] also every file of an interrupted commit: what a commit is about to touch is
//!   listed in `.intent` before it touches anything.
//! - Files that this crate did not write are never removed, unless a result file of the same name replaces
//!   them.
//!
//! On Unix, files and directory are synced in the order that this needs, so it holds for a power failure
//! as far as the disk keeps its word. Elsewhere the directory is not synced.
//!
//! Two runs never write into one directory at once: the directory is locked (Unix, and filesystems that
//! have locks; on others this is not detected). The lock goes away with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Says what to do with a directory that already holds files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// Refuse it.
    Refuse,
    /// Replace the earlier result in it; other files stay.
    Force,
}

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

/// Holds the files of one run until they appear together.
///
/// Dropping it without [`ResultDir::commit`] removes what was written, and the directory too if it was
/// made for this run and is empty.
#[derive(Debug)]
pub struct ResultDir {
    shared: Arc<Shared>,
    made: bool,
    sealed: bool,
}

/// Writes one result file, buffered, under a temporary name.
///
/// Dropping it without [`ResultFile::commit`] removes it. It may move to another thread.
#[derive(Debug)]
pub struct ResultFile {
    shared: Arc<Shared>,
    name: String,
    out: BufWriter<File>,
    len_bytes: u64,
    failed: bool,
    done: bool,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held open for its lock.
    _lock: Option<File>,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    open: BTreeSet<String>,
    /// Names and sizes of the files that are whole, still under their temporary names.
    ready: BTreeMap<String, u64>,
    closed: bool,
}

impl ResultDir {
    /// The file that lists a whole result; it appears last.
    pub const MANIFEST: &str = "MANIFEST";

    /// Makes the directory `path`, or takes an existing one, for the files of one run.
    ///
    /// Only the last component is made. An existing directory must be empty unless `overwrite` is
    /// [`Overwrite::Force`]; leftovers of killed runs do not count. Nothing of an earlier result is touched
    /// before [`ResultDir::commit`].
    ///
    /// # Errors
    /// When the parent is missing, the path is no directory, it holds files and may not be overwritten,
    /// another run is using it, or the system refuses.
    pub fn create(path: impl AsRef<Path>, overwrite: Overwrite) -> Result<ResultDir, DirError> {
        let path = path.as_ref();
        let made = make_dir(path)?;
        let lock = lock_dir(path)?;
        let (leftovers, files): (Vec<_>, Vec<_>) =
            entries(path)?.into_iter().partition(|name| is_leftover(name));
        if overwrite == Overwrite::Refuse
            && let Some(example) = files.into_iter().find(|name| name != INTENT)
        {
            return Err(DirError::NotEmpty { path: path.to_path_buf(), example });
        }
        for name in leftovers {
            remove(&path.join(name))?;
        }
        let shared = Shared { path: path.to_path_buf(), _lock: lock, files: Mutex::default() };
        Ok(ResultDir { shared: Arc::new(shared), made, sealed: false })
    }

    /// Returns the directory's path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Begins the file `name`, which appears under this name in [`ResultDir::commit`].
    ///
    /// # Errors
    /// When the name is not a plain file name, was used in this run, or the system refuses.
    pub fn file(&self, name: &str) -> Result<ResultFile, FileError> {
        check_name(name).map_err(|reason| FileError::Name { name: name.to_owned(), reason })?;
        let mut files = self.shared.files();
        let path = self.shared.path.join(name);
        if files.open.contains(name) || files.ready.contains_key(name) {
            return Err(FileError::Repeated { path });
        }
        let file = File::create(self.shared.path.join(partial(name))).map_err(|source| FileError::Io {
            action: "create the file",
            path,
            source,
        })?;
        files.open.insert(name.to_owned());
        drop(files);
        Ok(ResultFile::new(Arc::clone(&self.shared), name, file))
    }

    /// Gives all committed files their names and seals the result with its `MANIFEST`.
    ///
    /// Returns the sealed files' names and sizes in bytes. Files of an earlier result that this run did
    /// not write are removed. See [the module](self) for what holds when this is interrupted.
    ///
    /// # Errors
    /// When a file is still open, or the system refuses; the files that have not got their names are then
    /// removed, and without a `MANIFEST` the rest is no result.
    pub fn commit(mut self) -> Result<BTreeMap<String, u64>, DirError> {
        let mut files = self.shared.files();
        if let Some(name) = files.open.first() {
            return Err(DirError::StillOpen { path: self.shared.path.join(name) });
        }
        publish(&self.shared.path, &files.ready)?;
        files.closed = true;
        let sealed = std::mem::take(&mut files.ready);
        drop(files);
        self.sealed = true;
        Ok(sealed)
    }
}

impl Drop for ResultDir {
    fn drop(&mut self) {
        if self.sealed {
            return;
        }
        let mut files = self.shared.files();
        files.closed = true;
        for name in std::mem::take(&mut files.ready).into_keys() {
            // Best effort: what stays is a leftover, which the next run removes.
            let _ = fs::remove_file(self.shared.path.join(partial(&name)));
        }
        drop(files);
        if self.made {
            // Fails, as it should, when files are left in it.
            let _ = fs::remove_dir(&self.shared.path);
        }
    }
}

impl ResultFile {
    fn new(shared: Arc<Shared>, name: &str, file: File) -> ResultFile {
        let out = BufWriter::with_capacity(1 << 16, file);
        ResultFile { shared, name: name.to_owned(), out, len_bytes: 0, failed: false, done: false }
    }

    /// Returns the path that the file will have.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.path.join(&self.name)
    }

    /// Completes the file: flushes, syncs, and leaves it for [`ResultDir::commit`] to name.
    ///
    /// # Errors
    /// When a write failed, now or earlier, or the directory is gone; the file is then removed.
    pub fn commit(mut self) -> Result<(), FileError> {
        if self.failed {
            return Err(FileError::Incomplete { path: self.path() });
        }
        let path = self.path();
        let failed = |action, source| FileError::Io { action, path: path.clone(), source };
        // The inner error: `flush` of this type would wrap it in a second message with the path.
        self.out.flush().map_err(|source| failed("write", source))?;
        self.out.get_ref().sync_all().map_err(|source| failed("sync to the disk", source))?;
        let shared = Arc::clone(&self.shared);
        let mut files = shared.files();
        if files.closed {
            drop(files);
            return Err(FileError::Closed { path: self.path() });
        }
        files.open.remove(&self.name);
        files.ready.insert(self.name.clone(), self.len_bytes);
        self.done = true;
        Ok(())
    }

    fn annotate(&mut self, source: io::Error) -> io::Error {
        if source.kind() != io::ErrorKind::Interrupted {
            self.failed = true;
        }
        let kind = source.kind();
        io::Error::new(kind, FileError::Io { action: "write", path: self.path(), source })
    }
}

impl Write for ResultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes).map_err(|error| self.annotate(error))?;
        self.len_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|error| self.annotate(error))
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.shared.files().open.remove(&self.name);
        // Best effort: what stays is a leftover, which the next run removes.
        let _ = fs::remove_file(self.shared.path.join(partial(&self.name)));
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the two sets half changed, so a poisoned lock is taken all the same.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists what a commit is about to touch; gone again when the result is sealed.
const INTENT: &str = ".intent";
/// Manifests longer than this are not this crate's.
const MANIFEST_LEN_MAX: u64 = 1 << 20;
/// Ends the temporary names. Long, because leftovers with it are removed unasked.
const PARTIAL: &str = ".panther-partial";
const NAME_LEN_MAX: usize = 128;

fn partial(name: &str) -> String {
    format!(".{name}{PARTIAL}")
}

fn is_leftover(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(PARTIAL)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty; give a name");
    }
    if name.len() > NAME_LEN_MAX {
        return Err("it is longer than 128 bytes; shorten it");
    }
    if name.starts_with('.') {
        return Err("it begins with a dot; such names are kept for temporary files");
    }
    if name == ResultDir::MANIFEST {
        return Err("it names the list of the result's files; choose another");
    }
    if name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control()) {
        return Err("it holds a separator or a control character; give a plain name without a directory");
    }
    Ok(())
}

/// Returns whether the directory was made now.
fn make_dir(path: &Path) -> Result<bool, DirError> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(_) if path.is_dir() => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path).to_path_buf();
            Err(DirError::ParentMissing { path: path.to_path_buf(), parent })
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            Err(DirError::NotADirectory { path: path.to_path_buf() })
        }
        Err(error) => Err(refused("create the directory", path, error)),
    }
}

/// Locks the directory itself, so that no lock file stays behind.
fn lock_dir(path: &Path) -> Result<Option<File>, DirError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let dir = File::open(path).map_err(|error| refused("open the directory", path, error))?;
    match dir.try_lock() {
        Ok(()) => Ok(Some(dir)),
        Err(fs::TryLockError::WouldBlock) => Err(DirError::InUse { path: path.to_path_buf() }),
        // A filesystem without locks on directories.
        Err(fs::TryLockError::Error(_)) => Ok(None),
    }
}

fn entries(path: &Path) -> Result<Vec<String>, DirError> {
    let list = |path| -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    list(path).map_err(|error| refused("list the directory", path, error))
}

/// Names the files of `ready` for good, in the order that the module's documentation promises.
fn publish(dir: &Path, ready: &BTreeMap<String, u64>) -> Result<(), DirError> {
    let earlier: BTreeSet<String> =
        [ResultDir::MANIFEST, INTENT].iter().flat_map(|list| listed(&dir.join(list))).collect();
    let touched = earlier.iter().map(|name| (name, 0)).chain(ready.iter().map(|(name, len)| (name, *len)));
    place_list(dir, INTENT, touched)?;
    sync_dir(dir)?;

    remove(&dir.join(ResultDir::MANIFEST))?;
    sync_dir(dir)?;

    for name in ready.keys() {
        rename(dir, name)?;
    }
    for name in earlier.iter().filter(|name| !ready.contains_key(*name)) {
        remove(&dir.join(name))?;
    }
    sync_dir(dir)?;

    place_list(dir, ResultDir::MANIFEST, ready.iter().map(|(name, len)| (name, *len)))?;
    sync_dir(dir)?;
    remove(&dir.join(INTENT))
}

fn place_list<'a>(
    dir: &Path,
    list: &str,
    files: impl Iterator<Item = (&'a String, u64)>,
) -> Result<(), DirError> {
    let text: String = files.map(|(name, len)| format!("{len} {name}\n")).collect();
    let path = dir.join(partial(list));
    let write = || -> io::Result<()> {
        interruption(Change::Write(&path))?;
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| refused("write the list of files", &path, error))?;
    rename(dir, list)
}

/// Reads the names in a list. What is not there lists nothing, and lines that this crate would not write
/// (a foreign file of that name) are passed over: they name no file of ours.
fn listed(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MANIFEST_LEN_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let name = |line: &str| -> Option<String> {
        let (len, name) = line.split_once(' ')?;
        (len.parse::<u64>().is_ok() && check_name(name).is_ok()).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

fn rename(dir: &Path, name: &str) -> Result<(), DirError> {
    let path = dir.join(name);
    let from = dir.join(partial(name));
    let renamed = interruption(Change::Rename(&from, &path)).and_then(|()| fs::rename(&from, &path));
    renamed.map_err(|error| refused("rename the finished file", &path, error))
}

fn remove(path: &Path) -> Result<(), DirError> {
    match interruption(Change::Remove(path)).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(refused("remove the earlier file", path, error))
        }
        _ => Ok(()),
    }
}

fn sync_dir(path: &Path) -> Result<(), DirError> {
    if !cfg!(unix) {
        return Ok(());
    }
    let synced = interruption(Change::SyncDir).and_then(|()| File::open(path)?.sync_all());
    synced.map_err(|error| refused("sync the directory", path, error))
}

/// What a commit does to the directory.
#[cfg_attr(not(test), allow(dead_code, reason = "a test looks at it"))]
enum Change<'a> {
    Write(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
    SyncDir,
}

/// Stands before every change that a commit makes, so that a test can see their order and stop the commit at each of them.
#[cfg(not(test))]
fn interruption(_change: Change<'_>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use tests::interruption;

fn refused(action: &'static str, path: &Path, source: io::Error) -> DirError {
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
        io::ErrorKind::QuotaExceeded => "raise the quota or choose another directory",
        io::ErrorKind::PermissionDenied => "choose a directory that you may write to",
        _ => "check the path and its filesystem, or choose another directory",
    }
}

#[cfg(test)]
mod tests;
