//! Promise: a wait for states is given up exactly when none of them can be had any more, by whatever table.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it states::reach`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::states::{random_domain, record};
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::Schema;
use panther_events::domain::machine::StateTable;
use panther_events::event::{Identity, Record, Symbol};
use panther_events::observe::state::{StateOptions, States, WaitError};
use panther_events::observe::{Batch, Observer};
use std::collections::BTreeSet;
use std::time::Duration;

/// The states that can be had from one, itself included: step by step, until there are no more.
fn reachable(table: &StateTable, from: usize) -> BTreeSet<usize> {
    let mut known = BTreeSet::from([from]);
    loop {
        let next: BTreeSet<usize> = known
            .iter()
            .flat_map(|state| (0..table.states.len()).filter(|to| table.next[*state] >> to & 1 == 1))
            .collect();
        let before = known.len();
        known.extend(next);
        if known.len() == before {
            return known;
        }
    }
}

#[test]
fn states_that_can_still_be_had_are_those_of_a_naive_search() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let (mut hopeless, mut hopeful, mut by_steps) = (0, 0, 0);
    for round in 0..60 {
        let domain = random_domain(&mut rng, 0);
        let table = domain.states.as_deref().unwrap();
        let mut schema = Schema::new();
        schema.register(&domain).unwrap();
        let mut observer =
            States::new(&schema, &Default::default(), &Default::default(), StateOptions::default());
        let query = observer.query();
        let entities: Vec<Symbol> = (0..12).map(|n| Symbol::of(&format!("entity-{n}"))).collect();
        let records: Vec<Record> = (0..600)
            .map(|time_ns| {
                let kind = domain.kinds[rng.below(domain.kinds.len() as u64) as usize].kind;
                let mut payload = [0; 24];
                payload[0] = rng.below(2) as u8;
                let entity = entities[rng.below(12) as usize];
                record(kind, Identity::Content, time_ns, entity, payload)
            })
            .collect();
        for records in records.chunks(BATCH) {
            observer.observe(&Batch::new(records, &[Verdict::New; BATCH], u64::MAX)).unwrap();
        }
        for entity in entities {
            let Some(known) = query.state(domain.domain, entity) else { continue };
            let from = table.states.iter().position(|state| *state == known.state).unwrap();
            let reachable = reachable(table, from);
            for wanted in 0..table.states.len() {
                // Alone, and with another one that may be had or not.
                let other = rng.below(table.states.len() as u64) as usize;
                for wanted in [&[wanted][..], &[wanted, other]] {
                    let names: Vec<&str> = wanted.iter().map(|state| &*table.states[*state]).collect();
                    let outcome = query.wait_until(domain.domain, entity, &names, Duration::ZERO);
                    let label = format!("from {} to {names:?}, round {round} seed {seed}", known.state);
                    if wanted.contains(&from) {
                        assert!(outcome.is_ok(), "{label}: {outcome:?}");
                    } else if wanted.iter().any(|state| reachable.contains(state)) {
                        assert!(matches!(outcome, Err(WaitError::Timeout { .. })), "{label}: {outcome:?}");
                        hopeful += 1;
                        by_steps += u64::from(wanted.iter().all(|state| table.next[from] >> state & 1 == 0));
                    } else {
                        assert!(
                            matches!(outcome, Err(WaitError::Unreachable { .. })),
                            "{label}: {outcome:?}"
                        );
                        hopeless += 1;
                    }
                }
            }
        }
    }
    assert!(hopeless > 50 && hopeful > 500 && by_steps > 200, "{hopeless} {hopeful} {by_steps} seed {seed}");
}
