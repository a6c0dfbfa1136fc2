//! Promise: each segment says in which contexts its sources are, and what their emitters are named, so that it can be read alone:
//! whatever retention removed, a disk refused, a repair or a compression made of it.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --all-features --test it journal::contexts`.
#![cfg(feature = "journal")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use crate::support::journal::{Disk, Fault, FaultKind, Model, Rng, Sample, entity_name, record, seed};
use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::emit::ContextEntered;
use panther_events::event::{
    Context, Contexts, Detail, Details, Domain, Identity, Level, Origin, Record, Symbol, Symbols,
};
use panther_events::journal::{
    Durability, EnteredContext, JournalLog, JournalReader, JournalWriter, Options, ReadOptions, RunId,
    SourceFrom, repair,
};
use panther_events::pipeline::Pipeline;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const RUN: RunId = RunId(*b"a run of a test.");
const ENOSPC: i32 = 28;

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

/// An event, as told from all others.
type Key = (Origin, u16, u32);

/// Where an event is, and the name of its emitter.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    context: Context,
    emitter: Option<String>,
}

/// One emitter.
#[derive(Clone)]
struct Emitter {
    next: u32,
    context: Context,
    document: Option<String>,
    name: Option<String>,
}

/// A run that is written, and what is true of its events.
struct Truth {
    rng: Rng,
    details: Details,
    told: HashSet<u64>,
    origin: Origin,
    emitters: Vec<Emitter>,
    places: HashMap<Key, Place>,
    now: u64,
}

impl Truth {
    fn new(rng: Rng) -> Truth {
        let (details, told, places) = (Details::new(), HashSet::new(), HashMap::new());
        Truth { rng, details, told, origin: Origin::from_bits(0), emitters: Vec::new(), places, now: 0 }
    }

    fn begin_origin(&mut self, writer: &mut JournalWriter) {
        self.origin = Origin::from_bits(u128::from(self.rng.next()));
        writer.set_origin(self.origin);
        let emitter = Emitter { next: 0, context: Context::NONE, document: None, name: None };
        self.emitters = vec![emitter; 2 + self.rng.index(6)];
        for source in 0..self.emitters.len() {
            if !self.rng.one_in(3) {
                self.name(writer, source);
            }
        }
    }

    /// Gives a source's number to an emitter of another name.
    fn name(&mut self, writer: &mut JournalWriter, source: usize) {
        let name = format!("emitter {}", self.rng.below(100));
        let from = SourceFrom { origin: self.origin, source: source as u16, seq: self.emitters[source].next };
        assert!(writer.define_source(from, &name).unwrap());
        self.emitters[source].name = Some(name);
    }

    /// Enters or leaves a context: the event that says so is its first.
    fn enter(&mut self, writer: &mut JournalWriter, source: usize) -> Record {
        let (test, step) = (self.rng.below(20), self.rng.below(3));
        let (context, document) = match self.rng.one_in(4) {
            true => (Context::NONE, None),
            false => (
                Context::of(Level::Test, &format!("test {test}"))
                    .entered(Level::Step, Symbol::of(&format!("step {step}"))),
                Some(format!("{{\"test\":\"test {test}\",\"step\":\"step {step}\"}}")),
            ),
        };
        let detail = match &document {
            Some(text) => self.details.intern(text).unwrap(),
            None => Detail::NONE,
        };
        if let Some(text) = &document
            && self.told.insert(detail.bits())
        {
            writer.define_detail(detail.bits().into(), text.as_bytes()).unwrap();
        }
        (self.emitters[source].context, self.emitters[source].document) = (context, document);
        let entity = Symbol::of("a part");
        Record::new(Identity::Occurrence, self.now, entity, &ContextEntered { context: detail })
    }

    fn event(&mut self, source: usize, event: Option<Record>) -> Record {
        let emitter = &mut self.emitters[source];
        let (seq, time_ns) = (emitter.next, self.now);
        emitter.next += 1;
        self.now += 1;
        let place = Place { context: emitter.context, emitter: emitter.name.clone() };
        self.places.insert((self.origin, source as u16, seq), place);
        let event = event.unwrap_or_else(|| record(source as u16, seq, time_ns));
        event.numbered(source as u16, seq).identified(self.origin)
    }

