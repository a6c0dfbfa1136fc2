//! A disk in memory: what is written is volatile until it is synced; operations can fail; a crash keeps any
//! subset of the unsynced steps, torn at 512 bytes.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

pub(crate) mod watched;

use panther_events::event::{Domain, EventKind, Identity, Origin, Record, Symbol};
use panther_events::journal::storage::{Storage, StorageFile};
use panther_events::journal::{Durability, JournalWriter, Options};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

pub const SECTOR_LEN: usize = 512;

/// Of the records, which have the ids that a pipeline would have given them.
pub const ORIGIN: Origin = Origin::from_bits(u128::from_le_bytes(*b"drawn at a start"));

panther_events::payload! {
    /// A sample.
    pub struct Sample [EventKind::new(Domain::FIRST_USER, 1)] {
        value: u64,
        other: u64,
    }
}

panther_events::payload! {
    /// A sample of another kind, in another domain.
    pub struct Other [EventKind::new(Domain::METRICS, 2)] {
        value: u64,
    }
}

pub fn entity_name(number: u64) -> String {
    format!("entity-{number}")
}

pub fn record(source: u16, seq: u32, time_ns: u64) -> Record {
    let entity = Symbol::of(&entity_name(u64::from(source)));
    if seq % 5 == 4 {
        let other = Other { value: u64::from(seq) };
        return Record::new(Identity::Content, time_ns, entity, &other)
            .numbered(source, seq)
            .identified(ORIGIN);
    }
    let sample = Sample { value: u64::from(seq) * 3, other: u64::from(source) << 32 };
    Record::new(Identity::Occurrence, time_ns, entity, &sample).numbered(source, seq).identified(ORIGIN)
}

/// A segment takes some 450 records.
pub fn small(durability: Durability) -> Options {
    Options { block_len: 8 << 10, segment_len: 32 << 10, held_bytes_max: 1 << 20, ..Options::new(durability) }
}

/// Records of source 1.
pub fn batch(from: u32, len: u32) -> Vec<Record> {
    (from..from + len).map(|seq| record(1, seq, u64::from(seq))).collect()
}

/// Defines what [`batch`] refers to.
pub fn define(writer: &mut JournalWriter) {
    writer.define(Symbol::of(&entity_name(1)), &entity_name(1)).unwrap();
}

#[allow(unused_imports, reason = "each test uses its part")]
pub(crate) use super::random::{Rng, env_count, seed};

#[derive(Clone, Debug)]
enum FileStep {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Default)]
struct ModelFile {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<FileStep>,
}

#[derive(Clone, Debug)]
enum DirStep {
    Add(String, usize),
    Rename(String, String),
    Remove(String),
}

/// What goes wrong, and when.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fault {
    /// The operation's number.
    pub at: u64,
    /// Whether all later operations fail too, until the fault is lifted.
    pub for_good: bool,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FaultKind {
    Error(i32),
    /// A write takes only some of its bytes.
    Short,
    /// A write takes some of its bytes, and the rest fails.
    ShortThenError(i32),
}

#[derive(Clone, Default)]
pub struct Disk {
    files: Vec<ModelFile>,
    dir: BTreeMap<String, usize>,
    durable_dir: BTreeMap<String, usize>,
    unsynced_dir: Vec<DirStep>,
    /// Operations so far.
    pub ops: u64,
    pub fault: Option<Fault>,
    /// How often the fault struck.
    pub struck: u64,
    /// Take a copy of the disk before each of these operations, ascending.
    pub capture: Vec<u64>,
    pub captured: Vec<(u64, Disk)>,
    pub writer: Option<String>,
}

impl Disk {
    fn step(&mut self) -> io::Result<Option<FaultKind>> {
        if self.capture.first() == Some(&self.ops) {
            self.capture.remove(0);
            let copy = Disk { capture: Vec::new(), captured: Vec::new(), ..self.clone() };
            self.captured.push((self.ops, copy));
        }
        let op = self.ops;
        self.ops += 1;
        match self.fault {
            Some(fault) if op == fault.at || (op > fault.at && fault.for_good) => {
                self.struck += 1;
                match fault.kind {
                    FaultKind::Error(errno) => Err(io::Error::from_raw_os_error(errno)),
                    other => Ok(Some(other)),
                }
            }
            _ => Ok(None),
        }
    }

    /// What is there after a kill of the process.
    pub fn killed(&self) -> Disk {
        let files = self.files.iter().map(|file| ModelFile {
            durable: file.now.clone(),
            now: file.now.clone(),
            unsynced: Vec::new(),
        });
        Disk {
            files: files.collect(),
            dir: self.dir.clone(),
            durable_dir: self.dir.clone(),
            ..Disk::default()
        }
    }

    /// What is there at least after a power cut: what was synced.
    pub fn only_synced(&self) -> Disk {
        let whole = |file: &ModelFile| ModelFile { now: file.durable.clone(), ..file.clone() };
        let files = self.files.iter().map(whole).map(|file| ModelFile { unsynced: Vec::new(), ..file });
        let dir = self.durable_dir.clone();
        Disk { files: files.collect(), durable_dir: dir.clone(), dir, ..Disk::default() }
    }

