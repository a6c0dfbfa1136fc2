//! The dedup stage, the tables of names and machines, the pairing of packets.

use crate::check_growth;
use bytemuck::Zeroable;
use panther_events::dedup::{BATCH, Dedup, DedupOptions, Verdict};
use panther_events::domain::Schema;
use panther_events::domain::packet::PacketSeen;
use panther_events::event::{Domain, EventId, EventKind, Identity, Record, Symbol, Symbols};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{Durability, JournalWriter, Options, ReadOptions, RunId, verify};
use panther_events::observe::state::{StateOptions, States};
use panther_events::observe::{Batch, Observer};
use panther_events::paths::{Sightings, SightingsOptions};
use std::sync::Arc;
use std::time::Duration;

/// Gives records to an observer, a batch after the other.
fn feed<O: Observer>(observer: &mut O, records: &[Record]) {
    for records in records.chunks(BATCH) {
        observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX)).unwrap();
    }
    observer.flush().unwrap();
}

fn sighting(vantage: &str, id: EventId, time_ns: u64, flow: Symbol) -> Record {
    let payload = PacketSeen { vantage: Symbol::of(vantage), ..PacketSeen::zeroed() };
    Record::with_digest(id, time_ns, flow, &payload)
}

fn sightings(horizon: Duration) -> Sightings {
    let vantages = vec![Symbol::of("a"), Symbol::of("b")];
    Sightings::new(&SightingsOptions { horizon, vantages, ..SightingsOptions::default() })
}

/// Packets that are seen at `a`, 100 ns after each other, and `delay` later at `b`.
fn crossing(
    n: usize,
    delay: Duration,
    id: impl Fn(u64) -> EventId,
    flow: impl Fn(u64) -> Symbol,
) -> Vec<Record> {
    let delay_ns = delay.as_nanos() as u64;
    let at = |vantage, delay_ns: u64, n: u64| {
        sighting(vantage, id(n), 1_000_000_000 + n * 100 + delay_ns, flow(n))
    };
    let mut records: Vec<_> = (0..n as u64).flat_map(|n| [at("a", 0, n), at("b", delay_ns, n)]).collect();
    records.sort_by_key(Record::time_ns);
    records
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn packets_whose_ids_are_chosen_to_collide() {
    // The halves of each add up, without carry, to the same.
    let id = |n: u64| EventId::from_hash(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * ((1 << 64) | 1));
    check_growth("ids that collide", 60_000, |n| {
        let mut observer = sightings(100 * MS);
        feed(&mut observer, &crossing(n, 10 * MS, id, |_| Symbol::of("flow")));
        let path = &observer.report().paths[0];
        assert_eq!((path.sent, path.lost), (n as u64, 0));
    });
}

#[test]
fn flows_whose_names_are_chosen_to_collide() {
    // Symbols that a map which takes hashes as they are would put into one place.
    let flow = |n: u64| Symbol::from_bits(n << 44);
    check_growth("flows that collide", 40_000, |n| {
        let mut observer = sightings(100 * MS);
        feed(&mut observer, &crossing(n, 10 * MS, |n| EventId::digest(&n.to_le_bytes()), flow));
        assert_eq!(observer.report().flows, n as u64);
    });
}

#[test]
fn identical_packets_on_their_way() {
    for (name, horizon) in
        [("identical packets", 1_000 * MS), ("identical packets beyond the horizon", 10 * MS)]
    {
        check_growth(name, 50_000, |n| {
            let mut observer = sightings(horizon);
            let one = |_| EventId::digest(b"one");
            feed(&mut observer, &crossing(n, 45 * MS, one, |_| Symbol::of("flow")));
            let paths = observer.report().paths;
            assert_eq!(paths.iter().map(|path| path.sent).max(), Some(n as u64));
        });
    }
}

#[test]
fn entities_whose_names_are_chosen_to_collide() {
    // Their products with the multiplier that the table of machines once had differ in the lowest bits alone.
    let multiplier = 0xd6e8_feb8_6659_fd93_u64;
    let inverse = (0..6)
        .fold(1_u64, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(multiplier.wrapping_mul(inverse))));
    assert_eq!(multiplier.wrapping_mul(inverse), 1);
    let name = |n: u64| {
        let mixed = n.wrapping_mul(inverse);
        Symbol::from_bits(mixed ^ mixed >> 32 ^ u64::from(Domain::SERVICE.number()) << 56)
    };
    let kind = EventKind::new(Domain::SERVICE, 0);
    let schema = Schema::new();
    check_growth("entities that collide", 20_000, |n| {
        let mut observer = States::new(&schema, &Arc::default(), &Arc::default(), StateOptions::default());
        let of = |n: u64| Record::of_kind(kind, Identity::Occurrence, n, name(n), [0; Record::PAYLOAD_LEN]);
        feed(&mut observer, &(0..n as u64).map(of).collect::<Vec<_>>());
        assert_eq!(observer.report().entities().count(), n);
    });
}

#[test]
fn ids_that_are_chosen_to_lie_in_one_place() {
    check_growth("ids of one place", 20_000, |n| {
        let mut dedup = Dedup::new(&DedupOptions::default()).unwrap();
        // Equal in the bits by which their place is chosen.
        let of = |n: u64| {
            let id = EventId::from_hash(u128::from(n) << 8);
            Record::of_kind_with_digest(
                id,
                EventKind::new(Domain::SERVICE, 0),
                n,
                Symbol::NONE,
                [0; Record::PAYLOAD_LEN],
            )
        };
        let mut records: Vec<_> = (0..n as u64).chain(0..n as u64).map(of).collect();
        let mut new = 0;
        for records in records.chunks_mut(BATCH) {
            new += dedup.check(records, &mut [Verdict::New; BATCH]).count_ones() as usize;
        }
        assert_eq!(new, n);
    });
}

#[test]
fn many_names() {
    check_growth("names", 50_000, |n| {
        let symbols = Symbols::new();
        for n in 0..n {
            symbols.intern(&format!("name {n}")).unwrap();
        }
        assert_eq!(symbols.len(), n);
    });
}

/// A segment with a block, empty ones, and one whose first block is damaged: each empty one is a damaged place with blocks somewhere
/// behind it.
fn empty_segments(n: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = || {
        let options = Options::new(Durability::Buffered);
        let mut writer = JournalWriter::open(dir.path(), RunId([7; 16]), options, 7).unwrap();
        let kind = EventKind::new(Domain::SERVICE, 0);
        let record = Record::of_kind(kind, Identity::Occurrence, 7, Symbol::NONE, [0; Record::PAYLOAD_LEN]);
        assert_eq!(writer.append(&[record]).lost, 0);
        writer.close().unwrap();
    };
    let path = |number: usize| dir.path().join(format!("{number:08}.journal"));
    let empty = |number: usize| drop(std::fs::File::create(path(number)).unwrap());
    write();
    empty(n - 1);
    // Goes on behind the last one.
    write();
    (1..n - 1).for_each(empty);
    let mut bytes = std::fs::read(path(n)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(path(n), bytes).unwrap();
    dir
}

#[test]
fn segments_without_a_block() {
    const N: usize = 5_000;
    let dirs = [N, 4 * N].map(|n| (n, empty_segments(n)));
    check_growth("empty segments", N, |n| {
        let (_, dir) = dirs.iter().find(|(len, _)| *len == n).unwrap();
        let report = verify(DirStorage::new(dir.path()), ReadOptions::default()).unwrap();
        assert_eq!((report.records, report.findings.len()), (2, n));
    });
}
