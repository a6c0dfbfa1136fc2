//! Promise: a flight recorder has each emitter's last events, returns no other, and counts what is missing exactly.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Rng, Sample, seed};
use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::{EmitError, Emitter, FullPolicy};
use panther_events::event::{Domain, EventId, Identity, Record, Symbol, Symbols};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use panther_events::recorder::{
    FlightRecorder, NumberGap, RecordedDefinition, RecorderError, RecorderOptions, Recording, RecordingError,
};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

const SMALL: RecorderOptions = RecorderOptions { slots: 8, tracks: 2, definition_bytes: 4096 };

struct Fixture {
    dir: tempfile::TempDir,
    slots: usize,
    recorder: FlightRecorder,
    pipeline: Pipeline,
}

impl Fixture {
    fn new(options: RecorderOptions, ring_capacity: usize) -> Fixture {
        let (dir, slots) = (tempfile::tempdir().unwrap(), options.slots);
        let recorder = FlightRecorder::create(&dir.path().join("run.flight"), &options, 42).unwrap();
        let options = PipelineOptions {
            topology: Topology::Inline,
            ring_capacity,
            full_policy: FullPolicy::DropNewest,
            ..PipelineOptions::default()
        };
        let mut builder = Builder::new(options);
        builder.domain(&LAB).recorder(&recorder);
        Fixture { dir, slots, pipeline: builder.start().unwrap(), recorder }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("run.flight")
    }

    /// Reads the file, and compares with what the recorder says of itself.
    fn read(&self) -> Recording {
        let (read, told) = (Recording::read(&self.path()).unwrap(), self.recorder.snapshot().unwrap());
        assert_eq!(read, told, "the file and the memory are the same");
        read
    }
}

fn sample(value: u64) -> Sample {
    Sample { value, other: !value }
}

fn emit(emitter: &mut Emitter, value: u64) -> Result<(), EmitError> {
    emitter.emit_at(value, Symbol::of("entity"), &sample(value))
}

fn records(values: std::ops::Range<u64>) -> impl Iterator<Item = Record> {
    values.map(|value| Record::new(Identity::Occurrence, value, Symbol::of("entity"), &sample(value)))
}

fn values(records: &[Record]) -> Vec<u64> {
    records
        .iter()
        .map(|record| {
            let sample = record.payload::<Sample>().unwrap();
            assert_eq!((sample.other, record.time_ns()), (!sample.value, sample.value));
            sample.value
        })
        .collect()
}

#[test]
fn each_emitter_has_its_last_events_and_an_exact_count() {
    let mut rng = Rng::new(seed());
    for slots in [1, 8, 64] {
        let fixture = Fixture::new(RecorderOptions { slots, tracks: 3, definition_bytes: 4096 }, 64);
        let mut emitters: Vec<_> =
            (0..3).map(|n| fixture.pipeline.emitter(&format!("emitter-{n}")).unwrap()).collect();
        let mut expected: Vec<(u64, VecDeque<u64>)> = vec![(0, VecDeque::new()); 3];
        let mut value = 0;
        for step in 0..400 {
            let which = rng.below(3) as usize;
            let n = if rng.chance(50) { 1 } else { rng.below(100) };
            let now: Vec<u64> = (value..value + n).collect();
            value += n;
            match &mut emitters[which] {
                // What finds its ring full is recorded all the same.
                emitter if n == 1 => drop(emit(emitter, now[0])),
                emitter => {
                    let records = now.iter().map(|value| {
                        Record::new(Identity::Occurrence, *value, Symbol::of("entity"), &sample(*value))
                    });
                    assert_eq!(emitter.emit_records(records).offered(), n);
                }
            }
            let (recorded, last) = &mut expected[which];
            *recorded += n;
            last.extend(now);
            last.drain(..last.len().saturating_sub(slots));
            if rng.chance(60) {
                fixture.pipeline.poll();
            }
            if step % 20 == 0 {
                let recording = fixture.read();
                assert!(recording.is_whole() && recording.live && !recording.closed);
                assert_eq!(recording.tracks.len(), 3);
                for (track, (recorded, last)) in recording.tracks.iter().zip(&expected) {
                    assert_eq!(*last, values(&track.records));
                    assert_eq!((track.recorded, track.damaged, track.torn), (*recorded, 0, false));
                    assert_eq!(track.overwritten, recorded - last.len() as u64);
                }
            }
        }
        let snapshot = fixture.pipeline.snapshot();
        assert!(snapshot.account.dropped_full > 0, "the rings were never full: the test has no teeth");
    }
}

