//! What a table holds, lets go and counts.

use super::*;
use crate::event::stages::Slow;

const LIMIT: u64 = 1 << 16;

fn insert(table: &Table, text: &str) -> bool {
    table.insert(Table::hash(text), text).is_ok()
}

fn hold(table: &Table, text: &str) -> bool {
    table.hold(Table::hash(text), Holder::Report)
}

fn has(table: &Table, text: &str) -> bool {
    table.get(Table::hash(text)).as_deref() == Some(text)
}

/// Checks that the account of a table is that of its content.
fn check(table: &Table) {
    let (mut bytes, mut len) = (0, 0);
    table.for_each(|_, text| (bytes, len) = (bytes + cost(text), len + 1));
    assert_eq!((table.bytes(), table.len()), (bytes, len));
    let went = table.evicted() + table.evicted_early();
    assert_eq!(table.count_ever(), len as u64 + went);
    assert_eq!(table.ages().queue.len(), len, "each stands in the queue once");
}

#[test]
fn new_texts_for_ever_take_bounded_memory_and_those_in_use_stay() {
    let table = Table::new(64, LIMIT);
    assert!(insert(&table, "held") && hold(&table, "held") && insert(&table, "looked up"));
    for number in 0..100_000 {
        assert!(insert(&table, &format!("text {number}")));
        if number % 20 == 0 {
            assert!(insert(&table, "used") && has(&table, "looked up"));
        }
        assert!(table.bytes() <= LIMIT / 2 + 1000, "{} bytes", table.bytes());
        // In an era an eighth of the limit comes: 60 such texts, and more than that.
        assert!(
            (number.max(50) - 50..=number).all(|number| has(&table, &format!("text {number}")))
                || number % 500 != 0
        );
    }
    assert!(has(&table, "used") && has(&table, "held"));
    assert_eq!((table.evicted_early(), table.refused()), (0, 0));
    assert!(table.evicted() > 99_000);
    check(&table);
}

#[test]
fn what_stages_have_not_handled_stays_until_there_is_no_room() {
    let (table, stages) = (Table::new(64, LIMIT), Arc::new(Slow::default()));
    let served: Arc<dyn Stages> = stages.clone();
    table.serve(Arc::downgrade(&served));
    let mut number = 0;
    while table.bytes() + 200 < LIMIT {
        assert!(insert(&table, &format!("text {number}")));
        number += 1;
    }
    assert_eq!((table.evicted(), table.len()), (0, number));
    assert_eq!(stages.asked.load(Ordering::Relaxed), 1, "asked once until it has answered");
    // It stands still: the oldest go all the same, and it is told.
    for more in 0..100 {
        assert!(insert(&table, &format!("more {more}")));
    }
    assert!(has(&table, "more 99") && !has(&table, "text 0") && has(&table, "text 200"));
    assert!(table.evicted() == 0 && table.evicted_early() >= 99, "{} early", table.evicted_early());
    assert!(table.bytes() <= LIMIT);
    // It has handled everything: what goes from now on is no loss.
    stages.handled.store(u64::MAX, Ordering::Relaxed);
    // What they had been asked was long ago.
    assert!(insert(&table, "later"));
    let early = table.evicted_early();
    for more in 0..2000 {
        assert!(insert(&table, &format!("later {more}")));
    }
    assert_eq!(table.evicted_early(), early);
    assert!(table.bytes() <= LIMIT / 2 + 1000);
    check(&table);
}

#[test]
fn held_texts_take_a_quarter_and_what_does_not_fit_is_refused() {
    let table = Table::new(1 << 20, LIMIT);
    let held = (0..1000).filter(|number| {
        let text = format!("text {number}");
        insert(&table, &text) && hold(&table, &text) && hold(&table, &text)
    });
    let held: Vec<_> = held.collect();
    assert!((80..=LIMIT as usize / 4 / 128).contains(&held.len()), "{}", held.len());
    let long = "x".repeat(LIMIT as usize);
    assert!(!insert(&table, &long) && table.refused() == 1);
    for number in 0..10_000 {
        assert!(insert(&table, &format!("more {number}")));
    }
    assert!(held.iter().all(|number| has(&table, &format!("text {number}"))));
    check(&table);
}

