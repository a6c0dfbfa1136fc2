//! The catalogue: which domains and kinds of events there are, what they carry, and where they lead.
//!
//! One file a domain, each a table (see [`table`]) from which follow the kinds, the states, and a typed emitter with a
//! method an event. Users add domains of their own with [`Catalogue::register`].
//!
//! ```
//! use panther_events::domain::test::{Created, StepCompleted};
//! use panther_events::event::Value;
//! use panther_events::pipeline::Pipeline;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder().start()?;
//! let mut emitter = pipeline.emitter("runner")?;
//! let mut test = emitter.test("handshake");
//! let config = [("transport", Value::from("udp")), ("streams", Value::from(4))];
//! test.created("handshake", Value::Map(&config), Created::default())?;
//! test.execution_started(Value::from(&["connect", "close"]), Default::default())?;
//! let duration_seconds = Some(Duration::from_millis(12));
//! test.step_completed("connect", StepCompleted { duration_seconds, ..Default::default() })?;
//! # Ok(())
//! # }
//! ```
//!
//! A field that an event has not, or of another type, does not compile:
//!
//! ```compile_fail,E0560
//! # use panther_events::domain::test::StepCompleted;
//! let more = StepCompleted { retries: Some(3), ..Default::default() };
//! ```
//!
//! ```compile_fail,E0308
//! # use panther_events::domain::test::StepCompleted;
//! # fn emit(emitter: &mut panther_events::emit::Emitter) -> Result<(), panther_events::emit::EmitError> {
//! emitter.test("handshake").assertion_checked("equal", "yes", Default::default())
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # fn emit(emitter: &mut panther_events::emit::Emitter) {
//! emitter.test("handshake").health_check_passed("server");
//! # }
//! ```

pub mod assertion;
pub mod environment;
pub mod experiment;
pub mod machine;
pub mod metrics;
pub mod packet;
pub mod pipeline;
pub mod plugin;
pub mod service;
pub mod step;
pub mod table;
pub mod test;

pub(crate) mod builder;
mod definition;
mod emitters;
mod kind;

pub use builder::Members;
pub use definition::DomainDef;
pub use emitters::{
    Assertions, Environments, Experiments, MetricSamples, Plugins, Services, Steps, Tests, TypedDomain,
    TypedSink,
};
pub use kind::KindDef;
pub use machine::{StateFault, StateTable, StepOutcome, TransitionPath};
pub use table::{DataField, DataType, VariantDef};

use crate::event::kind::{CODES_PER_DOMAIN, DOMAIN_COUNT, KIND_COUNT};
use crate::event::{Domain, EventKind, Field, Identity, KindSet};

