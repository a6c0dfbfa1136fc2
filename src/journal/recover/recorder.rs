//! A journal of what a flight recorder held.

use crate::journal::format::RunId;
use crate::journal::format::definition::Definition;
use crate::journal::read::lacking::Lacking;
use crate::journal::read::reader::JournalReader;
use crate::journal::recover::arrive::{RecoverError, arrive};
use crate::journal::write::durability::JournalAccount;
use crate::journal::write::options::Options;
use crate::journal::write::writer::JournalWriter;
use crate::recorder::{FlightRecorder, RecordedDefinition, RecordedTrack, Recording};
use std::path::Path;

/// The key of the document with what [`overwritten`] returns: above 64 bits, where no event's document is.
const OVERWRITTEN_KEY: u128 = u128::from_be_bytes(*b"recorder/1: gone");

/// Writes what a flight recorder held as a new journal at `path`: pipeline after pipeline, the events of each by time and each source's
/// in the order of its numbers.
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
                RecordedDefinition::Domain(domain, text) => {
                    writer.define_detail(Definition::domain_key(*domain, text), text.as_bytes())
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
            let _ = writer.append(&recording.merged_records_of(origin));
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
        (recording.deriving_pipelines, "pipelines had processors, whose events no flight recorder holds"),
        (recording.continued_pipelines, "pipelines went on with a run, whose earlier events are not in it"),
        (recording.refused, "events were refused by their emitters"),
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
