//! Each event counts once for each observer, whatever the observer does.
#![allow(clippy::panic, reason = "panics are what is tested")]

use super::*;
use crate::domain::Schema;
use crate::event::{Domain, Identity, Symbol};
use crate::observe::metrics::{Metrics, MetricsReport};
use std::collections::HashMap;

fn placed(number: usize, interest: Interest, observer: Box<dyn AnyObserver>) -> Placed {
    Placed {
        number,
        name: "observer".into(),
        account: number,
        priority: 0,
        interest,
        observer,
        presences: Vec::new(),
    }
}

/// Batches of one kind are divided in another way than those of several.
#[test]
fn events_count_for_their_own_kinds() {
    let kinds = [Domain::PACKET, Domain::PIPELINE].map(|domain| EventKind::new(domain, 0));
    let mut worker = Worker::new();
    let observer = Metrics::new(&Schema::new());
    let interest = Observer::interest(&observer);
    worker.add(placed(0, interest, Box::new(observer)));
    let mut expected = HashMap::new();
    for batch in ["a", "aabab", "b", "aaaa", "bbba", "ab", "abbbbbbbbb"] {
        let kind = |name: char| kinds[usize::from(name == 'b')];
        let record = |name| Record::raw(0, Identity::Content, 1, Symbol::NONE, kind(name), [0; 3]);
        let records: Vec<Record> = batch.chars().map(record).collect();
        let is_new = |at: &usize| at % 3 != 1;
        let verdict = |at| if is_new(&at) { Verdict::New } else { Verdict::Duplicate { first: None } };
        let verdicts: Vec<Verdict> = (0..records.len()).map(verdict).collect();
        let new = (0..records.len()).filter(is_new).fold(0, |mask, at| mask | 1 << at);
        worker.dispatch(&records, &verdicts, new);
        for (at, name) in batch.chars().enumerate() {
            let (new, duplicates) = expected.entry(kind(name)).or_insert((0, 0));
            *(if is_new(&at) { new } else { duplicates }) += 1;
        }
    }
    let report = worker.report().slots.remove(0).report.unwrap().unwrap();
    let report: Box<dyn Any> = report;
    let report = report.downcast::<MetricsReport>().unwrap();
    let found = report.kinds.iter().map(|count| (count.kind, (count.new, count.duplicates)));
    assert_eq!(found.collect::<HashMap<_, _>>(), expected);
}

const KINDS: [EventKind; 4] = [
    EventKind::new(Domain::PACKET, 0),
    EventKind::new(Domain::PACKET, 1),
    EventKind::new(Domain::TEST, 0),
    EventKind::new(Domain::TEST, 63),
];

/// What an observer is to do with its next batches.
#[derive(Clone, Copy)]
enum Answer {
    Take,
    Fail(u64),
    Panic,
}

/// Answers as it is told, and keeps the times of all events that it is shown, with whether they were new.
struct Scripted {
    interest: Interest,
    answers: std::vec::IntoIter<Answer>,
    shown: Shown,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Shown(Vec<(u64, bool)>);

impl Report for Shown {
    fn merge(&mut self, other: Shown) {
        self.0.extend(other.0);
    }
}

impl Observer for Scripted {
    type Report = Shown;

    fn interest(&self) -> Interest {
        self.interest
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.shown
            .0
            .extend(batch.iter().map(|(record, verdict)| (record.time_ns(), *verdict == Verdict::New)));
        match self.answers.next().unwrap_or(Answer::Take) {
            Answer::Take => Ok(()),
            Answer::Fail(events) => Err(Undelivered { events, reason: "as planned".into() }),
            Answer::Panic => std::panic::panic_any("as planned"),
        }
    }

