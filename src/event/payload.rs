//! Typed payloads: plain structs of at most 24 bytes, each bound to its kind at compile time.

use crate::event::detail::Detail;
use crate::event::kind::EventKind;
use crate::event::shared::Shared;
use crate::event::symbol::Symbol;
#[doc(hidden)]
pub use bytemuck;
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
        let mut bytes = bytemuck::bytes_of(self);
        // Word by word: as one piece, the payload goes to the record by way of the stack.
        let mut word = || {
            let (now, later) = bytes.split_at(bytes.len().min(8));
            bytes = later;
            let mut word = [0; 8];
            word[..now.len()].copy_from_slice(now);
            u64::from_ne_bytes(word)
        };
        [word(), word(), word()]
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// The field's name; units last.
    pub name: Shared<str>,
    /// How its bytes are to be read.
    pub ty: FieldType,
    /// Offset in bytes from the start of the payload.
    pub offset: usize,
}

/// How the bytes of a payload's field are to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// A [`Detail`]: exporters write its document where a table holds it.
    Detail,
    /// A byte: 0 is false, 1 is true, anything else is no value.
    Bool,
    /// A byte: the number of one of these names; a number beyond them is no value.
    Name(Shared<[Shared<str>]>),
    /// A `u16`, where `u16::MAX` is no value.
    OptU16,
    /// Three bytes, little-endian; all bits set are no value.
    OptU24,
    /// A `u32`, where `u32::MAX` is no value.
    OptU32,
    /// Seven bytes, little-endian; all bits set are no value.
    OptU56,
    /// A `u64`, where `u64::MAX` is no value.
    OptU64,
    /// An `i64`, where `i64::MIN` is no value.
    OptI64,
    /// An `f64`, where the NaN with all bits set is no value.
    OptF64,
}

/// A field's value, read from a payload.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum FieldValue<'a> {
    /// Any of the unsigned types.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// A symbol.
    Symbol(Symbol),
    /// A detail document.
    Detail(Detail),
    /// A flag.
    Bool(bool),
    /// One of a fixed set of names.
    Name(&'a str),
}

impl FieldType {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        match self {
            FieldType::U8 | FieldType::Bool | FieldType::Name(_) => 1,
            FieldType::U16 | FieldType::OptU16 => 2,
            FieldType::OptU24 => 3,
            FieldType::U32 | FieldType::OptU32 => 4,
            FieldType::OptU56 => 7,
            FieldType::U64 | FieldType::I64 | FieldType::F64 => 8,
            FieldType::OptU64 | FieldType::OptI64 | FieldType::OptF64 => 8,
            FieldType::Symbol | FieldType::Detail => 8,
        }
    }
}