#[test]
fn gaps_name_source_and_numbers() {
    let fixture = Fixture::new(SMALL, 64);
    let (mut first, mut second) =
        (fixture.pipeline.emitter("first").unwrap(), fixture.pipeline.emitter("second").unwrap());
    (0..20).for_each(|value| emit(&mut first, value).unwrap());
    emit(&mut second, 0).unwrap();
    let recording = fixture.read();
    assert_eq!(recording.gaps(), [NumberGap { source: first.source(), first: 0, last: 11 }]);
    let order: Vec<_> = recording.records().iter().map(|record| (record.source(), record.seq())).collect();
    assert!(order.is_sorted() && order.len() == 9, "{order:?}");
}

#[test]
fn tracks_of_emitters_that_are_gone_are_given_away_last_and_counted() {
    let fixture = Fixture::new(SMALL, 64);
    let mut first = fixture.pipeline.emitter("first").unwrap();
    (0..20).for_each(|value| emit(&mut first, value).unwrap());
    drop(first);
    let mut second = fixture.pipeline.emitter("second").unwrap();
    emit(&mut second, 100).unwrap();
    let recording = fixture.read();
    assert_eq!(recording.tracks.iter().map(|track| track.gone).collect::<Vec<_>>(), [true, false]);
    assert_eq!(values(&recording.tracks[0].records), (12..20).collect::<Vec<_>>());
    // No fresh track is left: the third takes the first's.
    let long = "ü".repeat(60);
    let mut third = fixture.pipeline.emitter(&long).unwrap();
    assert_eq!(fixture.read().tracks[0].recorded, 0);
    emit(&mut third, 200).unwrap();
    let mut fourth = fixture.pipeline.emitter("fourth").unwrap();
    emit(&mut fourth, 300).unwrap();
    let recording = fixture.read();
    assert_eq!((recording.forgotten, recording.emitters_without_track), (20, 1));
    assert_eq!(recording.tracks[0].name, "ü".repeat(36), "a name is cut between characters");
    assert_eq!(values(&recording.tracks[0].records), [200]);
    assert_eq!(values(&recording.tracks[1].records), [100]);
    assert!(!recording.is_whole());
    let (dir, recorder) = (fixture.dir, fixture.recorder);
    drop((second, third, fourth, fixture.pipeline.shutdown(), recorder));
    let recording = Recording::read(&dir.path().join("run.flight")).unwrap();
    assert!(recording.closed && !recording.live);
}