    /// Writes on for a while.
    fn write(&mut self, writer: &mut JournalWriter, rounds: usize) {
        for _ in 0..rounds {
            let source = self.rng.index(self.emitters.len());
            match self.rng.below(40) {
                0 => {
                    writer.forget_definitions();
                    self.told.clear();
                }
                1 => self.name(writer, source),
                2 if self.rng.one_in(8) => self.begin_origin(writer),
                3..10 => {
                    let entered = self.enter(writer, source);
                    let entered = self.event(source, Some(entered));
                    let _ = writer.append(&[entered]);
                }
                _ => {
                    let len = 1 + self.rng.index(60);
                    let batch: Vec<_> = (0..len).map(|_| self.event(source, None)).collect();
                    let _ = writer.append(&batch);
                }
            }
            self.now += 1;
            writer.tick(self.now);
        }
    }

    /// Checks all events of a journal, of which some may be gone; returns how many there are, and of how many it is not known where.
    fn check(&self, disk: &Disk) -> (usize, usize) {
        self.check_as(disk, false)
    }

    /// As [`Truth::check`]; where it `is_damaged`, names may be missing, and documents.
    fn check_as(&self, disk: &Disk, is_damaged: bool) -> (usize, usize) {
        let mut reader = JournalReader::over(Model::of(disk.clone()), ReadOptions::default()).unwrap();
        let (mut events, mut unknown_events) = (0, 0);
        let symbols = Arc::new(Symbols::new());
        let contexts = Contexts::new(&symbols, Contexts::LIMIT_DEFAULT);
        let (mut origin, mut unknown) = (None, HashSet::new());
        while let Some(block) = reader.next_block().unwrap() {
            let (of_block, records) = (block.header().origin, block.records().to_vec());
            if origin.replace(of_block) != Some(of_block) {
                contexts.forget_numbers();
                unknown.clear();
            }
            let text = |detail: Detail| {
                let bytes = reader.detail(detail.bits().into())?;
                Some(std::str::from_utf8(bytes).unwrap().to_owned())
            };
            for (from, context) in reader.contexts_told() {
                assert_eq!(from.origin, of_block);
                let document = match context {
                    EnteredContext::None => None,
                    EnteredContext::Of(detail) => Some(text(detail).unwrap()),
                    EnteredContext::Unknown => {
                        unknown.insert(from.source);
                        continue;
                    }
                };
                unknown.remove(&from.source);
                contexts.restore(from.source, from.seq, document.as_deref()).unwrap();
            }
            for record in &records {
                if let Some(entered) = record.payload::<ContextEntered>() {
                    unknown.remove(&record.source());
                    let document = text(entered.context);
                    if document.is_none() && entered.context != Detail::NONE {
                        assert!(is_damaged, "a document is missing");
                        unknown.insert(record.source());
                    }
                    contexts.restore(record.source(), record.seq(), document.as_deref()).unwrap();
                }
                events += 1;
                if unknown.contains(&record.source()) {
                    unknown_events += 1;
                    continue;
                }
                let emitter = reader.source_name(record.source(), record.seq()).map(str::to_owned);
                let mut found = Place { context: contexts.of(record), emitter };
                let key = (of_block, record.source(), record.seq());
                let place = &self.places[&key];
                if is_damaged && found.emitter.is_none() {
                    found.emitter.clone_from(&place.emitter);
                }
                assert_eq!(&found, place, "{key:?} of {:?}", disk.names());
                let named = found.context.parts().all(|(_, name)| symbols.name(name).is_some());
                assert!(named, "names come with the contexts");
            }
        }
        (events, unknown_events)
    }
}

fn options(durability: Durability) -> Options {
    Options {
        block_len: 8 << 10,
        segment_len: 32 << 10,
        held_bytes_max: 64 << 10,
        ..Options::new(durability)
    }
}

fn writer(model: &Model, options: Options) -> JournalWriter {
    let mut writer = JournalWriter::over(Box::new(model.clone()), RUN, options, 0).unwrap();
    for source in 0..8 {
        writer.define(Symbol::of(&entity_name(source)), &entity_name(source)).unwrap();
    }
    writer
}

/// Every segment of a disk alone, and every number of last ones.
fn parts(disk: &Disk) -> Vec<Disk> {
    let names = disk.names();
    let without = |gone: &[String]| {
        let mut part = disk.clone();
        gone.iter().for_each(|name| part.remove(name));
        part
    };
    let suffixes = (0..names.len()).map(|first| without(&names[..first]));
    let alone = (0..names.len()).map(|kept| {
        let gone: Vec<_> = names.iter().enumerate().filter(|(at, _)| *at != kept).collect();
        without(&gone.into_iter().map(|(_, name)| name.clone()).collect::<Vec<_>>())
    });
    suffixes.chain(alone).collect()
}

const DURABILITIES: [Durability; 3] = [
    Durability::Buffered,
    Durability::ProcessCrash,
    Durability::PowerLoss { every: std::time::Duration::from_nanos(400) },
];