impl Field {
    /// Reads the field out of a payload's bytes; `None` when there is no value, or it would lie outside.
    #[must_use]
    pub fn read(&self, payload: &[u8; 24]) -> Option<FieldValue<'_>> {
        let bytes = payload.get(self.offset..self.offset.checked_add(self.ty.size())?)?;
        Some(match &self.ty {
            FieldType::U8 => FieldValue::Unsigned(u64::from(*bytes.first()?)),
            FieldType::U16 => FieldValue::Unsigned(u64::from(bytemuck::pod_read_unaligned::<u16>(bytes))),
            FieldType::U32 => FieldValue::Unsigned(u64::from(bytemuck::pod_read_unaligned::<u32>(bytes))),
            FieldType::U64 => FieldValue::Unsigned(bytemuck::pod_read_unaligned(bytes)),
            FieldType::I64 => FieldValue::Signed(bytemuck::pod_read_unaligned(bytes)),
            FieldType::F64 => FieldValue::Float(bytemuck::pod_read_unaligned(bytes)),
            FieldType::Symbol => FieldValue::Symbol(bytemuck::pod_read_unaligned(bytes)),
            FieldType::Detail => FieldValue::Detail(bytemuck::pod_read_unaligned(bytes)),
            FieldType::Bool => match bytes.first()? {
                0 => FieldValue::Bool(false),
                1 => FieldValue::Bool(true),
                _ => return None,
            },
            FieldType::Name(names) => FieldValue::Name(names.get(usize::from(*bytes.first()?))?),
            FieldType::OptU16
            | FieldType::OptU24
            | FieldType::OptU32
            | FieldType::OptU56
            | FieldType::OptU64 => {
                if bytes.iter().all(|byte| *byte == u8::MAX) {
                    return None;
                }
                FieldValue::Unsigned(unsigned(&self.ty, bytes))
            }
            FieldType::OptI64 => match bytemuck::pod_read_unaligned(bytes) {
                i64::MIN => return None,
                value => FieldValue::Signed(value),
            },
            FieldType::OptF64 => match bytemuck::pod_read_unaligned::<f64>(bytes) {
                value if value.to_bits() == u64::MAX => return None,
                value => FieldValue::Float(value),
            },
        })
    }

    /// Writes `value` into a payload's bytes. False when the field lies outside or cannot hold that exactly; then there is no value in
    /// its place, or 0 where the type always holds one.
    pub fn write(&self, payload: &mut [u8; 24], value: Option<FieldValue<'_>>) -> bool {
        let Some(end) = self.offset.checked_add(self.ty.size()) else { return false };
        let Some(bytes) = payload.get_mut(self.offset..end) else { return false };
        let absent: u64 = match self.ty {
            FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 => 0,
            FieldType::I64 | FieldType::F64 | FieldType::Symbol => 0,
            FieldType::OptI64 => i64::MIN.cast_unsigned(),
            _ => u64::MAX,
        };
        let room = 8 * self.ty.size() as u32;
        let fits =
            |word: u64| (word != u64::MAX >> (64 - room) && word >> (room - 1) >> 1 == 0).then_some(word);
        let word = match (&self.ty, value) {
            (FieldType::Detail, Some(FieldValue::Detail(detail))) => Some(detail.bits()),
            (FieldType::Symbol, Some(FieldValue::Symbol(symbol))) => Some(symbol.bits()),
            (FieldType::I64, Some(FieldValue::Signed(value))) => Some(value.cast_unsigned()),
            (FieldType::F64, Some(FieldValue::Float(value))) => Some(value.to_bits()),
            (
                FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64,
                Some(FieldValue::Unsigned(value)),
            ) => (value <= u64::MAX >> (64 - room)).then_some(value),
            (FieldType::Bool, Some(FieldValue::Bool(flag))) => Some(u64::from(flag)),
            (FieldType::Name(names), Some(FieldValue::Name(name))) => {
                names.iter().position(|known| **known == *name).and_then(|number| fits(number as u64))
            }
            (
                FieldType::OptU16
                | FieldType::OptU24
                | FieldType::OptU32
                | FieldType::OptU56
                | FieldType::OptU64,
                Some(FieldValue::Unsigned(value)),
            ) => fits(value),
            (FieldType::OptI64, Some(FieldValue::Signed(value))) if value != i64::MIN => {
                Some(value.cast_unsigned())
            }
            (FieldType::OptF64, Some(FieldValue::Float(value))) if value.to_bits() != u64::MAX => {
                Some(value.to_bits())
            }
            _ => None,
        };
        let held = word.is_some();
        let word = word.unwrap_or(absent);
        // Types of a power of two of bytes are read in the host's order, the others as little-endian.
        let ordered = match self.ty {
            FieldType::OptU24 | FieldType::OptU56 => word.to_le_bytes(),
            _ if cfg!(target_endian = "big") => (word << (64 - room)).to_be_bytes(),
            _ => word.to_le_bytes(),
        };
        for (byte, new) in bytes.iter_mut().zip(ordered) {
            *byte = new;
        }
        held
    }
}

