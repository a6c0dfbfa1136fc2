//! Typed payloads: plain structs of at most 24 bytes, each bound to its kind at compile time.

use crate::event::kind::EventKind;
use crate::event::symbol::Symbol;
use bytemuck::Pod;

/// A struct that fills the payload of one kind of event.
///
/// Declare one with [`payload!`](crate::payload), which also writes [`Payload::FIELDS`]. Emitting a payload
/// under another kind cannot be written: the kind belongs to the type.
pub trait Payload: Pod + Send + Sync {
    /// The kind that this payload belongs to.
    const KIND: EventKind;
    /// The struct's fields in order of their offsets, for exporters.
    const FIELDS: &'static [Field];

    /// Lays the payload into the record's three words; unused bytes are zero.
    #[inline]
    #[must_use]
    fn to_words(&self) -> [u64; 3] {
        const { assert!(size_of::<Self>() <= 24, "a payload has at most 24 bytes") };
        let mut words = [0u64; 3];
        bytemuck::bytes_of_mut(&mut words)[..size_of::<Self>()].copy_from_slice(bytemuck::bytes_of(self));
        words
    }

    /// Reads the payload back from the record's three words.
    #[inline]
    #[must_use]
    fn from_words(words: [u64; 3]) -> Self {
        const { assert!(size_of::<Self>() <= 24, "a payload has at most 24 bytes") };
        bytemuck::pod_read_unaligned(&bytemuck::bytes_of(&words)[..size_of::<Self>()])
    }
}

/// One field of a payload: enough for an exporter to read it without knowing the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The field's name; units last.
    pub name: &'static str,
    /// How its bytes are to be read.
    pub ty: FieldType,
    /// Offset in bytes from the start of the payload.
    pub offset: usize,
}

/// How the bytes of a payload's field are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are those of Rust's own types")]
pub enum FieldType {
    U8,
    U16,
    U32,
    U64,
    I64,
    F64,
    /// A [`Symbol`]: exporters write its name where a table holds it.
    Symbol,
}

/// A field's value, read from a payload.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// Any of the unsigned types.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// A symbol.
    Symbol(Symbol),
}

impl FieldType {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            FieldType::U8 => 1,
            FieldType::U16 => 2,
            FieldType::U32 => 4,
            FieldType::U64 | FieldType::I64 | FieldType::F64 | FieldType::Symbol => 8,
        }
    }
}

impl Field {
    /// Reads the field out of a payload's bytes; `None` when it would lie outside.
    #[must_use]
    pub fn read(&self, payload: &[u8; 24]) -> Option<Value> {
        let bytes = payload.get(self.offset..self.offset.checked_add(self.ty.size())?)?;
        Some(match self.ty {
            FieldType::U8 => Value::Unsigned(u64::from(*bytes.first()?)),
            FieldType::U16 => Value::Unsigned(u64::from(bytemuck::pod_read_unaligned::<u16>(bytes))),
            FieldType::U32 => Value::Unsigned(u64::from(bytemuck::pod_read_unaligned::<u32>(bytes))),
            FieldType::U64 => Value::Unsigned(bytemuck::pod_read_unaligned(bytes)),
            FieldType::I64 => Value::Signed(bytemuck::pod_read_unaligned(bytes)),
            FieldType::F64 => Value::Float(bytemuck::pod_read_unaligned(bytes)),
            FieldType::Symbol => Value::Symbol(bytemuck::pod_read_unaligned(bytes)),
        })
    }
}

/// Binds a Rust type to the [`FieldType`] that describes it; for [`payload!`](crate::payload).
pub trait FieldOf {
    /// How a field of this type is to be read.
    const TYPE: FieldType;
}

macro_rules! field_of {
    ($($ty:ty => $variant:ident),*) => {$(
        impl FieldOf for $ty {
            const TYPE: FieldType = FieldType::$variant;
        }
    )*};
}
field_of!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i64 => I64, f64 => F64, Symbol => Symbol);

/// Declares a payload: a plain struct, its kind, and the description of its fields.
///
/// The struct must have at most 24 bytes and no padding; both are checked at compile time. A program that
/// uses it depends on `bytemuck` with the feature `derive`.
///
/// ```
/// use panther_events::event::{Domain, EventKind, Payload};
///
/// panther_events::payload! {
///     /// A datagram came back.
///     pub struct Echo [EventKind::new(Domain::FIRST_USER, 0)] {
///         /// From sending to receiving, in nanoseconds.
///         rtt_ns: u64,
///         /// The datagram's length in bytes.
///         size_bytes: u32,
///         /// Its number in the run.
///         number: u32,
///     }
/// }
/// assert_eq!(Echo::FIELDS[1].name, "size_bytes");
/// assert_eq!(Echo::FIELDS[1].offset, 8);
/// ```
#[macro_export]
macro_rules! payload {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident [$kind:expr] {
            $($(#[$field_meta:meta])* $field:ident : $ty:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Debug, ::bytemuck::Pod, ::bytemuck::Zeroable)]
        #[repr(C)]
        $vis struct $name {
            $($(#[$field_meta])* pub $field: $ty),*
        }

        impl $crate::event::Payload for $name {
            const KIND: $crate::event::EventKind = $kind;
            const FIELDS: &'static [$crate::event::Field] = &[
                $($crate::event::Field {
                    name: stringify!($field),
                    ty: <$ty as $crate::event::payload::FieldOf>::TYPE,
                    offset: ::core::mem::offset_of!($name, $field),
                }),*
            ];
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::kind::Domain;

    crate::payload! {
        struct Mixed [EventKind::new(Domain::FIRST_USER, 9)] {
            signed: i64,
            word: u32,
            half: u16,
            a: u8,
            b: u8,
            float: f64,
        }
    }

    #[test]
    fn a_payload_comes_back_from_its_words_and_its_fields_read_alike() {
        let mixed = Mixed { signed: -5, word: 70_000, half: 300, a: 1, b: 2, float: 0.5 };
        let words = mixed.to_words();
        assert_eq!(Mixed::from_words(words), mixed);
        let bytes: [u8; 24] = bytemuck::cast(words);
        let read: Vec<_> = Mixed::FIELDS.iter().map(|field| field.read(&bytes).unwrap()).collect();
        use Value::{Float, Signed, Unsigned};
        let expected = [Signed(-5), Unsigned(70_000), Unsigned(300), Unsigned(1), Unsigned(2), Float(0.5)];
        assert_eq!(read, expected);
        assert_eq!(Field { name: "x", ty: FieldType::U64, offset: 20 }.read(&bytes), None);
    }
}