/// A track is given to one emitter after another, each with fewer events than the one before, or more: nothing of the earlier
/// one is left, neither while the process lives nor when it has died.
#[test]
fn a_lane_used_again_holds_its_last_emitters_events_and_no_others() {
    for slots in [1, 8, 64] {
        let fixture = Fixture::new(RecorderOptions { slots, tracks: 1, definition_bytes: 4096 }, 1 << 10);
        let (mut value, mut forgotten) = (0, 0);
        for events in [0, 1, 7, 200, 64, 63, 33, 32, 31, 9, 8, 3, 1, 0, 2, 0, 0, 5] {
            let mut emitter = fixture.pipeline.emitter("again").unwrap();
            // Once it has begun, before its first event and behind each one.
            for at in 0..=events {
                if at > 0 {
                    emit(&mut emitter, value).unwrap();
                    value += 1;
                }
                let expected: Vec<u64> = (value - at.min(slots as u64)..value).collect();
                for recording in [fixture.read(), read_bytes(&fs::read(fixture.path()).unwrap()).unwrap()] {
                    let what = format!("{slots} slots, {events} events, {at} of them: {recording:?}");
                    assert!(recording.is_whole(), "{what}");
                    // A track without events whose emitter is there is told of, too.
                    assert_eq!(recording.tracks.len(), 1, "{what}");
                    let track = &recording.tracks[0];
                    assert_eq!(values(&track.records), expected, "{what}");
                    assert_eq!(
                        (track.recorded, track.overwritten),
                        (at, at - expected.len() as u64),
                        "{what}"
                    );
                    assert_eq!((track.damaged, track.torn, track.gone), (0, false, false), "{what}");
                    assert_eq!(recording.forgotten, forgotten, "{what}");
                }
            }
            drop(emitter);
            let recording = fixture.read();
            assert!(recording.tracks[0].gone && recording.tracks[0].recorded == events);
            forgotten += events;
            fixture.pipeline.poll();
        }
    }
}

/// Lanes go to new emitters in the order in which their emitters went, and fresh ones first.
#[test]
fn the_lane_that_is_gone_longest_is_given_away_first() {
    let fixture = Fixture::new(RecorderOptions { slots: 8, tracks: 4, definition_bytes: 4096 }, 64);
    let names =
        |fixture: &Fixture| fixture.read().tracks.iter().map(|track| track.name.clone()).collect::<Vec<_>>();
    let mut emitters: Vec<_> =
        ["a", "b", "c"].map(|name| Some(fixture.pipeline.emitter(name).unwrap())).into();
    for gone in [1, 0, 2] {
        drop(emitters[gone].take());
    }
    let mut later = Vec::new();
    for (name, expected) in [
        ("d", ["a", "b", "c", "d"]),
        ("e", ["a", "e", "c", "d"]),
        ("f", ["f", "e", "c", "d"]),
        ("g", ["f", "e", "g", "d"]),
        ("h", ["f", "e", "g", "d"]),
    ] {
        later.push(fixture.pipeline.emitter(name).unwrap());
        assert_eq!(names(&fixture), expected, "{name}");
    }
    assert_eq!(fixture.read().emitters_without_track, 1);
}

