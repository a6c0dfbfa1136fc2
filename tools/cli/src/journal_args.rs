//! What the commands over journals share: opening one, reading it with its names, and what it says of its run.

use crate::plain::plain;
use crate::results::Failure;
use panther_events::domain::Schema;
use panther_events::domain::pipeline::ProcessorFailed;
use panther_events::emit::ContextEntered;
use panther_events::event::{
    Contexts, Detail, Domain, EventId, FieldValue, Identity, KindSet, Origin, Payload, Record, Shared,
    Symbol, Symbols,
};
use panther_events::journal::{
    Damage, Defined, EnteredContext, JournalReader, Lacking, ReadOptions, overwritten,
};
use panther_events::observe::Observer;
use panther_events::observe::results::Results;
use panther_events::paths::SurveyOptions;
use panther_events::run::InputTotals;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads a journal's records together with the names and documents that they refer to.
pub(crate) struct JournalSource {
    pub(crate) reader: JournalReader<'static>,
    pub(crate) symbols: Arc<Symbols>,
    /// By which its records are read.
    pub(crate) schema: Schema,
    /// Domains of which it does not read all records.
    pub(crate) redefined: Vec<Shared<str>>,
    /// Definitions of domains that were read.
    domains: usize,
    /// There has come another one since this was last asked.
    schema_grew: bool,
    /// Definitions that do not fit what they define, or that the table refused.
    pub(crate) refused: u64,
    known: usize,
    /// It has had events under keys, of which there may be several tellers.
    is_keyed: bool,
    block: Vec<Record>,
    /// Of the block that was read last.
    origin: Option<Origin>,
}

impl JournalSource {
    pub(crate) fn open(path: &Path, options: ReadOptions) -> Result<JournalSource, Failure> {
        let shown = path.display();
        if !path.is_dir() {
            return Err(format!("{shown}: is no directory; give the directory of a journal").into());
        }
        let reader = JournalReader::open(path, options)?;
        if reader.run().is_none() {
            return Err(format!("{shown}: holds no journal that can be read").into());
        }
        // What is defined late is needed from the start.
        let mut definitions = JournalReader::open(path, options)?;
        definitions.read_definitions()?;
        let of =
            |error| Failure::from(format!("{shown}: {error}; use the version of the program that wrote it"));
        let schema = definitions.schema().map_err(of)?;
        let redefined = definitions.redefined().map_err(of)?;
        let symbols = Arc::new(Symbols::new());
        Ok(JournalSource {
            reader,
            symbols,
            schema,
            redefined,
            domains: 0,
            schema_grew: false,
            refused: 0,
            known: 0,
            is_keyed: false,
            block: Vec::new(),
            origin: None,
        })
    }

    /// Returns the next block of records; `None` at the end, and where a live writer has not come yet.
    pub(crate) fn next_block(&mut self) -> Result<Option<&[Record]>, Failure> {
        self.block.clear();
        let more = match self.reader.next_block()? {
            Some(block) => {
                self.block.extend_from_slice(block.records());
                self.is_keyed |= self.block.iter().any(is_keyed);
                self.origin = Some(block.header().origin);
                true
            }
            None => false,
        };
        self.take_definitions();
        self.restore_evicted();
        Ok(more.then_some(&self.block))
    }

    /// Returns the schema, where the journal has told of another domain since it was last asked: while it is being written.
    pub(crate) fn grown_schema(&mut self) -> Result<Option<&Schema>, Failure> {
        if !std::mem::take(&mut self.schema_grew) {
            return Ok(None);
        }
        self.schema = self.reader.schema()?;
        Ok(Some(&self.schema))
    }

    /// Returns the records of the block read last.
    pub(crate) fn block(&self) -> &[Record] {
        &self.block
    }

    /// Returns by which start of a pipeline the records of the block read last were numbered.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Counts the records of the block read last that are about an entity without a name.
    pub(crate) fn count_nameless(&self) -> u64 {
        let nameless = |record: &&Record| {
            record.entity() != Symbol::NONE && self.symbols.with_name(record.entity(), |name| name.is_none())
        };
        self.block.iter().filter(nameless).count() as u64
    }

