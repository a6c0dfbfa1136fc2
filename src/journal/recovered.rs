//! What a dead process left, made a journal that appears whole or not at all.

use crate::journal::check::{RepairError, VerifyReport, repair};
use crate::journal::durability::JournalAccount;
use crate::journal::format::RunId;
use crate::journal::lacking::Lacking;
use crate::journal::options::{OpenError, Options};
use crate::journal::reader::{JournalReader, ReadOptions};
use crate::journal::storage::DirStorage;
use crate::journal::writer::{CloseError, JournalWriter};
use crate::recorder::{FlightRecorder, RecordedDefinition, RecordedTrack, Recording, RecordingError};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The key of the document with what [`overwritten`] returns: above 64 bits, where no event's document is.
const OVERWRITTEN_KEY: u128 = u128::from_be_bytes(*b"recorder/1: gone");

/// Why nothing was recovered. What was to be recovered is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// Something is where the journal was to go: it may be what an earlier recovery wrote, which is whole then.
    #[error(
        "{path}: is there already; an earlier recovery may have written it: read it, or choose another place"
    )]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The journal was to go into the one that it is made of.
    #[error("{path}: is in the journal that is to be recovered; choose a place outside it")]
    Inside {
        /// The place.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; check the directory that it is in, and its free space")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The flight recorder's file gave nothing.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The journal gave nothing.
    #[error(transparent)]
    Repair(#[from] RepairError),
    /// The new journal cannot be begun.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new journal cannot be written.
    #[error(transparent)]
    Write(#[from] CloseError),
}

/// Writes what a flight recorder held as a new journal at `path`, by source and number.
///
/// The journal appears under its name when it is whole and synced. It is made in a new directory beside it,
/// `.NAME.RANDOM.partial`, which stays where a recovery dies and may be removed then. Damaged events count as lost before the journal. Those that
/// the recorder let go for later ones are no loss: [`overwritten`] tells how many they were. That its process died, or that the
/// recorder had no room for an emitter, is the journal's [`Lacking`].
///
/// # Errors
/// When there is something at `path`, another recovery writes there, or the journal cannot be written.
pub fn keep(recording: &Recording, path: &Path, now_ns: u64) -> Result<JournalAccount, RecoverError> {
    arrive(path, |partial| {
        let records: usize = recording.tracks.iter().map(|track| track.records.len()).sum();
        let options = Options::at_once(records as u64);
        let mut writer = JournalWriter::open(partial, RunId(recording.run), options, now_ns)?;
        for definition in &recording.definitions {
            // The account has what is refused.
            let _ = match definition {
                RecordedDefinition::Name(symbol, name) => writer.define(*symbol, name),
                RecordedDefinition::Document(detail, text) => {
                    writer.define_detail(u128::from(detail.bits()), text.as_bytes())
                }
            };
        }
        // A damaged file may tell any numbers.
        let sum =
            |of: fn(&RecordedTrack) -> u64| recording.tracks.iter().map(of).fold(0, u64::saturating_add);
        writer.note_upstream_loss(sum(|track| track.damaged));
        let before = sum(|track| track.overwritten).saturating_add(recording.forgotten);
        let _ = writer.define_detail(OVERWRITTEN_KEY, before.to_string().as_bytes());
        if let Some((key, text)) = (Lacking { unsure: unsure(recording), ..Lacking::default() }).document() {
            let _ = writer.define_detail(key, &text);
        }
        // What is lost makes `close` fail.
        for origin in recording.origins() {
            writer.set_origin(origin);
            let _ = writer.append(&recording.records_of(origin));
        }
        Ok(writer.close()?)
    })
}

/// Says why it is not known what a recording is short of, beyond what is counted.
fn unsure(recording: &Recording) -> Vec<String> {
    let torn = recording.tracks.iter().filter(|track| track.torn).count() as u64;
    let state = match (recording.live, recording.closed) {
        (true, _) => Some("its process went on when the flight recorder was copied"),
        (false, false) => Some("its process died"),
        (false, true) => None,
    };
    let counts = [
        (torn, "events were being written when the process died"),
        (recording.tracks_damaged, "tracks of the flight recorder could not be read"),
        (
            recording.emitters_without_track,
            "emitters were not recorded: the flight recorder had no track for them",
        ),
        (recording.definitions_left_out, "names or documents had no room in the flight recorder"),
        (recording.definition_bytes_damaged, "bytes of names and documents were damaged"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    state
        .map(str::to_owned)
        .into_iter()
        .chain(counts.map(|(count, what)| format!("{count} {what}")))
        .collect()
}

/// Returns how many events a flight recorder had let go for later ones when [`keep`] made this journal of it, once it was
/// read; `None` of other journals.
#[must_use]
pub fn overwritten(reader: &JournalReader<'_>) -> Option<u64> {
    std::str::from_utf8(reader.detail(OVERWRITTEN_KEY)?).ok()?.parse().ok()
}

/// Copies what a running recorder holds to a new journal at `path`: for the moment when something interesting happens.
///
/// Emitters write on meanwhile. Takes some milliseconds, and memory for all that the recorder holds.
///
/// # Errors
/// As for [`keep`].
pub fn snapshot(recorder: &FlightRecorder, path: &Path, now_ns: u64) -> Result<JournalAccount, RecoverError> {
    keep(&recorder.snapshot()?, path, now_ns)
}

/// Writes what can be read of the journal `old` as a new one at `path`: [`repair`], which appears whole or not at all.
///
/// # Errors
/// As for [`keep`], and when nothing of the old journal can be read.
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

/// Lets `write` make a journal in a directory that was not there before, and gives it its name when it is whole.
fn arrive<T>(path: &Path, write: impl FnOnce(&Path) -> Result<T, RecoverError>) -> Result<T, RecoverError> {
    let exists = || RecoverError::Exists { path: path.to_owned() };
    // Without what may be behind the name: a slash at the end.
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Err(exists()) };
    let path = parent.join(name);
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(exists());
    }
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.partial", RunId::random()));
    let partial = parent.join(hidden);
    if parent != Path::new("") {
        std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    // Fails where anything is there already: what is removed below is what was made here.
    std::fs::create_dir(&partial).map_err(io_error("create", &partial))?;
    let arrived = write(&partial).and_then(|written| {
        sync_dir(&partial)?;
        std::fs::rename(&partial, &path).map_err(io_error("rename", &partial))?;
        Ok(written)
    });
    if arrived.is_err() {
        // What cannot be removed stays, under a name that tells what it is.
        let _ = std::fs::remove_dir_all(&partial);
    }
    let written = arrived?;
    // Its parent is what holds the new name.
    sync_dir(if parent == Path::new("") { Path::new(".") } else { parent })?;
    Ok(written)
}

fn sync_dir(path: &Path) -> Result<(), RecoverError> {
    // Only Unix opens directories; elsewhere there is nothing to sync.
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("sync", path))?;
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_owned();
    move |source| RecoverError::Io { action, path, source }
}