#[test]
fn names_and_documents_are_there_before_and_after_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = RecorderOptions { slots: 8, tracks: 1, definition_bytes: 1 << 20 };
    let recorder = FlightRecorder::create(&dir.path().join("x"), &options, 0).unwrap();
    let symbols = Arc::new(Symbols::new());
    symbols.intern("before").unwrap();
    let document = symbols.details().intern(r#"{"a": [1, "ü"]}"#).unwrap();
    // Threads intern while the recorder begins to listen: none may be missed.
    let pipeline = std::thread::scope(|scope| {
        for thread in 0..3 {
            let symbols = &symbols;
            scope.spawn(move || (0..1000).for_each(|n| drop(symbols.intern(&format!("{thread}-{n}")))));
        }
        let mut builder = Pipeline::builder();
        builder.symbols(Arc::clone(&symbols)).recorder(&recorder);
        builder.start().unwrap()
    });
    symbols.intern("after").unwrap();
    symbols.intern("after").unwrap();
    let recording = recorder.snapshot().unwrap();
    let back = Symbols::new();
    assert_eq!(recording.define_in(&back), 0);
    assert_eq!((back.len(), symbols.len()), (3002, 3002));
    assert_eq!(back.details().text(document).as_deref(), Some(r#"{"a":[1,"ü"]}"#));
    assert_eq!(recording.definitions.len(), 3003, "each once");
    drop(pipeline);

    // A page of room: what does not fit is counted, and what fits is there.
    let path = dir.path().join("y");
    let options = RecorderOptions { definition_bytes: 1, ..options };
    let recorder = FlightRecorder::create(&path, &options, 0).unwrap();
    let mut builder = Pipeline::builder();
    builder.symbols(Arc::clone(&symbols)).recorder(&recorder);
    let _pipeline = builder.start().unwrap();
    let recording = Recording::read(&path).unwrap();
    let kept = recording.definitions.len() as u64;
    assert!(kept > 50 && kept + recording.definitions_left_out == 3003, "{kept}");
    assert!(!recording.is_whole());
}

/// A file with a full track, one half full, and a name.
fn image() -> (Vec<u8>, Recording) {
    let fixture = Fixture::new(SMALL, 64);
    fixture.pipeline.symbols().intern("entity").unwrap();
    let mut first = fixture.pipeline.emitter("first").unwrap();
    let mut second = fixture.pipeline.emitter("second").unwrap();
    (0..13).for_each(|value| emit(&mut first, value).unwrap());
    (0..3).for_each(|value| emit(&mut second, value).unwrap());
    (fs::read(fixture.path()).unwrap(), fixture.read())
}

fn read_bytes(bytes: &[u8]) -> Result<Recording, RecordingError> {
    Recording::of_bytes(Path::new("image"), bytes)
}

#[test]
fn no_flipped_bit_gives_a_wrong_event_and_each_is_told() {
    let (bytes, whole) = image();
    let sound = |a: &Recording| a.tracks.iter().map(|track| track.records.clone()).collect::<Vec<_>>();
    for at in 0..bytes.len() {
        // All bits where something is written, one elsewhere.
        let bits = if bytes[at] != 0 || at % 97 == 0 { 0..8 } else { 3..4 };
        for bit in bits {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let Ok(found) = read_bytes(&damaged) else { continue };
            for track in &found.tracks {
                let original = whole.tracks.iter().find(|other| other.name == track.name).unwrap();
                assert!(track.records.iter().all(|record| original.records.contains(record)), "{at}.{bit}");
                let whole = track.records.len() as u64 + track.overwritten + track.damaged;
                assert_eq!(track.recorded, whole, "{at}.{bit}");
            }
            let counts = |a: &Recording| a.tracks.iter().map(|track| track.overwritten).collect::<Vec<_>>();
            let same = (sound(&found), counts(&found)) == (sound(&whole), counts(&whole));
            if !same || found.definitions != whole.definitions {
                assert!(!found.is_whole(), "{at}.{bit}: nothing was told");
            }
        }
    }
}

/// The commonest of wild writes: one byte over words, many of which were zero before.
#[test]
fn no_slot_that_was_overwritten_with_one_byte_gives_an_event() {
    let fixture = Fixture::new(SMALL, 64);
    let mut emitter = fixture.pipeline.emitter("first").unwrap();
    for value in 1..=8 {
        let record = Record::new(Identity::Occurrence, value, Symbol::NONE, &Sample { value, other: 0 });
        assert_eq!(emitter.emit_records([record]).accepted, 1);
    }
    let (bytes, whole) = (fs::read(fixture.path()).unwrap(), fixture.read());
    let track = 3 * 4096;
    for slot in [0, 3, 7] {
        for (from, to) in (0..8).flat_map(|from| (from + 1..=8).map(move |to| (from, to))) {
            for byte in 0..=255 {
                let mut damaged = bytes.clone();
                let words = track + slot * 64 + from * 8..track + slot * 64 + to * 8;
                damaged[words.clone()].fill(byte);
                if damaged == bytes {
                    continue;
                }
                let found = read_bytes(&damaged).unwrap();
                let told = found.tracks[0].damaged == 1 || found.tracks[0].torn;
                assert!(told && !found.is_whole(), "slot {slot}, words {from} to {to}, byte {byte:#x}");
                let sound = |record: &&Record| whole.tracks[0].records.contains(record);
                assert_eq!(found.tracks[0].records.iter().filter(sound).count(), 7);
            }
        }
    }
}

#[test]
fn no_cut_file_is_taken_for_a_whole_one() {
    let (bytes, _) = image();
    for len in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        let cut = read_bytes(&bytes[..len]);
        assert!(matches!(cut, Err(RecordingError::Foreign { .. } | RecordingError::Short { .. })), "{len}");
    }
    assert!(matches!(read_bytes(&[b'x'; 9000]), Err(RecordingError::Foreign { .. })));
    let changed = |at: usize, to: [u8; 8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&to);
        read_bytes(&bytes)
    };
    for version in [3_u64, 5] {
        let other = changed(8, version.to_ne_bytes()).unwrap_err();
        assert!(matches!(other, RecordingError::Version { .. }), "{other}");
    }
    let mut swapped = bytes[16..24].to_vec();
    swapped.reverse();
    let other = changed(16, swapped.try_into().unwrap()).unwrap_err();
    assert!(matches!(other, RecordingError::ByteOrder { .. }), "{other}");
    // Sizes from which places beyond all memory would follow.
    assert!(matches!(changed(48, u64::MAX.to_ne_bytes()), Err(RecordingError::Header { .. })));
}