    /// Takes what came since the last time: a journal may have a definition in every block.
    fn take_definitions(&mut self) {
        for definition in self.reader.definitions_after(self.known) {
            let fits = match definition {
                Defined::Name(symbol, name) => self.symbols.intern(name) == Ok(symbol),
                // What is longer than 64 bits is no event's document.
                Defined::Detail(digest, bytes) => u64::try_from(digest).ok().is_none_or(|digest| {
                    let text = std::str::from_utf8(bytes).unwrap_or_default();
                    self.symbols.details().intern(text).is_ok_and(|detail| detail.bits() == digest)
                }),
            };
            self.refused += u64::from(!fits);
        }
        if self.known < self.reader.definitions() {
            self.known = self.reader.definitions();
            let domains = self.reader.domain_count();
            self.schema_grew |= std::mem::replace(&mut self.domains, domains) < domains;
        }
    }

    /// Puts back names and documents of the block read last that the tables have evicted since the journal told of them: a segment
    /// tells of each once.
    fn restore_evicted(&mut self) {
        let details = self.symbols.details();
        if self.symbols.evicted() + self.symbols.evicted_early() + details.evicted() + details.evicted_early()
            == 0
        {
            return;
        }
        let mut refused = 0;
        let mut name = |symbol: Symbol| {
            if let Some(name) = self.reader.name(symbol) {
                refused += u64::from(self.symbols.intern(name) != Ok(symbol));
            }
        };
        for record in &self.block {
            name(record.entity());
            for field in self.schema.fields(record.kind()).unwrap_or_default() {
                match field.read(record.payload_bytes()) {
                    Some(FieldValue::Symbol(symbol)) => name(symbol),
                    Some(FieldValue::Detail(detail)) => {
                        if let Some(bytes) = self.reader.detail(detail.bits().into()) {
                            let text = std::str::from_utf8(bytes).unwrap_or_default();
                            // What it is refused for was counted when the journal told of it.
                            let _ = details.intern(text);
                        }
                    }
                    _ => {}
                }
            }
        }
        self.refused += refused;
    }

    /// What the journal says of its run; known once a record of it was read.
    pub(crate) fn description(&self) -> Option<Description> {
        serde_json::from_slice(self.reader.detail(Description::key())?).ok()
    }

    /// What was read from captures, once the end of the journal was read; empty where its run did not come that far.
    pub(crate) fn inputs(&self) -> Vec<InputTotals> {
        let noted = self.reader.details().filter(|(key, _)| u64::try_from(*key).is_err());
        let noted = noted.filter_map(|(_, bytes)| serde_json::from_slice::<Inputs>(bytes).ok());
        let mut noted: Vec<Inputs> = noted.filter(|inputs| inputs.schema == Inputs::SCHEMA).collect();
        noted.sort_by_key(|inputs| inputs.written_ns);
        let mut sums: Vec<InputTotals> = Vec::new();
        for note in noted.into_iter().flat_map(|inputs| inputs.inputs) {
            match sums.iter_mut().find(|sum| sum.vantage == note.vantage) {
                Some(sum) => sum.add(&note),
                None => sums.push(note),
            }
        }
        sums
    }

    /// Says why the journal, which was read to its end, may be short of events that no count tells of: what was let go on
    /// purpose, what was not known when it was made of another one, kinds that were not stored. `records` could be read.
    pub(crate) fn doubts(&self, records: u64) -> Vec<String> {
        let lacking = Lacking::of(&self.reader);
        let gone = self.reader.totals().records.saturating_sub(records).saturating_add(lacking.removed);
        let gone = gone.saturating_add(overwritten(&self.reader).unwrap_or(0));
        let mut doubts = Vec::new();
        if gone > 0 {
            doubts.push(format!("{gone} earlier events are gone"));
        }
        let unsure = "not all that the journal lacks is known";
        doubts.extend(lacking.unsure.iter().map(|why| format!("{unsure}: {why}")));
        if self.reader.unclosed() > 0 {
            let (times, lost) = (self.reader.unclosed(), "its last events may be missing");
            doubts.push(format!(
                "{times} times, a writer of the journal did not close it before another one went on; {lost}"
            ));
        }
        let abandoned =
            self.reader.findings().iter().filter(|finding| finding.damage == Damage::Abandoned).count();
        if abandoned > 0 {
            doubts.push(format!(
                "{abandoned} segments of the journal were given up; whether their writer wrote elsewhere what was in them is not known"
            ));
        }
        let stored = self.reader.stored_kinds();
        let left_out = telling_kinds().iter().filter(|kind| !stored.contains(*kind)).count();
        if left_out > 0 {
            doubts.push("events of kinds that may tell of a failure were not stored in the journal; select all kinds of the domains test, step, assertion, experiment and service, and of pipeline those of contexts and of failed processors".to_owned());
        }
        if self.is_keyed && !self.reader.stores_duplicates() {
            doubts.push(
                "there are events under keys, and what others told under the same keys was not stored in the journal: it may tell of a failure; store duplicates too (`Select::ALL`)"
                    .to_owned(),
            );
        }
        doubts
    }

