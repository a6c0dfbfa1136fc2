//! What is wrong with a domain's definition.

use crate::domain::machine::StateFault;
use crate::event::kind::DOMAIN_COUNT;
use crate::event::{Domain, EventKind};

/// Why a domain was not taken into a schema.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum SchemaError {
    /// A domain with this number is there.
    #[error("domain {number} is taken by {known:?}; give {refused:?} another number")]
    DomainTaken { number: u8, known: String, refused: String },
    /// A domain with this name is there.
    #[error("the name {0:?} is taken by another domain; choose another")]
    NameTaken(String),
    /// The number belongs to this crate.
    #[error(
        "domain {number} ({name:?}) lies in the range of this crate; users' domains are {} to {}",
        Domain::FIRST_USER.number(),
        DOMAIN_COUNT - 1
    )]
    Reserved { number: u8, name: String },
    /// Two kinds of the domain have one code.
    #[error("{domain}.{first} and {domain}.{second} have the same code {code}; give each its own")]
    CodeTaken { domain: String, first: String, second: String, code: u8 },
    /// Two kinds of the domain have one name.
    #[error("{domain} has two kinds named {name:?}; give each its own")]
    KindNameTaken { domain: String, name: String },
    /// A kind of another domain stands in the list.
    #[error("{domain}.{name} has the number of another domain ({number}); use that of {domain}")]
    ForeignKind { domain: String, name: String, number: u8 },
    /// A name is empty, too long, or has other characters than `a-z 0-9 _` (and dots within a kind's name).
    #[error(
        "{0:?} is no name for a domain or kind; use a-z, 0-9 and _ (and dots within a kind's name), 64 bytes at most"
    )]
    BadName(String),
    /// A field of a kind is not sound.
    #[error("the field {field:?} of {domain}.{kind} {fault}")]
    Field { domain: String, kind: String, field: String, fault: FieldFault },
    /// A kind's identity cannot be changed to or from `Digest`: its events carry a digest or do not.
    #[error("the identity of {0} cannot be changed to or from Digest; its emitters decide that")]
    DigestFixed(String),
    /// The state table contradicts itself or its domain.
    #[error("the states of {domain} do not hold together: {fault}")]
    States { domain: String, fault: StateFault },
    /// The kind is in no registered domain.
    #[error("{0:?} is not registered; register its domain first")]
    Unknown(EventKind),
}

/// What is wrong with a field of a kind's payload.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[non_exhaustive]
pub enum FieldFault {
    /// The name is empty, too long, or has other characters than letters, digits and `_`.
    #[error("has no name for a field; use letters, digits and _, 64 bytes at most")]
    BadName,
    /// Another field has the name.
    #[error("is there twice; give each field a name of its own")]
    NameTaken,
    /// It does not lie within the payload.
    #[error("lies at {offset}, has {size} bytes and ends beyond the payload's 24; give it room there")]
    Outside { offset: usize, size: usize },
    /// It shares bytes with another field.
    #[error("shares bytes with {other:?}; give each a place of its own")]
    Overlaps { other: String },
    /// It chooses among names that are none, more than 255, equal or empty.
    #[error("is to name one of {0}; give 1 to 255, each a text of its own of at most 64 bytes")]
    Names(usize),
}