/// A process that dies has executed its stores up to some one: each such file is made here.
#[test]
fn wherever_a_process_dies_all_but_the_event_at_work_is_there() {
    // The head is told with every 32nd event: before the first time, before, at and behind another, and long behind.
    for emitted in [0, 3, 7, 8, 13, 16, 30, 31, 32, 33, 62, 63, 64, 95, 1000] {
        let fixture = Fixture::new(SMALL, 64);
        let mut emitter = fixture.pipeline.emitter("first").unwrap();
        // What finds its ring full is recorded all the same.
        (0..emitted).for_each(|value| drop(emit(&mut emitter, value)));
        dies_at_each_store(&fixture, emitted, 1, || drop(emit(&mut emitter, emitted)));
    }
}

/// As above, for batches: they are written several words at once, which is less that can be torn.
#[test]
fn wherever_a_process_dies_in_a_batch_all_but_the_event_at_work_is_there() {
    let options = RecorderOptions { slots: 64, ..SMALL };
    for emitted in [0, 3, 31, 62, 64, 90] {
        for step in [1, 3, 4, 5, 8, 31, 64] {
            let fixture = Fixture::new(options, 256);
            let mut emitter = fixture.pipeline.emitter("first").unwrap();
            (0..emitted).for_each(|value| emit(&mut emitter, value).unwrap());
            dies_at_each_store(&fixture, emitted, step, || {
                assert_eq!(emitter.emit_records(records(emitted..emitted + step)).accepted, step);
            });
        }
    }
}

/// Lets `emit` write `more` events behind the first `emitted`, at most one for each slot, and reads the file as each of the
/// stores leaves it, in the program's order: of each event its words and its check, and last the head.
fn dies_at_each_store(fixture: &Fixture, emitted: u64, more: u64, emit: impl FnOnce()) {
    let (mut bytes, slots) = (fs::read(fixture.path()).unwrap(), fixture.slots as u64);
    let check = |bytes: &[u8], written: u64, is_torn: bool, note: &str| {
        let recording = read_bytes(bytes).unwrap();
        let Some(track) = recording.tracks.first() else { panic!("{note}: no track") };
        // Words that are equal in both events leave the old one whole.
        let first = written.saturating_sub(slots) + u64::from(track.torn && written >= slots);
        assert_eq!(values(&track.records), (first..written).collect::<Vec<_>>(), "{note}");
        assert_eq!((track.recorded, track.damaged), (written, 0), "{note}");
        assert_eq!(track.torn, is_torn, "{note}");
        assert_eq!(track.overwritten, first, "{note}");
    };
    check(&bytes, emitted, false, "before");
    emit();
    let after = fs::read(fixture.path()).unwrap();
    let track = 3 * 4096;
    for event in emitted..emitted + more {
        let (before, slot) = (bytes.clone(), (event % slots) as usize);
        let words = (0..8).map(|word| track + slot * 64 + word * 8);
        for (done, at) in (1..).zip(words.chain([track + fixture.slots * 64 + slot * 8])) {
            bytes[at..at + 8].copy_from_slice(&after[at..at + 8]);
            let is_torn = done < 9 && bytes != before;
            check(
                &bytes,
                event + u64::from(done == 9),
                is_torn,
                &format!("{emitted} {more}: {event} {done}"),
            );
        }
    }
    let head = 4096 + 128;
    bytes[head..head + 8].copy_from_slice(&after[head..head + 8]);
    check(&bytes, emitted + more, false, "after");
    assert!(bytes == after, "the stores are those that there were");
}