#[test]
fn holds_are_counted_and_what_all_have_let_go_is_evicted_like_any_other() {
    let (table, seed) = (Table::new(64, LIMIT), 7);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut oracle: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let bytes = |oracle: &std::collections::BTreeMap<String, u64>| oracle.keys().map(|text| cost(text)).sum();
    for number in 0..100_000 {
        let text = format!("text {number}");
        assert!(insert(&table, &text));
        let known = oracle.keys().nth(rng.usize(0..=oracle.len())).cloned();
        match rng.u32(0..4) {
            0 => {
                let held: u64 = bytes(&oracle);
                let has_room = held + cost(&text) <= LIMIT / 4;
                assert_eq!(hold(&table, &text), has_room, "seed {seed}, {number}");
                if has_room {
                    oracle.insert(text, 1);
                }
            }
            1 => {
                if let Some(text) = known {
                    assert!(hold(&table, &text), "seed {seed}, {number}");
                    *oracle.entry(text).or_default() += 1;
                }
            }
            _ => {
                if let Some(text) = known {
                    table.release(Table::hash(&text));
                    let holds = oracle.remove(&text).unwrap_or_default();
                    if holds > 1 {
                        oracle.insert(text, holds - 1);
                    }
                }
            }
        }
        assert_eq!(table.held_bytes(), bytes(&oracle), "seed {seed}, {number}");
        if number % 100 == 0 {
            assert!(oracle.keys().all(|text| has(&table, text)), "seed {seed}, {number}");
        }
    }
    assert!(oracle.values().any(|holds| *holds > 1) && table.hold_refused() > 0, "{oracle:?}");
    check(&table);
    for (text, holds) in &oracle {
        (0..*holds).for_each(|_| table.release(Table::hash(text)));
    }
    assert_eq!(table.held_bytes(), 0);
    for number in 0..2000 {
        assert!(insert(&table, &format!("more {number}")));
    }
    assert!(oracle.keys().all(|text| !has(&table, text)));
    assert_eq!(table.evicted_early(), 0);
    check(&table);
}

#[test]
fn reports_leave_room_for_those_who_emit() {
    let table = Table::new(64, LIMIT);
    let take = |holder| {
        let held = (0..1000).take_while(|number| {
            let text = format!("{holder:?} {number}");
            insert(&table, &text) && table.hold(Table::hash(&text), holder)
        });
        held.count()
    };
    let (reports, emitters) = (take(Holder::Report), take(Holder::Emission));
    assert!(reports > 100 && emitters > 50, "{reports} and {emitters}");
    assert!(table.held_bytes() <= LIMIT / 8 * 3);
}

#[test]
fn who_needs_room_looks_at_each_text_that_is_held_once_and_not_for_ever() {
    let table = Table::new(64, LIMIT);
    assert!(insert(&table, "held") && hold(&table, "held"));
    // As another thread leaves it that has counted its text and not put it into the queue.
    table.bytes.fetch_add(LIMIT, Ordering::Relaxed);
    assert!(!insert(&table, "new"));
    table.bytes.fetch_sub(LIMIT, Ordering::Relaxed);
    assert!(insert(&table, "new") && has(&table, "held"));
    check(&table);
}

#[test]
fn threads_that_hold_and_let_go_at_once_lose_nothing_that_one_of_them_holds() {
    let table = Table::new(64, LIMIT);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                let mut held = VecDeque::new();
                for number in 0..50_000_u64 {
                    let text = format!("all {}", (number + rng.u64(0..100)) / 3);
                    assert!(insert(table, &text) && insert(table, &format!("{thread} {number}")));
                    if hold(table, &text) {
                        held.push_back(text);
                    }
                    if held.len() > 20 {
                        assert!(held.iter().all(|text| has(table, text)));
                        held.drain(..10).for_each(|text| table.release(Table::hash(&text)));
                    }
                }
                held.iter().for_each(|text| table.release(Table::hash(text)));
            });
        }
    });
    assert_eq!((table.held_bytes(), table.hold_refused()), (0, 0));
    assert!(table.evicted() > 10_000);
    check(&table);
}

#[test]
fn a_long_text_makes_room_for_itself() {
    let table = Table::new(1 << 20, LIMIT);
    for number in 0..1000 {
        assert!(insert(&table, &format!("text {number}")));
        assert!(insert(&table, &format!("{number:0$}", LIMIT as usize / 3)));
        assert!(table.bytes() <= LIMIT);
    }
    check(&table);
}

#[test]
fn threads_find_what_they_have_put_in_while_others_evict() {
    let table = Table::new(64, 1 << 22);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                for number in 0..100_000_u64 {
                    // Some are new, some come again after a while, and some are used by all.
                    let text = match rng.u64(0..4) {
                        0 => format!("{thread} {number}"),
                        1 => format!("all {}", rng.u64(0..20)),
                        _ => format!("all {}", (number + rng.u64(0..3000)) / 3),
                    };
                    let era = table.era.load(Ordering::Relaxed);
                    assert!(insert(table, &text));
                    // It may go when its thread was away for an era and more.
                    let is_late = || table.era.load(Ordering::Relaxed) > era + 1;
                    assert!(has(table, &text) || is_late(), "{text}");
                }
            });
        }
    });
    assert_eq!((table.evicted_early(), table.refused()), (0, 0));
    assert!(table.evicted() > 10_000);
    check(&table);
}
