//! A directory of a journal whose calls a test gets hold of.

use panther_events::journal::storage::{Storage, StorageFile};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What comes to a [`Watched`] directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Create,
    Write,
    /// So many bytes were read.
    Read(usize),
}

type Watch = dyn Fn(Call) -> io::Result<()> + Send + Sync;

/// A directory that asks before a file is made or written, and tells what was read.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    storage: S,
    watch: Arc<Watch>,
}

struct WatchedFile {
    file: Box<dyn StorageFile>,
    watch: Arc<Watch>,
}

impl<S: Storage> Watched<S> {
    pub(crate) fn new(
        storage: S,
        watch: impl Fn(Call) -> io::Result<()> + Send + Sync + 'static,
    ) -> Watched<S> {
        Watched { storage, watch: Arc::new(watch) }
    }

    fn file(&self, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(WatchedFile { file, watch: Arc::clone(&self.watch) })
    }
}

impl<S: Storage> Storage for Watched<S> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.storage.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        (self.watch)(Call::Create)?;
        Ok(self.file(self.storage.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(self.storage.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.storage.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.storage.sync_dir()
    }
    fn writer(&self) -> Option<String> {
        self.storage.writer()
    }
    fn path(&self) -> &Path {
        self.storage.path()
    }
}

impl StorageFile for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(bytes, offset)?;
        (self.watch)(Call::Read(read))?;
        Ok(read)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        (self.watch)(Call::Write)?;
        self.file.write_at(bytes, offset)
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.file.preallocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
