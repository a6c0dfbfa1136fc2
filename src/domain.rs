//! The schema: which domains and kinds of events there are, what they carry, and where they lead.
//!
//! One file a domain, each a table (see [`table`]) from which follow the kinds, the states, and a typed emitter with a
//! method an event. Users add domains of their own with [`Schema::register`].
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
mod built_in;
mod definition;
mod emitters;
mod kind;
mod names;
mod schema;
mod schema_error;
mod schema_text;

pub use builder::Members;
pub use definition::DomainDef;
pub use emitters::{
    Assertions, Environments, Experiments, MetricSamples, Plugins, Services, Steps, Tests, TypedDomain,
    TypedSink,
};
pub use kind::KindDef;
pub use machine::{StateFault, StateTable, StepOutcome, TransitionPath};
pub use schema::Schema;
pub use schema_error::{FieldFault, SchemaError};
pub use schema_text::SchemaTextError;
pub use table::{DataField, DataType, VariantDef};

use crate::event::EventKind;

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
