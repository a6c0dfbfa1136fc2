//! State machines as tables: states, transitions, and the path of states that each kind of event leads along.
//!
//! A table is plain data, so that it can be a `const`, be printed, and be compared. It holds no entity's state; an
//! observer keeps one `u8` an entity and asks [`StateTable::step`].
//!
//! - An event whose path is not allowed from the current state is an *invalid transition*: no part of it is
//!   applied, not even the allowed beginning.
//! - An event that leads to the current state changes nothing, whatever lies on the way: `[stopping, stopped]` from
//!   `stopped` says what is known already.
//! - A state on the path that equals the current one is skipped: `[starting, running]` from `starting`.
//! - A path may depend on the state that it starts from: a step that begins again after it failed goes through
//!   `retrying`, and at first does not.
//! - An event without a path changes nothing.

use crate::domain::kind::KindDef;
use crate::domain::names::is_text;
use crate::event::payload::FieldValue;
use crate::event::{Domain, Field, Shared};

/// States that a table can have.
pub const STATES_MAX: usize = 32;

/// The life of a domain's entities.
#[derive(Clone, Eq, Debug)]
pub struct StateTable {
    /// The domain whose events move these states.
    pub domain: Domain,
    /// The states' names, by number; at most [`STATES_MAX`].
    pub states: Shared<[Shared<str>]>,
    /// The state that an entity is in before its first event.
    pub initial: u8,
    /// The states at which a life may end: bit `n` is state `n`. A table may allow a way out of one.
    pub terminal: u32,
    /// By state: the set of states that may follow, bit `n` being state `n`.
    pub next: Shared<[u32]>,
    /// By code of the kind; codes beyond the end have no path.
    pub paths: Shared<[TransitionPath]>,
}

impl PartialEq for StateTable {
    /// Whether both say the same: a code without a path may be left out at the end or not.
    fn eq(&self, other: &StateTable) -> bool {
        let path = |table: &StateTable, code: usize| match table.paths.get(code) {
            None | Some(TransitionPath::Stay) => None,
            Some(path) => Some(path.clone()),
        };
        let codes = self.paths.len().max(other.paths.len());
        (self.domain, self.initial, self.terminal) == (other.domain, other.initial, other.terminal)
            && self.states == other.states
            && self.next == other.next
            && (0..codes).all(|code| path(self, code) == path(other, code))
    }
}

/// Where an event leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransitionPath {
    /// Nowhere: the event says nothing about the state.
    Stay,
    /// Along these states, to the last of them.
    To(Shared<[u8]>),
    /// Along one of two ways, by a field of the payload. Without a value in that field the event leads nowhere.
    By {
        /// A number or flag.
        field: Shared<Field>,
        /// The way when the field is zero or false.
        zero: Shared<[u8]>,
        /// The way when it is anything else.
        other: Shared<[u8]>,
    },
    /// Along one of two ways, by the state that the entity is in.
    From {
        /// The state that has a way of its own.
        state: u8,
        /// The way from there.
        way: Shared<[u8]>,
        /// The way from everywhere else.
        other: Shared<[u8]>,
    },
}

/// What an event does to an entity's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepOutcome {
    /// The entity is now in this state.
    Moved(u8),
    /// The event has no path, or leads to where the entity is.
    Unchanged,
    /// The path is not allowed; the entity stays where it was.
    Invalid {
        /// The state, on the path or at its beginning, from which there was no way on.
        at: u8,
        /// The state that may not follow it.
        wanted: u8,
    },
}

/// What is wrong with a state table.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum StateFault {
    /// The table names another domain.
    #[error("the table is for domain {0}; give it to that one")]
    Foreign(u8),
    /// There are none, or too many.
    #[error("there are {0} states; give 1 to {STATES_MAX}")]
    Count(usize),
    /// Two states have one name.
    #[error("two states are named {0:?}; give each its own name")]
    Name(String),
    /// A state's name is empty, too long, or has control characters.
    #[error("{0:?} is no name for a state; give it 1 to 64 bytes without control characters")]
    BadName(String),
    /// There is not one set of transitions a state.
    #[error("{sets} sets of transitions for {states} states; give one for each")]
    Transitions { sets: usize, states: usize },
    /// A state's number is beyond the states.
    #[error("{place} names state {state}, and there are {states}; give one of them")]
    Range { place: &'static str, state: u32, states: usize },
    /// No path of transitions leads to a state from the initial one.
    #[error("no transitions lead from the initial state to {0:?}; take it out or lead to it")]
    Unreachable(String),
    /// A path has more states than a table can have.
    #[error("the path of code {0} has more than {STATES_MAX} states; leave out those that it passes twice")]
    Long(usize),
    /// A kind has a path, and the domain has no such kind.
    #[error("code {0} has a path and no kind; take the path out or add the kind")]
    NoKind(usize),
    /// A field by which a path forks is not one of its kind's fields.
    #[error(
        "the path of code {code} forks by {field:?}, which is no field of that kind; take one of its fields"
    )]
    Field { code: usize, field: String },
}

