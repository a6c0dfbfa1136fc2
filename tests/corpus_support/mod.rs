//! What must hold for any bytes at each reader: shared by the fuzz targets and the replay of their corpus.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "checks of tests")]

use panther_events::domain::{DomainDef, Schema};
use panther_events::event::Symbols;
use panther_events::ingest::capture::{CaptureOptions, CaptureReader};
use panther_events::ingest::panther::{PantherReader, PythonVersion, panther_id};
use panther_events::ingest::{Coverage, Decoded, PacketDigest};
use panther_events::journal::storage::{Storage, StorageFile};
use panther_events::journal::{JournalReader, ReadOptions, verify};
use panther_events::recorder::{RecordedDefinition, Recording};
use std::io;
use std::path::Path;

/// Reads `bytes` as the definition of a domain, and as that of a schema: what is taken reads back as it is.
pub fn schema(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(def) = DomainDef::from_json(&text) {
        assert_eq!(DomainDef::from_json(&def.to_json()).unwrap(), def);
        let mut schema = Schema::new();
        if schema.register(&def).is_ok() {
            assert_eq!(schema.domain(def.domain), Some(&def));
        }
    }
    if let Ok(schema) = Schema::from_json(&text) {
        let again = Schema::from_json(&schema.to_json()).unwrap();
        assert!(schema.domains().eq(again.domains()));
    }
}

/// Reads `bytes` as a journal of one segment.
pub fn journal(bytes: &[u8]) {
    segment("00000000.journal", bytes, 1);
}

/// Reads `bytes` as a journal of one compressed segment.
pub fn compressed(bytes: &[u8]) {
    // A frame unpacks to at most 1,024 times what it takes.
    segment("00000000.journal.zst", bytes, 1024);
}

fn segment(name: &'static str, bytes: &[u8], times: u64) {
    for salvage in [false, true] {
        let options = ReadOptions { salvage, ..ReadOptions::default() };
        let mut reader = JournalReader::over(OneFile(name, bytes.to_vec()), options).unwrap();
        let (mut records, mut earliest) = (0_u64, u64::MAX);
        while let Some(block) = reader.next_block().unwrap() {
            records += block.records().len() as u64;
            for record in block.records() {
                earliest = earliest.min(record.time_ns());
            }
        }
        assert!(records * 64 <= bytes.len() as u64 * times, "more records than bytes");
        let report = verify(OneFile(name, bytes.to_vec()), options).unwrap();
        assert_eq!(report.records, records);
        assert!(report.closed || records == 0 || !report.findings.is_empty(), "an open end is reported");
        let from_start = records;
        reader.seek_time(earliest);
        let mut sought = 0;
        while let Some(block) = reader.next_block().unwrap() {
            sought += block.records().len() as u64;
        }
        assert!(sought <= from_start);
    }
}

/// Reads `bytes` as a flight recorder's file.
pub fn recorder(bytes: &[u8]) {
    let Ok(recording) = Recording::of_bytes(Path::new("fuzz"), bytes) else { return };
    for track in &recording.tracks {
        let sum = track
            .overwritten
            .checked_add(track.damaged)
            .and_then(|sum| sum.checked_add(track.records.len() as u64));
        assert_eq!(sum, Some(track.recorded), "{track:?}");
    }
    let records = recording.records();
    assert!(records.len() * 72 <= bytes.len(), "more records than bytes");
    assert!(recording.gaps().len() <= records.len());
    let text: usize = recording
        .definitions
        .iter()
        .map(|definition| match definition {
            RecordedDefinition::Name(_, text) | RecordedDefinition::Document(_, text) => text.len(),
            RecordedDefinition::Domain(_, text) => text.len(),
        })
        .sum();
    assert!(text <= bytes.len(), "more text than bytes");
    assert_eq!(recording.merged_records().len(), records.len());
    let domains = recording.domains().map(DomainDef::from_json).count();
    let _ = (recording.is_whole(), recording.define_in(&Symbols::new()), domains);
}

/// Reads `bytes` as a capture of either format, and decodes and digests every packet.
pub fn pcap(bytes: &[u8]) {
    let options = CaptureOptions::default();
    let Ok(mut reader) = CaptureReader::new(bytes, "fuzz", options) else { return };
    let digests = [Coverage::Whole, Coverage::Prefix(Coverage::PREFIX_MIN)].map(PacketDigest::new);
    let (mut taken, mut untimed) = (0_u64, 0_u64);
    while let Ok(Some(frame)) = reader.next() {
        taken += frame.data.len() as u64;
        untimed += u64::from(!frame.has_time());
        if let Decoded::Ip(packet) = frame.decode() {
            for digest in digests {
                // Too short a packet is refused, and the same one always alike.
                assert_eq!(digest.digest(&packet).ok(), digest.digest(&packet).ok());
                let _ = digest.flow(&packet).to_string();
            }
        }
    }
    assert!(taken <= bytes.len() as u64, "more data than bytes");
    let counts = reader.counts();
    assert_eq!(counts.without_time + counts.zero_time + counts.before_1970, untimed, "{counts:?}");
    assert!(counts.options_malformed <= bytes.len() as u64 / 4, "more options than bytes");
}

/// As [`pcap`], with the first bytes of pcapng put in front where they are missing.
pub fn pcapng(bytes: &[u8]) {
    const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    if bytes.starts_with(&MAGIC) {
        return pcap(bytes);
    }
    let mut capture = MAGIC.to_vec();
    capture.extend_from_slice(bytes.get(4..).unwrap_or_default());
    pcap(&capture);
}

/// Reads `bytes` as PANTHER's JSON Lines and computes every id.
pub fn panther(bytes: &[u8]) {
    let python: PythonVersion = "3.11".parse().ok().unwrap();
    let mut reader = PantherReader::new(bytes, Path::new("fuzz"));
    let (mut events, mut refused) = (0, 0);
    for line in reader.by_ref() {
        match line {
            Ok(event) => {
                events += 1;
                assert_eq!(panther_id(&event, python), panther_id(&event, python));
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains(['\n', '\x1b']), "a message that steers a terminal");
            }
        }
    }
    let counts = reader.counts();
    assert_eq!((counts.events, counts.refused), (events, refused));
    assert_eq!(counts.lines, counts.events + counts.refused + counts.blank);
}

/// A directory with one segment, which nobody can change.
struct OneFile(&'static str, Vec<u8>);

impl Storage for OneFile {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![self.0.to_owned()])
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        match name == self.0 {
            true => Ok(Box::new(OneFile(self.0, self.1.clone()))),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn writer(&self) -> Option<String> {
        None
    }

    fn path(&self) -> &Path {
        Path::new("fuzz")
    }
}

impl StorageFile for OneFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.1.len());
        let rest = self.1.get(from..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.1.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
