//! The directory that a run's result files appear in: all of them, or none.
//!
//! Every file is written under a temporary name (`.NAME.panther-partial`) and gets its own name only in
//! [`ResultDir::commit`], when all files are complete and on the disk. The last file to appear is
//! `MANIFEST`: a first line that says so, `panther-events result 1`, and one for each file of the result, its size in bytes and its
//! name.
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
//!
//! # Files that are not ours
//!
//! They are never removed and never replaced. A file counts as ours where a `MANIFEST` of ours, or the `.intent` of an interrupted
//! commit, lists it; a list is ours by its first line. What has the name of a list and does not begin so, or has a line that we
//! would not write, is refused by name; so is anything but a regular file, and whatever has the name of a result file and is
//! not listed. A listed file that the new result does not have is removed only while it has the size that is listed: one that
//! was changed since is somebody's work, and stays.
//!
//! No link is followed in the directory, and no pipe waited for. On Linux everything goes by the directory that was opened, whatever
//! becomes of its path: when it is moved, the result comes to be where it is now, and [`ResultDir::commit`] says so; what lies at the path
//! by then is not touched. On other systems files are found by the path again.
//!
//! On Unix, files and directory are synced in the order that this needs, so it holds for a power failure
//! as far as the disk keeps its word. Elsewhere the directory is not synced.
//!
//! Two runs never write into one directory at once: the directory is locked (Unix, and filesystems that
//! have locks; on others this is not detected). The lock goes away with the process.

mod error;
mod list;
mod name;
mod publish;

pub use error::{DirError, FileError};

use crate::directory::{Directory, Entry, OwnFile};
use error::refused;
use list::{Listed, earlier, may_be_replaced};
use name::{FILES_MAX, INTENT, MANIFEST, check_name, is_leftover, partial};
use publish::publish;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Says what to do with a directory that already holds files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// Refuse it.
    Refuse,
    /// Replace the earlier result in it; other files stay, and where one of them has the name of a result file, it is refused.
    Force,
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
    out: BufWriter<OwnFile>,
    len_bytes: u64,
    failed: bool,
    done: bool,
}

#[derive(Debug)]
struct Shared {
    /// Its lock is held as long as it is open.
    dir: Directory,
    /// The files of an earlier result, and of an interrupted commit.
    earlier: Listed,
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
    pub const MANIFEST: &str = MANIFEST;

    /// Makes the directory `path`, or takes an existing one, for the files of one run.
    ///
    /// Only the last component is made. An existing directory must be empty unless `overwrite` is
    /// [`Overwrite::Force`]; leftovers of killed runs do not count. Nothing of an earlier result is touched
    /// before [`ResultDir::commit`].
    ///
    /// # Errors
    /// When the parent is missing, the path is no directory, it holds files and may not be overwritten,
    /// another run is using it, what looks like a file of ours is not, or the system refuses.
    pub fn create(path: impl AsRef<Path>, overwrite: Overwrite) -> Result<ResultDir, DirError> {
        let path = path.as_ref();
        let made = make_dir(path)?;
        let dir = Directory::open(path).map_err(|error| refused("open the directory", path, error))?;
        lock(&dir)?;
        let names = dir.names().map_err(|error| refused("list the directory", path, error))?;
        let names = names.iter().map(|name| name.to_string_lossy());
        let (leftovers, files): (Vec<_>, Vec<_>) = names.partition(|name| is_leftover(name));
        if overwrite == Overwrite::Refuse
            && let Some(example) = files.into_iter().find(|name| name != INTENT)
        {
            return Err(DirError::NotEmpty { path: path.to_path_buf(), example: example.into_owned() });
        }
        let earlier = earlier(&dir)?;
        for name in leftovers {
            match dir.entry(&name) {
                Ok(Entry::Absent) => {}
                Ok(Entry::Regular { .. }) => publish::remove(&dir, &name)?,
                Ok(Entry::Other) => return Err(DirError::Foreign { path: path.join(&*name) }),
                Err(error) => return Err(refused("look at the earlier file", &path.join(&*name), error)),
            }
        }
        let shared = Shared { dir, earlier, files: Mutex::default() };
        Ok(ResultDir { shared: Arc::new(shared), made, sealed: false })
    }

