//! What the table of contexts keeps, evicts and counts.

use super::*;
use crate::event::Level;
use crate::event::stages::Slow;
use std::sync::Arc;

#[test]
fn spans_hold_from_their_number_on_and_per_source() {
    let contexts = Contexts::default();
    let (a, b) = (Context::of(Level::Test, "a"), Context::of(Level::Test, "b"));
    contexts.enter(3, 10, a).unwrap();
    contexts.enter(3, 20, b).unwrap();
    contexts.enter(3, 20, a).unwrap();
    contexts.enter(3, 30, Context::NONE).unwrap();
    let of = |source, seq| contexts.read().of(source, seq);
    assert_eq!(
        [of(3, 9), of(3, 10), of(3, 29), of(3, 30), of(2, 15)],
        [Context::NONE, a, a, Context::NONE, Context::NONE]
    );
    for seq in 0..40 {
        let (context, same) = contexts.span(3, seq);
        assert_eq!(context, of(3, seq));
        assert!(same.contains(&seq) && same.clone().take(40).all(|other| of(3, other) == context));
    }
    assert_eq!(contexts.span(2, 15), (Context::NONE, 0..=u32::MAX));
    assert!(contexts.holds(Domain::TEST, Symbol::of("b"), &b));
    contexts.join(Domain::SERVICE, Symbol::of("s"), a);
    assert_eq!(contexts.entities(&a), [(Domain::TEST, Symbol::of("a")), (Domain::SERVICE, Symbol::of("s"))]);
}

/// A table that is full of changes that have not been handled, of source 3, and what says that they have.
fn full() -> (Contexts, Arc<Slow>, u32) {
    let (contexts, stages) = (Contexts::new(&Arc::default(), 0), Arc::new(Slow::default()));
    let served: Arc<dyn Stages> = stages.clone();
    contexts.serve(Arc::downgrade(&served));
    let mut seq = 0;
    while contexts.enter(3, seq, test_of(seq)).is_ok() {
        seq += 1;
    }
    assert_eq!((seq, contexts.evicted()), (64, 0));
    (contexts, stages, seq)
}

fn test_of(seq: u32) -> Context {
    Context::of(Level::Test, &format!("test {seq}"))
}

/// Checks that the account of references is that of what refers.
fn check(contexts: &Contexts) {
    let state = contexts.read();
    let changes = state.changes.values().flatten().map(|(_, number)| *number);
    let mut references: HashMap<u32, u32> = HashMap::new();
    changes.chain(state.members.iter().map(|member| member.2)).for_each(|number| {
        *references.entry(number).or_default() += 1;
    });
    for (number, counted) in state.contexts.iter().enumerate() {
        let number = number as u32;
        assert_eq!(references.get(&number).copied().unwrap_or(0), counted.references);
        assert_eq!(state.free.contains(&number), counted.references == 0);
        let known = state.numbers.get(&counted.context) == Some(&number);
        assert_eq!(known, counted.references > 0);
    }
    assert_eq!(state.changes.values().map(BTreeMap::len).sum::<usize>(), state.change_count);
    assert_eq!(state.members.len(), state.members_in_order.len());
    assert_eq!(state.members.len(), state.entities.values().map(VecDeque::len).sum::<usize>());
}

#[test]
fn all_that_a_pipeline_can_have_told_of_contexts_is_restored() {
    let (contexts, _stages, seq) = full();
    assert_eq!(contexts.restore(3, 10, Some("{\"test\":\"a\"}")), Err(ContextRefused::Mixed));
    let (restored, stages) = (Contexts::new(&Arc::default(), 0), Arc::new(Slow::default()));
    let served: Arc<dyn Stages> = stages.clone();
    restored.serve(Arc::downgrade(&served));
    for number in 0..seq {
        restored.restore(3, 2 * number, Some(&format!("{{\"test\":\"test {number}\"}}"))).unwrap();
        restored.restore(3, 2 * number + 1, None).unwrap();
    }
    assert_eq!(restored.read().of(3, 2 * seq - 2), test_of(seq - 1));
    assert_eq!(restored.enter(3, 1000, Context::of(Level::Test, "a")), Err(ContextRefused::Mixed));
    assert_eq!(restored.restore(3, 1000, None), Err(ContextRefused::Full { changes: 128 }));
    restored.forget_numbers();
    check(&restored);
}

#[test]
fn changes_that_are_told_again_or_late_hold_where_they_belong() {
    let contexts = Contexts::default();
    let [a, b] = ["a", "b"].map(|name| Context::of(Level::Test, name));
    let document = |name| Some(format!("{{\"test\":\"{name}\"}}"));
    for (seq, document) in [(10, document("a")), (30, None), (10, document("a")), (20, document("b"))] {
        contexts.restore(3, seq, document.as_deref()).unwrap();
    }
    let of = |seq| contexts.read().of(3, seq);
    assert_eq!([9, 10, 19, 20, 29, 30].map(of), [Context::NONE, a, a, b, b, Context::NONE]);
    check(&contexts);
}