impl StateTable {
    /// Tells what an event of kind `code` with this payload does to an entity in `state`.
    ///
    /// A `state` that the table does not have allows nothing.
    #[must_use]
    pub fn step(&self, state: u8, code: u8, payload: &[u8; 24]) -> StepOutcome {
        let path = self.path(state, code, payload);
        if path.last().is_none_or(|last| *last == state) {
            return StepOutcome::Unchanged;
        }
        let mut at = state;
        for wanted in path.iter().copied() {
            if wanted == at {
                continue;
            }
            if !self.allows(at, wanted) {
                return StepOutcome::Invalid { at, wanted };
            }
            at = wanted;
        }
        StepOutcome::Moved(at)
    }

    /// Returns the states along which an event of kind `code` with this payload leads an entity in `state`, whether
    /// that is allowed or not. Empty where it leads nowhere.
    #[must_use]
    pub fn path(&self, state: u8, code: u8, payload: &[u8; 24]) -> &[u8] {
        match self.paths.get(usize::from(code)) {
            None | Some(TransitionPath::Stay) => &[],
            Some(TransitionPath::To(path)) => path,
            Some(TransitionPath::By { field, zero, other }) => match field.read(payload) {
                None => &[],
                Some(value) if is_zero(value) => zero,
                Some(_) => other,
            },
            Some(TransitionPath::From { state: from, way, other }) => {
                if *from == state {
                    way
                } else {
                    other
                }
            }
        }
    }

    /// Tells whether `to` may follow `from`.
    #[must_use]
    pub fn allows(&self, from: u8, to: u8) -> bool {
        self.next.get(usize::from(from)).is_some_and(|next| bit(*next, to))
    }

    /// Tells whether a life may end in `state`.
    #[must_use]
    pub const fn is_terminal(&self, state: u8) -> bool {
        bit(self.terminal, state)
    }

    /// Returns the name of `state`.
    #[must_use]
    pub fn name(&self, state: u8) -> Option<&Shared<str>> {
        self.states.get(usize::from(state))
    }

    /// Returns the number of the state named `name`.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<u8> {
        (0..).zip(&self.states).find(|(_, known)| **known == name).map(|(number, _)| number)
    }
}

impl StateTable {
    /// Looks for what contradicts itself in the table, or the domain that it is to belong to.
    pub(super) fn check(&self, domain: Domain, kinds: &[KindDef]) -> Result<(), StateFault> {
        let states = self.states.len();
        if self.domain != domain {
            return Err(StateFault::Foreign(self.domain.number()));
        }
        if !(1..=STATES_MAX).contains(&states) {
            return Err(StateFault::Count(states));
        }
        for (at, name) in self.states.iter().enumerate() {
            if !is_text(name) {
                return Err(StateFault::BadName(name.to_string()));
            }
            if self.states.iter().skip(at + 1).any(|other| other == name) {
                return Err(StateFault::Name(name.to_string()));
            }
        }
        if self.next.len() != states {
            return Err(StateFault::Transitions { sets: self.next.len(), states });
        }
        let beyond = |set: u32| (0..32).find(|state| *state >= states as u32 && set >> state & 1 != 0);
        let in_range = |place, state: Option<u32>| match state {
            Some(state) => Err(StateFault::Range { place, state, states }),
            None => Ok(()),
        };
        let no_state = |state: u8| (usize::from(state) >= states).then_some(u32::from(state));
        in_range("the initial state", no_state(self.initial))?;
        in_range("the set of terminal states", beyond(self.terminal))?;
        for next in &self.next {
            in_range("a set of transitions", beyond(*next))?;
        }
        for (code, path) in self.paths.iter().enumerate() {
            let (one, other) = match path {
                TransitionPath::Stay => continue,
                TransitionPath::To(path) => (&**path, &[][..]),
                TransitionPath::By { zero, other, .. } => (&**zero, &**other),
                TransitionPath::From { state, way, other } => {
                    in_range("a path", no_state(*state))?;
                    (&**way, &**other)
                }
            };
            if one.len().max(other.len()) > STATES_MAX {
                return Err(StateFault::Long(code));
            }
            for state in one.iter().chain(other) {
                in_range("a path", no_state(*state))?;
            }
            let kind = kinds.iter().find(|kind| usize::from(kind.kind.code()) == code);
            let Some(kind) = kind else { return Err(StateFault::NoKind(code)) };
            if let TransitionPath::By { field, .. } = path
                && !kind.fields.iter().any(|known| *known == **field)
            {
                return Err(StateFault::Field { code, field: field.name.to_string() });
            }
        }
        self.check_reachable()
    }