/// Single events and batches of all lengths, in tracks that are shorter than a batch and longer.
#[test]
fn batches_leave_what_single_events_leave() {
    for slots in [1, 2, 8, 64, 256] {
        let fixture = Fixture::new(RecorderOptions { slots, tracks: 1, definition_bytes: 4096 }, 1 << 14);
        let mut emitter = fixture.pipeline.emitter("first").unwrap();
        let mut emitted = 0;
        for step in (0..70).chain([1, 64, 65, 127, 128, 300]) {
            emit(&mut emitter, emitted).unwrap();
            assert_eq!(emitter.emit_records(records(emitted + 1..emitted + 1 + step)).accepted, step);
            emitted += 1 + step;
            let track = &fixture.read().tracks[0];
            let first = emitted.saturating_sub(slots as u64);
            assert_eq!(values(&track.records), (first..emitted).collect::<Vec<_>>(), "{slots} {step}");
            assert_eq!(
                (track.recorded, track.overwritten, track.torn),
                (emitted, first, false),
                "{slots} {step}"
            );
        }
    }
}

#[test]
fn a_snapshot_under_way_holds_no_wrong_event() {
    let fixture = Fixture::new(RecorderOptions { slots: 256, tracks: 1, definition_bytes: 4096 }, 64);
    let mut emitter = fixture.pipeline.emitter("busy").unwrap();
    let stop = AtomicBool::new(false);
    let (snapshots, emitted) = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut value = 0;
            while !stop.load(Ordering::Relaxed) {
                // The ring is full soon, and that is nothing to the recorder.
                let _ = emit(&mut emitter, value);
                emitter.emit_records(records(value + 1..value + 40));
                value += 40;
                fixture.pipeline.poll();
            }
            value
        });
        // The first ones may come before the first event.
        let snapshots = std::iter::repeat_with(|| fixture.recorder.snapshot().unwrap());
        let begun = |snapshot: &Recording| snapshot.tracks.first().is_some_and(|track| track.recorded > 0);
        let snapshots: Vec<Recording> = snapshots.filter(begun).take(300).collect();
        stop.store(true, Ordering::Relaxed);
        (snapshots, busy.join().unwrap())
    });
    let mut kept = 0;
    for snapshot in &snapshots {
        let track = &snapshot.tracks[0];
        let values = values(&track.records);
        assert!(values.is_sorted_by(|a, b| a < b));
        assert!(track.records.iter().zip(&values).all(|(record, value)| u64::from(record.seq()) == *value));
        assert_eq!(track.recorded, values.len() as u64 + track.overwritten);
        kept += values.len();
    }
    assert!(kept > snapshots.len() * 64, "{kept} events in {} snapshots", snapshots.len());
    let last = fixture.read();
    assert_eq!(values(&last.tracks[0].records), (emitted - 256..emitted).collect::<Vec<_>>());
}

#[test]
fn options_out_of_range_and_files_that_are_there_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    for options in [
        RecorderOptions { slots: 0, ..SMALL },
        RecorderOptions { slots: 12, ..SMALL },
        RecorderOptions { slots: 1 << 25, ..SMALL },
        RecorderOptions { tracks: 0, ..SMALL },
        RecorderOptions { tracks: 5000, ..SMALL },
        RecorderOptions { definition_bytes: (1 << 30) + 1, ..SMALL },
    ] {
        let refused = FlightRecorder::create(&path, &options, 0).unwrap_err();
        assert!(matches!(refused, RecorderError::Option { .. }), "{refused}");
        assert!(!path.exists());
    }
    drop(FlightRecorder::create(&path, &SMALL, 0).unwrap());
    let before = fs::read(&path).unwrap();
    let refused = FlightRecorder::create(&path, &SMALL, 0).unwrap_err();
    assert!(matches!(refused, RecorderError::Exists { .. }), "{refused}");
    assert!(fs::read(&path).unwrap() == before, "what a dead process left was touched");
    let refused = FlightRecorder::create(&dir.path().join("no/x"), &SMALL, 0).unwrap_err();
    assert!(matches!(refused, RecorderError::Io { .. }), "{refused}");
}

