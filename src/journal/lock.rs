//! One writer per journal: a lock file that says who holds it.

use crate::journal::presence::was_removed;
use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// The lock file's name in the journal's directory. It stays when the writer ends; the lock itself goes with
/// the process, however it ends.
pub const LOCK_NAME: &str = "LOCK";

/// A reader that asks who writes holds the lock for an instant; a writer that meets it tries again.
const TRIES: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);
const TEXT_LEN_MAX: u64 = 512;
/// Characters; at four bytes each, the text is short enough.
const HOST_LEN_MAX: usize = 64;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    /// What the lock file says; no other writer's says the same.
    text: String,
}

impl Lock {
    /// Tells whether the lock file in `dir` is still this writer's. One that cannot be read is: it is locked.
    pub(crate) fn is_in(&self, dir: &Path) -> bool {
        let mut text = Vec::new();
        let read =
            File::open(dir.join(LOCK_NAME)).and_then(|file| file.take(TEXT_LEN_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => text == self.text.as_bytes(),
            Err(error) => !was_removed(&error),
        }
    }
}

/// Which lock files will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Make {
    /// Also one that an earlier writer has left.
    Any,
    /// One that nobody else has made.
    New,
}

/// Takes the lock of the journal at `dir`; `Ok(Err(holder))` when another writer has it, or has made it.
///
/// `now_ns` is what the lock file shall say of the time at which it was taken.
pub(crate) fn acquire(dir: &Path, now_ns: u64, make: Make) -> io::Result<Result<Lock, String>> {
    let path = dir.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).create_new(make == Make::New);
    for attempt in 1.. {
        let mut file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Err(File::open(&path).map_or_else(|_| unnamed(), |mut file| text_of(&mut file))));
            }
            other => other?,
        };
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(TRY_AGAIN_AFTER),
                Err(TryLockError::WouldBlock) => return Ok(Err(text_of(&mut file))),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // The number tells two writers of one process apart.
        let number = RandomState::new().hash_one(now_ns);
        let mut text = format!(
            "process {} on {}, since {now_ns} ns after 1970, number {number:016x}\n",
            std::process::id(),
            host().chars().take(HOST_LEN_MAX).collect::<String>()
        );
        // It is held, whatever it says: a full disk has no room for a name.
        if file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).is_err() {
            let _ = file.set_len(0);
            text.clear();
        }
        let lock = Lock { _file: file, text };
        // Once more where it was removed before it was locked.
        if lock.is_in(dir) || attempt >= TRIES {
            return Ok(Ok(lock));
        }
    }
    Ok(Err(unnamed()))
}

/// Says who holds the lock of the journal at `dir`; `None` when nobody does. Changes no file.
pub(crate) fn holder(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join(LOCK_NAME)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(text_of(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn text_of(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(TEXT_LEN_MAX).read_to_string(&mut text) {
        Ok(len) if len > 0 => text.trim_end().to_owned(),
        _ => unnamed(),
    }
}

fn unnamed() -> String {
    "a process that has not said who it is".to_owned()
}

fn host() -> String {
    #[cfg(target_os = "linux")]
    if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        return name.trim_end().to_owned();
    }
    std::env::var("HOSTNAME")
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_else(|_| "this host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_and_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let lock = acquire(dir.path(), 42, Make::Any).unwrap().unwrap();
        let expected = format!("process {} on ", std::process::id());
        let refused = acquire(dir.path(), 43, Make::Any).unwrap().unwrap_err();
        assert!(
            refused.starts_with(&expected) && refused.contains(", since 42 ns after 1970, number "),
            "{refused}"
        );
        assert_eq!(holder(dir.path()), Some(refused));
        assert!(lock.is_in(dir.path()));
        let text = std::fs::read(dir.path().join(LOCK_NAME)).unwrap();
        std::fs::remove_file(dir.path().join(LOCK_NAME)).unwrap();
        assert!(!lock.is_in(dir.path()));
        let anew = acquire(dir.path(), 42, Make::New).unwrap().unwrap();
        assert!(anew.is_in(dir.path()) && !lock.is_in(dir.path()), "at the same time, by the same process");
        assert!(acquire(dir.path(), 43, Make::New).unwrap().is_err());
        drop(anew);
        let left = acquire(dir.path(), 43, Make::New).unwrap().unwrap_err();
        assert!(left.starts_with(&expected), "nobody holds it, and it is another's: {left}");
        std::fs::write(dir.path().join(LOCK_NAME), text).unwrap();
        assert!(lock.is_in(dir.path()));
        drop(lock);
        assert_eq!(holder(dir.path()), None);
        assert!(acquire(dir.path(), 44, Make::Any).unwrap().is_ok());
    }
}
