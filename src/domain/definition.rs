//! What defines a domain.

use crate::domain::kind::KindDef;
use crate::domain::machine::StateTable;
use crate::event::Domain;

/// Describes a domain: its number, name and kinds.
#[derive(Clone, Copy, Debug)]
pub struct DomainDef {
    /// The domain's number; users take [`Domain::FIRST_USER`] and above.
    pub domain: Domain,
    /// The name: lower case, without dots.
    pub name: &'static str,
    /// The kinds.
    pub kinds: &'static [KindDef],
    /// The life of the domain's entities, if its events tell of one.
    pub states: Option<&'static StateTable>,
}
