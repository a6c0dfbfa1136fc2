//! Promise: the history holds the last events, the channel loses nothing that it does not count, and the log says each
//! thing once, at its level, in a form that cannot be forged.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it observe::observers`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
#[cfg(any(feature = "channel", feature = "log"))]
use panther_events::Shared;
use panther_events::dedup::{BATCH, Verdict};
#[cfg(any(feature = "channel", feature = "log"))]
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Record, Symbol};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::{Batch, Observer, Report};

const LAB: Domain = Domain::FIRST_USER;

panther_events::payload! {
    struct Done [EventKind::new(LAB, 0)] { number: u64, by: Symbol }
}
panther_events::payload! {
    struct Sample [EventKind::new(LAB, 1)] { value: f64 }
}
panther_events::payload! {
    struct Failed [EventKind::new(LAB, 2)] { number: u64 }
}

#[cfg(any(feature = "channel", feature = "log"))]
const DOMAIN: DomainDef = DomainDef {
    domain: LAB,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[
        KindDef::lifecycle::<Done>("work.done", Identity::Content),
        KindDef::of::<Sample>("sample", Identity::Occurrence),
        KindDef::lifecycle::<Failed>("work_failed", Identity::Content),
    ]),
    states: None,
};

fn random_record(rng: &mut Rng, time_ns: u64) -> Record {
    let entity = Symbol::of(&format!("e{}", rng.below(5)));
    match rng.below(3) {
        0 => Record::new(Identity::Content, time_ns, entity, &Done { number: time_ns, by: Symbol::NONE }),
        1 => Record::new(Identity::Occurrence, time_ns, entity, &Sample { value: 0.5 }),
        _ => Record::new(Identity::Content, time_ns, entity, &Failed { number: time_ns }),
    }
}

fn feed<O: Observer>(observer: &mut O, records: &[Record]) {
    let interest = observer.interest();
    for records in records.chunks(BATCH) {
        let wanted = |(at, record): (usize, &Record)| u64::from(interest.kinds.contains(record.kind())) << at;
        let selected = records.iter().enumerate().map(wanted).fold(0, |set, bit| set | bit);
        observer.observe(&Batch::new(records, &[Verdict::New; BATCH], selected)).unwrap();
    }
}

#[test]
fn the_history_of_any_number_of_workers_holds_the_last_events() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    for round in 0..200 {
        let label = format!("round {round} seed {seed}");
        let capacity = [0, 1, 7, 64, 1000][rng.below(5) as usize];
        let records: Vec<_> = (0..rng.below(400)).map(|time| random_record(&mut rng, time)).collect();
        let workers = 1 + rng.below(3) as usize;
        let mut instances: Vec<_> = (0..workers).map(|_| History::new(capacity)).collect();
        for record in &records {
            let at = rng.below(workers as u64) as usize;
            feed(&mut instances[at], &[*record]);
        }
        let mut merged: Option<HistoryReport> = None;
        for instance in &instances {
            match &mut merged {
                None => merged = Some(instance.report()),
                Some(merged) => merged.merge(instance.report()),
            }
        }
        let report = merged.unwrap();
        let expected = &records[records.len().saturating_sub(capacity)..];
        assert_eq!(report.iter().copied().collect::<Vec<_>>(), expected, "{label}");
        assert_eq!(report.forgotten() as usize, records.len() - expected.len(), "{label}");
        let wanted = KindSet::of(&[Failed::KIND, Sample::KIND]);
        let found: Vec<_> = report.of_kinds(wanted).rev().map(Record::time_ns).collect();
        let expected = expected.iter().filter(|record| wanted.contains(record.kind())).rev();
        assert_eq!(found, expected.map(Record::time_ns).collect::<Vec<_>>(), "{label}");
    }
}

#[test]
fn a_history_of_some_kinds_is_not_flooded_by_others() {
    let mut history = History::new(3).of_kinds(KindSet::of(&[Failed::KIND]));
    let mut rng = Rng::new(1);
    let records: Vec<_> = (0..1000).map(|time| random_record(&mut rng, time)).collect();
    feed(&mut history, &records);
    let report = history.report();
    let expected: Vec<_> = records.iter().filter(|record| record.kind() == Failed::KIND).collect();
    assert_eq!(report.iter().collect::<Vec<_>>(), expected[expected.len() - 3..]);
    assert_eq!(report.forgotten() as usize, expected.len() - 3);
}

