//! Where segments lie: the few operations that a journal needs of a directory, and the real one.

pub(super) mod lock;

use crate::directory::{self, Directory, OwnFile};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A directory that holds a journal's segments.
///
/// A trait so that tests can replace the disk: a model that loses what was not synced, a disk that fails.
/// Names are plain file names. An implementation must not retry or hide errors.
pub trait Storage: Send + Sync {
    /// Lists the files' names.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates the file `name` for reading and writing; `AlreadyExists` when there is one.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens the file `name` for reading only.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Gives the file `from` the name `to`, replacing a file of that name.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the file `name`.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals survive a power cut.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Says who is writing the journal now, if a writer holds the directory's lock.
    fn writer(&self) -> Option<String>;

    /// Returns the directory's path, for messages.
    fn path(&self) -> &Path;
}

/// An open file of a [`Storage`].
pub trait StorageFile: Send {
    /// Reads from `offset` into `bytes` and returns how many bytes were read; 0 at the end of the file.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes from `bytes` at `offset` and returns how many bytes were taken.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reserves space on disk for the first `len` bytes and extends the file to them; new bytes are zero.
    ///
    /// # Errors
    /// What the operating system says.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns the file's length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes the file's bytes and length survive a power cut. After an error the unsynced bytes are in doubt
    /// for good: operating systems mark such pages clean, so a second call may succeed without writing them.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync(&self) -> io::Result<()>;

    /// Tells whether the file still has a name; not if it was removed while it was open. Where that cannot be found out, it
    /// has.
    ///
    /// # Errors
    /// What the operating system says.
    fn is_linked(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Returns the first place at or after `offset` where the file may hold something else than zeros; `None` where there is
    /// none up to its end. So a hole need not be read, which costs nothing to make and may be as long as any file. Where holes
    /// are not told, that is `offset`.
    fn next_data(&self, offset: u64) -> Option<u64> {
        Some(offset)
    }
}

impl<S: Storage + ?Sized> Storage for &S {
    fn list(&self) -> io::Result<Vec<String>> {
        (**self).list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        (**self).create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        (**self).open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        (**self).sync_dir()
    }

    fn writer(&self) -> Option<String> {
        (**self).writer()
    }

    fn path(&self) -> &Path {
        (**self).path()
    }
}

/// The real directory, and regular files in it: a link is not followed, a pipe not waited for.
///
/// On Linux it is the directory that was there at first, wherever it is moved; elsewhere what its path leads to.
#[derive(Debug)]
pub struct DirStorage {
    path: PathBuf,
    opened: OnceLock<Directory>,
    /// The directory is made where it is missing.
    makes_dir: bool,
}

impl DirStorage {
    /// Names the directory at `path`; it is created by the first [`Storage::create`] when it is missing.
    pub fn new(path: impl Into<PathBuf>) -> DirStorage {
        DirStorage { path: path.into(), opened: OnceLock::new(), makes_dir: true }
    }

    /// Takes a directory that is there. Once it is gone it is not made again: another writer may make it.
    pub(crate) fn of_existing(dir: Directory) -> DirStorage {
        DirStorage { path: dir.path().to_owned(), opened: OnceLock::from(dir), makes_dir: false }
    }

    fn dir(&self) -> io::Result<&Directory> {
        match self.opened.get() {
            Some(dir) => Ok(dir),
            None => {
                let dir = Directory::open(&self.path)?;
                Ok(self.opened.get_or_init(|| dir))
            }
        }
    }
}

impl Storage for DirStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        // A name that is not Unicode is none of ours.
        Ok(self.dir()?.names()?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let dir = match self.dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.makes_dir => {
                std::fs::create_dir_all(&self.path)?;
                self.dir()?
            }
            other => other?,
        };
        Ok(Box::new(DirFile(OwnFile::new(dir.create_new(name)?))))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(DirFile(OwnFile::new(self.dir()?.open_file(name)?))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir()?.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir()?.sync()
    }

    fn writer(&self) -> Option<String> {
        lock::holder(self.dir().ok()?)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

struct DirFile(OwnFile);

#[cfg(unix)]
impl StorageFile for DirFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self.0.get(), bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self.0.writable()?, bytes, offset)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        preallocate(self.0.writable()?, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.writable()?.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.get().metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.writable()?.sync_data()
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(std::os::unix::fs::MetadataExt::nlink(&self.0.get().metadata()?) > 0)
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        directory::next_data(self.0.get(), offset)
    }
}

#[cfg(windows)]
impl StorageFile for DirFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self.0.get(), bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(self.0.writable()?, bytes, offset)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.writable()?.set_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.writable()?.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.get().metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.writable()?.sync_data()
    }
}

/// A file system that cannot reserve space gets a file of the right length: the disk can then fill up later.
#[cfg(target_os = "linux")]
fn preallocate(file: &File, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn preallocate(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

/// Interrupted calls in a row after which an operation counts as failed.
const INTERRUPTS_MAX: u32 = 1_000;

/// Writes all of `bytes` at `offset`: goes on after short writes and interrupts.
pub(crate) fn write_all_at(file: &dyn StorageFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    let mut interrupts = 0;
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                bytes = bytes.get(taken..).unwrap_or_default();
                offset += taken as u64;
                interrupts = 0;
            }
            Err(error) => interrupted(&mut interrupts, error)?,
        }
    }
    Ok(())
}

/// Fills `bytes` from `offset` on, up to the end of the file; returns how many bytes there were.
pub(crate) fn read_up_to(file: &dyn StorageFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut interrupts = 0;
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => (done, interrupts) = (done + read, 0),
            Err(error) => interrupted(&mut interrupts, error)?,
        }
    }
    Ok(done)
}

/// Calls `operation` again while it is interrupted.
pub(crate) fn uninterrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut interrupts = 0;
    loop {
        match operation() {
            Ok(value) => return Ok(value),
            Err(error) => interrupted(&mut interrupts, error)?,
        }
    }
}

fn interrupted(interrupts: &mut u32, error: io::Error) -> io::Result<()> {
    *interrupts += 1;
    if error.kind() == io::ErrorKind::Interrupted && *interrupts < INTERRUPTS_MAX {
        Ok(())
    } else {
        Err(error)
    }
}