    fn report(&self) -> Shown {
        self.shown.clone()
    }
}

/// Counts one event after the other, as the account explains itself.
#[derive(Default)]
struct Counted {
    delivery: Delivery,
    shown: Vec<(u64, bool)>,
    calls: usize,
    cut_off: bool,
}

impl Counted {
    fn take(&mut self, records: &[Record], new: u64, interest: Interest, answers: &[Answer]) {
        let (mut handled, mut duplicates, mut shown) = (0, 0, Vec::new());
        for (at, record) in records.iter().enumerate() {
            let (is_new, wanted) = (new >> at & 1 == 1, interest.kinds.contains(record.kind()));
            match (is_new, wanted) {
                (true, true) => handled += 1,
                (true, false) => self.delivery.skipped += 1,
                (false, true) if interest.duplicates => duplicates += 1,
                (false, _) => continue,
            }
            if wanted {
                shown.push((record.time_ns(), is_new));
            }
        }
        if self.cut_off || shown.is_empty() {
            self.delivery.failed += handled;
            return;
        }
        self.shown.extend(shown);
        self.calls += 1;
        match answers.get(self.calls - 1).copied().unwrap_or(Answer::Take) {
            Answer::Panic => {
                self.cut_off = true;
                self.delivery.failed += handled;
            }
            Answer::Take => {
                self.delivery.handled += handled;
                self.delivery.duplicates += duplicates;
            }
            Answer::Fail(events) => {
                let failed = events.min(self.delivery.handled + handled);
                self.delivery.handled = self.delivery.handled + handled - failed;
                self.delivery.failed += failed;
                self.delivery.duplicates += duplicates;
            }
        }
    }
}

/// Of random batches, each observer's part is counted event by event: new ones, duplicates, what it has no interest
/// in, what it could not take; also of one that comes later, goes, or panics.
#[test]
fn every_event_counts_once_for_each_observer() {
    let mut state = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
    let seed = state;
    let mut below = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for round in 0..400 {
        let mut worker = Worker::new();
        let observers: Vec<(Interest, Vec<Answer>)> = (0..4)
            .map(|_| {
                let kinds: Vec<EventKind> = KINDS.into_iter().filter(|_| below(2) == 0).collect();
                let duplicates = below(2) == 0;
                let answer = |below: &mut dyn FnMut(u64) -> u64| match below(12) {
                    0 => Answer::Panic,
                    1 | 2 => Answer::Fail(below(80)),
                    _ => Answer::Take,
                };
                let answers = (0..12).map(|_| answer(&mut below)).collect();
                (
                    Interest { kinds: KindSet::of(&kinds), duplicates, scope: crate::observe::Scope::Entity },
                    answers,
                )
            })
            .collect();
        let mut counted: [Counted; 4] = Default::default();
        // New events that came while the observer was there.
        let mut came = [0; 4];
        let add = |worker: &mut Worker, number: usize| {
            let (interest, answers) = observers[number].clone();
            let answers = answers.into_iter();
            let observer = Box::new(Scripted { interest, answers, shown: Shown::default() });
            worker.add(placed(number, interest, observer));
        };
        // The third comes after half of the batches; the fourth is another worker's; the second goes then.
        (0..2).for_each(|number| add(&mut worker, number));
        let (mut unique, mut time_ns) = (0, 0);
        for batch in 0..12 {
            if batch == 6 {
                add(&mut worker, 2);
                worker.remove(1);
            }
            let one_kind = (below(3) == 0).then(|| KINDS[below(4) as usize]);
            let records: Vec<Record> = (0..1 + below(BATCH as u64))
                .map(|_| {
                    time_ns += 1;
                    let kind = one_kind.unwrap_or(KINDS[below(4) as usize]);
                    Record::raw(0, Identity::Content, time_ns, Symbol::NONE, kind, [0; 3])
                })
                .collect();
            // Of the high bits some stand for no record.
            let new = below(1 << 30) << 34 | below(1 << 30) << 4 | below(16);
            let verdict =
                |at| if new >> at & 1 == 1 { Verdict::New } else { Verdict::Duplicate { first: None } };
            let verdicts: Vec<Verdict> = (0..records.len()).map(verdict).collect();
            worker.dispatch(&records, &verdicts, new);
            let new = new & mask(records.len());
            unique += u64::from(new.count_ones());
            for number in 0..4 {
                let is_there = [true, batch < 6, batch >= 6, false][number];
                if is_there {
                    let (interest, answers) = &observers[number];
                    counted[number].take(&records, new, *interest, answers);
                    came[number] += u64::from(new.count_ones());
                }
            }
        }
        let WorkerReport { unique: told, slots, gone } = worker.report();
        assert_eq!(told, unique, "seed {seed}");
        assert_eq!(slots.iter().map(|slot| slot.number).collect::<Vec<_>>(), [0, 2]);
        let stays = slots.iter().map(|slot| (slot.number, slot.stay)).chain(gone.into_iter().enumerate());
        let mut left = 0;
        for (number, stay) in stays.filter(|(_, stay)| stay.came > 0 || stay.delivery != Delivery::default())
        {
            let found = stay.delivery;
            assert_eq!(found, counted[number].delivery, "observer {number}, round {round} of seed {seed}");
            assert_eq!(
                (found.handled + found.skipped + found.failed, stay.came),
                (came[number], came[number])
            );
            left |= 1 << number;
        }
        assert_eq!(left, 0b111, "seed {seed}");
        for slot in slots {
            let report: Box<dyn Any> = slot.report.unwrap().unwrap();
            assert_eq!(report.downcast::<Shown>().unwrap().0, counted[slot.number].shown, "seed {seed}");
        }
    }
}

#[test]
fn deliveries_add_up_count_by_count() {
    let mut sum = Delivery { handled: 1, skipped: 20, failed: 300, duplicates: 4_000 };
    sum.add(Delivery { handled: 5, skipped: 60, failed: 700, duplicates: 8_000 });
    assert_eq!(sum, Delivery { handled: 6, skipped: 80, failed: 1_000, duplicates: 12_000 });
}
