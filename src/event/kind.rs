//! Kinds of events: a domain and a code, and sets of them.

use std::fmt;

/// Domains there can be; a domain's number is below this.
pub const DOMAIN_COUNT: usize = 32;
/// Codes a domain can have; a kind's code is below this.
pub const CODES_PER_DOMAIN: usize = 64;
/// Kinds there can be: [`EventKind::index`] is below this.
pub const KIND_COUNT: usize = DOMAIN_COUNT * CODES_PER_DOMAIN;

/// Names the area of a test that an event is about.
///
/// Numbers 0 to 15 belong to this crate, [`Domain::FIRST_USER`] and above to its users, who register
/// their domains with [`crate::domain::Schema::register`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Domain(u8);

impl Domain {
    /// What the pipeline says of itself (a failed observer, for example).
    pub const PIPELINE: Domain = Domain(0);
    /// The experiment as a whole.
    pub const EXPERIMENT: Domain = Domain(1);
    /// One test case.
    pub const TEST: Domain = Domain(2);
    /// A service under test or its tester.
    pub const SERVICE: Domain = Domain(3);
    /// Network, execution and output-collection environments.
    pub const ENVIRONMENT: Domain = Domain(4);
    /// A step of a test.
    pub const STEP: Domain = Domain(5);
    /// An assertion of a test.
    pub const ASSERTION: Domain = Domain(6);
    /// A plugin.
    pub const PLUGIN: Domain = Domain(7);
    /// A sampled metric.
    pub const METRICS: Domain = Domain(8);
    /// A packet at a vantage point.
    pub const PACKET: Domain = Domain(9);
    /// The first of the numbers that users may register.
    pub const FIRST_USER: Domain = Domain(16);

    /// Makes the domain with this number, or `None` from [`DOMAIN_COUNT`] up.
    #[must_use]
    pub const fn new(number: u8) -> Option<Domain> {
        if (number as usize) < DOMAIN_COUNT { Some(Domain(number)) } else { None }
    }

    /// Returns the number, below [`DOMAIN_COUNT`].
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Names what happened: a domain and a code within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EventKind(u16);

impl EventKind {
    /// The kind of the domain `service` by which testers tell what they found: a part of a test, as assertions are.
    pub(crate) const TEST_RESULTS: EventKind = EventKind::new(Domain::SERVICE, 14);

    /// Makes the kind `code` of `domain`.
    ///
    /// # Panics
    /// When `code` is [`CODES_PER_DOMAIN`] or more: in a `const`, a compile error. Use
    /// [`EventKind::try_new`] for codes that are only known at run time.
    #[must_use]
    pub const fn new(domain: Domain, code: u8) -> EventKind {
        assert!((code as usize) < CODES_PER_DOMAIN, "the code of a kind is below CODES_PER_DOMAIN");
        EventKind((domain.0 as u16) << 6 | code as u16)
    }

    /// Makes the kind `code` of `domain`, or `None` when the code is out of range.
    #[must_use]
    pub const fn try_new(domain: Domain, code: u8) -> Option<EventKind> {
        if (code as usize) < CODES_PER_DOMAIN { Some(EventKind::new(domain, code)) } else { None }
    }

    /// Makes the kind from its [`index`](EventKind::index); higher bits are ignored.
    #[must_use]
    pub const fn from_index(index: u16) -> EventKind {
        EventKind(index & (KIND_COUNT as u16 - 1))
    }

    /// Returns the domain.
    #[must_use]
    pub const fn domain(self) -> Domain {
        Domain((self.0 >> 6) as u8)
    }

    /// Returns the code, below [`CODES_PER_DOMAIN`].
    #[must_use]
    pub const fn code(self) -> u8 {
        (self.0 & 63) as u8
    }

    /// Returns a dense number below [`KIND_COUNT`], for tables indexed by kind.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKind({}.{})", self.domain().0, self.code())
    }
}

/// A set of kinds, 256 bytes: one bit test tells whether a kind is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KindSet([u64; DOMAIN_COUNT]);

impl KindSet {
    /// The set without a kind.
    pub const EMPTY: KindSet = KindSet([0; DOMAIN_COUNT]);
    /// The set of all kinds, registered or not.
    pub const ALL: KindSet = KindSet([u64::MAX; DOMAIN_COUNT]);

