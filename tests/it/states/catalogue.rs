//! The tables of the eight domains are PANTHER's catalogue, no more and no less; and what each event does in each
//! state is what an independent reading of the catalogue says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::domain::{
    self, DataType, DomainDef, KindDef, Schema, StateTable, StepOutcome, TransitionPath, VariantDef,
    assertion, environment, experiment, metrics, plugin, service, step, test, variants,
};
use panther_events::event::payload::{FieldType, FieldValue as Read};
use panther_events::event::{Domain, EventKind, Identity};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

const DOMAINS: [(&DomainDef, &[VariantDef]); 8] = [
    (&experiment::DOMAIN, experiment::VARIANTS),
    (&test::DOMAIN, test::VARIANTS),
    (&service::DOMAIN, service::VARIANTS),
    (&environment::DOMAIN, environment::VARIANTS),
    (&step::DOMAIN, step::VARIANTS),
    (&assertion::DOMAIN, assertion::VARIANTS),
    (&plugin::DOMAIN, plugin::VARIANTS),
    (&metrics::DOMAIN, metrics::VARIANTS),
];

/// Ways that the catalogue's transitions allow and its events do not lead: domain, event, the state that it comes from,
/// and the way. Without this one, a step that failed could never complete.
const BEYOND: &[(&str, &str, &str, &[&str])] =
    &[("step", "execution_started", "failed", &["retrying", "executing"])];

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn panther() -> Value {
    serde_json::from_str(&std::fs::read_to_string(data("panther-catalogue.json")).unwrap()).unwrap()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn names(states: &StateTable, set: u32) -> BTreeSet<String> {
    (0..32).filter(|bit| set >> bit & 1 != 0).map(|bit| states.states[bit as usize].to_string()).collect()
}

#[test]
fn domains_kinds_and_classes_are_those_of_the_catalogue() {
    let panther = panther();
    let ours: BTreeSet<_> = DOMAINS.iter().map(|(def, _)| &*def.name).collect();
    assert_eq!(ours, panther.as_object().unwrap().keys().map(String::as_str).collect());
    let (mut kinds, mut classes) = (0, 0);
    for (def, variants_of_domain) in DOMAINS {
        let events = panther[&*def.name]["events"].as_object().unwrap();
        let ours: BTreeSet<_> = def.kinds.iter().map(|kind| &*kind.name).collect();
        assert_eq!(ours, events.keys().map(String::as_str).collect());
        kinds += def.kinds.len();
        for kind in &def.kinds {
            let theirs: BTreeMap<String, (BTreeSet<String>, Option<String>)> = events[&*kind.name]
                .as_array()
                .unwrap()
                .iter()
                .map(|class| {
                    let name = class["class"].as_str().unwrap().to_owned();
                    let fields = strings(&class["fields"]);
                    assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len());
                    let action = class.get("action").map(|action| action.as_str().unwrap().to_owned());
                    (name, (fields.into_iter().collect(), action))
                })
                .collect();
            let ours: BTreeMap<_, _> = variants_of_domain
                .iter()
                .filter(|variant| variant.kind == kind.kind)
                .map(|variant| {
                    let fields = variant.data().filter(|field| field.ty != DataType::Members);
                    let names: Vec<_> = fields.clone().map(|field| field.name.to_owned()).collect();
                    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}", variant.class);
                    let action = fields.clone().find(|field| field.name == "action");
                    let action = action.map(|field| match field.ty {
                        DataType::Fixed(action) => action.to_owned(),
                        other => panic!("the action of {} is {other:?}", variant.class),
                    });
                    (variant.class.to_owned(), (names.into_iter().collect(), action))
                })
                .collect();
            assert_eq!(ours, theirs, "{}.{}", def.name, kind.name);
            classes += ours.len();
            assert_eq!(variants(kind.kind).count(), ours.len());
        }
        assert!(variants_of_domain.iter().all(|variant| variant.kind.domain() == def.domain));
    }
    assert_eq!((kinds, classes), (110, 123));
}

