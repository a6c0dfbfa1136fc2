//! JSON as detail documents need it: values that callers give, text that is checked to be JSON, and the members of what was
//! written so.
//!
//! Small and without a dependency, because typed emitters belong to the crate without features. It writes, checks and finds
//! members; it builds no tree.

mod check;
mod members;
mod text;
mod value;

pub use check::{DEPTH_MAX, Json, JsonError};
pub(crate) use members::{Members, unquoted};
pub(crate) use text::{beginning, push_list, push_number, push_text};
pub use value::Value;
