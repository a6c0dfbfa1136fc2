//! What lies in a journal's directory, or where a flight recorder is looked for, and is not ours: links, pipes, holes.
#![cfg(all(unix, feature = "journal"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::journal::{batch, small};
use panther_events::journal::storage::{DirStorage, Storage};
use panther_events::journal::{
    Durability, JournalReader, JournalWriter, OpenError, ReadError, ReadOptions, RunId, verify,
};
use panther_events::recorder::{FlightRecorder, RecorderOptions, Recording, RecordingError};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

fn open(path: &Path) -> Result<JournalWriter, OpenError> {
    JournalWriter::open(path, RunId([7; 16]), small(Durability::ProcessCrash), 7)
}

fn mkfifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// More than any of it takes, and far less than to read a terabyte.
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    assert!(start.elapsed() < Duration::from_secs(20), "{what} took {:?}", start.elapsed());
    done
}

#[test]
fn a_lock_that_is_a_link_is_refused_and_its_target_stays() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, precious) = (temp.path().join("journal"), temp.path().join("precious"));
    fs::create_dir(&journal).unwrap();
    fs::write(&precious, "mine").unwrap();
    std::os::unix::fs::symlink(&precious, journal.join("LOCK")).unwrap();
    let refused = open(&journal).err().unwrap();
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Io { action: "lock", .. }), "{text}");
    assert!(
        text.contains("LOCK: it is no regular file") && text.contains("choose another directory"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    assert_eq!(fs::read_dir(&journal).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_segment_that_is_a_link_or_a_pipe_is_named_and_not_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    let sound = temp.path().join("sound");
    let mut writer = open(&sound).unwrap();
    assert_eq!(writer.append(&batch(0, 10)).lost, 0);
    writer.close().unwrap();
    for kind in ["link", "pipe", "directory"] {
        let journal = temp.path().join(kind);
        fs::create_dir(&journal).unwrap();
        let segment = journal.join("00000000.journal");
        match kind {
            "link" => std::os::unix::fs::symlink(sound.join("00000000.journal"), &segment).unwrap(),
            "pipe" => mkfifo(&segment),
            _ => fs::create_dir(&segment).unwrap(),
        }
        let refused = soon(kind, || JournalReader::open(&journal, ReadOptions::default()).err().unwrap());
        let ReadError::Io { .. } = &refused else { panic!("{refused}") };
        let text = refused.to_string();
        assert!(text.contains(journal.to_str().unwrap()) && text.contains("no regular file"), "{text}");
        assert!(soon(kind, || open(&journal)).is_err(), "{kind}: nothing is written behind it");
    }
    // A reader that asks who writes waits for nobody either.
    mkfifo(&sound.join("LOCK2"));
    fs::rename(sound.join("LOCK2"), sound.join("LOCK")).unwrap();
    assert_eq!(soon("lock", || verify(DirStorage::new(&sound), ReadOptions::default())).unwrap().records, 10);
}

#[test]
fn a_journal_that_is_moved_never_writes_where_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (here, away) = (temp.path().join("here"), temp.path().join("away"));
    let mut writer = open(&here).unwrap();
    assert_eq!(writer.append(&batch(0, 400)).lost, 0);
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    fs::write(here.join("00000001.journal"), "another's").unwrap();
    // Many segments, before the writer looks for its files.
    for part in 1..20 {
        let _ = writer.append(&batch(part * 400, 400));
    }
    drop(writer);
    assert_eq!(fs::read_dir(&here).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(here.join("00000001.journal")).unwrap(), "another's");
    assert!(verify(DirStorage::new(&away), ReadOptions::default()).unwrap().records >= 400);
}

#[test]
fn a_reader_stays_in_the_directory_that_it_opened() {
    let temp = tempfile::tempdir().unwrap();
    let (here, away) = (temp.path().join("here"), temp.path().join("away"));
    let storage = DirStorage::new(&here);
    assert!(storage.list().is_err(), "it is not there yet");
    let mut writer = open(&here).unwrap();
    assert_eq!(writer.append(&batch(0, 4000)).lost, 0);
    writer.close().unwrap();
    let mut reader = JournalReader::over(&storage, ReadOptions::default()).unwrap();
    reader.next_block().unwrap().unwrap();
    if cfg!(target_os = "linux") {
        fs::rename(&here, &away).unwrap();
        fs::create_dir(&here).unwrap();
    }
    reader.rewind();
    assert_eq!(reader.for_each(|_| {}).unwrap(), 4000);
    assert!(reader.closed() && reader.findings().is_empty());
}

/// A hole costs nothing to make, and hours to read.
#[cfg(target_os = "linux")]
#[test]
fn a_hole_of_a_terabyte_is_not_read() {
    let temp = tempfile::tempdir().unwrap();
    let journal = temp.path().join("journal");
    let mut writer = open(&journal).unwrap();
    assert_eq!(writer.append(&batch(0, 10)).lost, 0);
    drop(writer);
    let grow = |name: &str| {
        let file = File::options().append(true).create(true).open(journal.join(name)).unwrap();
        file.set_len(1 << 40).is_ok()
    };
    if !(grow("00000000.journal") && grow("00000001.journal")) {
        println!("skipped: this file system has no files of a terabyte");
        return;
    }
    for salvage in [false, true] {
        let options = ReadOptions { salvage, ..ReadOptions::default() };
        let report = soon("verify", || verify(DirStorage::new(&journal), options)).unwrap();
        assert_eq!((report.records, report.closed), (10, false));
    }
    // Where there is no block at all, every place is looked at for one.
    fs::remove_file(journal.join("00000000.journal")).unwrap();
    let report = soon("verify", || verify(DirStorage::new(&journal), ReadOptions::default())).unwrap();
    assert_eq!((report.run, report.records), (None, 0));
}

#[test]
fn a_flight_recorder_is_no_pipe_and_follows_no_link_when_it_is_made() {
    let temp = tempfile::tempdir().unwrap();
    let (path, pipe) = (temp.path().join("flight"), temp.path().join("pipe"));
    mkfifo(&pipe);
    let refused = soon("pipe", || Recording::read(&pipe)).unwrap_err();
    assert!(matches!(refused, RecordingError::Foreign { .. }), "{refused}");
    std::os::unix::fs::symlink(temp.path().join("precious"), &path).unwrap();
    let refused = FlightRecorder::create(&path, &RecorderOptions::default(), 7).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert!(!temp.path().join("precious").exists());
}