#[test]
fn states_and_paths_are_those_of_the_catalogue() {
    let panther = panther();
    for (def, _) in DOMAINS {
        let (theirs, states) = (&panther[&*def.name], def.states.as_ref().unwrap());
        assert_eq!(states.name(states.initial).map(|name| &**name), theirs["initial"].as_str());
        assert_eq!(names(states, states.terminal), strings(&theirs["terminal"]).into_iter().collect());
        let ours: BTreeMap<_, _> = states
            .states
            .iter()
            .zip(&states.next)
            .map(|(name, next)| (&**name, names(states, *next)))
            .collect();
        let transitions = theirs["transitions"].as_object().unwrap();
        let transitions =
            transitions.iter().map(|(state, next)| (&**state, strings(next).into_iter().collect()));
        assert_eq!(ours, transitions.collect());
        assert_eq!((states.next.len(), states.paths.len()), (states.states.len(), def.kinds.len()));
        let on_event = theirs["on_event"].as_object().unwrap();
        assert!(on_event.keys().all(|event| def.kinds.iter().any(|kind| *kind.name == **event)));
        for (kind, path) in def.kinds.iter().zip(&states.paths) {
            let name = |state: &u8| states.name(*state).unwrap().to_string();
            let ours: Vec<String> = match path {
                TransitionPath::Stay => Vec::new(),
                TransitionPath::To(path) => path.iter().map(name).collect(),
                // Beyond the catalogue; see `BEYOND`.
                TransitionPath::From { state, way, other } => {
                    let ours =
                        (&*def.name, &*kind.name, name(state), way.iter().map(name).collect::<Vec<_>>());
                    let is = |(domain, event, from, way): &(&str, &str, &str, &[&str])| {
                        (*domain, *event, *from) == (ours.0, ours.1, &*ours.2) && *way == ours.3
                    };
                    assert!(BEYOND.iter().any(is), "{ours:?}");
                    other.iter().map(name).collect()
                }
                // PANTHER writes forks in words: the way when a count or flag is good, then the other.
                TransitionPath::By { field, zero, other } => {
                    let ([zero], [other]) = (&**zero, &**other) else {
                        panic!("{} forks along more than one state", kind.name)
                    };
                    let counts = field.name.ends_with("_count");
                    let (good, bad) = if counts { (zero, other) } else { (other, zero) };
                    vec![format!("{} | {}, by {}", name(good), name(bad), field.name)]
                }
            };
            assert_eq!(
                ours,
                on_event.get(&*kind.name).map_or(Vec::new(), strings),
                "{}.{}",
                def.name,
                kind.name
            );
        }
    }
}

#[test]
fn codes_are_places_in_the_table_and_payloads_do_not_overlap() {
    let catalogue = Schema::new();
    for (def, variants_of_domain) in DOMAINS {
        assert_eq!(catalogue.states(def.domain), def.states.as_ref());
        for (code, kind) in (0..).zip(&def.kinds) {
            assert_eq!(kind.kind, EventKind::new(def.domain, code));
            assert_eq!(catalogue.name(kind.kind), Some(&*format!("{}.{}", def.name, kind.name)));
            let mut taken = [None; 24];
            for field in &kind.fields {
                for byte in &mut taken[field.offset..][..field.ty.size()] {
                    assert_eq!(byte.replace(&field.name), None, "{}.{}", def.name, kind.name);
                }
            }
            assert_eq!((&*kind.fields[0].name, kind.fields[0].offset), ("detail", 0));
            let several = variants(kind.kind).count() > 1;
            let names = kind.fields.iter().find_map(|field| match &field.ty {
                FieldType::Name(names) => Some(names.iter().map(|name| &**name).collect::<Vec<_>>()),
                _ => None,
            });
            let methods =
                several.then(|| variants(kind.kind).map(|variant| variant.method).collect::<Vec<_>>());
            assert_eq!(names, methods);
            check_places(kind, variants_of_domain);
        }
    }
    assert_eq!(domain::variants(EventKind::new(Domain::PACKET, 0)).count(), 0);
}

