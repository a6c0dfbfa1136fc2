//! Emitters at the last number of their source.
#![allow(clippy::panic, reason = "helpers of tests are tests")]

use super::*;
use crate::domain::{DomainDef, KindDef};
use crate::emit::EmitStats;
use crate::event::Shared;
use crate::event::{Domain, EventId, EventKind, Identity, Payload, Record, Symbol};
use crate::observe::{Batch, Interest, Observer, Report, Undelivered};

crate::payload! {
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}
crate::payload! {
    struct Keyed [EventKind::new(Domain::FIRST_USER, 1)] { value: u64 }
}

const DOMAIN: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[
        KindDef::of::<Sample>("sample", Identity::Occurrence),
        KindDef::of::<Keyed>("keyed", Identity::Digest),
    ]),
    states: None,
};

/// Keeps the sources and numbers of all records, with their values.
#[derive(Clone, Default)]
struct Numbers(Vec<(u16, u32, u64)>);

impl Report for Numbers {
    fn merge(&mut self, other: Numbers) {
        self.0.extend(other.0);
    }
}

impl Observer for Numbers {
    type Report = Numbers;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        let value = |record: &Record| bytemuck::cast::<_, [u64; 3]>(*record.payload_bytes())[0];
        self.0.extend(batch.iter().map(|(record, _)| (record.source(), record.seq(), value(record))));
        Ok(())
    }

    fn report(&self) -> Numbers {
        self.clone()
    }
}

/// The ways to emit, each of which numbers events.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Single,
    Digest,
    Batch,
    Records,
}

fn emit(emitter: &mut Emitter, way: Way, values: std::ops::Range<u64>) -> EmitStats {
    let before = emitter.sent();
    let digest = |value: u64| EventId::digest(&value.to_le_bytes());
    let sent = match way {
        Way::Batch => emitter.emit_batch(values.map(|value| (Symbol::NONE, Sample { value }))),
        Way::Records => emitter.emit_records(
            values.map(|value| Record::with_digest(digest(value), 1, Symbol::NONE, &Keyed { value })),
        ),
        Way::Single | Way::Digest => {
            let mut sent = EmitStats::default();
            for value in values {
                let outcome = match way {
                    Way::Single => emitter.emit(Symbol::NONE, &Sample { value }),
                    _ => emitter.emit_digest(digest(value), 1, Symbol::NONE, &Keyed { value }),
                };
                match outcome {
                    Ok(()) => sent.accepted += 1,
                    Err(EmitError::SourcesExhausted) => sent.rejected += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            sent
        }
    };
    let after = emitter.sent();
    assert_eq!(after.accepted - before.accepted, sent.accepted, "{way:?}");
    assert_eq!(after.rejected - before.rejected, sent.rejected, "{way:?}");
    sent
}

/// The source that is nearly used up, which has its turn before the other one.
const NEAR: u16 = 50_000;
const OTHER: u16 = 7;

/// No source has a number left.
fn all_used_up() -> Vec<Option<u32>> {
    vec![Some(u32::MAX); 1 << 16]
}

/// An emitter whose source has `left` numbers left sends more events than that: the last number is used, no number twice,
/// and what finds none is refused and counted; with another source, it goes on there.
#[test]
fn every_number_of_a_source_is_used_and_none_twice() {
    for way in [Way::Single, Way::Digest, Way::Batch, Way::Records] {
        for (left, events) in
            [(1, 1), (1, 2), (2, 1), (3, 70), (63, 64), (64, 64), (64, 65), (65, 64), (65, 130)]
        {
            for others in [0, 1] {
                let options = PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() };
                let mut builder = Builder::new(options);
                builder.domain(&DOMAIN);
                let key = builder.observer("numbers", |_| Numbers::default());
                let pipeline = builder.start().unwrap();
                let mut last = all_used_up();
                last[usize::from(NEAR)] = Some(u32::MAX - left as u32);
                if others > 0 {
                    last[usize::from(OTHER)] = Some(9);
                }
                pipeline.shared.emit_shared.sources.begin_after(&last);
                let mut emitter = pipeline.emitter("nearly used up").unwrap();
                assert_eq!(emitter.source(), NEAR);
                let sent = emit(&mut emitter, way, 0..events);
                let label = format!("{way:?}: {events} events, {left} numbers, {others} other source");
                let accepted = if others > 0 { events } else { events.min(left) };
                assert_eq!(
                    sent,
                    EmitStats { accepted, dropped_full: 0, rejected: events - accepted },
                    "{label}"
                );
                assert_eq!(emitter.sent(), sent, "{label}");
                // The source that is used up is gone once there is another one.
                assert_eq!(pipeline.shared.emit_shared.sources.live(), 1, "{label}");
                drop(emitter);
                assert_eq!(pipeline.shared.emit_shared.sources.live(), 0, "{label}");
                let snapshot = pipeline.shutdown();
                let numbered = |value: u64| match value.checked_sub(left) {
                    None => (NEAR, u32::MAX - (left - 1 - value) as u32, value),
                    Some(over) => (OTHER, 10 + over as u32, value),
                };
                let expected: Vec<_> = (0..accepted).map(numbered).collect();
                assert_eq!(snapshot.report(key).unwrap().0, expected, "{label}");
                let account = &snapshot.account;
                assert_eq!(account.check_final(), Ok(()), "{label}");
                assert_eq!(
                    (account.offered, account.accepted, account.rejected),
                    (events, accepted, events - accepted)
                );
                assert_eq!(snapshot.warnings, Vec::<String>::new(), "{label}");
            }
        }
    }
}

#[test]
fn a_used_up_source_is_gone_and_one_with_numbers_left_comes_again() {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    builder.domain(&DOMAIN);
    let key = builder.observer("numbers", |_| Numbers::default());
    let pipeline = builder.start().unwrap();
    let mut last = all_used_up();
    last[usize::from(NEAR)] = Some(u32::MAX - 3);
    pipeline.shared.emit_shared.sources.begin_after(&last);
    for (first, count) in [(0, 1), (1, 1), (2, 1)] {
        let mut emitter = pipeline.emitter("short").unwrap();
        assert_eq!(emit(&mut emitter, Way::Single, first..first + count).accepted, count);
    }
    assert_eq!(pipeline.emitter("none left").err(), Some(EmitError::SourcesExhausted));
    let snapshot = pipeline.shutdown();
    let mut numbers: BTreeMap<(u16, u32), u64> = BTreeMap::new();
    for (source, seq, value) in &snapshot.report(key).unwrap().0 {
        assert_eq!(numbers.insert((*source, *seq), *value), None);
    }
    let last = u32::MAX;
    assert_eq!(numbers, [((NEAR, last - 2), 0), ((NEAR, last - 1), 1), ((NEAR, last), 2)].into());
    assert_eq!(Keyed::KIND.code(), 1);
}
