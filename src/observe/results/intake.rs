//! How events are taken in: what each says, and of which part.

use super::evidence::{self, Evidence};
use super::fact::{Fact, Stage, Teller};
use super::keyed::{Keyed, Told, is_keyed};
use super::report::{self, ResultsReport, TestKey};
use super::verdict::Outcome;
use crate::domain::{Schema, TransitionPath};
use crate::event::json::{Members, beginning, unquoted};
use crate::event::{Context, Contexts, Detail, Domain, HeldNames, Holder, Level, Record, Symbol, Symbols};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Events that are kept: some 64 bytes each, and their messages.
const EVENTS_MAX: usize = 1 << 22;

/// Bytes of a test's name that are kept, to be shown.
const NAME_LEN_MAX: usize = 256;

/// Takes events in.
#[derive(Debug)]
pub(super) struct Intake {
    symbols: Arc<Symbols>,
    contexts: Arc<Contexts>,
    pub(super) parts_max: usize,
    pub(super) found: ResultsReport,
    keyed: Keyed,
    /// By which reports tell of the parts, held as long as one of them lives.
    names: Arc<Mutex<HeldNames>>,
}

impl Intake {
    pub(super) fn new(
        schema: &Schema,
        symbols: &Arc<Symbols>,
        contexts: &Arc<Contexts>,
        parts_max: usize,
    ) -> Intake {
        let names = Arc::new(Mutex::new(HeldNames::new(symbols, Holder::Report)));
        Intake {
            symbols: Arc::clone(symbols),
            contexts: Arc::clone(contexts),
            parts_max,
            found: ResultsReport {
                test_table: schema.states(Domain::TEST).cloned(),
                experiment_table: schema.states(Domain::EXPERIMENT).cloned(),
                names: vec![Arc::clone(&names)],
                ..ResultsReport::default()
            },
            keyed: Keyed::default(),
            names,
        }
    }

    /// Takes in an event, or what another teller of its key says. False when there is no room for it.
    pub(super) fn take(&mut self, record: &Record, is_duplicate: bool) -> bool {
        let domain = record.kind().domain();
        let table = match domain {
            Domain::TEST => self.found.test_table.as_deref(),
            Domain::EXPERIMENT => self.found.experiment_table.as_deref(),
            _ => None,
        };
        let has_table = matches!(domain, Domain::TEST | Domain::EXPERIMENT);
        if has_table && table.is_none() {
            return true;
        }
        let path = table.and_then(|table| table.paths.get(usize::from(record.kind().code())));
        let stays = has_table && matches!(path, None | Some(TransitionPath::Stay));
        let forks = matches!(path, Some(TransitionPath::By { .. }));
        let context = self.contexts.of(record);
        let has_room = self.found.log.facts < EVENTS_MAX;
        let may_add = self.found.len() < self.parts_max;
        let Intake { symbols, found, keyed, parts_max, names: held, .. } = self;
        let parts_max = *parts_max;
        let detail = evidence::detail(record);
        let teller = Teller {
            numbering: self.contexts.numbering(),
            source: record.source(),
            is_panthers: record.is_panthers(),
            place: context.within_test().around_itself(Level::enclosed(domain), record.entity()),
        };
        symbols.details().with_text(detail, |document| {
            // What it may have said nobody knows.
            let is_unknown = document.is_none() && detail != Detail::NONE;
            let document = Members::of(document.unwrap_or_default());
            let mut evidence = Evidence::of(record, document);
            if is_unknown {
                evidence.says(Outcome::Unknown, || "its document is not known".to_owned());
                evidence.found = evidence.found.map(|found| match found {
                    Outcome::Failed => found,
                    _ => Outcome::Unknown,
                });
            }
            if evidence.executing == Some(Stage::Begins) {
                evidence.more.step_names = names(document, "steps").map(|name| Symbol::of(&name)).collect();
            }
            if domain == Domain::STEP && evidence.begins.is_some() {
                let name = document.raw("step_name").and_then(name).map(|name| Symbol::of(&name));
                evidence.more.step_names = name.filter(|name| *name != record.entity()).into_iter().collect();
            }
            if domain == Domain::EXPERIMENT {
                let shown = |name: Cow<'_, str>| (Symbol::of(&name), beginning(&name, NAME_LEN_MAX).into());
                evidence.more.test_names = names(document, "test_names").map(shown).collect();
            }
            if stays {
                evidence.ends = 0;
            } else if forks {
                evidence.more.payload = Some(*record.payload_bytes());
            }
            if is_keyed(record) {
                match keyed.compare(record, &evidence, is_duplicate, has_room) {
                    Told::First => {}
                    Told::Again => return true,
                    Told::Worse => {
                        found.contrary += 1;
                        evidence = evidence.contrary();
                    }
                    Told::Unkept => return false,
                }
            }
            let event = Event {
                record,
                evidence,
                context,
                document,
                symbols,
                held,
                teller,
                has_room,
                may_add,
                parts_max,
            };
            match domain {
                Domain::TEST => found.take_of_test(event),
                Domain::STEP => found.take_of_step(event),
                Domain::ASSERTION => found.take_of_assertion(event),
                Domain::EXPERIMENT => found.take_of_experiment(event),
                _ => found.take_of_service(event),
            }
        })
    }
}

/// An event with what is known of it.
struct Event<'a> {
    record: &'a Record,
    evidence: Evidence,
    context: Context,
    document: Members<'a>,
    symbols: &'a Symbols,
    held: &'a Mutex<HeldNames>,
    teller: Teller,
    /// Whether there is room for one more event, and for one more part.
    has_room: bool,
    may_add: bool,
    parts_max: usize,
}

