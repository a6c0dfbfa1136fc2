//! The form in which a domain is written down, once: states, kinds, what each carries and where it leads.
//!
//! A table is read from top to bottom:
//!
//! ```text
//! domain! {
//!     TestEmitter "test" Domain::TEST;                   the emitter, the name, the number
//!
//!     initial Created;
//!     terminal Completed Failed;
//!     state Created "created" -> [SettingUp Failed];     a state and those that may follow
//!
//!     2 "setup_completed" Lifecycle                      code, name, and whether it is a Sample
//!         -> [ServicesSetup]                             the path of states; [] for none
//!         { duration_ns OptU64 8 }                       places in the payload: name, type, offset
//!         TestSetupCompletedEvent setup_completed(       PANTHER's class, the emitter's method
//!             services: Value<'_>)                       fields that must be given
//!             + SetupCompleted {                         the struct of those that may be left out
//!                 duration_seconds: Duration => duration_ns }     => the place in the payload
//!             = { action: "…" }                          fields with a fixed value
//!             at timestamp;                              the field that is the record's time
//! }
//! ```
//!
//! A path may fork: `{ failed_count: Passed | Failed }` leads to `Passed` when that place in the payload is zero or
//! false, and to `Failed` otherwise. So does `{ from Failed: [Retrying Executing] | [Executing] }`, by the state that
//! the entity is in. A kind may have several classes; then byte 20 of the payload names the one.
//!
//! **Payload.** Bytes 0 to 7 are the event's [`Detail`](crate::event::Detail), and the rest is what the table says.
//! Codes and places are part of the journal's format: new kinds take new codes, and places never move. A number that
//! does not fit its place is left out of the payload, counted ([`Details::unplaced`]) and stands in the document.
//!
//! [`Details::unplaced`]: crate::event::Details::unplaced

use crate::domain::kind::KindDef;
use crate::event::payload::FieldType;
use crate::event::{EventKind, Field, Shared};

/// A class of PANTHER's: one shape of the data that a kind of event can carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VariantDef {
    /// The kind.
    pub kind: EventKind,
    /// PANTHER's name for the class.
    pub class: &'static str,
    /// The emitter's method. Where a kind has several variants, its payload says this name.
    pub method: &'static str,
    /// What it always carries.
    pub required: &'static [DataField],
    /// What it may carry beside; `null` in the document where it does not.
    pub optional: &'static [DataField],
}

impl VariantDef {
    /// Iterates over what it carries, in the order of the document.
    pub fn data(&self) -> impl Iterator<Item = &'static DataField> + Clone {
        self.required.iter().chain(self.optional)
    }
}

/// One field of an event's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataField {
    /// The name, as in PANTHER.
    pub name: &'static str,
    /// What it holds.
    pub ty: DataType,
    /// The name of its place in the payload.
    pub place: Option<&'static str>,
}

/// What a data field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataType {
    /// A text.
    Text,
    /// Any JSON value.
    Any,
    /// A time span: seconds, or milliseconds where the field's name ends in `_ms`; in the payload, nanoseconds.
    Duration,
    /// An unsigned integer.
    Unsigned,
    /// A signed integer.
    Signed,
    /// A number.
    Float,
    /// A flag.
    Bool,
    /// Port numbers; in the payload, the first.
    Ports,
    /// No field: members under names of the emitter's own.
    Members,
    /// Always this text.
    Fixed(&'static str),
    /// The record's time.
    Time,
}

/// Whether a kind that a table calls `Lifecycle` or `Sample` is [sampled](KindDef::sampled).
macro_rules! sampled {
    (Lifecycle) => {
        false
    };
    (Sample) => {
        true
    };
}

/// The place of every kind's document.
pub(crate) const DETAIL: Field = Field { name: Shared::Static("detail"), ty: FieldType::Detail, offset: 0 };