/// Every place is filled by some variant, and every number or flag has a place of a type that can hold it.
fn check_places(kind: &KindDef, variants_of_domain: &[VariantDef]) {
    let mut filled = BTreeSet::from(["detail", "variant"]);
    for variant in variants_of_domain.iter().filter(|variant| variant.kind == kind.kind) {
        for field in variant.data() {
            let place =
                field.place.map(|name| kind.fields.iter().find(|place| *place.name == *name).unwrap());
            filled.extend(field.place);
            use FieldType as F;
            let good = match (field.ty, place.map(|place| &place.ty)) {
                (DataType::Duration, Some(F::OptU64 | F::OptU56)) => field.place.unwrap().ends_with("_ns"),
                (DataType::Unsigned, Some(F::OptU16 | F::OptU24 | F::OptU32 | F::OptU64)) => true,
                (DataType::Signed, Some(F::OptI64)) | (DataType::Float, Some(F::OptF64)) => true,
                (DataType::Bool, Some(F::Bool)) | (DataType::Ports, Some(F::OptU16)) => true,
                (DataType::Any, None | Some(F::OptF64)) => true,
                (DataType::Text | DataType::Members | DataType::Fixed(_) | DataType::Time, None) => true,
                _ => false,
            };
            assert!(good, "{}.{} is {:?} in {place:?}", variant.class, field.name, field.ty);
        }
    }
    assert_eq!(filled.iter().filter(|name| **name != "variant").count(), {
        kind.fields.iter().filter(|field| field.name != "variant").count()
    });
}

#[test]
fn whatever_happens_is_an_occurrence_and_these_are_sampled() {
    let mut samples = Vec::new();
    for (def, _) in DOMAINS {
        for kind in &def.kinds {
            assert_eq!(kind.identity, Identity::Occurrence, "{}.{}", def.name, kind.name);
            if kind.sampled {
                samples.push(format!("{}.{}", def.name, kind.name));
            }
        }
    }
    let expected = [
        "service.health_check_passed",
        "service.health_check_failed",
        "environment.resource",
        "environment.monitoring",
        "environment.execution.monitoring",
        "environment.execution.limit.exceeded",
        "step.progress",
        "assertion.progress",
        "metrics.collected",
        "metrics.resource",
        "metrics.timing",
        "metrics.counter",
        "metrics.summary",
    ];
    assert_eq!(samples, expected);
}

/// What an event does, read from the catalogue's own words.
fn interpret(name: &str, domain: &Value, state: &str, event: &str, good: bool) -> String {
    let mut path = domain["on_event"].get(event).map_or(Vec::new(), strings);
    if let Some(beyond) = BEYOND.iter().find(|beyond| (beyond.0, beyond.1, beyond.2) == (name, event, state))
    {
        path = beyond.3.iter().map(|state| (*state).to_owned()).collect();
    }
    let path = match &path[..] {
        [fork] if fork.contains(" | ") => {
            let (good_way, rest) = fork.split_once(" | ").unwrap();
            let (bad_way, _) = rest.split_once(',').unwrap();
            vec![if good { good_way } else { bad_way }.to_owned()]
        }
        _ => path,
    };
    if path.last().is_none_or(|last| last == state) {
        return "stays".into();
    }
    let mut at = state.to_owned();
    for wanted in path {
        if wanted != at {
            if !strings(&domain["transitions"][&at]).contains(&wanted) {
                return format!("invalid, {at} to {wanted}");
            }
            at = wanted;
        }
    }
    format!("to {at}")
}