#[test]
fn any_segments_that_are_kept_know_the_contexts_and_names_of_all_their_events() {
    let mut rng = Rng::new(seed());
    for durability in DURABILITIES {
        for compress in [None, Some(1)].into_iter().filter(|level| cfg!(feature = "zstd") || level.is_none())
        {
            let (model, mut truth) = (Model::default(), Truth::new(Rng::new(rng.next())));
            // A run, and another one that resumes it.
            for _ in 0..2 {
                let mut writer = writer(&model, Options { compress, ..options(durability) });
                truth.told.clear();
                truth.begin_origin(&mut writer);
                truth.write(&mut writer, 250);
                writer.close().unwrap();
            }
            let disk = model.disk().clone();
            let all = truth.places.len();
            assert_eq!(truth.check(&disk), (all, 0));
            let parts = parts(&disk);
            assert!(parts.len() > 20, "{}", parts.len());
            let events = parts.iter().map(|part| {
                let (events, unknown) = truth.check(part);
                assert_eq!(unknown, 0, "{durability:?} {:?}", part.names());
                // What a repair makes of it, too.
                let repaired = Model::default();
                repair(Model::of(part.clone()), Box::new(repaired.clone()), ReadOptions::default(), 0)
                    .unwrap();
                assert_eq!(truth.check(&repaired.disk()), (events, 0));
                events
            });
            assert!(events.sum::<usize>() > all);
        }
    }
}

#[test]
fn retention_leaves_segments_that_know_their_contexts_and_stay_within_its_bytes() {
    let mut rng = Rng::new(seed());
    let retain_bytes = Some(128 << 10);
    for durability in DURABILITIES {
        let (model, mut truth) = (Model::default(), Truth::new(Rng::new(rng.next())));
        let mut writer = writer(&model, Options { retain_bytes, ..options(durability) });
        truth.begin_origin(&mut writer);
        for _ in 0..20 {
            truth.write(&mut writer, 50);
            let disk = model.disk().clone();
            let len: usize = disk.names().iter().map(|name| disk.bytes(name).len()).sum();
            assert!(len < 200 << 10, "{len} bytes");
        }
        let account = writer.close().unwrap();
        assert!(account.segments_retired > 20 && account.lost == 0);
        let disk = model.disk().clone();
        let (events, unknown) = truth.check(&disk);
        assert!(events > 500 && events < truth.places.len() && unknown == 0);
    }
}

#[test]
fn what_is_lost_for_want_of_space_leaves_no_event_in_another_context() {
    let mut rng = Rng::new(seed());
    for durability in DURABILITIES {
        for _ in 0..6 {
            let (model, mut truth) = (Model::default(), Truth::new(Rng::new(rng.next())));
            let mut writer = writer(&model, options(durability));
            truth.begin_origin(&mut writer);
            let mut lost = 0;
            for _ in 0..6 {
                truth.write(&mut writer, 30);
                model.disk().fault = Some(Fault { at: 0, for_good: true, kind: FaultKind::Error(ENOSPC) });
                truth.write(&mut writer, 60);
                model.disk().fault = None;
                truth.now += 1_000_000_000;
                writer.tick(truth.now);
                lost = writer.account().lost;
            }
            assert!(lost > 100, "{lost}");
            writer.close().unwrap();
            let disk = model.disk().clone();
            for part in parts(&disk) {
                let (events, unknown) = truth.check(&part);
                assert_eq!((unknown, events > 0), (0, events > 0));
            }
        }
    }
}

/// What damage hides may have told of a context: of the events behind it that is not known, and no event is in a wrong one.
#[test]
fn behind_damage_a_context_is_known_or_said_to_be_unknown() {
    let mut rng = Rng::new(seed());
    let (mut known, mut unknown) = (0, 0);
    for _ in 0..15 {
        let (model, mut truth) = (Model::default(), Truth::new(Rng::new(rng.next())));
        let mut writer = writer(&model, options(Durability::ProcessCrash));
        truth.begin_origin(&mut writer);
        truth.write(&mut writer, 200);
        writer.close().unwrap();
        let mut disk = model.disk().clone();
        for _ in 0..3 {
            let names = disk.names();
            let bytes = disk.bytes_mut(&names[rng.index(names.len())]);
            let at = rng.index(bytes.len());
            bytes[at] ^= 1 << rng.index(8);
        }
        let (events, of_these) = truth.check_as(&disk, true);
        unknown += of_these;
        known += events - of_these;
        let repaired = Model::default();
        if repair(Model::of(disk), Box::new(repaired.clone()), ReadOptions::default(), 0).is_ok() {
            assert_eq!(truth.check_as(&repaired.disk(), true), (events, of_these), "a repair knows no more");
        }
    }
    assert!(known > unknown && unknown > 0, "{known} known, {unknown} not");
}

