//! One event in the making: its data fields go into the payload, where they have a place, and into the document.
//!
//! A document holds every data field under its PANTHER name, in the order of the table. Kinds that are sampled are the
//! exception: what their payload holds exactly does not stand in the document again, so that a thousand samples of one
//! metric share one document.

use crate::domain::kind::KindDef;
use crate::domain::table::DataType;
use crate::emit::{EmitError, Emitter, EventSink, NameRefused, TypedEvent};
use crate::event::FieldValue as Number;
use crate::event::json::{Value, push_number, push_text};
use crate::event::{Detail, Domain, Field, Symbol};
use std::time::Duration;

/// Further members of an event's data, as they are; their names are to differ from those of the event's own fields.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Members<'a>(pub &'a [(&'a str, Value<'a>)]);

/// What an emitter of a domain needs: whose events they are, when, and where to.
pub(crate) struct EntityEmitter<'e> {
    target: Target<'e>,
    time_ns: Option<u64>,
}

/// Where events go.
enum Target<'e> {
    /// Into an emitter, whose table has the name.
    Emitter { emitter: &'e mut Emitter, entity: Result<Symbol, NameRefused> },
    /// Into a sink of any other kind.
    Sink { sink: &'e mut dyn EventSink, entity: Box<str>, text: String },
}

impl<'e> EntityEmitter<'e> {
    pub(crate) fn new(emitter: &'e mut Emitter, domain: Domain, entity: &str) -> EntityEmitter<'e> {
        let entity = emitter.note_entity(domain, entity).map_err(NameRefused::from);
        EntityEmitter { target: Target::Emitter { emitter, entity }, time_ns: None }
    }

    pub(crate) fn over(sink: &'e mut dyn EventSink, entity: &str) -> EntityEmitter<'e> {
        EntityEmitter {
            target: Target::Sink { sink, entity: entity.into(), text: String::new() },
            time_ns: None,
        }
    }

    pub(crate) fn at(&mut self, time_ns: u64) {
        self.time_ns = Some(time_ns);
    }

    /// Begins an event of a kind whose table has several classes, or one.
    pub(crate) fn builder(&mut self, kind: &'static KindDef, variant: &'static str) -> EventBuilder<'_, 'e> {
        let mut payload = [0; 24];
        for field in &kind.fields {
            field.write(&mut payload, Some(Number::Name(variant)));
        }
        if let Some(detail) = kind.fields.first() {
            detail.write(&mut payload, Some(Number::Detail(Detail::NONE)));
        }
        let mut text = match &mut self.target {
            Target::Emitter { emitter, .. } => emitter.take_text(),
            Target::Sink { text, .. } => std::mem::take(text),
        };
        text.clear();
        EventBuilder { entity_emitter: self, kind, payload, text, unplaced: 0 }
    }
}

/// An event whose data is being filled in.
pub(crate) struct EventBuilder<'s, 'e> {
    entity_emitter: &'s mut EntityEmitter<'e>,
    kind: &'static KindDef,
    payload: [u8; 24],
    text: String,
    unplaced: u64,
}

impl EventBuilder<'_, '_> {
    /// Fills in a data field that stands in the document alone.
    pub(crate) fn put(&mut self, name: &'static str, value: impl Data) {
        value.push_member(name, &mut self.text);
    }

    /// Fills in a data field that has a place in the payload.
    pub(crate) fn place(&mut self, name: &'static str, field: &Field, value: impl Data) {
        let number = value.number();
        let held = field.write(&mut self.payload, number);
        self.unplaced += u64::from(number.is_some() && !held);
        if !(held && value.is_number() && self.kind.sampled) {
            value.push_member(name, &mut self.text);
        }
    }

    /// Offers the event.
    pub(crate) fn send(self) -> Result<(), EmitError> {
        let EventBuilder {
            entity_emitter: EntityEmitter { target, time_ns },
            kind,
            mut payload,
            text: mut document,
            unplaced,
        } = self;
        // An event without fields has no document.
        if !document.is_empty() {
            document.push('}');
        }
        let (emitter, entity) = match target {
            Target::Emitter { emitter, entity } => (emitter, entity),
            Target::Sink { sink, entity, text } => {
                let (kind, time_ns) = (kind.kind, *time_ns);
                let event =
                    TypedEvent { kind, entity, time_ns, payload, document: &document, unplaced, key: None };
                let sent = sink.emit_event(&event);
                *text = document;
                return sent;
            }
        };
        let made = entity.map_err(EmitError::Entity).and_then(|entity| {
            let detail = emitter.note_document(&document).map_err(EmitError::Detail)?;
            if let Some(field) = kind.fields.first() {
                field.write(&mut payload, Some(Number::Detail(detail)));
            }
            Ok(entity)
        });
        emitter.give_text(document);
        if unplaced > 0 {
            emitter.symbols().details().count_unplaced(unplaced);
        }
        match made {
            Ok(entity) => emitter.emit_payload(kind.kind, *time_ns, entity, payload, None),
            Err(error) => emitter.refuse_unmade(error),
        }
    }
}

/// A type that a data field can have.
pub(crate) trait Data {
    /// What it is in the table.
    const TYPE: DataType;

    /// Appends the value as JSON. The name tells the unit of a duration.
    fn push(&self, name: &str, text: &mut String);

    /// Returns what goes into the field's place in the payload.
    fn number(&self) -> Option<Number<'static>> {
        None
    }

    /// Tells whether the number says all that the value does.
    fn is_number(&self) -> bool {
        true
    }

    /// Appends `"name":value` to the members of a document.
    fn push_member(&self, name: &str, text: &mut String) {
        begin_member(name, text);
        self.push(name, text);
    }
}

fn begin_member(name: &str, text: &mut String) {
    text.push(if text.is_empty() { '{' } else { ',' });
    push_text(text, name);
    text.push(':');
}

impl Data for &str {
    const TYPE: DataType = DataType::Text;

    fn push(&self, _: &str, text: &mut String) {
        push_text(text, self);
    }
}

impl Data for Value<'_> {
    const TYPE: DataType = DataType::Any;

    fn push(&self, _: &str, text: &mut String) {
        Value::push(self, text);
    }

    fn number(&self) -> Option<Number<'static>> {
        match self {
            Value::Unsigned(value) => Some(Number::Float(*value as f64)),
            Value::Signed(value) => Some(Number::Float(*value as f64)),
            Value::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Value::Float(_))
    }
}

