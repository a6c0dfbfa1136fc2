//! Random state tables, records of any kind, and an interpreter of tables that is as naive as can be.
#![allow(dead_code, reason = "each test uses its part")]

use crate::support::random::Rng;
use panther_events::Shared;
use panther_events::domain::machine::{StateTable, TransitionPath, states};
use panther_events::domain::{DomainDef, KindDef, Schema};
use panther_events::event::{Domain, EventKind, Field, FieldType, Identity, Record, Symbol};
use std::collections::HashMap;

/// The field by which random paths fork: the first byte of the payload.
pub(crate) const FLAG: Field = Field { name: Shared::Static("flag"), ty: FieldType::U8, offset: 0 };
const FIELDS: &[Field] = &[FLAG];

/// Makes a record of a kind that is known at run time only.
pub(crate) fn record(
    kind: EventKind,
    identity: Identity,
    time_ns: u64,
    entity: Symbol,
    payload: [u8; 24],
) -> Record {
    let mut bytes = [0u8; 64];
    bytes[16..24].copy_from_slice(&time_ns.to_ne_bytes());
    bytes[24..32].copy_from_slice(&entity.bits().to_ne_bytes());
    bytes[32..34].copy_from_slice(&(kind.index() as u16 | (identity as u16) << 14).to_ne_bytes());
    bytes[40..].copy_from_slice(&payload);
    let record: Record = bytemuck::pod_read_unaligned(&bytes);
    assert!(record.is_well_formed() && record.kind() == kind && record.identity() == Some(identity));
    record
}

/// Makes user domain `number` with a random table; every state can be had.
pub(crate) fn random_domain(rng: &mut Rng, number: u8) -> DomainDef {
    let domain = Domain::new(Domain::FIRST_USER.number() + number).unwrap();
    let count = 1 + rng.below(if number == 0 { 32 } else { 8 }) as u8;
    let names = (0..count).map(|state| format!("s{state}").into()).collect();
    // In a chain, so that each can be had; and with some ways across.
    let next = (0..count)
        .map(|state| {
            let across: Vec<u8> = (0..rng.below(3)).map(|_| rng.below(u64::from(count)) as u8).collect();
            let chain = if state + 1 < count { states(&[state + 1]) } else { 0 };
            chain | states(&across)
        })
        .collect();
    let codes = 1 + rng.below(64) as u8;
    let way = |rng: &mut Rng| {
        let start = rng.below(u64::from(count)) as u8;
        let len = 1 + rng.below(3) as u8;
        (start..count.min(start + len)).collect::<Shared<[u8]>>()
    };
    let paths = (0..codes)
        .map(|_| match rng.below(7) {
            0 => TransitionPath::Stay,
            1 => TransitionPath::By { field: Shared::Counted(FLAG.into()), zero: way(rng), other: way(rng) },
            2 => TransitionPath::From {
                state: rng.below(u64::from(count)) as u8,
                way: way(rng),
                other: way(rng),
            },
            _ => TransitionPath::To(way(rng)),
        })
        .collect();
    let table = StateTable {
        domain,
        states: names,
        initial: 0,
        terminal: rng.next() as u32 & (((1_u64 << count) - 1) as u32),
        next,
        paths,
    };
    let kind = |code: u8| KindDef {
        kind: EventKind::new(domain, code),
        name: format!("k{code}").into(),
        identity: Identity::Content,
        sampled: false,
        fields: FIELDS.into(),
    };
    DomainDef {
        domain,
        name: format!("lab{number}").into(),
        kinds: (0..codes).map(kind).collect(),
        states: Some(Shared::Counted(table.into())),
    }
}

/// From which state to which, and when.
pub(crate) type Move = (Shared<str>, Shared<str>, u64);

/// What a naive interpreter makes of events: states by name, in plain maps.
#[derive(Default)]
pub(crate) struct Oracle {
    pub states: HashMap<(Domain, Symbol), Shared<str>>,
    pub since: HashMap<(Domain, Symbol), u64>,
    /// From, to, time.
    pub moves: HashMap<(Domain, Symbol), Vec<Move>>,
    pub invalid: Vec<(Domain, Symbol, Shared<str>, EventKind, u64)>,
}

impl Oracle {
    /// Takes a record that is no duplicate.
    pub(crate) fn take(&mut self, schema: &Schema, record: &Record) {
        let kind = record.kind();
        let key = (kind.domain(), record.entity());
        let table = schema.states(kind.domain()).unwrap();
        let name = |state: u8| table.states[usize::from(state)].clone();
        let state = self.states.entry(key).or_insert_with(|| {
            self.since.insert(key, record.time_ns());
            name(table.initial)
        });
        let state = state.clone();
        let way: &[u8] = match table.paths.get(usize::from(kind.code())) {
            None | Some(TransitionPath::Stay) => return,
            Some(TransitionPath::To(way)) => way,
            Some(TransitionPath::From { state: from, way, other }) => {
                if name(*from) == state {
                    way
                } else {
                    other
                }
            }
            Some(TransitionPath::By { zero, other, .. }) => {
                let value = table_flag(table, kind, record);
                if value == 0.0 { zero } else { other }
            }
        };
        let way: Vec<Shared<str>> = way.iter().map(|state| name(*state)).collect();
        if way.last() == Some(&state) {
            return;
        }
        let mut at = state.clone();
        for wanted in way.into_iter() {
            let from = table.states.iter().position(|known| *known == at).unwrap();
            let to = table.states.iter().position(|known| *known == wanted).unwrap();
            if wanted != at && table.next[from] & 1 << to == 0 {
                self.invalid.push((key.0, key.1, state, kind, record.time_ns()));
                return;
            }
            at = wanted;
        }
        self.states.insert(key, at.clone());
        self.since.insert(key, record.time_ns());
        self.moves.entry(key).or_default().push((state, at, record.time_ns()));
    }
}

fn table_flag(table: &StateTable, kind: EventKind, record: &Record) -> f64 {
    use panther_events::event::payload::FieldValue;
    let TransitionPath::By { field, .. } = &table.paths[usize::from(kind.code())] else { return 0.0 };
    match field.read(record.payload_bytes()).unwrap() {
        FieldValue::Unsigned(value) => value as f64,
        FieldValue::Signed(value) => value as f64,
        FieldValue::Float(value) => value,
        other => panic!("{other:?} is not what random tables fork by"),
    }
}