impl Event<'_> {
    /// The test that its context or document names.
    fn test(&self) -> TestKey {
        TestKey { experiment: self.experiment(), test: self.place(Level::Test, "test_case_id") }
    }

    fn experiment(&self) -> Symbol {
        self.context.get(Level::Experiment).unwrap_or(Symbol::NONE)
    }

    /// Where a part belongs, by its context or by a member of its document.
    fn place(&self, level: Level, member: &str) -> Symbol {
        self.context.get(level).or_else(|| self.name(member)).unwrap_or(Symbol::NONE)
    }

    /// Which assertion it is of.
    fn assertion(&self) -> (TestKey, Symbol, Symbol) {
        (self.test(), self.place(Level::Step, "step_id"), self.record.entity())
    }

    /// Finds or adds; `None` when there is no room.
    fn entry<'m, K: Hash + Eq, V: Default>(&self, map: &'m mut HashMap<K, V>, key: K) -> Option<&'m mut V> {
        match map.entry(key) {
            _ if !self.has_room => None,
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => self.may_add.then(|| {
                self.hold_names();
                place.insert(V::default())
            }),
        }
    }

    /// Holds the names by which the tree tells of a part.
    fn hold_names(&self) {
        let (TestKey { experiment, test }, step, part) = self.assertion();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let names = [experiment, test, step, part].into_iter();
        names.filter(|name| *name != Symbol::NONE).for_each(|name| held.hold(name));
    }

    /// Makes a fact of what it says.
    fn fact(&self, evidence: Evidence) -> Fact {
        report::fact(self.record, self.test().test != Symbol::NONE, evidence)
    }

    /// The name that stands in a member of the document. One that the table refuses goes by number.
    fn name(&self, member: &str) -> Option<Symbol> {
        let name = name(self.document.raw(member)?)?;
        Some(self.symbols.intern(&name).unwrap_or(Symbol::of(&name)))
    }
}

/// The names that a member of the document lists.
fn names<'a>(document: Members<'a>, member: &str) -> impl Iterator<Item = Cow<'a, str>> {
    document.values(member).filter_map(name)
}

/// Reads a name that is written so.
fn name(raw: &str) -> Option<Cow<'_, str>> {
    let name = unquoted(raw)?;
    // Halves of surrogate pairs are read as one sign; as they are written they are several.
    let has_halves = name.contains(char::REPLACEMENT_CHARACTER) && raw.contains("\\ud");
    // No other name begins with that sign and reads like an escape.
    Some(if has_halves { format!("{}{raw}", char::REPLACEMENT_CHARACTER).into() } else { name })
}

impl ResultsReport {
    fn take_of_test(&mut self, mut event: Event<'_>) -> bool {
        let key = TestKey { experiment: event.experiment(), test: event.record.entity() };
        let (checking, check, step) = (event.evidence.checking, event.evidence.check, event.evidence.step);
        let Some(test) = event.entry(&mut self.tests, key) else { return false };
        if let Some(check) = check {
            test.checks.add(check);
        }
        if let Some(checking) = checking {
            let fact = event.fact(event.evidence.of_checks(checking));
            self.log.keep(&mut test.checking, event.teller, Fact { by_other: true, ..fact });
        }
        let name = step.and_then(|_| event.name("step_name"));
        let mut own = event.evidence.clone();
        match step {
            None => {}
            // Nobody knows which, so it is the test that failed, or of which nobody knows whether the step ended.
            Some(Outcome::Failed) if name.is_none() => own.outcome = step,
            Some(outcome) if name.is_none() && outcome != Outcome::Passed => {
                own.says(Outcome::Unknown, || "a step without a name began".to_owned());
            }
            Some(_) if own.outcome.is_none() => own.more.message = None,
            Some(_) => {}
        }
        // Wherever a test tells of itself, it is one.
        let teller = Teller { place: Context::NONE, ..event.teller };
        self.log.keep(&mut test.facts, teller, event.fact(own));
        let (Some(outcome), Some(name)) = (step, name) else { return true };
        event.may_add = self.len() < event.parts_max;
        let Some(step) = event.entry(&mut self.steps, (key, name)) else { return false };
        let evidence = std::mem::take(&mut event.evidence).of_step(outcome);
        let fact = event.fact(evidence);
        self.log.keep(
            step,
            event.teller,
            Fact { by_other: true, names_test: true, is_of_step: true, ..fact },
        );
        true
    }

    fn take_of_step(&mut self, mut event: Event<'_>) -> bool {
        let key = (event.test(), event.record.entity());
        let Some(step) = event.entry(&mut self.steps, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let fact = event.fact(evidence);
        self.log.keep(step, event.teller, fact);
        true
    }

    fn take_of_assertion(&mut self, mut event: Event<'_>) -> bool {
        let key = event.assertion();
        let Some(known) = event.entry(&mut self.assertions, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let fact = event.fact(evidence);
        self.log.keep(&mut known.own, event.teller, fact);
        true
    }

    /// What a service finds that tests others is an assertion under its name.
    fn take_of_service(&mut self, mut event: Event<'_>) -> bool {
        let Some(outcome) = event.evidence.found else { return true };
        let key = event.assertion();
        let Some(known) = event.entry(&mut self.assertions, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence).of_assertion(outcome);
        let fact = event.fact(evidence);
        self.log.keep(&mut known.found, event.teller, Fact { by_other: true, ..fact });
        true
    }

    fn take_of_experiment(&mut self, mut event: Event<'_>) -> bool {
        let key = event.record.entity();
        let Some(experiment) = event.entry(&mut self.experiments, key) else { return false };
        let evidence = std::mem::take(&mut event.evidence);
        let teller = Teller { place: Context::NONE, ..event.teller };
        self.log.keep(experiment, teller, event.fact(evidence));
        true
    }
}