#[cfg(feature = "channel")]
mod channel {
    use super::*;
    use panther_events::observe::Interest;
    use panther_events::observe::channel::{Channel, ChannelReport};
    use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, ReportKey, Topology};
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn start(topology: Topology, channel: Channel) -> (Pipeline, ReportKey<ChannelReport>) {
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        builder.domain(&DOMAIN);
        let key = builder.observer("channel", move |_| channel.clone());
        (builder.start().unwrap(), key)
    }

    #[test]
    fn a_consumer_gets_every_event_and_the_end() {
        for topology in [Topology::Fused, Topology::Staged { dedup: 2, workers: 3 }] {
            let (channel, events) = Channel::new(Interest { duplicates: true, ..Interest::ALL }, 100_000);
            let consumer = std::thread::spawn(move || {
                let mut got = (BTreeSet::new(), 0, 0);
                for batch in events {
                    assert!((1..=64).contains(&batch.len()) && batch.records().len() == batch.len());
                    for (record, verdict) in batch.iter() {
                        got.1 += u64::from(*verdict == Verdict::New);
                        got.2 += u64::from(*verdict != Verdict::New);
                        got.0.insert(record.payload::<Done>().unwrap().number);
                    }
                }
                got
            });
            let (pipeline, key) = start(topology, channel);
            let mut emitter = pipeline.emitter("a").unwrap();
            for number in 0..5_000 {
                let done = Done { number, by: Symbol::NONE };
                emitter.emit(Symbol::of(&number.to_string()), &done).unwrap();
                if number % 5 == 0 {
                    emitter.emit(Symbol::of(&number.to_string()), &done).unwrap();
                }
            }
            let snapshot = pipeline.shutdown();
            let expected = ChannelReport { sent: 5_000, sent_duplicates: 1_000, ..ChannelReport::default() };
            assert_eq!(snapshot.report(key), Some(&expected));
            assert_eq!(consumer.join().unwrap(), ((0..5_000).collect(), 5_000, 1_000), "{topology}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_as_failed() {
        let (channel, events) = Channel::new(Interest::ALL, 3);
        let (pipeline, key) = start(Topology::Inline, channel);
        let mut emitter = pipeline.emitter("a").unwrap();
        for value in [1.0; 640] {
            emitter.emit(Symbol::of("e"), &Sample { value }).unwrap();
        }
        pipeline.drain(Duration::from_secs(20)).unwrap();
        let got: usize = events.try_iter().map(|batch| batch.len()).sum();
        assert_eq!(got, 3 * 64);
        drop(events);
        emitter.emit(Symbol::of("e"), &Sample { value: 1.0 }).unwrap();
        let snapshot = pipeline.shutdown();
        let report = *snapshot.report(key).unwrap();
        // The pipeline tells of it more and more rarely, and what it tells is lost here too.
        let own = snapshot.account.unique - 641;
        assert!((1..=4).contains(&own), "{own}");
        assert_eq!(report, ChannelReport { sent: 192, lost: 449 + own, ..ChannelReport::default() });
        let (_, delivery) = snapshot.account.observers[0];
        assert_eq!((delivery.handled, delivery.failed), (192, 449 + own));
        assert!(snapshot.warnings.iter().any(|warning| warning.contains("is gone")), "{snapshot:?}");
    }
}

#[cfg(feature = "log")]
mod log {
    use super::*;
    use ::log::Level;
    use panther_events::domain::Schema;
    use panther_events::event::Symbols;
    use panther_events::observe::log::{Log, LogOptions, LogReport};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    struct Capture(Mutex<Vec<(String, Level, String)>>);
    static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));

    impl ::log::Log for Capture {
        fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
            metadata.target() != "deaf"
        }

        fn log(&self, record: &::log::Record<'_>) {
            let line = (record.target().to_owned(), record.level(), record.args().to_string());
            self.0.lock().unwrap().push(line);
        }

        fn flush(&self) {}
    }

    /// Logs under a target of its own, and returns what has been logged there.
    fn logged(options: &LogOptions, records: &[Record], names: &[&str]) -> (Vec<(Level, String)>, LogReport) {
        // Another test may have installed it.
        let _ = ::log::set_logger(&CAPTURE);
        ::log::set_max_level(::log::LevelFilter::Trace);
        let mut schema = Schema::new();
        schema.register(&DOMAIN).unwrap();
        let symbols = Arc::new(Symbols::new());
        for name in names {
            symbols.intern(name).unwrap();
        }
        let mut log = Log::new(&Arc::new(schema), &symbols, options);
        feed(&mut log, records);
        log.flush().unwrap();
        let lines = CAPTURE.0.lock().unwrap();
        let own = lines.iter().filter(|line| line.0 == options.target);
        (own.map(|(_, level, text)| (*level, text.clone())).collect(), log.report())
    }

    fn done(time_ns: u64, entity: &str, by: &str) -> Record {
        let done = Done { number: 1, by: Symbol::of(by) };
        Record::new(Identity::Content, time_ns, Symbol::of(entity), &done)
    }

    fn sample(time_ns: u64) -> Record {
        Record::new(Identity::Occurrence, time_ns, Symbol::of("cpu"), &Sample { value: 0.5 })
    }

    #[test]
    fn noisy_kinds_have_one_line_a_window_and_others_one_an_event() {
        const S: u64 = 1_000_000_000;
        let mut records = vec![done(0, "job", "ann")];
        records.extend((0..512).map(|n| sample(n * S / 512)));
        records.push(done(S + S / 2, "job", "bo\x1b[31mb\n"));
        records.push(sample(2 * S));
        records.push(Record::new(Identity::Content, 5 * S, Symbol::NONE, &Failed { number: 7 }));
        records.extend([sample(6 * S), sample(6 * S + 3_000_000)]);
        let options = LogOptions { target: "windows", ..LogOptions::default() };
        let (lines, report) = logged(&options, &records, &["job", "ann", "bo\x1b[31mb\n"]);
        let expected = [
            (Level::Info, "00:00:00.000000 lab.work.done job number=1 by=ann"),
            (Level::Debug, "00:00:00.998046 lab.sample ×512 in 1.0 s"),
            (Level::Info, "00:00:01.500000 lab.work.done job number=1 by=bo\\u{1b}[31mb\\n"),
            (Level::Debug, "00:00:02.000000 lab.sample #c1df18f57a6cf4fb value=0.5"),
            (Level::Warn, "00:00:05.000000 lab.work_failed number=7"),
            (Level::Debug, "00:00:06.003000 lab.sample ×2 in 3.0 ms"),
        ];
        let cpu = Symbol::of("cpu").to_string();
        let expected = expected.map(|(level, line)| (level, line.replace("#c1df18f57a6cf4fb", &cpu)));
        assert_eq!(lines, expected);
        assert_eq!(report, LogReport { lines: 6, batched: 514, unwanted: 0, cut: 0 });
        assert_eq!(report.lines + report.batched - 2, records.len() as u64, "two lines stand for windows");
    }

    #[test]
    fn options_change_levels_times_and_windows() {
        let failed = Record::new(Identity::Content, 5, Symbol::NONE, &Failed { number: 7 });
        let records = [sample(1), sample(2), failed, done(3, "a", "b")];
        let options = LogOptions {
            target: "options",
            noisy_window: Duration::ZERO,
            times: false,
            levels: vec![
                (KindSet::domain(LAB), Some(Level::Trace)),
                (KindSet::of(&[Failed::KIND]), Some(Level::Error)),
                (KindSet::of(&[Done::KIND]), None),
            ],
        };
        let (lines, report) = logged(&options, &records, &["cpu"]);
        let sampled = (Level::Trace, "lab.sample cpu value=0.5".to_owned());
        let failed = (Level::Error, "lab.work_failed number=7".to_owned());
        assert_eq!(lines, [sampled.clone(), sampled, failed]);
        assert_eq!(report, LogReport { lines: 3, batched: 0, unwanted: 0, cut: 0 });
        let deaf = LogOptions { target: "deaf", ..LogOptions::default() };
        assert_eq!(logged(&deaf, &records, &[]).1, LogReport { lines: 0, batched: 0, unwanted: 4, cut: 0 });
    }

    /// A window holds what comes before its end, and what comes at its end begins another one.
    #[test]
    fn windows_of_noisy_kinds_end_on_the_nanosecond() {
        const S: u64 = 1_000_000_000;
        for (target, last_ns, expected) in [
            ("before the end", S - 1, vec!["lab.sample ×3 in 1.0 s"]),
            ("at the end", S, vec!["lab.sample ×2 in 0.5 s", "lab.sample cpu value=0.5"]),
        ] {
            let records = [sample(0), sample(S / 2), sample(last_ns)];
            let options = LogOptions { target, times: false, ..LogOptions::default() };
            let (lines, report) = logged(&options, &records, &["cpu"]);
            let texts: Vec<String> = lines.into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts, expected, "{target}");
            let batched = if expected.len() == 1 { 3 } else { 2 };
            assert_eq!(report, LogReport { lines: expected.len() as u64, batched, unwanted: 0, cut: 0 });
        }
        // A window that is still open is not written by another kind's event before its end, and is at its end.
        for (target, time_ns, first) in [("open", S - 1, "lab.work.done"), ("over", S, "lab.sample")] {
            let records = [sample(0), sample(1), done(time_ns, "job", "ann")];
            let options = LogOptions { target, times: false, ..LogOptions::default() };
            let (lines, _) = logged(&options, &records, &["job", "ann"]);
            assert!(lines.len() == 2 && lines[0].1.starts_with(first), "{target}: {lines:?}");
        }
    }
}