    /// Returns the directory's path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.dir.path()
    }

    /// Tells whether a file `name` could be made: whoever writes it only at the end of a long run asks before.
    ///
    /// # Errors
    /// When the name is not a plain file name, or something has it that is not of an earlier result.
    pub fn may_write(&self, name: &str) -> Result<(), FileError> {
        check_name(name).map_err(|reason| FileError::Name { name: name.to_owned(), reason })?;
        let path = self.path().join(name);
        match may_be_replaced(&self.shared.dir, &self.shared.earlier, name) {
            Ok(true) => Ok(()),
            Ok(false) => Err(FileError::Foreign { path }),
            Err(source) => Err(FileError::Io { action: "look at the earlier file", path, source }),
        }
    }

    /// Begins the file `name`, which appears under this name in [`ResultDir::commit`].
    ///
    /// # Errors
    /// When the name is not a plain file name, was used in this run, is that of something else than a file of an earlier
    /// result, or the system refuses.
    pub fn file(&self, name: &str) -> Result<ResultFile, FileError> {
        self.may_write(name)?;
        if !self.shared.dir.is_own() {
            return Err(FileError::Forked { path: self.path().join(name) });
        }
        let mut files = self.shared.files();
        let path = self.path().join(name);
        if files.open.contains(name) || files.ready.contains_key(name) {
            return Err(FileError::Repeated { path });
        }
        if files.open.len() + files.ready.len() >= FILES_MAX {
            return Err(FileError::TooMany { path });
        }
        let file = self.shared.dir.create_new(&partial(name));
        let file = file.map_err(|source| FileError::Io { action: "create the file", path, source })?;
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
    /// When a file is still open, something else has taken a name, or the system refuses; the files that have not got their names
    /// are then removed, and without a `MANIFEST` the rest is no result. [`DirError::Moved`] when the result is whole elsewhere.
    pub fn commit(mut self) -> Result<BTreeMap<String, u64>, DirError> {
        if !self.shared.dir.is_own() {
            return Err(DirError::Forked { path: self.path().to_path_buf() });
        }
        let mut files = self.shared.files();
        if let Some(name) = files.open.first() {
            return Err(DirError::StillOpen { path: self.path().join(name) });
        }
        publish(&self.shared.dir, &files.ready)?;
        files.closed = true;
        let sealed = std::mem::take(&mut files.ready);
        drop(files);
        self.sealed = true;
        if !self.shared.dir.is_in_place() {
            return Err(DirError::Moved { path: self.path().to_path_buf() });
        }
        Ok(sealed)
    }
}

impl Drop for ResultDir {
    fn drop(&mut self) {
        if self.sealed || !self.shared.dir.is_own() {
            return;
        }
        let mut files = self.shared.files();
        files.closed = true;
        for name in std::mem::take(&mut files.ready).into_keys() {
            // Best effort: what stays is a leftover, which the next run removes.
            let _ = self.shared.dir.remove(&partial(&name));
        }
        drop(files);
        if self.made && self.shared.dir.is_in_place() {
            // Fails, as it should, when files are left in it.
            let _ = fs::remove_dir(self.path());
        }
    }
}

impl ResultFile {
    fn new(shared: Arc<Shared>, name: &str, file: File) -> ResultFile {
        let out = BufWriter::with_capacity(1 << 16, OwnFile::new(file));
        ResultFile { shared, name: name.to_owned(), out, len_bytes: 0, failed: false, done: false }
    }

    /// Returns the path that the file will have.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.dir.path().join(&self.name)
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
        let synced = self.out.get_ref().writable().and_then(File::sync_all);
        synced.map_err(|source| failed("sync to the disk", source))?;
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
        if self.done || !self.shared.dir.is_own() {
            return;
        }
        self.shared.files().open.remove(&self.name);
        // Best effort: what stays is a leftover, which the next run removes.
        let _ = self.shared.dir.remove(&partial(&self.name));
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the two sets half changed, so a poisoned lock is taken all the same.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Locks the directory itself, so that no lock file stays behind. A process that this one is just starting may hold the lock of an earlier
/// result for a moment, until it runs another program; so it is tried for a while.
fn lock(dir: &Directory) -> Result<(), DirError> {
    const TRIES: u32 = 40;
    const PAUSE: Duration = Duration::from_millis(5);
    for left in (0..TRIES).rev() {
        match dir.file().map(File::try_lock) {
            Some(Err(fs::TryLockError::WouldBlock)) if left > 0 => std::thread::sleep(PAUSE),
            Some(Err(fs::TryLockError::WouldBlock)) => {
                return Err(DirError::InUse { path: dir.path().to_path_buf() });
            }
            // Where directories are not opened, or a file system has no locks on them, another run is not noticed.
            None | Some(Ok(()) | Err(fs::TryLockError::Error(_))) => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod tests;