/// Returns the place with this name. In a `const`, a table that names a place that its kind has not does not compile.
pub(crate) const fn place(fields: &'static [Field], name: &str) -> &'static Field {
    let mut at = 0;
    while at < fields.len() {
        if let Shared::Static(known) = &fields[at].name
            && same(known, name)
        {
            return &fields[at];
        }
        at += 1;
    }
    // Out of range: the kind has no such place.
    &fields[at]
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Returns the kind with this code.
pub(crate) const fn kind(kinds: &'static [KindDef], code: u8) -> &'static KindDef {
    &kinds[code as usize]
}

macro_rules! domain {
    (
        $(#[$doc:meta])*
        $Emitter:ident $domain_name:literal $domain:expr;

        initial $initial:ident;
        terminal $($terminal:ident)*;
        $(state $State:ident $state:literal -> [$($next:ident)*];)+

        $(
            $code:literal $event:literal $cadence:ident -> $path:tt { $($place:ident $ty:ident $at:literal),* }
            $(
                $class:ident $method:ident($($field:ident: $field_ty:ty $(=> $field_place:ident)?),*)
                $(+ $Optional:ident $(<$lt:lifetime>)? {
                    $($option:ident: $option_ty:ty $(=> $option_place:ident)?),+
                })?
                $(= { $($fixed:ident: $fixed_value:literal),+ })?
                $(at $time:ident)?;
            )+
        )+
    ) => {
        /// The domain's table.
        pub const DOMAIN: $crate::domain::DomainDef = $crate::domain::DomainDef {
            domain: $domain,
            name: $crate::event::Shared::Static($domain_name),
            kinds: $crate::event::Shared::Static(KINDS),
            states: Some($crate::event::Shared::Static(&STATES)),
        };

        /// The states that an entity of this domain can be in, by number.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs, reason = "the names are PANTHER's")]
        #[repr(u8)]
        pub enum State { $($State),+ }

        /// The life of this domain's entities.
        pub const STATES: $crate::domain::StateTable = $crate::domain::StateTable {
            domain: $domain,
            states: $crate::event::Shared::Static(&[$($crate::event::Shared::Static($state)),+]),
            initial: State::$initial as u8,
            terminal: $crate::domain::machine::states(&[$(State::$terminal as u8),*]),
            next: $crate::event::Shared::Static(&[$($crate::domain::machine::states(&[$(State::$next as u8),*])),+]),
            paths: $crate::event::Shared::Static(&[$($crate::domain::table::leads!($code, $path)),+]),
        };

        /// By code: the places in the payload.
        const FIELDS: &[&[$crate::event::Field]] = &[$($crate::domain::table::fields!(
            [$($method)+] [$($crate::event::Field {
                name: $crate::event::Shared::Static(stringify!($place)),
                ty: $crate::event::payload::FieldType::$ty,
                offset: $at,
            }),*]
        )),+];

        /// The kinds, by code.
        pub const KINDS: &[$crate::domain::KindDef] = &[$($crate::domain::KindDef {
            kind: $crate::event::EventKind::new($domain, $code),
            name: $crate::event::Shared::Static($event),
            identity: $crate::event::Identity::Occurrence,
            sampled: $crate::domain::table::sampled!($cadence),
            fields: $crate::event::Shared::Static(FIELDS[$code]),
        }),+];

        /// What events of this domain carry: PANTHER's classes.
        pub const VARIANTS: &[$crate::domain::VariantDef] = &[$($($crate::domain::VariantDef {
            kind: $crate::event::EventKind::new($domain, $code),
            class: stringify!($class),
            method: stringify!($method),
            required: &[
                $($crate::domain::table::data!($field, $field_ty $(, $field_place)?),)*
                $($($crate::domain::DataField {
                    name: stringify!($fixed),
                    ty: $crate::domain::DataType::Fixed($fixed_value),
                    place: None,
                },)+)?
                $($crate::domain::DataField {
                    name: stringify!($time),
                    ty: $crate::domain::DataType::Time,
                    place: None,
                },)?
            ],
            optional: $crate::domain::table::optional!($($Optional)?),
        },)+)+];

        $($($(
            #[doc = concat!("What [`", stringify!($Emitter), "::", stringify!($method), "`] may say beside.")]
            #[derive(Clone, Copy, PartialEq, Debug, Default)]
            #[allow(missing_docs, reason = "the names are PANTHER's")]
            pub struct $Optional $(<$lt>)? {
                $(pub $option: ::core::option::Option<$option_ty>),+
            }

            impl $(<$lt>)? $Optional $(<$lt>)? {
                const DATA: &'static [$crate::domain::DataField] =
                    &[$($crate::domain::table::data!($option, $option_ty $(, $option_place)?)),+];
            }
        )?)+)+

        $(#[$doc])*
        ///
        /// Each method offers one event, stamped now or with [`at`](Self::at). An error says why the event was not
        /// accepted; it is counted.
        pub struct $Emitter<'e>($crate::domain::builder::EntityEmitter<'e>);

        impl<'e> $Emitter<'e> {
            pub(crate) fn new(emitter: &'e mut $crate::emit::Emitter, name: &str) -> $Emitter<'e> {
                $Emitter($crate::domain::builder::EntityEmitter::new(emitter, $domain, name))
            }

            pub(crate) fn over(sink: &'e mut dyn $crate::emit::EventSink, name: &str) -> $Emitter<'e> {
                $Emitter($crate::domain::builder::EntityEmitter::over(sink, name))
            }

            /// Stamps the events that follow with `time_ns`, nanoseconds since the Unix epoch.
            #[must_use]
            pub fn at(mut self, time_ns: u64) -> Self {
                self.0.at(time_ns);
                self
            }

            $($(
                #[doc = concat!("Emits `", $domain_name, ".", $event, "`, PANTHER's `", stringify!($class), "`.")]
                ///
                /// # Errors
                /// When the event was not accepted; it is counted.
                #[allow(clippy::too_many_arguments, reason = "the fields are PANTHER's")]
                pub fn $method $($(<$lt>)?)? (
                    &mut self,
                    $($field: $field_ty,)*
                    $(more: $Optional $(<$lt>)?)?
                ) -> ::core::result::Result<(), $crate::emit::EmitError> {
                    let kind = const { $crate::domain::table::kind(KINDS, $code) };
                    #[allow(unused_mut, reason = "an event may have no data")]
                    let mut builder = self.0.builder(kind, stringify!($method));
                    $($crate::domain::table::put!(builder, $code, $field, $field $(, $field_place)?);)*
                    $($(builder.put(stringify!($fixed), $fixed_value);)+)?
                    $($($crate::domain::table::put!(builder, $code, $option, more.$option $(, $option_place)?);)+)?
                    builder.send()
                }
            )+)+
        }
    };
}

macro_rules! leads {
    ($code:literal, []) => {
        $crate::domain::TransitionPath::Stay
    };
    ($code:literal, [$($State:ident)+]) => {
        $crate::domain::TransitionPath::To($crate::event::Shared::Static(&[$(State::$State as u8),+]))
    };
    ($code:literal, { from $From:ident: [$($Way:ident)+] | [$($Other:ident)+] }) => {
        $crate::domain::TransitionPath::From {
            state: State::$From as u8,
            way: $crate::event::Shared::Static(&[$(State::$Way as u8),+]),
            other: $crate::event::Shared::Static(&[$(State::$Other as u8),+]),
        }
    };
    ($code:literal, { $place:ident: $Zero:ident | $Other:ident }) => {
        $crate::domain::TransitionPath::By {
            field: $crate::event::Shared::Static($crate::domain::table::place(FIELDS[$code], stringify!($place))),
            zero: $crate::event::Shared::Static(&[State::$Zero as u8]),
            other: $crate::event::Shared::Static(&[State::$Other as u8]),
        }
    };
}

macro_rules! fields {
    ([$only:ident] [$($place:expr),*]) => {
        &[$crate::domain::table::DETAIL, $($place),*]
    };
    ([$($variant:ident)+] [$($place:expr),*]) => {
        &[
            $crate::domain::table::DETAIL,
            $crate::event::Field {
                name: $crate::event::Shared::Static("variant"),
                ty: $crate::event::payload::FieldType::Name($crate::event::Shared::Static(&[
                    $($crate::event::Shared::Static(stringify!($variant))),+
                ])),
                offset: 20,
            },
            $($place),*
        ]
    };
}

macro_rules! data {
    ($name:ident, $ty:ty $(, $place:ident)?) => {
        $crate::domain::DataField {
            name: stringify!($name),
            ty: <$ty as $crate::domain::builder::Data>::TYPE,
            place: $crate::domain::table::name!($($place)?),
        }
    };
}

macro_rules! optional {
    () => {
        &[]
    };
    ($Optional:ident) => {
        $Optional::DATA
    };
}

macro_rules! name {
    () => {
        None
    };
    ($name:ident) => {
        Some(stringify!($name))
    };
}

macro_rules! put {
    ($builder:ident, $code:literal, $name:ident, $value:expr) => {
        $builder.put(stringify!($name), $value)
    };
    ($builder:ident, $code:literal, $name:ident, $value:expr, $place:ident) => {{
        let place = const { $crate::domain::table::place(FIELDS[$code], stringify!($place)) };
        $builder.place(stringify!($name), place, $value)
    }};
}

pub(crate) use {data, domain, fields, leads, name, optional, put, sampled};
