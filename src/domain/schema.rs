//! The schema: every kind of event that may be emitted, or that a file tells of.

use crate::domain::built_in::BUILT_IN;
use crate::domain::definition::DomainDef;
use crate::domain::kind::KindDef;
use crate::domain::machine::StateTable;
use crate::domain::names;
use crate::domain::schema_error::{FieldFault, SchemaError};
use crate::event::kind::{CODES_PER_DOMAIN, DOMAIN_COUNT, KIND_COUNT};
use crate::event::{Domain, EventKind, Field, FieldType, Identity, KindSet, Record, Shared};

/// Knows every kind of event that may be emitted; fixed when a pipeline starts.
///
/// A schema owns what it knows, wherever that comes from: tables in the program, definitions that were made at run time, and
/// texts that journals, recorders and run directories hold ([`DomainDef::to_json`], [`DomainDef::from_json`]). Each domain is
/// checked as a whole when it is [registered](Schema::register).
///
/// ```
/// use panther_events::domain::{DomainDef, KindDef, Schema};
/// use panther_events::event::{Field, FieldType};
/// use panther_events::{Domain, EventKind, Identity};
///
/// // Made at run time, as a binding to another language does.
/// let latency = Field { name: String::from("rtt_ns").into(), ty: FieldType::U64, offset: 0 };
/// let echo = KindDef {
///     kind: EventKind::try_new(Domain::FIRST_USER, 0).ok_or("no such code")?,
///     name: String::from("echo").into(),
///     identity: Identity::Occurrence,
///     sampled: true,
///     fields: vec![latency].into(),
/// };
/// let lab = DomainDef {
///     domain: Domain::FIRST_USER,
///     name: String::from("lab").into(),
///     kinds: vec![echo].into(),
///     states: None,
/// };
/// let mut schema = Schema::new();
/// schema.register(&lab)?;
/// // It travels as text.
/// assert_eq!(DomainDef::from_json(&lab.to_json())?, lab);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    kinds: Vec<Option<Known>>,
    domains: [Option<DomainDef>; DOMAIN_COUNT],
}

#[derive(Clone, Debug)]
struct Known {
    full_name: Box<str>,
    identity: Identity,
    sampled: bool,
    fields: Shared<[Field]>,
}

impl Schema {
    /// Bytes that the name of a domain, kind, field or state can have.
    pub const NAME_LEN_MAX: usize = names::LEN_MAX;

    /// Makes the schema of this crate's own domains.
    #[must_use]
    pub fn new() -> Schema {
        let mut schema = Schema::empty();
        schema.complete();
        schema
    }

    pub(super) fn empty() -> Schema {
        Schema { kinds: vec![None; KIND_COUNT], domains: [const { None }; DOMAIN_COUNT] }
    }

    /// Adds those of this crate's own domains whose numbers and names are free.
    fn complete(&mut self) {
        for def in BUILT_IN {
            let free = self.domain(def.domain).is_none() && self.named(&def.name).is_none();
            let added = if free { self.add(def) } else { Ok(()) };
            debug_assert_eq!(added, Ok(()), "a built-in domain is well-formed; a test keeps it");
        }
    }

    /// Tells whether a domain is this crate's own, and defined as here.
    #[must_use]
    pub fn is_built_in(def: &DomainDef) -> bool {
        BUILT_IN.contains(def)
    }

