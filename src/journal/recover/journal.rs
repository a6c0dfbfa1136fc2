//! A sound journal of one that is damaged, or that a dead process left.

use crate::journal::read::reader::ReadOptions;
use crate::journal::read::verify::VerifyReport;
use crate::journal::recover::arrive::{RecoverError, arrive};
use crate::journal::recover::repair::repair;
use crate::journal::storage::DirStorage;
use crate::journal::write::durability::JournalAccount;
use std::path::Path;

/// Writes what can be read of the journal `old` as a new one at `path`: [`repair`], which appears whole or not at all.
///
/// # Errors
/// As for [`keep`](crate::journal::keep), and when nothing of the old journal can be read.
pub fn recover(
    old: &Path,
    path: &Path,
    options: ReadOptions,
    now_ns: u64,
) -> Result<(VerifyReport, JournalAccount), RecoverError> {
    if is_inside(path, old) {
        return Err(RecoverError::Inside { path: path.to_owned() });
    }
    arrive(path, |partial| {
        Ok(repair(DirStorage::new(old), Box::new(DirStorage::new(partial)), options, now_ns)?)
    })
}

/// Tells whether a new file at `path` would be in the directory `dir`.
fn is_inside(path: &Path, dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else { return false };
    // Not all directories on the way must be there.
    let there = path.ancestors().skip(1).find_map(|above| match above {
        above if above == Path::new("") => Path::new(".").canonicalize().ok(),
        above => above.canonicalize().ok(),
    });
    there.is_some_and(|there| there.starts_with(dir))
}