/// Reads an unsigned number of the type's length.
fn unsigned(ty: &FieldType, bytes: &[u8]) -> u64 {
    match ty {
        FieldType::OptU16 => u64::from(bytemuck::pod_read_unaligned::<u16>(bytes)),
        FieldType::OptU32 => u64::from(bytemuck::pod_read_unaligned::<u32>(bytes)),
        FieldType::OptU64 => bytemuck::pod_read_unaligned(bytes),
        _ => bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
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
field_of!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i64 => I64, f64 => F64, Symbol => Symbol, Detail => Detail);

/// Declares a payload: a plain struct, its kind, and the description of its fields.
///
/// The struct must have at most 24 bytes and no padding; both are checked at compile time. The program must know this crate
/// under its own name, `panther_events`.
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
        #[derive(
            Clone, Copy, PartialEq, Debug, $crate::event::payload::bytemuck::Pod, $crate::event::payload::bytemuck::Zeroable,
        )]
        #[bytemuck(crate = "::panther_events::event::payload::bytemuck")]
        #[repr(C)]
        $vis struct $name {
            $($(#[$field_meta])* pub $field: $ty),*
        }

        impl $crate::event::Payload for $name {
            const KIND: $crate::event::EventKind = $kind;
            const FIELDS: &'static [$crate::event::Field] = &[
                $($crate::event::Field {
                    name: $crate::event::Shared::Static(stringify!($field)),
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
        use FieldValue::{Float, Signed, Unsigned};
        let expected = [Signed(-5), Unsigned(70_000), Unsigned(300), Unsigned(1), Unsigned(2), Float(0.5)];
        assert_eq!(read, expected);
        assert_eq!(Field { name: "x".into(), ty: FieldType::U64, offset: 20 }.read(&bytes), None);
    }

    crate::payload! {
        struct Three [EventKind::new(Domain::FIRST_USER, 10)] { a: u8, b: u8, c: u8 }
    }

    crate::payload! {
        struct Twelve [EventKind::new(Domain::FIRST_USER, 11)] { a: u32, b: u32, c: u32 }
    }

    crate::payload! {
        struct Eighteen [EventKind::new(Domain::FIRST_USER, 12)] {
            a: u16, b: u16, c: u16, d: u16, e: u16, f: u16, g: u16, h: u16, i: u16
        }
    }

    #[test]
    fn a_payload_lies_in_its_words_as_in_memory_with_zeros_behind() {
        fn lies_right<P: Payload + PartialEq + std::fmt::Debug>(first: u8) {
            let mut bytes = [0; 24];
            let own: Vec<u8> = (first..).take(size_of::<P>()).collect();
            bytes[..own.len()].copy_from_slice(&own);
            let payload: P = bytemuck::pod_read_unaligned(&own);
            assert_eq!(bytemuck::cast::<_, [u8; 24]>(payload.to_words()), bytes);
            assert_eq!(P::from_words(payload.to_words()), payload);
        }
        for first in [1, 100, 231] {
            lies_right::<Three>(first);
            lies_right::<Twelve>(first);
            lies_right::<Eighteen>(first);
            lies_right::<Mixed>(first);
        }
    }

    #[test]
    fn what_a_field_holds_comes_back_and_what_it_cannot_hold_is_no_value() {
        use FieldValue::{Bool, Float, Name, Signed, Unsigned};
        const NAMES: Shared<[Shared<str>]> = Shared::Static(&[Shared::Static("one"), Shared::Static("two")]);
        let unsigned = |ty: &FieldType, max| {
            [(0, true), (max - 1, true), (max, false)]
                .map(|(value, holds)| (ty.clone(), Unsigned(value), holds))
        };
        let mut cases = Vec::new();
        for (ty, bits) in [
            (FieldType::OptU16, 16),
            (FieldType::OptU24, 24),
            (FieldType::OptU32, 32),
            (FieldType::OptU56, 56),
            (FieldType::OptU64, 64),
        ] {
            cases.extend(unsigned(&ty, u64::MAX >> (64 - bits)));
            if bits < 64 {
                cases.push((ty, Unsigned(1 << bits), false));
            }
        }
        cases.extend([
            (FieldType::OptI64, Signed(-1), true),
            (FieldType::OptI64, Signed(i64::MIN), false),
            (FieldType::OptI64, Unsigned(1), false),
            (FieldType::OptF64, Float(-0.5), true),
            (FieldType::OptF64, Float(f64::INFINITY), true),
            (FieldType::OptF64, Float(f64::from_bits(u64::MAX)), false),
            (FieldType::Bool, Bool(true), true),
            (FieldType::Bool, Unsigned(1), false),
            (FieldType::Name(NAMES), Name("two"), true),
            (FieldType::Name(NAMES), Name("three"), false),
            (FieldType::Detail, FieldValue::Detail(Detail::from_bits(7)), true),
            (FieldType::Symbol, FieldValue::Symbol(Symbol::from_bits(9)), true),
            (FieldType::I64, Signed(i64::MIN), true),
            (FieldType::F64, Float(f64::NEG_INFINITY), true),
        ]);
        for (ty, value, holds) in cases {
            for offset in [0, 3, 24 - ty.size()] {
                let field = Field { name: "x".into(), ty: ty.clone(), offset };
                let mut payload = [0x5a; 24];
                assert_eq!(field.write(&mut payload, Some(value)), holds, "{ty:?} {value:?}");
                assert_eq!(field.read(&payload), holds.then_some(value), "{ty:?} {value:?}");
                let beside = payload.iter().enumerate();
                let beside = beside.filter(|(at, _)| !(offset..offset + ty.size()).contains(at));
                assert!(beside.into_iter().all(|(_, byte)| *byte == 0x5a), "{ty:?} wrote beside its place");
            }
        }
        for (ty, bits) in
            [(FieldType::U8, 8), (FieldType::U16, 16), (FieldType::U32, 32), (FieldType::U64, 64)]
        {
            let field = Field { name: "x".into(), ty, offset: 24 - bits / 8 };
            let mut payload = [0x5a; 24];
            let max = u64::MAX >> (64 - bits);
            assert!(field.write(&mut payload, Some(Unsigned(max))));
            assert_eq!(field.read(&payload), Some(Unsigned(max)));
            let over = max.checked_add(1).map(Unsigned);
            assert!(!field.write(&mut payload, over));
            assert_eq!(field.read(&payload), Some(Unsigned(0)));
        }
        assert!(
            !Field { name: "x".into(), ty: FieldType::OptU64, offset: 17 }
                .write(&mut [0; 24], Some(Unsigned(1)))
        );
    }
}
