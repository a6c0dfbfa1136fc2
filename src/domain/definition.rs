//! What defines a domain.

use crate::domain::kind::KindDef;
use crate::domain::machine::StateTable;
use crate::event::{Domain, Shared};

/// Describes a domain: its number, name and kinds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainDef {
    /// The domain's number; users take [`Domain::FIRST_USER`] and above.
    pub domain: Domain,
    /// The name: lower case, without dots.
    pub name: Shared<str>,
    /// The kinds.
    pub kinds: Shared<[KindDef]>,
    /// The life of the domain's entities, if its events tell of one.
    pub states: Option<Shared<StateTable>>,
}