    fn check_reachable(&self) -> Result<(), StateFault> {
        let mut reached = 1_u32 << self.initial;
        loop {
            let step = (0..).zip(&self.next).filter(|(state, _)| bit(reached, *state));
            let wider = step.fold(reached, |set, (_, next)| set | next);
            if wider == reached {
                break;
            }
            reached = wider;
        }
        match (0..).zip(&self.states).find(|(state, _)| !bit(reached, *state)) {
            Some((_, name)) => Err(StateFault::Unreachable(name.to_string())),
            None => Ok(()),
        }
    }
}

/// Makes the bit set of `states`, for [`StateTable::terminal`] and [`StateTable::next`].
#[must_use]
pub const fn states(states: &[u8]) -> u32 {
    let mut set = 0;
    let mut at = 0;
    while at < states.len() {
        set |= 1 << states[at];
        at += 1;
    }
    set
}

const fn bit(set: u32, state: u8) -> bool {
    (state as usize) < STATES_MAX && set >> state & 1 != 0
}

pub(crate) fn is_zero(value: FieldValue<'_>) -> bool {
    match value {
        FieldValue::Unsigned(value) => value == 0,
        FieldValue::Signed(value) => value == 0,
        FieldValue::Float(value) => value == 0.0,
        FieldValue::Bool(value) => !value,
        FieldValue::Symbol(symbol) => symbol.bits() == 0,
        FieldValue::Detail(detail) => detail.bits() == 0,
        FieldValue::Name(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainDef, Schema, SchemaError};
    use crate::event::payload::FieldType;
    use crate::event::{EventKind, Identity};

    const USER: Domain = Domain::FIRST_USER;
    const UP: Field = Field { name: Shared::Static("up"), ty: FieldType::U32, offset: 8 };
    const KINDS: &[KindDef] = &[
        KindDef {
            kind: EventKind::new(USER, 0),
            name: Shared::Static("seen"),
            identity: Identity::Content,
            sampled: false,
            fields: Shared::Static(&[UP]),
        },
        KindDef {
            kind: EventKind::new(USER, 1),
            name: Shared::Static("flap"),
            identity: Identity::Content,
            sampled: false,
            fields: Shared::Static(&[]),
        },
    ];
    const GOOD: StateTable = StateTable {
        domain: USER,
        states: Shared::Static(&[Shared::Static("new"), Shared::Static("up"), Shared::Static("down")]),
        initial: 0,
        terminal: states(&[2]),
        next: Shared::Static(&[states(&[1]), states(&[2]), states(&[1])]),
        paths: Shared::Static(&[
            TransitionPath::By {
                field: Shared::Static(&UP),
                zero: Shared::Static(&[2]),
                other: Shared::Static(&[1]),
            },
            TransitionPath::To(Shared::Static(&[2, 1])),
        ]),
    };

    fn register(states: StateTable) -> Result<(), SchemaError> {
        Schema::new().register(&lab(states))
    }

    fn lab(states: StateTable) -> DomainDef {
        let states = Some(Shared::Counted(states.into()));
        DomainDef { domain: USER, name: "lab".into(), kinds: KINDS.into(), states }
    }

    #[test]
    fn a_table_of_the_users_steps_like_any_other() {
        let mut schema = Schema::new();
        schema.register(&lab(GOOD)).unwrap();
        let states = schema.states(USER).unwrap();
        assert_eq!(Schema::new().states(USER), None);
        let mut up = [0; 24];
        up[9] = 1;
        assert_eq!(states.step(0, 0, &up), StepOutcome::Moved(1));
        assert_eq!(states.step(0, 0, &[0; 24]), StepOutcome::Invalid { at: 0, wanted: 2 });
        assert_eq!(states.step(1, 0, &up), StepOutcome::Unchanged);
        // From down, the path begins where the entity is; from up, it ends there.
        assert_eq!(states.step(2, 1, &up), StepOutcome::Moved(1));
        assert_eq!(states.step(1, 1, &up), StepOutcome::Unchanged);
        assert_eq!(states.step(0, 1, &up), StepOutcome::Invalid { at: 0, wanted: 2 });
        assert_eq!(states.step(1, 7, &up), StepOutcome::Unchanged);
        assert_eq!(states.step(200, 0, &up), StepOutcome::Invalid { at: 200, wanted: 1 });
        assert_eq!((states.name(2), states.name(3)), (Some(&"down".into()), None));
        assert_eq!(states.state("up"), Some(1));
        assert!(states.is_terminal(2) && !states.is_terminal(1) && !states.is_terminal(99));
    }

    #[test]
    fn a_path_may_depend_on_where_it_starts() {
        let from = |way: &'static [u8], other: &'static [u8]| {
            let path = TransitionPath::From { state: 2, way: way.into(), other: other.into() };
            StateTable { paths: [path].into(), ..GOOD }
        };
        let table = from(&[1, 2, 1], &[1]);
        assert_eq!(table.path(0, 0, &[0; 24]), [1]);
        assert_eq!(table.path(2, 0, &[0; 24]), [1, 2, 1]);
        assert_eq!(table.step(0, 0, &[0; 24]), StepOutcome::Moved(1));
        assert_eq!(table.step(1, 0, &[0; 24]), StepOutcome::Unchanged);
        assert_eq!(table.step(2, 0, &[0; 24]), StepOutcome::Moved(1));
        // From down there is a way to up, and from new there is none to down.
        let table = from(&[1], &[2]);
        assert_eq!(table.step(2, 0, &[0; 24]), StepOutcome::Moved(1));
        assert_eq!(table.step(0, 0, &[0; 24]), StepOutcome::Invalid { at: 0, wanted: 2 });
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let foreign = Field { offset: 12, ..UP };
        let cases = [
            (StateTable { domain: Domain::TEST, ..GOOD }, StateFault::Foreign(2)),
            (StateTable { states: [].into(), ..GOOD }, StateFault::Count(0)),
            (
                StateTable { states: (0..33).map(|n| n.to_string().into()).collect(), ..GOOD },
                StateFault::Count(33),
            ),
            (
                StateTable { states: ["new", "up", "up"].map(Shared::from).into(), ..GOOD },
                StateFault::Name("up".into()),
            ),
            (
                StateTable { states: ["new", "", "down"].map(Shared::from).into(), ..GOOD },
                StateFault::BadName(String::new()),
            ),
            (
                StateTable { paths: [TransitionPath::To(vec![1; 33].into())].into(), ..GOOD },
                StateFault::Long(0),
            ),
            (StateTable { next: [2, 4].into(), ..GOOD }, StateFault::Transitions { sets: 2, states: 3 }),
            (
                StateTable { initial: 3, ..GOOD },
                StateFault::Range { place: "the initial state", state: 3, states: 3 },
            ),
            (
                StateTable { terminal: 1 << 31, ..GOOD },
                StateFault::Range { place: "the set of terminal states", state: 31, states: 3 },
            ),
            (
                StateTable { next: [2, 4, 8].into(), ..GOOD },
                StateFault::Range { place: "a set of transitions", state: 3, states: 3 },
            ),
            (
                StateTable { paths: [TransitionPath::To(Shared::Static(&[1, 9]))].into(), ..GOOD },
                StateFault::Range { place: "a path", state: 9, states: 3 },
            ),
            (
                StateTable {
                    paths: [TransitionPath::From {
                        state: 7,
                        way: Shared::Static(&[1]),
                        other: Shared::Static(&[1]),
                    }]
                    .into(),
                    ..GOOD
                },
                StateFault::Range { place: "a path", state: 7, states: 3 },
            ),
            (
                StateTable {
                    paths: [TransitionPath::From {
                        state: 0,
                        way: Shared::Static(&[1]),
                        other: Shared::Static(&[8]),
                    }]
                    .into(),
                    ..GOOD
                },
                StateFault::Range { place: "a path", state: 8, states: 3 },
            ),
            (StateTable { initial: 1, ..GOOD }, StateFault::Unreachable("new".into())),
            (
                StateTable {
                    paths: [
                        TransitionPath::Stay,
                        TransitionPath::Stay,
                        TransitionPath::To(Shared::Static(&[1])),
                    ]
                    .into(),
                    ..GOOD
                },
                StateFault::NoKind(2),
            ),
            (
                StateTable {
                    paths: [TransitionPath::By {
                        field: Shared::Counted(foreign.into()),
                        zero: Shared::Static(&[1]),
                        other: Shared::Static(&[2]),
                    }]
                    .into(),
                    ..GOOD
                },
                StateFault::Field { code: 0, field: "up".into() },
            ),
        ];
        for (table, fault) in cases {
            assert_eq!(register(table), Err(SchemaError::States { domain: "lab".into(), fault }));
        }
        assert_eq!(register(GOOD), Ok(()));
    }
}