    /// Says how many events never came into the journal, which was read to its end, where `numbers` of sources are not in it; `None`
    /// where none is known of that is not counted elsewhere.
    pub(crate) fn absent(&self, numbers: u64) -> Option<String> {
        let totals = self.reader.totals();
        let gaps = numbers.saturating_sub(totals.lost.saturating_add(totals.lost_upstream));
        // Not all that the pipeline dropped leaves a gap: after it, another number must have come.
        let gaps = if self.reader.stores_all() { gaps } else { 0 };
        let absent = gaps.max(Lacking::of(&self.reader).absent);
        let text =
            "events never came into the journal: they were dropped or refused, or came when it was not there";
        (absent > 0).then(|| format!("{absent} {text}"))
    }

    /// Says what is wrong with the journal, as far as it was read, a line each; those that are no loss say so.
    fn findings(&self) -> impl Iterator<Item = (bool, String)> {
        let findings = self.reader.findings().iter();
        let findings = findings.map(|finding| (finding.loses_records(), finding.to_string()));
        findings.chain(self.losses().into_iter().map(|loss| (true, loss)))
    }

    /// Says what is missing, a line each.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.findings().filter(|(loses, _)| *loses).map(|(_, what)| what).collect()
    }

    fn losses(&self) -> Vec<String> {
        let totals = self.reader.totals();
        let counts = [
            (totals.lost, "could not be written when they came; they are not in the journal"),
            (totals.lost_upstream, "were lost before they reached the journal"),
            (self.refused, "names or documents do not fit what they stand for"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut losses: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        if self.reader.falls() > 0 {
            let why = "its events came in another order, or there is more than one run in the journal";
            let places = self.reader.falls();
            losses.push(format!("the numbers of a source do not rise in {places} places; {why}"));
        }
        losses
    }

    /// Prints what is wrong with the journal, as far as it was read; false when nothing is missing.
    pub(crate) fn print_findings(&self, err: &mut impl Write) -> std::io::Result<bool> {
        let mut any = false;
        for (loses, what) in self.findings() {
            any |= loses;
            writeln!(err, "{}: {}", if loses { "error" } else { "warning" }, plain(&what))?;
        }
        if let Some(records) = overwritten(&self.reader).filter(|records| *records > 0) {
            writeln!(err, "note: of a flight recorder, which {records} earlier events were no longer in")?;
        }
        Ok(any)
    }
}

/// Whether several may have told, under one key, of what verdicts follow from.
fn is_keyed(record: &Record) -> bool {
    let told = [Domain::TEST, Domain::STEP, Domain::ASSERTION, Domain::EXPERIMENT];
    let is_told = told.contains(&record.kind().domain());
    is_told && record.identity() == Some(Identity::Digest) && !record.is_panthers()
}

/// The kinds that verdicts follow from: those that the observer of results looks at, the contexts that place them, and
/// what tells that some were not derived.
fn telling_kinds() -> KindSet {
    let (symbols, contexts) = (Arc::new(Symbols::new()), Arc::new(Contexts::default()));
    let results = Results::new(&Schema::new(), &symbols, &contexts);
    results.interest().kinds.with(ContextEntered::KIND).with(ProcessorFailed::KIND)
}

/// How a run was observed: what a replay needs to come to the same results. Kept in the journal as a document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) schema: String,
    /// The vantage points, in the order in which they were given.
    pub(crate) vantages: Vec<String>,
    pub(crate) horizon_ns: u64,
    /// As given to `--window`.
    pub(crate) window: String,
    pub(crate) digest_bytes: Option<u32>,
    /// TCP and UDP checksums are in no digest.
    pub(crate) mask_checksums: bool,
    /// The key of the digests, where they have one: see `DigestKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest_key: Option<String>,
    /// How captures were surveyed before they were fed; `None` where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) survey: Option<SurveyNote>,
}