    /// Makes the schema by which a file is read that tells of `domains`: those, and this crate's own for the rest. What the
    /// file tells of a domain of this crate's holds, since another version of the crate may have written it.
    ///
    /// # Errors
    /// When two of them have one number or name, or one is malformed.
    pub fn of_file<'a>(domains: impl IntoIterator<Item = &'a DomainDef>) -> Result<Schema, SchemaError> {
        let mut schema = Schema::empty();
        for def in domains {
            schema.merge(def)?;
        }
        schema.complete();
        Ok(schema)
    }

    /// Adds a domain of the user's.
    ///
    /// # Errors
    /// When a number, code or name is taken, out of range or malformed. The schema is unchanged then.
    pub fn register(&mut self, def: &DomainDef) -> Result<(), SchemaError> {
        if def.domain < Domain::FIRST_USER {
            return Err(SchemaError::Reserved { number: def.domain.number(), name: def.name.to_string() });
        }
        self.add(def)
    }

    /// Adds a domain that a file tells of, unless the very same is there.
    ///
    /// # Errors
    /// As for [`Schema::register`]; a domain of this crate's that is another here is [`SchemaError::DomainTaken`].
    pub fn merge(&mut self, def: &DomainDef) -> Result<(), SchemaError> {
        match self.domain(def.domain) {
            Some(known) if known == def => Ok(()),
            _ => self.add(def),
        }
    }

    fn add(&mut self, def: &DomainDef) -> Result<(), SchemaError> {
        let domain = || def.name.to_string();
        check_name(&def.name, names::is_name(&def.name))?;
        if let Some(known) = self.domain(def.domain) {
            let (number, known) = (def.domain.number(), known.name.to_string());
            return Err(SchemaError::DomainTaken { number, known, refused: domain() });
        }
        if self.named(&def.name).is_some() {
            return Err(SchemaError::NameTaken(domain()));
        }
        let mut by_code: [Option<&str>; CODES_PER_DOMAIN] = [None; CODES_PER_DOMAIN];
        for kind in &def.kinds {
            check_name(&kind.name, names::is_path(&kind.name))?;
            let name = || kind.name.to_string();
            if kind.kind.domain() != def.domain {
                let number = kind.kind.domain().number();
                return Err(SchemaError::ForeignKind { domain: domain(), name: name(), number });
            }
            let code = kind.kind.code();
            if by_code.iter().flatten().any(|known| **known == *kind.name) {
                return Err(SchemaError::KindNameTaken { domain: domain(), name: name() });
            }
            if let Some(slot) = by_code.get_mut(usize::from(code)) {
                if let Some(first) = *slot {
                    let (first, second) = (first.to_owned(), name());
                    return Err(SchemaError::CodeTaken { domain: domain(), first, second, code });
                }
                *slot = Some(&kind.name);
            }
            check_fields(kind).map_err(|(field, fault)| SchemaError::Field {
                domain: domain(),
                kind: name(),
                field: field.name.to_string(),
                fault,
            })?;
        }
        if let Some(states) = &def.states {
            states
                .check(def.domain, &def.kinds)
                .map_err(|fault| SchemaError::States { domain: domain(), fault })?;
        }
        for kind in &def.kinds {
            let full_name = format!("{}.{}", def.name, kind.name).into_boxed_str();
            let (identity, sampled, fields) = (kind.identity, kind.sampled, kind.fields.clone());
            if let Some(slot) = self.kinds.get_mut(kind.kind.index()) {
                *slot = Some(Known { full_name, identity, sampled, fields });
            }
        }
        if let Some(slot) = self.domains.get_mut(usize::from(def.domain.number())) {
            *slot = Some(def.clone());
        }
        Ok(())
    }

    /// Changes what makes two events of `kind` the same, for this run. The domain's definition stays as it is: records tell
    /// their identity themselves.
    ///
    /// # Errors
    /// When the kind is unknown, or the change is to or from [`Identity::Digest`].
    pub fn set_identity(&mut self, kind: EventKind, identity: Identity) -> Result<(), SchemaError> {
        let Some(known) = self.kinds.get_mut(kind.index()).and_then(Option::as_mut) else {
            return Err(SchemaError::Unknown(kind));
        };
        if (identity == Identity::Digest) != (known.identity == Identity::Digest) {
            return Err(SchemaError::DigestFixed(known.full_name.to_string()));
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
    pub fn fields(&self, kind: EventKind) -> Option<&[Field]> {
        self.known(kind).map(|known| &*known.fields)
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

    /// Returns the definition of `domain`.
    #[must_use]
    pub fn domain(&self, domain: Domain) -> Option<&DomainDef> {
        self.domains.get(usize::from(domain.number())).and_then(Option::as_ref)
    }

    /// Iterates over the domains, by number.
    pub fn domains(&self) -> impl Iterator<Item = &DomainDef> {
        self.domains.iter().flatten()
    }

    fn named(&self, name: &str) -> Option<&DomainDef> {
        self.domains().find(|known| *known.name == *name)
    }

    /// Returns the name of `domain`.
    #[must_use]
    pub fn domain_name(&self, domain: Domain) -> Option<&str> {
        self.domain(domain).map(|def| &*def.name)
    }

    /// Returns the life of the entities of `domain`; `None` when its events tell of none.
    #[must_use]
    pub fn states(&self, domain: Domain) -> Option<&Shared<StateTable>> {
        self.domain(domain)?.states.as_ref()
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

impl Default for Schema {
    fn default() -> Schema {
        Schema::new()
    }
}

fn check_name(name: &str, is_one: bool) -> Result<(), SchemaError> {
    if is_one { Ok(()) } else { Err(SchemaError::BadName(name.to_owned())) }
}

fn check_fields(kind: &KindDef) -> Result<(), (&Field, FieldFault)> {
    let mut used: [Option<&Field>; Record::PAYLOAD_LEN] = [None; Record::PAYLOAD_LEN];
    for (at, field) in kind.fields.iter().enumerate() {
        let fault = |fault| Err((field, fault));
        if !names::is_text(&field.name) || !field.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return fault(FieldFault::BadName);
        }
        if kind.fields.iter().take(at).any(|known| known.name == field.name) {
            return fault(FieldFault::NameTaken);
        }
        if let FieldType::Name(names) = &field.ty {
            let fresh = |(at, name): (usize, &Shared<str>)| {
                names::is_text(name) && names.iter().take(at).all(|known| known != name)
            };
            if !(1..=255).contains(&names.len()) || !names.iter().enumerate().all(fresh) {
                return fault(FieldFault::Names(names.len()));
            }
        }
        let (offset, size) = (field.offset, field.ty.size());
        let Some(places) = offset.checked_add(size).and_then(|end| used.get_mut(offset..end)) else {
            return fault(FieldFault::Outside { offset, size });
        };
        for place in places {
            if let Some(other) = place.replace(field) {
                return fault(FieldFault::Overlaps { other: other.name.to_string() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Domain = Domain::FIRST_USER;

    const fn def(code: u8, name: &'static str) -> KindDef {
        KindDef {
            kind: EventKind::new(USER, code),
            name: Shared::Static(name),
            identity: Identity::Content,
            sampled: false,
            fields: Shared::Static(&[]),
        }
    }

    fn domain(domain: Domain, name: &'static str, kinds: &[KindDef]) -> DomainDef {
        DomainDef { domain, name: name.into(), kinds: kinds.iter().cloned().collect(), states: None }
    }

    #[test]
    fn every_built_in_domain_registers() {
        let mut schema = Schema::empty();
        for def in BUILT_IN {
            assert_eq!(schema.add(def), Ok(()));
        }
    }

    #[test]
    fn a_domain_of_the_users_is_found_by_name_and_by_hierarchy() {
        let mut schema = Schema::new();
        let kinds = [def(0, "up"), def(1, "link.flap"), def(2, "link.slow"), def(3, "linked")];
        schema.register(&domain(USER, "lab", &kinds)).unwrap();
        assert_eq!(schema.name(kinds[1].kind), Some("lab.link.flap"));
        assert_eq!(schema.select("lab.link"), KindSet::of(&[kinds[1].kind, kinds[2].kind]));
        assert_eq!(schema.select("lab").iter().count(), 4);
        assert!(schema.select("la").is_empty());
        assert_eq!(schema.select("*").iter().count(), schema.kinds().count());
    }

    #[test]
    fn what_clashes_is_refused_and_changes_nothing() {
        let mut schema = Schema::new();
        let before = schema.kinds().count();
        let mut refuse = |def: DomainDef| schema.register(&def).unwrap_err();
        use SchemaError as E;
        let kinds = [def(3, "a"), def(3, "b")];
        let clash = E::CodeTaken { domain: "lab".into(), first: "a".into(), second: "b".into(), code: 3 };
        assert_eq!(refuse(domain(USER, "lab", &kinds)), clash);
        let kinds = [def(3, "a"), def(4, "a")];
        assert_eq!(
            refuse(domain(USER, "lab", &kinds)),
            E::KindNameTaken { domain: "lab".into(), name: "a".into() }
        );
        assert!(matches!(refuse(domain(Domain::TEST, "lab", &[])), E::Reserved { number: 2, .. }));
        assert_eq!(refuse(domain(USER, "packet", &[])), E::NameTaken("packet".into()));
        assert_eq!(refuse(domain(USER, "a b", &[])), E::BadName("a b".into()));
        let foreign = [KindDef { kind: EventKind::new(Domain::TEST, 0), ..def(0, "a") }];
        assert!(matches!(refuse(domain(USER, "lab", &foreign)), E::ForeignKind { number: 2, .. }));
        assert_eq!(schema.kinds().count(), before);
    }

    #[test]
    fn identity_can_change_per_run_but_not_to_a_digest() {
        let mut schema = Schema::new();
        let kinds = [def(0, "up")];
        schema.register(&domain(USER, "lab", &kinds)).unwrap();
        schema.set_identity(kinds[0].kind, Identity::Occurrence).unwrap();
        assert_eq!(schema.identity(kinds[0].kind), Some(Identity::Occurrence));
        let refused = schema.set_identity(kinds[0].kind, Identity::Digest);
        assert_eq!(refused, Err(SchemaError::DigestFixed("lab.up".into())));
        let missing = EventKind::new(USER, 9);
        assert_eq!(schema.set_identity(missing, Identity::Content), Err(SchemaError::Unknown(missing)));
    }

    #[test]
    fn a_files_domains_hold_and_the_rest_is_this_crates() {
        let lab = domain(USER, "lab", &[def(0, "up")]);
        let step = Schema::new().domain(Domain::STEP).unwrap().clone();
        let older = DomainDef { kinds: step.kinds.iter().take(2).cloned().collect(), states: None, ..step };
        let schema = Schema::of_file([&lab, &older, &lab]).unwrap();
        assert_eq!(schema.domain(USER), Some(&lab));
        assert_eq!(schema.domain(Domain::STEP), Some(&older));
        assert_eq!(schema.domain(Domain::TEST), Schema::new().domain(Domain::TEST));
        let taken = SchemaError::DomainTaken { number: 16, known: "lab".into(), refused: "rig".into() };
        assert_eq!(Schema::of_file([&lab, &domain(USER, "rig", &[])]).unwrap_err(), taken);
        // A name of this crate's is the file's, where the file has it.
        let other = domain(USER, "step", &[def(0, "up")]);
        let schema = Schema::of_file([&other]).unwrap();
        assert_eq!((schema.domain(USER), schema.domain(Domain::STEP)), (Some(&other), None));
    }
}
