//! Validation before emission: events that their entity's state does not allow are refused.

use crate::domain::{Schema, StateTable, StepOutcome};
use crate::emit::{EmitError, EventSink, NotAllowed, TypedEvent};
use crate::event::{Context, Domain, EventKind, Record, Symbol, Symbols};
use crate::hash::Keyed;
use crate::observe::state::StateQuery;
use std::collections::HashMap;
use std::sync::Arc;

/// Entities whose own events are followed; beyond, all are forgotten and known from the observer again.
const FOLLOWED_MAX: usize = 1 << 16;

/// The domain, the entity, and what encloses it where it is one in each context.
type Followed = (Domain, Symbol, Context);

/// Where an entity's own events have led it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Led {
    state: u8,
    /// How many transitions the entity has with them.
    transitions: u32,
}

/// Checks each event against what is known of its entity's state, and refuses what it does not allow.
///
/// Known is what the observer `state` has seen, and where the events that went through here lead, which may still be
/// on their way to it. As long as the observer knows of fewer transitions than these make, only they count; after that, an event that one
/// of both allows is let through. So two emitters that drive one entity at the
/// same time may let an event through that turns out invalid, which the observer counts. An entity without an event is
/// in its initial state. Kinds without a path through states always pass. A step, an assertion and a test are those of the
/// sink's context ([`EventSink::context`]). What is refused counts as rejected in the pipeline's account: it may have told of a
/// failure, so results that lack it are not known to have passed.
///
/// ```
/// use panther_events::domain::TypedSink;
/// use panther_events::observe::state::{StateOptions, StateQuery};
/// use panther_events::pipeline::{Pipeline, Validated};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let states = StateQuery::new(StateOptions::default());
/// let mut builder = Pipeline::builder();
/// let query = states.clone();
/// builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
/// let pipeline = builder.start()?;
/// let mut checked = Validated::new(pipeline.emitter("runner")?, states, &pipeline);
/// let error = checked.step("connect").execution_completed("connect", Default::default()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the step \"connect\" is created, which does not allow execution_completed; allowed are execution_started, \
///      unsupported, skipped"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Validated<S> {
    sink: S,
    states: StateQuery,
    schema: Arc<Schema>,
    symbols: Arc<Symbols>,
    followed: HashMap<Followed, Led, Keyed>,
    refused: u64,
}

impl<S: EventSink> Validated<S> {
    /// Checks what goes into `sink` against what `states` know, which observe `pipeline`.
    pub fn new(sink: S, states: StateQuery, pipeline: &super::Pipeline) -> Validated<S> {
        let (schema, symbols) = (Arc::clone(pipeline.schema()), Arc::clone(pipeline.symbols()));
        Validated { sink, states, schema, symbols, followed: HashMap::default(), refused: 0 }
    }

    /// Returns how many events were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the sink behind.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Returns where the event leads, or why it is not allowed; `None` where it leads nowhere.
    fn check(
        &mut self,
        kind: EventKind,
        entity: Symbol,
        payload: &[u8; Record::PAYLOAD_LEN],
        name: impl FnOnce(&Symbols) -> String,
    ) -> Result<Option<Led>, EmitError> {
        let Some(def) = self.schema.domain(kind.domain()) else { return Ok(None) };
        let Some(table) = &def.states else { return Ok(None) };
        let observed = self.states.state_exactly(kind.domain(), entity, &self.sink.context());
        let observed = observed.and_then(|known| {
            Some(Led { state: table.state(&known.state)?, transitions: known.transitions })
        });
        let followed = self.followed.get(&self.followed_as(kind.domain(), entity)).copied();
        let initial = Led { state: table.initial, transitions: 0 };
        let last = followed.or(observed).unwrap_or(initial);
        // What is behind is where the entity was before its own events.
        let observed = observed.filter(|observed| observed.transitions >= last.transitions);
        for from in [Some(last), observed].into_iter().flatten() {
            match table.step(from.state, kind.code(), payload) {
                StepOutcome::Moved(state) => {
                    return Ok(Some(Led { state, transitions: from.transitions.wrapping_add(1) }));
                }
                StepOutcome::Unchanged => return Ok(Some(from)),
                StepOutcome::Invalid { .. } => {}
            }
        }
        let state = last.state;
        self.refused += 1;
        let why = NotAllowed {
            domain: def.name.clone(),
            entity: name(&self.symbols),
            state: table.name(state).cloned().unwrap_or("?".into()),
            event: self.event_name(kind),
            allowed: self.leading_on(table, state),
        };
        self.sink.count_refused(EmitError::NotAllowed(Box::new(why))).map(|()| None)
    }

    /// The events that lead from `state` to another one.
    fn leading_on(&self, table: &StateTable, state: u8) -> Vec<String> {
        let moves = |kind: &EventKind| {
            // Where a path forks, one of both ways will do.
            [[0; Record::PAYLOAD_LEN], [1; Record::PAYLOAD_LEN]]
                .iter()
                .any(|payload| matches!(table.step(state, kind.code(), payload), StepOutcome::Moved(_)))
        };
        let kinds = self.schema.kinds().map(|(kind, _)| kind);
        kinds
            .filter(|kind| kind.domain() == table.domain)
            .filter(moves)
            .map(|kind| self.event_name(kind))
            .collect()
    }

    /// The event's name within its domain.
    fn event_name(&self, kind: EventKind) -> String {
        let full = self.schema.name(kind).unwrap_or("?");
        full.split_once('.').map_or(full, |(_, name)| name).to_owned()
    }

    fn follow(&mut self, kind: EventKind, entity: Symbol, led: Option<Led>) {
        let Some(led) = led else { return };
        if self.followed.len() >= FOLLOWED_MAX {
            self.followed.clear();
        }
        self.followed.insert(self.followed_as(kind.domain(), entity), led);
    }

    /// What an event given to the sink now is about.
    fn followed_as(&self, domain: Domain, entity: Symbol) -> Followed {
        (domain, entity, self.sink.context().enclosing(domain))
    }
}

impl<S: EventSink> EventSink for Validated<S> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        let entity = Symbol::of(event.entity);
        let to = self.check(event.kind, entity, &event.payload, |_| event.entity.to_owned())?;
        self.sink.emit_event(event)?;
        self.follow(event.kind, entity, to);
        Ok(())
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        let (kind, entity) = (record.kind(), record.entity());
        let name = |symbols: &Symbols| {
            symbols.name(entity).map_or_else(|| entity.to_string(), |name| name.to_string())
        };
        let to = self.check(kind, entity, record.payload_bytes(), name)?;
        self.sink.emit_record(record)?;
        self.follow(kind, entity, to);
        Ok(())
    }

    fn context(&self) -> Context {
        self.sink.context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.sink.count_refused(error)
    }
}