#[test]
fn every_event_in_every_state_does_what_the_catalogue_says() {
    let panther = panther();
    let mut golden = String::new();
    let mut invalid = 0;
    for (def, _) in DOMAINS {
        let states = def.states.as_ref().unwrap();
        for kind in &def.kinds {
            let path = &states.paths[usize::from(kind.kind.code())];
            for (number, state) in (0..).zip(&states.states) {
                let cases: &[bool] =
                    if matches!(path, TransitionPath::By { .. }) { &[true, false] } else { &[true] };
                for good in cases {
                    // A good count of failures is 0, a good flag is 1.
                    let set = matches!(path, TransitionPath::By { field, .. } if field.ty == FieldType::Bool)
                        == *good;
                    let payload = payload(path, set);
                    let outcome = match states.step(number, kind.kind.code(), &payload) {
                        StepOutcome::Unchanged => "stays".into(),
                        StepOutcome::Moved(to) => format!("to {}", states.name(to).unwrap()),
                        StepOutcome::Invalid { at, wanted } => {
                            invalid += 1;
                            let name = |state| states.name(state).unwrap();
                            format!("invalid, {} to {}", name(at), name(wanted))
                        }
                    };
                    let how = if cases.len() > 1 { [" (bad)", " (good)"][usize::from(*good)] } else { "" };
                    let line = format!("{} {state} + {}{how}: {outcome}", def.name, kind.name);
                    let theirs = interpret(&def.name, &panther[&*def.name], state, &kind.name, *good);
                    assert_eq!(outcome, theirs, "{line}");
                    writeln!(golden, "{line}").unwrap();
                }
                if let TransitionPath::By { field, .. } = path {
                    let mut empty = [0; 24];
                    empty[field.offset..][..field.ty.size()].fill(u8::MAX);
                    assert_eq!(states.step(number, kind.kind.code(), &empty), StepOutcome::Unchanged);
                }
            }
        }
    }
    assert!(invalid > 500 && golden.lines().count() > 1_200, "{invalid} of {}", golden.lines().count());
    let path = data("states.golden");
    if std::env::var_os("PANTHER_EVENTS_BLESS").is_some() {
        std::fs::write(&path, &golden).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (ours, theirs) in golden.lines().zip(expected.lines()) {
        assert_eq!(ours, theirs, "set PANTHER_EVENTS_BLESS=1 to take the new outcome as right");
    }
    assert_eq!(golden.lines().count(), expected.lines().count());
}

/// States that no sequence of events leads to or through, and why that is so.
const NEVER_REACHED: &[(&str, &str, &str)] = &[
    ("step", "pending", "no event says that a step waits for its turn"),
    ("assertion", "pending", "no event says that an assertion waits for its turn"),
    ("assertion", "skipped", "no event says that an assertion was left out"),
    ("service", "destroying", "`destroyed` comes when it is over, and the catalogue leads there at once"),
    ("metrics", "paused", "samples are all that there is of a metric"),
    ("metrics", "stopped", "samples are all that there is of a metric"),
    ("metrics", "error", "samples are all that there is of a metric"),
];

/// States that are not terminal, in which an entity can come to rest and that no event leads out of, and why.
const NEVER_LEFT: &[(&str, &str, &str)] =
    &[("metrics", "collecting", "samples are all that there is of a metric")];

/// By the steps that events make, and not by the transitions that would be allowed.
#[test]
fn every_state_can_be_reached_and_every_state_but_the_last_can_be_left() {
    let (mut never_reached, mut never_left) = (Vec::new(), Vec::new());
    for (def, _) in DOMAINS {
        let states = def.states.as_ref().unwrap();
        let events = || {
            def.kinds.iter().flat_map(|kind| {
                let code = kind.kind.code();
                [false, true].map(|set| (code, payload(&states.paths[usize::from(code)], set)))
            })
        };
        // Where an entity can be at rest, and what it goes through on its way.
        let (mut at_rest, mut passed) = (BTreeSet::from([states.initial]), BTreeSet::from([states.initial]));
        let mut left = BTreeSet::new();
        let mut open = vec![states.initial];
        while let Some(from) = open.pop() {
            for (code, payload) in events() {
                if let StepOutcome::Moved(to) = states.step(from, code, &payload) {
                    left.insert(from);
                    passed.extend(states.path(from, code, &payload));
                    if at_rest.insert(to) {
                        open.push(to);
                    }
                }
            }
        }
        for (number, name) in (0..).zip(&states.states) {
            if !passed.contains(&number) {
                never_reached.push((&*def.name, &**name));
            } else if at_rest.contains(&number) && !left.contains(&number) && !states.is_terminal(number) {
                never_left.push((&*def.name, &**name));
            }
        }
    }
    let listed = |list: &[(&'static str, &'static str, &str)]| -> BTreeSet<(&str, &str)> {
        list.iter().map(|(domain, state, _)| (*domain, *state)).collect()
    };
    assert_eq!(never_reached.into_iter().collect::<BTreeSet<_>>(), listed(NEVER_REACHED));
    assert_eq!(never_left.into_iter().collect::<BTreeSet<_>>(), listed(NEVER_LEFT));
}

/// A payload whose fork leads the one way or the other, written without the crate's help.
fn payload(path: &TransitionPath, set: bool) -> [u8; 24] {
    let mut payload = [0; 24];
    if let TransitionPath::By { field, .. } = path {
        payload[field.offset] = u8::from(set);
        let read = match field.ty {
            FieldType::Bool => Read::Bool(set),
            _ => Read::Unsigned(u64::from(set)),
        };
        assert_eq!(field.read(&payload), Some(read));
    }
    payload
}