    /// Makes the set of all kinds of `domain`.
    #[must_use]
    pub const fn domain(domain: Domain) -> KindSet {
        let mut words = [0; DOMAIN_COUNT];
        words[domain.0 as usize] = u64::MAX;
        KindSet(words)
    }

    /// Makes the set of `kinds`.
    #[must_use]
    pub const fn of(kinds: &[EventKind]) -> KindSet {
        let mut set = KindSet::EMPTY;
        let mut at = 0;
        while at < kinds.len() {
            set = set.with(kinds[at]);
            at += 1;
        }
        set
    }

    /// Returns the set with `kind` added.
    #[must_use]
    pub const fn with(mut self, kind: EventKind) -> KindSet {
        self.0[(kind.0 >> 6) as usize] |= 1 << (kind.0 & 63);
        self
    }

    /// Returns the set with `kind` taken out.
    #[must_use]
    pub const fn without(mut self, kind: EventKind) -> KindSet {
        self.0[(kind.0 >> 6) as usize] &= !(1 << (kind.0 & 63));
        self
    }

    /// Returns the kinds that are in either set.
    #[must_use]
    pub const fn union(mut self, other: &KindSet) -> KindSet {
        let mut at = 0;
        while at < DOMAIN_COUNT {
            self.0[at] |= other.0[at];
            at += 1;
        }
        self
    }

    /// Tells whether `kind` is in the set.
    #[inline]
    #[must_use]
    pub const fn contains(&self, kind: EventKind) -> bool {
        self.0[(kind.0 >> 6) as usize & (DOMAIN_COUNT - 1)] >> (kind.0 & 63) & 1 != 0
    }

    /// Returns the codes of `domain` that are in the set, as bits.
    #[inline]
    #[must_use]
    pub const fn codes(&self, domain: Domain) -> u64 {
        self.0[domain.0 as usize & (DOMAIN_COUNT - 1)]
    }

    /// Tells whether no kind is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == KindSet::EMPTY
    }

    /// Iterates over the kinds in the set, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = EventKind> + '_ {
        (0..KIND_COUNT as u16).map(EventKind).filter(|kind| self.contains(*kind))
    }
}

impl FromIterator<EventKind> for KindSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> KindSet {
        kinds.into_iter().fold(KindSet::EMPTY, KindSet::with)
    }
}

impl fmt::Debug for KindSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == KindSet::ALL {
            return f.write_str("KindSet(ALL)");
        }
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_domain_and_code_makes_a_kind_of_its_own() {
        let mut seen = BTreeSet::new();
        for domain in 0..DOMAIN_COUNT as u8 {
            let domain = Domain::new(domain).unwrap();
            for code in 0..CODES_PER_DOMAIN as u8 {
                let kind = EventKind::new(domain, code);
                assert_eq!((kind.domain(), kind.code()), (domain, code));
                assert_eq!(EventKind::from_index(kind.index() as u16), kind);
                assert!(kind.index() < KIND_COUNT && seen.insert(kind.index()));
            }
        }
        assert!(Domain::new(DOMAIN_COUNT as u8).is_none());
        assert!(EventKind::try_new(Domain::TEST, CODES_PER_DOMAIN as u8).is_none());
    }

    #[test]
    fn a_kind_set_behaves_like_a_set() {
        let kinds: Vec<_> = (0..KIND_COUNT as u16).step_by(37).map(EventKind::from_index).collect();
        let set = KindSet::of(&kinds);
        let oracle: BTreeSet<_> = kinds.iter().copied().collect();
        for index in 0..KIND_COUNT as u16 {
            let kind = EventKind::from_index(index);
            assert_eq!(set.contains(kind), oracle.contains(&kind), "{kind:?}");
        }
        assert_eq!(set.iter().collect::<BTreeSet<_>>(), oracle);
        assert_eq!(kinds.iter().fold(set, |set, kind| set.without(*kind)), KindSet::EMPTY);
        assert_eq!(KindSet::domain(Domain::STEP).iter().count(), CODES_PER_DOMAIN);
        assert_eq!(KindSet::domain(Domain::STEP).codes(Domain::STEP), u64::MAX);
        assert_eq!(KindSet::EMPTY.union(&KindSet::ALL), KindSet::ALL);
    }
}
