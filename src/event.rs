//! What moves through the pipeline: the 64-byte record, its kind, identity, payload and names.
//!
//! ```text
//!  0        16        24        32    34      36    40                 64
//!  ├─ id ────┼─ time ──┼─ entity ┼ kind ┼ source ┼ seq ┼──── payload ────┤
//!    u128      u64 ns    Symbol    u16    u16      u32     24 bytes
//! ```
//!
//! Bytes 24..64 are the *content*. The [`EventId`] of an occurrence is a pure function of them and of the pipeline's
//! [`Origin`], so it can be computed by whichever stage needs it first: in a pipeline, dedup. What is identified by its content
//! and context, or by a digest, gets its id where it is emitted (see [`identity`]).

pub mod context;
mod contexts;
pub mod detail;
mod held;
pub mod identity;
mod ids;
pub mod json;
pub mod kind;
mod level;
pub mod payload;
pub mod record;
mod shared;
pub(crate) mod shown;
mod stages;
pub mod symbol;

mod table;

pub use context::{Context, ContextRefused};
pub use contexts::Contexts;
pub use detail::{Detail, DetailError, Details};
pub use held::Held;
pub(crate) use held::HeldNames;
pub use identity::{EventId, Identity, Origin};
pub(crate) use identity::{Scope as IdScope, random_bits};
pub use json::{Json, JsonError, Value};
pub use kind::{Domain, EventKind, KindSet};
pub use level::Level;
pub use payload::{Field, FieldType, FieldValue, Payload};
pub use record::Record;
pub use shared::Shared;
pub use shown::is_harmful;
pub(crate) use stages::Stages;
pub use symbol::{Symbol, SymbolError, Symbols};
pub(crate) use table::{Holder, Tap};