/// Why a domain was not registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum CatalogueError {
    /// A domain with this number is there.
    #[error("domain {number} is taken by {known:?}; give {refused:?} another number")]
    DomainTaken { number: u8, known: &'static str, refused: &'static str },
    /// A domain with this name is there.
    #[error("the name {0:?} is taken by another domain; choose another")]
    NameTaken(&'static str),
    /// The number belongs to this crate.
    #[error(
        "domain {number} ({name:?}) lies in the range of this crate; users' domains are {} to {}",
        Domain::FIRST_USER.number(),
        DOMAIN_COUNT - 1
    )]
    Reserved { number: u8, name: &'static str },
    /// Two kinds of the domain have one code.
    #[error("{domain}.{first} and {domain}.{second} have the same code {code}; give each its own")]
    CodeTaken { domain: &'static str, first: &'static str, second: &'static str, code: u8 },
    /// Two kinds of the domain have one name.
    #[error("{domain} has two kinds named {name:?}; give each its own")]
    KindNameTaken { domain: &'static str, name: &'static str },
    /// A kind of another domain stands in the list.
    #[error("{domain}.{name} has the number of another domain ({number}); use that of {domain}")]
    ForeignKind { domain: &'static str, name: &'static str, number: u8 },
    /// A name is empty, or has other characters than `a-z 0-9 _` (and dots within a kind's name).
    #[error("{0:?} is no name for a domain or kind; use a-z, 0-9 and _ (and dots within a kind's name)")]
    BadName(&'static str),
    /// A kind's identity cannot be changed to or from `Digest`: its events carry a digest or do not.
    #[error("the identity of {0} cannot be changed to or from Digest; its emitters decide that")]
    DigestFixed(String),
    /// The state table contradicts itself or its domain.
    #[error("the states of {domain} do not hold together: {fault}")]
    States { domain: &'static str, fault: StateFault },
    /// The kind is in no registered domain.
    #[error("{0:?} is not registered; register its domain first")]
    Unknown(EventKind),
}

/// Knows every kind of event that may be emitted; fixed when a pipeline starts.
#[derive(Clone, Debug)]
pub struct Catalogue {
    kinds: Vec<Option<Known>>,
    domains: [Option<&'static str>; DOMAIN_COUNT],
    states: [Option<&'static StateTable>; DOMAIN_COUNT],
}

#[derive(Clone, Debug)]
struct Known {
    full_name: Box<str>,
    identity: Identity,
    sampled: bool,
    fields: &'static [Field],
}

impl Catalogue {
    /// Makes the catalogue of this crate's own domains.
    #[must_use]
    pub fn new() -> Catalogue {
        let mut catalogue = Catalogue::empty();
        for def in BUILT_IN {
            let added = catalogue.add(def);
            debug_assert_eq!(added, Ok(()), "a built-in domain is well-formed; a test keeps it");
        }
        catalogue
    }

    fn empty() -> Catalogue {
        Catalogue {
            kinds: vec![None; KIND_COUNT],
            domains: [None; DOMAIN_COUNT],
            states: [None; DOMAIN_COUNT],
        }
    }

    /// Adds a domain of the user's.
    ///
    /// # Errors
    /// When a number, code or name is taken, out of range or malformed. The catalogue is unchanged then.
    pub fn register(&mut self, def: &DomainDef) -> Result<(), CatalogueError> {
        if def.domain < Domain::FIRST_USER {
            return Err(CatalogueError::Reserved { number: def.domain.number(), name: def.name });
        }
        self.add(def)
    }

    fn add(&mut self, def: &DomainDef) -> Result<(), CatalogueError> {
        check_name(def.name, false)?;
        if let Some(Some(known)) = self.domains.get(usize::from(def.domain.number())) {
            let number = def.domain.number();
            return Err(CatalogueError::DomainTaken { number, known, refused: def.name });
        }
        if self.domains.contains(&Some(def.name)) {
            return Err(CatalogueError::NameTaken(def.name));
        }
        let mut by_code: [Option<&'static str>; CODES_PER_DOMAIN] = [None; CODES_PER_DOMAIN];
        for kind in def.kinds {
            check_name(kind.name, true)?;
            if kind.kind.domain() != def.domain {
                let number = kind.kind.domain().number();
                return Err(CatalogueError::ForeignKind { domain: def.name, name: kind.name, number });
            }
            let code = kind.kind.code();
            if let Some(slot) = by_code.get_mut(usize::from(code)) {
                if let Some(first) = *slot {
                    return Err(CatalogueError::CodeTaken {
                        domain: def.name,
                        first,
                        second: kind.name,
                        code,
                    });
                }
                *slot = Some(kind.name);
            }
            if by_code.iter().flatten().filter(|name| **name == kind.name).count() > 1 {
                return Err(CatalogueError::KindNameTaken { domain: def.name, name: kind.name });
            }
        }
        if let Some(states) = def.states {
            states
                .check(def.domain, def.kinds)
                .map_err(|fault| CatalogueError::States { domain: def.name, fault })?;
        }
        for kind in def.kinds {
            let full_name = format!("{}.{}", def.name, kind.name).into_boxed_str();
            let (identity, sampled) = (kind.identity, kind.sampled);
            let known = Known { full_name, identity, sampled, fields: kind.fields };
            if let Some(slot) = self.kinds.get_mut(kind.kind.index()) {
                *slot = Some(known);
            }
        }
        if let Some(slot) = self.domains.get_mut(usize::from(def.domain.number())) {
            *slot = Some(def.name);
        }
        if let Some(slot) = self.states.get_mut(usize::from(def.domain.number())) {
            *slot = def.states;
        }
        Ok(())
    }

    /// Changes what makes two events of `kind` the same, for this run.
    ///
    /// # Errors
    /// When the kind is unknown, or the change is to or from [`Identity::Digest`].
    pub fn set_identity(&mut self, kind: EventKind, identity: Identity) -> Result<(), CatalogueError> {
        let Some(known) = self.kinds.get_mut(kind.index()).and_then(Option::as_mut) else {
            return Err(CatalogueError::Unknown(kind));
        };
        if (identity == Identity::Digest) != (known.identity == Identity::Digest) {
            return Err(CatalogueError::DigestFixed(known.full_name.to_string()));
        }
        known.identity = identity;
        Ok(())
    }

    /// Returns the full name of `kind`, such as `packet.seen`.
    #[must_use]
    pub fn name(&self, kind: EventKind) -> Option<&str> {
        self.known(kind).map(|known| &*known.full_name)
    }

    /// Returns the fields of the payload of `kind`.
    #[must_use]
    pub fn fields(&self, kind: EventKind) -> Option<&'static [Field]> {
        self.known(kind).map(|known| known.fields)
    }

    /// Returns what makes two events of `kind` the same.
    #[inline]
    #[must_use]
    pub fn identity(&self, kind: EventKind) -> Option<Identity> {
        self.known(kind).map(|known| known.identity)
    }

    /// Tells whether events of `kind` come often: [`KindDef::sampled`].
    #[must_use]
    pub fn is_sampled(&self, kind: EventKind) -> bool {
        self.known(kind).is_some_and(|known| known.sampled)
    }

    /// Returns the name of `domain`.
    #[must_use]
    pub fn domain_name(&self, domain: Domain) -> Option<&'static str> {
        self.domains.get(usize::from(domain.number())).copied().flatten()
    }

    /// Returns the life of the entities of `domain`; `None` when its events tell of none.
    #[must_use]
    pub fn states(&self, domain: Domain) -> Option<&'static StateTable> {
        self.states.get(usize::from(domain.number())).copied().flatten()
    }

    /// Returns the kinds named `name` or below it: `packet.seen`, `packet`, `environment.network`; `*` is all.
    ///
    /// The set is empty when there are none.
    #[must_use]
    pub fn select(&self, name: &str) -> KindSet {
        let below =
            |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.kinds().filter(|(_, full)| name == "*" || below(full)).map(|(kind, _)| kind).collect()
    }

    /// Iterates over the registered kinds and their full names.
    pub fn kinds(&self) -> impl Iterator<Item = (EventKind, &str)> {
        (0..).zip(&self.kinds).filter_map(|(index, known)| {
            known.as_ref().map(|known| (EventKind::from_index(index), &*known.full_name))
        })
    }

    #[inline]
    fn known(&self, kind: EventKind) -> Option<&Known> {
        self.kinds.get(kind.index()).and_then(Option::as_ref)
    }
}

impl Default for Catalogue {
    fn default() -> Catalogue {
        Catalogue::new()
    }
}

const BUILT_IN: &[DomainDef] = &[
    pipeline::DOMAIN,
    experiment::DOMAIN,
    test::DOMAIN,
    service::DOMAIN,
    environment::DOMAIN,
    step::DOMAIN,
    assertion::DOMAIN,
    plugin::DOMAIN,
    metrics::DOMAIN,
    packet::DOMAIN,
];

/// PANTHER's domains.
pub const PANTHER: &[&DomainDef] = &[
    &experiment::DOMAIN,
    &test::DOMAIN,
    &service::DOMAIN,
    &environment::DOMAIN,
    &step::DOMAIN,
    &assertion::DOMAIN,
    &plugin::DOMAIN,
    &metrics::DOMAIN,
];

/// PANTHER's classes, domain by domain.
const VARIANTS: &[&[VariantDef]] = &[
    experiment::VARIANTS,
    test::VARIANTS,
    service::VARIANTS,
    environment::VARIANTS,
    step::VARIANTS,
    assertion::VARIANTS,
    plugin::VARIANTS,
    metrics::VARIANTS,
];

/// Returns the shapes that the data of events of `kind` can have; none for kinds that are not PANTHER's.
pub fn variants(kind: EventKind) -> impl Iterator<Item = &'static VariantDef> {
    VARIANTS.iter().copied().flatten().filter(move |variant| variant.kind == kind)
}

fn check_name(name: &'static str, dots: bool) -> Result<(), CatalogueError> {
    let part_is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let good = if dots { name.split('.').all(part_is_name) } else { part_is_name(name) };
    if good { Ok(()) } else { Err(CatalogueError::BadName(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Domain = Domain::FIRST_USER;

    const fn def(code: u8, name: &'static str) -> KindDef {
        KindDef {
            kind: EventKind::new(USER, code),
            name,
            identity: Identity::Content,
            sampled: false,
            fields: &[],
        }
    }

    #[test]
    fn every_built_in_domain_registers() {
        let mut catalogue = Catalogue::empty();
        for def in BUILT_IN {
            assert_eq!(catalogue.add(def), Ok(()));
        }
    }

    #[test]
    fn a_domain_of_the_users_is_found_by_name_and_by_hierarchy() {
        let mut catalogue = Catalogue::new();
        let kinds = const { &[def(0, "up"), def(1, "link.flap"), def(2, "link.slow"), def(3, "linked")] };
        catalogue.register(&DomainDef { domain: USER, name: "lab", kinds, states: None }).unwrap();
        assert_eq!(catalogue.name(kinds[1].kind), Some("lab.link.flap"));
        assert_eq!(catalogue.select("lab.link"), KindSet::of(&[kinds[1].kind, kinds[2].kind]));
        assert_eq!(catalogue.select("lab").iter().count(), 4);
        assert!(catalogue.select("la").is_empty());
        assert_eq!(catalogue.select("*").iter().count(), catalogue.kinds().count());
    }

    #[test]
    fn what_clashes_is_refused_and_changes_nothing() {
        let mut catalogue = Catalogue::new();
        let before = catalogue.kinds().count();
        let mut refuse = |def: DomainDef| catalogue.register(&def).unwrap_err();
        use CatalogueError as E;
        let kinds = const { &[def(3, "a"), def(3, "b")] };
        let clash = E::CodeTaken { domain: "lab", first: "a", second: "b", code: 3 };
        assert_eq!(refuse(DomainDef { domain: USER, name: "lab", kinds, states: None }), clash);
        let kinds = const { &[def(3, "a"), def(4, "a")] };
        assert_eq!(
            refuse(DomainDef { domain: USER, name: "lab", kinds, states: None }),
            E::KindNameTaken { domain: "lab", name: "a" }
        );
        assert!(matches!(
            refuse(DomainDef { domain: Domain::TEST, name: "lab", kinds: &[], states: None }),
            E::Reserved { number: 2, .. }
        ));
        assert_eq!(
            refuse(DomainDef { domain: USER, name: "packet", kinds: &[], states: None }),
            E::NameTaken("packet")
        );
        assert_eq!(
            refuse(DomainDef { domain: USER, name: "a b", kinds: &[], states: None }),
            E::BadName("a b")
        );
        let foreign = const { &[KindDef { kind: EventKind::new(Domain::TEST, 0), ..def(0, "a") }] };
        assert!(matches!(
            refuse(DomainDef { domain: USER, name: "lab", kinds: foreign, states: None }),
            E::ForeignKind { number: 2, .. }
        ));
        assert_eq!(catalogue.kinds().count(), before);
    }

    #[test]
    fn identity_can_change_per_run_but_not_to_a_digest() {
        let mut catalogue = Catalogue::new();
        let kinds = const { &[def(0, "up")] };
        catalogue.register(&DomainDef { domain: USER, name: "lab", kinds, states: None }).unwrap();
        catalogue.set_identity(kinds[0].kind, Identity::Occurrence).unwrap();
        assert_eq!(catalogue.identity(kinds[0].kind), Some(Identity::Occurrence));
        let refused = catalogue.set_identity(kinds[0].kind, Identity::Digest);
        assert_eq!(refused, Err(CatalogueError::DigestFixed("lab.up".into())));
        let missing = EventKind::new(USER, 9);
        assert_eq!(catalogue.set_identity(missing, Identity::Content), Err(CatalogueError::Unknown(missing)));
    }
}