#[test]
fn who_is_in_a_context_can_leave_it_although_the_table_is_full() {
    let (contexts, _stages, seq) = full();
    assert_eq!(contexts.enter(3, seq, Context::NONE), Err(ContextRefused::Full { changes: 64 }));
    contexts.go_on(3, seq, Context::NONE);
    let of = |seq| contexts.read().of(3, seq);
    assert_eq!([of(seq - 1), of(seq), of(seq + 1)], [test_of(seq - 1), Context::NONE, Context::NONE]);
    let before = contexts.read().change_count;
    contexts.go_on(3, seq + 10, Context::NONE);
    assert_eq!(contexts.read().change_count, before, "where it is already, nothing is noted");
    assert!(contexts.knows(3) && !contexts.knows(4));
    check(&contexts);
}

#[test]
fn changes_go_when_all_events_before_them_have_been_handled() {
    let (contexts, stages, seq) = full();
    contexts.enter(4, 0, test_of(1)).unwrap_err();
    // All that came before the first question: behind the half that was full then.
    let asked = 33;
    stages.handled.store(1, Ordering::Relaxed);
    contexts.enter(4, 7, test_of(1)).unwrap();
    for seq in 100..140 {
        let _ = contexts.enter(3, seq, test_of(seq));
    }
    let known = |seq: &u32| contexts.read().of(3, *seq) == test_of(*seq);
    assert!((asked..seq).all(|seq| known(&seq)), "these may still be asked for");
    assert!(!known(&0) && contexts.evicted() > 10);
    assert_eq!(contexts.read().of(4, 7), test_of(1), "the last one of a source stays");
    stages.handled.store(u64::MAX, Ordering::Relaxed);
    for seq in 200..100_000 {
        contexts.enter(3, seq, test_of(seq)).unwrap();
        contexts.join(Domain::SERVICE, Symbol::from_bits(u64::from(seq)), test_of(seq));
    }
    assert_eq!(contexts.read().of(4, 7), test_of(1));
    assert_eq!((contexts.missed(), contexts.warnings().count()), (0, 1), "only entities were forgotten");
    let (last, gone) = (contexts.span(3, 99_999).0, contexts.span(3, 50_000).0);
    assert_eq!((last, gone, contexts.missed()), (test_of(99_999), Context::NONE, 1));
    assert_eq!((contexts.span(4, 3).0, contexts.missed()), (Context::NONE, 1), "it was in none");
    assert_eq!(contexts.warnings().count(), 2);
    assert!((99_970..100_000).all(|seq| known(&seq)));
    let state = contexts.read();
    assert!(state.change_count <= 64 && state.contexts.len() <= 200 && state.members.len() <= 64);
    drop(state);
    assert!(contexts.forgotten() > 100_000);
    assert!(contexts.holds(Domain::SERVICE, Symbol::from_bits(99_999), &test_of(99_999)));
    assert!(!contexts.holds(Domain::SERVICE, Symbol::from_bits(200), &test_of(200)));
    check(&contexts);
}

/// Bytes that the names of the contexts take in which sources are.
fn held_by(contexts: &Contexts) -> u64 {
    let state = contexts.read();
    let last = state.changes.values().filter_map(|changes| changes.last_key_value());
    let names: HashSet<_> = last
        .flat_map(|(_, number)| state.context(*number).parts().collect::<Vec<_>>())
        .map(|(_, name)| name)
        .collect();
    names.iter().filter_map(|name| contexts.symbols.name(*name)).map(|name| name.len() as u64 + 128).sum()
}

#[test]
fn names_are_held_while_a_source_is_in_their_context_and_no_longer() {
    let symbols = Arc::new(Symbols::with_limits(1 << 18, 0));
    let contexts = Contexts::new(&symbols, 1 << 14);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut seqs = [0; 20];
    for number in 0..20_000 {
        let source = rng.usize(0..seqs.len());
        let seq = seqs.get_mut(source).unwrap();
        *seq += 1;
        let name = |kind, below: u64| symbols.intern(&format!("{kind} {}", number / below)).unwrap();
        let test = Context::NONE
            .entered(Level::Experiment, name("experiment", 1000))
            .entered(Level::Test, name("test", 10));
        let next = match rng.u32(0..4) {
            0 => Context::NONE,
            1 => test,
            _ => test.entered(Level::Step, name("step", 1)),
        };
        contexts.go_on(source as u16, *seq, next);
        // Told late, of a number before others: who is where stays as it was.
        if rng.u32(0..8) == 0 && *seq > 2 {
            contexts.go_on(source as u16, *seq - 2, test);
        }
        contexts.evict(&mut contexts.write());
        assert_eq!(symbols.held_bytes(), held_by(&contexts), "{number}");
    }
    assert!(symbols.evicted() > 10_000 && symbols.hold_refused() == 0, "{symbols:?}");
    contexts.forget_numbers();
    assert_eq!(symbols.held_bytes(), 0);
}