/// A segment has no more of a source than it needs: nothing of one without a context and a name, and of others once.
#[test]
fn what_is_said_of_sources_is_said_once_in_a_segment() {
    let model = Model::default();
    let mut writer = writer(&model, options(Durability::ProcessCrash));
    let mut truth = Truth::new(Rng::new(1));
    truth.origin = Origin::from_bits(9);
    writer.set_origin(truth.origin);
    let emitter = Emitter { next: 0, context: Context::NONE, document: None, name: None };
    truth.emitters = vec![emitter; 3];
    let entered = std::iter::repeat_with(|| truth.enter(&mut writer, 1)).find(|entered| {
        entered.payload::<ContextEntered>().is_some_and(|entered| entered.context != Detail::NONE)
    });
    let entered = truth.event(1, entered);
    let _ = writer.append(&[entered]);
    truth.name(&mut writer, 2);
    for _ in 0..1000 {
        let batch: Vec<_> = (0..3).map(|source| truth.event(source, None)).collect();
        let _ = writer.append(&batch);
    }
    writer.close().unwrap();
    let disk = model.disk().clone();
    let mut said = HashMap::<_, Vec<_>>::new();
    let mut reader = JournalReader::over(Model::of(disk.clone()), ReadOptions::default()).unwrap();
    while let Some(block) = reader.next_block().unwrap() {
        let segment = block.header().at.segment;
        let contexts: Vec<_> = reader.contexts_told().map(|(from, _)| from.source).collect();
        said.entry(segment).or_default().extend(contexts);
    }
    assert_eq!(said.remove(&0), Some(vec![]), "the first has the record that says so");
    assert!(said.len() > 3 && said.values().all(|sources| *sources == [1]), "{said:?}");
    assert_eq!(truth.check(&disk), (3001, 0));
}

/// Blocks take their room however few records they have: ending many for what is said of sources loses nothing.
#[test]
fn ending_blocks_for_names_and_origins_fills_no_memory() {
    let model = Model::default();
    let mut writer =
        writer(&model, Options { flush_after: std::time::Duration::MAX, ..options(Durability::Buffered) });
    let mut truth = Truth::new(Rng::new(2));
    let mut stored = 0;
    for round in 0..200 {
        truth.begin_origin(&mut writer);
        for _ in 0..3 {
            let event = truth.event(0, None);
            assert_eq!(writer.append(&[event]).lost, 0, "round {round}");
            truth.name(&mut writer, 0);
            stored += 1;
        }
    }
    writer.close().unwrap();
    let disk = model.disk().clone();
    assert_eq!(truth.check(&disk), (stored, 0));
}

/// A pipeline's journal has the names of its emitters; of records that another pipeline numbered, it has none.
#[test]
fn a_reader_knows_the_names_of_a_pipelines_emitters() {
    for is_replay in [false, true] {
        let (dir, symbols) = (tempfile::tempdir().unwrap(), Arc::new(Symbols::new()));
        let mut schema = Schema::new();
        schema.register(&LAB).unwrap();
        let options = options(Durability::ProcessCrash);
        let log = JournalLog::open(dir.path(), RUN, options, Clock::cycles(), &symbols, &schema);
        let mut log = Some(log.unwrap());
        let mut builder = Pipeline::builder();
        builder.domain(&LAB).symbols(Arc::clone(&symbols));
        builder.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        let pipeline = builder.start().unwrap();
        let mut emitters = ["alpha", "beta"].map(|name| pipeline.emitter(name).unwrap());
        let mut names = HashMap::new();
        for number in 0..3000 {
            let (at, emitter) = (number as usize % 2, &mut emitters[number as usize % 2]);
            names.insert(emitter.source(), ["alpha", "beta"][at]);
            // Fifths are of another kind.
            let event = record(emitter.source(), 5 * number, 1);
            let sent = if is_replay { emitter.emit_numbered([event]) } else { emitter.emit_records([event]) };
            assert_eq!(sent.accepted, 1);
        }
        drop(emitters);
        let account = pipeline.shutdown().account;
        assert_eq!(account.offered, 3000);
        let mut reader = JournalReader::open(dir.path(), ReadOptions::default()).unwrap();
        let mut events = 0;
        while let Some(block) = reader.next_block().unwrap() {
            let records = block.records().to_vec();
            for record in &records {
                let name = reader.source_name(record.source(), record.seq());
                assert_eq!(name, names.get(&record.source()).copied().filter(|_| !is_replay));
            }
            events += records.len();
        }
        assert_eq!(events, 3000);
    }
}