/// The format does not change by accident: `RECORDER_GOLDEN=1` writes the file anew, which is another version of it.
#[test]
fn a_file_of_this_version_is_read_as_it_was_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recorder/v1.flight");
    if std::env::var_os("RECORDER_GOLDEN").is_some() {
        fs::write(&path, image().0).unwrap();
    }
    if cfg!(target_endian = "big") {
        println!("skipped: the file is of a little-endian host");
        return;
    }
    let recording = Recording::read(&path).unwrap();
    let [RecordedDefinition::Domain(_, lab), name] = &recording.definitions[..] else {
        panic!("{recording:?}")
    };
    assert_eq!(DomainDef::from_json(lab), Ok(LAB));
    assert_eq!(*name, RecordedDefinition::Name(Symbol::of("entity"), "entity".into()));
    assert_eq!((recording.created_ns, recording.closed, recording.live), (42, false, false));
    assert!(recording.is_whole());
    let [first, second] = &recording.tracks[..] else { panic!("{recording:?}") };
    assert_eq!((&*first.name, &*second.name, first.origin), ("first", "second", second.origin));
    assert_eq!((values(&first.records), first.recorded), ((5..13).collect(), 13));
    assert_eq!((values(&second.records), second.recorded), ((0..3).collect(), 3));
    for record in recording.records() {
        let emitted = Record::new(Identity::Occurrence, 0, record.entity(), &sample(record.time_ns()));
        let emitted = emitted.numbered(record.source(), record.seq());
        assert_eq!(record.id(), Some(emitted.id_in(first.origin)));
    }
}

/// What is recovered has the ids that the pipeline gave or would have given: nothing comes twice where both turn up.
#[test]
fn what_is_recovered_has_the_ids_of_its_pipeline() {
    let fixture = Fixture::new(SMALL, 64);
    let mut emitter = fixture.pipeline.emitter("first").unwrap();
    for value in 0..5 {
        emit(&mut emitter, value).unwrap();
    }
    emitter.emit_digest(EventId::digest(b"x"), 5, Symbol::of("entity"), &sample(5)).unwrap();
    let recording = fixture.read();
    assert_eq!(recording.origins(), [fixture.pipeline.origin()]);
    // The recorder goes on with another pipeline, whose sources and numbers begin at 0 again.
    let other = {
        let mut builder = Builder::new(PipelineOptions { topology: Topology::Inline, ..Default::default() });
        builder.domain(&LAB).recorder(&fixture.recorder);
        builder.start().unwrap()
    };
    let mut again = other.emitter("again").unwrap();
    for value in 0..5 {
        emit(&mut again, value).unwrap();
    }
    let both = fixture.read();
    assert_eq!(both.origins(), [fixture.pipeline.origin(), other.origin()]);
    assert_eq!(both.gaps(), []);
    let mut builder = Builder::new(PipelineOptions { topology: Topology::Inline, ..Default::default() });
    builder.domain(&LAB);
    let replay = builder.start().unwrap();
    let mut replayed = replay.emitter("replay").unwrap();
    assert_eq!(replayed.emit_numbered(both.records()).accepted, 11);
    assert_eq!(replayed.emit_numbered(recording.records()).accepted, 6);
    drop((emitter, again, replayed));
    drop((fixture, other));
    let account = replay.shutdown().account;
    assert_eq!((account.unique, account.duplicates), (11, 6));
}
