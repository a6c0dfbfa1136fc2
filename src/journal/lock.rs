//! One writer per journal: a lock file that says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// The lock file's name in the journal's directory. It stays when the writer ends; the lock itself goes with
/// the process, however it ends.
pub const LOCK_NAME: &str = "LOCK";

/// A reader that asks who writes holds the lock for an instant; a writer that meets it tries again.
const TRIES: u32 = 5;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Tells whether the lock file in `dir` is still this one.
    pub(crate) fn is_in(&self, dir: &Path) -> bool {
        let there = std::fs::metadata(dir.join(LOCK_NAME));
        #[cfg(unix)]
        let same = {
            use std::os::unix::fs::MetadataExt;
            let id = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
            matches!((there, self.file.metadata()), (Ok(there), Ok(own)) if id(&there) == id(&own))
        };
        // Elsewhere a file that is open cannot be replaced.
        #[cfg(not(unix))]
        let same = there.is_ok();
        same
    }
}

/// Takes the lock of the journal at `dir`; `Ok(Err(holder))` when another writer has it.
///
/// `started` is what the lock file shall say of this writer's start.
pub(crate) fn acquire(dir: &Path, started_ns: u64) -> io::Result<Result<Lock, String>> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_NAME))?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(TRY_AGAIN_AFTER),
            Err(TryLockError::WouldBlock) => return Ok(Err(text_of(&mut file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    file.set_len(0)?;
    writeln!(file, "process {} on {}, since {started_ns} ns after 1970", std::process::id(), host())?;
    Ok(Ok(Lock { file }))
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
    match file.take(512).read_to_string(&mut text) {
        Ok(len) if len > 0 => text.trim_end().to_owned(),
        _ => "a process that has not said who it is".to_owned(),
    }
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
        let lock = acquire(dir.path(), 42).unwrap().unwrap();
        let expected = format!("process {} on ", std::process::id());
        let refused = acquire(dir.path(), 43).unwrap().unwrap_err();
        assert!(refused.starts_with(&expected) && refused.ends_with("since 42 ns after 1970"), "{refused}");
        assert_eq!(holder(dir.path()), Some(refused));
        drop(lock);
        assert_eq!(holder(dir.path()), None);
        assert!(acquire(dir.path(), 44).unwrap().is_ok());
    }
}
