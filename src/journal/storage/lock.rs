//! One writer per journal: a lock file that says who holds it.

use crate::directory::Directory;
use std::collections::hash_map::RandomState;
use std::fs::{File, TryLockError};
use std::hash::BuildHasher;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// The lock file's name in the journal's directory. It stays when the writer ends; the lock itself goes with
/// the process, however it ends.
pub const LOCK_NAME: &str = "LOCK";

/// A reader that asks who writes holds the lock for an instant; a writer that meets it tries again.
const TRIES: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);
const TEXT_LEN_MAX: u64 = 512;
/// Begins what it says.
const PROCESS: &str = "process";
/// Characters; at four bytes each, the text is short enough.
const HOST_LEN_MAX: usize = 64;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// What the lock file says; no other writer's says the same.
    text: String,
}

impl Lock {
    /// Says in the file, which is locked, who has it. It is held whatever it says: a full disk has no room for a name.
    fn of(mut file: File, now_ns: u64) -> Lock {
        // The number tells two writers of one process apart.
        let number = RandomState::new().hash_one(now_ns);
        let (id, host) = (std::process::id(), host().chars().take(HOST_LEN_MAX).collect::<String>());
        let mut text =
            format!("{PROCESS} {id} on {host}, since {now_ns} ns after 1970, number {number:016x}\n");
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        if written.is_err() {
            let _ = file.set_len(0);
            text.clear();
        }
        Lock { file, text }
    }

    /// Tells whether the lock file is still the one in `dir`: not if it was removed or replaced, or the directory was moved. It
    /// is where that cannot be found out.
    pub(crate) fn is_in(&self, dir: &Path) -> bool {
        let path = dir.join(LOCK_NAME);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let Ok(own) = self.file.metadata() else { return true };
            if own.nlink() == 0 {
                return false;
            }
            match std::fs::symlink_metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => return true,
                // Not every file system gives a file the same number each time: what it says decides.
                Ok(_) if self.text.is_empty() => return false,
                Ok(_) => {}
                Err(error) => return !was_removed(&error),
            }
        }
        // A file that is locked may not be readable.
        let says = File::open(path).map(|mut file| raw_text(&mut file));
        match says {
            Ok(text) => text.is_none_or(|text| text == self.text),
            Err(error) => !was_removed(&error),
        }
    }
}

fn was_removed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Takes the lock of the journal in `dir`; `Ok(Err(holder))` when another writer has it.
///
/// `now_ns` is what the lock file shall say of the time at which it was taken. A file of that name that is no journal's lock is
/// an error, and stays as it is.
pub(crate) fn acquire(dir: &Directory, now_ns: u64) -> io::Result<Result<Lock, String>> {
    let mut file = dir.open_or_create(LOCK_NAME).map_err(|error| named(&error))?;
    if !is_of_a_journal(&mut file) {
        return Err(named(&"it is of another program, not of a journal"));
    }
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(TRY_AGAIN_AFTER),
            Err(TryLockError::WouldBlock) => return Ok(Err(text_of(&mut file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(Ok(Lock::of(file, now_ns)))
}

/// Says that it is about the lock file, and what to do.
fn named(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{LOCK_NAME}: {why}; move it away or choose another directory"))
}

/// Says who holds the lock of the journal in `dir`; `None` when nobody does. Changes no file.
pub(crate) fn holder(dir: &Directory) -> Option<String> {
    let mut file = dir.open_file(LOCK_NAME).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(text_of(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Tells whether a lock file says what a writer puts there; nothing, where its disk was full, or it died before that.
fn is_of_a_journal(file: &mut File) -> bool {
    let begins = format!("{PROCESS} ");
    // A file that is locked may not be readable.
    raw_text(file).is_none_or(|text| text.is_empty() || text.starts_with(&begins))
}

fn text_of(file: &mut File) -> String {
    match raw_text(file) {
        Some(text) if !text.is_empty() => text.trim_end().to_owned(),
        _ => "a process that has not said who it is".to_owned(),
    }
}

fn raw_text(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(TEXT_LEN_MAX).read_to_string(&mut text).ok()?;
    Some(text)
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

    fn opened(path: &Path) -> Directory {
        Directory::open(path).unwrap()
    }

    #[test]
    fn a_second_writer_is_refused_and_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(&opened(dir.path())), None);
        let lock = acquire(&opened(dir.path()), 42).unwrap().unwrap();
        let expected = format!("process {} on ", std::process::id());
        let refused = acquire(&opened(dir.path()), 43).unwrap().unwrap_err();
        assert!(
            refused.starts_with(&expected) && refused.contains(", since 42 ns after 1970, number "),
            "{refused}"
        );
        assert_eq!(holder(&opened(dir.path())), Some(refused));
        assert!(lock.is_in(dir.path()));
        drop(lock);
        assert_eq!(holder(&opened(dir.path())), None);
        assert!(acquire(&opened(dir.path()), 44).unwrap().is_ok());
    }

    #[test]
    fn a_lock_that_was_removed_moved_or_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, away) = (parent.path().join("here"), parent.path().join("away"));
        std::fs::create_dir(&dir).unwrap();
        let lock = acquire(&opened(&dir), 42).unwrap().unwrap();
        let path = dir.join(LOCK_NAME);
        let text = std::fs::read(&path).unwrap();
        // Changed, but the same.
        std::fs::write(&path, "").unwrap();
        assert!(lock.is_in(&dir));
        std::fs::rename(&dir, &away).unwrap();
        assert!(!lock.is_in(&dir) && lock.is_in(&away));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&path, "another's").unwrap();
        assert!(!lock.is_in(&dir));
        // Under another number, it says the same.
        std::fs::write(&path, &text).unwrap();
        assert!(lock.is_in(&dir));
        std::fs::remove_file(away.join(LOCK_NAME)).unwrap();
        assert!(!lock.is_in(&dir) && !lock.is_in(&away), "removed, whatever lies there now");
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_file_that_is_not_ours_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let precious = temp.path().join("precious");
        type Plant = fn(&Path, &Path) -> io::Result<()>;
        let plant: [(&str, Plant); 5] = [
            ("no regular file", |precious, lock| std::os::unix::fs::symlink(precious, lock)),
            ("hard link", |precious, lock| std::fs::hard_link(precious, lock)),
            ("another program", |precious, lock| std::fs::copy(precious, lock).map(drop)),
            ("directory", |_, lock| std::fs::create_dir(lock)),
            ("no regular file", |_, lock| std::process::Command::new("mkfifo").arg(lock).status().map(drop)),
        ];
        for (number, (why, plant)) in plant.into_iter().enumerate() {
            std::fs::write(&precious, "a process of mine").unwrap();
            let dir = temp.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            plant(&precious, &dir.join(LOCK_NAME)).unwrap();
            // Nobody is said to hold it, and nobody waits for the pipe's other end.
            assert_eq!(holder(&opened(&dir)), None);
            let refused = acquire(&opened(&dir), 7).unwrap_err().to_string();
            assert!(refused.starts_with("LOCK: ") && refused.contains(why), "{refused}");
            assert!(refused.ends_with("choose another directory"), "{refused}");
            assert_eq!(std::fs::read(&precious).unwrap(), b"a process of mine");
        }
        // An earlier writer's.
        let dir = opened(temp.path());
        drop(acquire(&dir, 7).unwrap().unwrap());
        drop(acquire(&dir, 8).unwrap().unwrap());
    }
}