impl Data for Duration {
    const TYPE: DataType = DataType::Duration;

    fn push(&self, name: &str, text: &mut String) {
        // As decimal digits: a float would round nanoseconds away.
        let nanos = self.as_nanos();
        let digits = if name.ends_with("_ms") { 6 } else { 9 };
        let unit = 10_u128.pow(digits);
        let mut fraction = nanos % unit;
        let mut width = digits as usize;
        while width > 1 && fraction.is_multiple_of(10) {
            (fraction, width) = (fraction / 10, width - 1);
        }
        push_number(text, format_args!("{}.{fraction:0width$}", nanos / unit));
    }

    fn number(&self) -> Option<Number<'static>> {
        Some(Number::Unsigned(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)))
    }
}

macro_rules! plain {
    ($($ty:ty, $data_type:ident, $number:ident;)*) => {$(
        impl Data for $ty {
            const TYPE: DataType = DataType::$data_type;

            fn push(&self, _: &str, text: &mut String) {
                Value::from(*self).push(text);
            }

            fn number(&self) -> Option<Number<'static>> {
                Some(Number::$number(*self))
            }
        }
    )*};
}
plain! {
    u64, Unsigned, Unsigned;
    i64, Signed, Signed;
    f64, Float, Float;
    bool, Bool, Bool;
}

impl Data for &[u16] {
    const TYPE: DataType = DataType::Ports;

    fn push(&self, _: &str, text: &mut String) {
        text.push('[');
        for (at, port) in self.iter().enumerate() {
            push_number(text, format_args!("{}{port}", if at > 0 { "," } else { "" }));
        }
        text.push(']');
    }

    fn number(&self) -> Option<Number<'static>> {
        self.first().map(|port| Number::Unsigned(u64::from(*port)))
    }

    fn is_number(&self) -> bool {
        false
    }
}

impl Data for Members<'_> {
    const TYPE: DataType = DataType::Members;

    fn push(&self, _: &str, _: &mut String) {}

    fn push_member(&self, _: &str, text: &mut String) {
        for (name, value) in self.0 {
            begin_member(name, text);
            value.push(text);
        }
    }
}

impl<T: Data> Data for Option<T> {
    const TYPE: DataType = T::TYPE;

    fn push(&self, name: &str, text: &mut String) {
        match self {
            Some(value) => value.push(name, text),
            None => text.push_str("null"),
        }
    }

    fn number(&self) -> Option<Number<'static>> {
        self.as_ref().and_then(T::number)
    }

    fn is_number(&self) -> bool {
        self.as_ref().is_some_and(T::is_number)
    }

    fn push_member(&self, name: &str, text: &mut String) {
        match self {
            Some(value) => value.push_member(name, text),
            None if T::TYPE == DataType::Members => {}
            None => {
                begin_member(name, text);
                text.push_str("null");
            }
        }
    }
}