/// What was said for the survey: see [`SurveyOptions`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SurveyNote {
    clocks_off: bool,
    clock_offsets: Vec<(String, i64)>,
    clock_sync_ns: Option<u64>,
    horizon_ns: Option<u64>,
    captured_until_ns: Vec<(String, u64)>,
}

impl SurveyNote {
    pub(crate) fn new(options: &SurveyOptions) -> SurveyNote {
        SurveyNote {
            clocks_off: options.clocks_off,
            clock_offsets: options.clock_offsets.clone(),
            clock_sync_ns: options.clock_sync_ns,
            horizon_ns: options.horizon_ns,
            captured_until_ns: options.captured_until_ns.clone(),
        }
    }

    pub(crate) fn options(&self) -> SurveyOptions {
        SurveyOptions {
            clocks_off: self.clocks_off,
            clock_offsets: self.clock_offsets.clone(),
            clock_sync_ns: self.clock_sync_ns,
            horizon_ns: self.horizon_ns,
            captured_until_ns: self.captured_until_ns.clone(),
        }
    }
}

impl Description {
    pub(crate) const SCHEMA: &str = "panther-events/run/1";

    /// The document's key in the journal: above 64 bits, where no event's document is.
    pub(crate) fn key() -> u128 {
        EventId::digest(Description::SCHEMA.as_bytes()).bits()
    }

    pub(crate) fn vantage_symbols(&self) -> Vec<Symbol> {
        self.vantages.iter().map(|name| Symbol::of(name)).collect()
    }
}

/// What a run read from captures: a document at the end of each run in a journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Inputs {
    pub(crate) schema: String,
    /// Tells a resumed run's from those before.
    pub(crate) written_ns: u64,
    pub(crate) inputs: Vec<InputTotals>,
}

impl Inputs {
    pub(crate) const SCHEMA: &str = "panther-events/inputs/1";
}

/// Takes over in which contexts a journal's events are.
#[derive(Default)]
pub(crate) struct ContextReader {
    /// Sources of which it is not known in which context they are.
    unknown: HashSet<u16>,
    /// Changes of context that found no room, and documents that are not there: events behind them may be shown elsewhere.
    pub(crate) misplaced: u64,
}

impl ContextReader {
    /// Ends the contexts of the origin before: the numbers that come may be the same. `contexts` has forgotten its numbers.
    pub(crate) fn begin_origin(&mut self) {
        self.unknown.clear();
    }

    /// Takes over what the journal says of contexts before the block read last.
    pub(crate) fn begin_block(&mut self, source: &JournalSource, contexts: &Contexts) {
        for (from, context) in source.reader.contexts_told() {
            let document = match context {
                EnteredContext::None => None,
                EnteredContext::Of(detail) => source.symbols.details().text(detail),
                EnteredContext::Unknown => None,
            };
            let is_known = context == EnteredContext::None || document.is_some();
            self.restore(from.source, from.seq, document.as_deref(), is_known, contexts);
        }
    }

    /// Takes over the definition of a context, where the record is one.
    pub(crate) fn take(&mut self, record: &Record, symbols: &Symbols, contexts: &Contexts) {
        let Some(entered) = record.payload::<ContextEntered>() else { return };
        let document = symbols.details().text(entered.context);
        let is_known = entered.context == Detail::NONE || document.is_some();
        self.restore(record.source(), record.seq(), document.as_deref(), is_known, contexts);
    }

    /// Tells whether it is known in which context the record is.
    pub(crate) fn knows(&self, record: &Record) -> bool {
        !self.unknown.contains(&record.source())
    }

    fn restore(
        &mut self,
        source: u16,
        seq: u32,
        document: Option<&str>,
        is_known: bool,
        contexts: &Contexts,
    ) {
        let is_restored = contexts.restore(source, seq, document).is_ok();
        let is_known = is_known && is_restored;
        if is_known {
            self.unknown.remove(&source);
        } else {
            self.unknown.insert(source);
            self.misplaced += 1;
        }
    }
}

/// The time, in nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