    /// As [`Disk::only_synced`], and every file that was removed is gone already.
    pub fn removals_and_synced(&self) -> Disk {
        let mut image = self.only_synced();
        for step in &self.unsynced_dir {
            if let DirStep::Remove(name) = step {
                image.dir.remove(name);
                image.durable_dir.remove(name);
            }
        }
        image
    }

    /// What is there after a power cut: any subset of the unsynced steps.
    pub fn power_cut(&self, rng: &mut Rng) -> Disk {
        let mut image = Disk { durable_dir: self.durable_dir.clone(), ..Disk::default() };
        // Extremes are as likely as the middle: nothing kept, all kept, single sectors lost.
        let keep = [0, 10, 50, 90, 99, 100][rng.below(6) as usize];
        for step in &self.unsynced_dir {
            if !rng.chance(keep) {
                continue;
            }
            match step {
                DirStep::Add(name, file) => drop(image.durable_dir.insert(name.clone(), *file)),
                DirStep::Remove(name) => drop(image.durable_dir.remove(name)),
                DirStep::Rename(from, to) => {
                    if let Some(file) = image.durable_dir.remove(from) {
                        image.durable_dir.insert(to.clone(), file);
                    }
                }
            }
        }
        for file in &self.files {
            let mut bytes = file.durable.clone();
            let keep = if rng.chance(50) { keep } else { [0, 50, 95, 100][rng.below(4) as usize] };
            for step in &file.unsynced {
                match step {
                    FileStep::SetLen(len) => {
                        if rng.chance(keep) {
                            bytes.resize(*len as usize, 0);
                        }
                    }
                    FileStep::Write(offset, data) => {
                        let mut at = 0;
                        while at < data.len() {
                            let start = *offset as usize + at;
                            let len = (SECTOR_LEN - start % SECTOR_LEN).min(data.len() - at);
                            if rng.chance(keep) {
                                put(&mut bytes, start, &data[at..at + len]);
                            }
                            at += len;
                        }
                    }
                }
            }
            image.files.push(ModelFile { now: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
        image.dir = image.durable_dir.clone();
        image
    }

    pub fn bytes(&self, name: &str) -> &[u8] {
        &self.files[self.dir[name]].now
    }

    pub fn bytes_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.files[self.dir[name]].now
    }

    pub fn names(&self) -> Vec<String> {
        self.dir.keys().cloned().collect()
    }

    pub fn remove(&mut self, name: &str) {
        self.dir.remove(name);
    }

    /// Puts a file there that is only to be read.
    pub fn insert(&mut self, name: &str, bytes: Vec<u8>) {
        self.dir.insert(name.to_owned(), self.files.len());
        self.files.push(ModelFile { now: bytes, ..ModelFile::default() });
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

#[derive(Clone, Default)]
pub struct Model(Arc<Mutex<Disk>>);

impl Model {
    pub fn of(disk: Disk) -> Model {
        Model(Arc::new(Mutex::new(disk)))
    }

    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }
}

impl Storage for Model {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk();
        disk.step()?;
        if disk.dir.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = disk.files.len();
        disk.files.push(ModelFile::default());
        disk.dir.insert(name.to_owned(), file);
        disk.unsynced_dir.push(DirStep::Add(name.to_owned(), file));
        Ok(Box::new(OpenFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let disk = self.disk();
        let file = *disk.dir.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(OpenFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        let file = disk.dir.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.dir.insert(to.to_owned(), file);
        disk.unsynced_dir.push(DirStep::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.dir.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.unsynced_dir.push(DirStep::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        disk.durable_dir = disk.dir.clone();
        disk.unsynced_dir.clear();
        Ok(())
    }

    fn writer(&self) -> Option<String> {
        self.disk().writer.clone()
    }

    fn path(&self) -> &Path {
        Path::new("model")
    }
}

struct OpenFile {
    disk: Model,
    file: usize,
}

impl StorageFile for OpenFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.disk();
        let from = disk.files[self.file].now.get(offset as usize..).unwrap_or_default();
        let len = from.len().min(bytes.len());
        bytes[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.disk();
        let fault = disk.step()?;
        let len = if fault.is_some() { bytes.len().div_ceil(2) } else { bytes.len() };
        let file = &mut disk.files[self.file];
        put(&mut file.now, offset as usize, &bytes[..len]);
        file.unsynced.push(FileStep::Write(offset, bytes[..len].to_vec()));
        match fault {
            Some(FaultKind::ShortThenError(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(len),
        }
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.step()?;
        let file = &mut disk.files[self.file];
        file.now.resize(len as usize, 0);
        file.unsynced.push(FileStep::SetLen(len));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.disk().files[self.file].now.len() as u64)
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.disk.disk().dir.values().any(|file| *file == self.file))
    }

    /// A failed sync leaves the pages clean, as real kernels do: what was unsynced is never written.
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let result = disk.step();
        let file = &mut disk.files[self.file];
        match result {
            Ok(_) => {
                for step in std::mem::take(&mut file.unsynced) {
                    match step {
                        FileStep::Write(offset, data) => put(&mut file.durable, offset as usize, &data),
                        FileStep::SetLen(len) => file.durable.resize(len as usize, 0),
                    }
                }
                Ok(())
            }
            Err(error) => {
                file.unsynced.clear();
                Err(error)
            }
        }
    }
}
