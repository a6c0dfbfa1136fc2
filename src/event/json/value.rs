//! Values that callers give.

use super::check::Json;
use super::text::{push_float, push_list, push_number, push_text};

/// A value of free form within an event's data.
///
/// ```
/// use panther_events::event::Value;
///
/// let config = Value::Map(&[("transport", Value::from("udp")), ("streams", Value::from(4_u64))]);
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Value<'a> {
    /// Nothing.
    #[default]
    Null,
    /// A flag.
    Bool(bool),
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A number. JSON has no NaN and no infinities: they are written as the strings `"NaN"`, `"Infinity"` and
    /// `"-Infinity"`.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Texts.
    Texts(&'a [&'a str]),
    /// Values.
    List(&'a [Value<'a>]),
    /// Values under keys. Keys are to be different; this is not checked.
    Map(&'a [(&'a str, Value<'a>)]),
    /// JSON text.
    Json(Json<'a>),
}

macro_rules! value_from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl<'a> From<$ty> for Value<'a> {
            fn from(value: $ty) -> Value<'a> {
                Value::$variant(value.into())
            }
        }
    )*};
}
value_from!(bool => Bool, u8 => Unsigned, u16 => Unsigned, u32 => Unsigned, u64 => Unsigned, i32 => Signed,
    i64 => Signed, f32 => Float, f64 => Float, &'a str => Text, &'a [&'a str] => Texts, &'a [Value<'a>] => List,
    &'a [(&'a str, Value<'a>)] => Map, Json<'a> => Json);

impl<'a, const N: usize> From<&'a [&'a str; N]> for Value<'a> {
    fn from(texts: &'a [&'a str; N]) -> Value<'a> {
        Value::Texts(texts)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Value<'a> {
        value.map_or(Value::Null, Into::into)
    }
}

impl Value<'_> {
    /// Appends the value as compact JSON.
    pub(crate) fn push(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Unsigned(value) => push_number(out, format_args!("{value}")),
            Value::Signed(value) => push_number(out, format_args!("{value}")),
            Value::Float(value) => push_float(out, *value),
            Value::Text(text) => push_text(out, text),
            Value::Texts(texts) => push_list(out, texts, |out, text| push_text(out, text)),
            Value::List(values) => push_list(out, values, |out, value| value.push(out)),
            Value::Map(members) => push_map(out, members),
            Value::Json(json) => json.push_compact(out),
        }
    }
}

fn push_map(out: &mut String, members: &[(&str, Value<'_>)]) {
    out.push('{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_text(out, key);
        out.push(':');
        value.push(out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Tree;

    #[test]
    fn values_are_written_as_serde_reads_them() {
        let json = Json::new(" {\"k\" : [ 1 ] } ").unwrap();
        let list =
            [Value::from(-1), Value::from(u64::MAX), Value::Null, Value::from(true), Value::Json(json)];
        let every: String = (0..0x100_u32).filter_map(char::from_u32).chain(['\u{2028}', '😀']).collect();
        let members = [
            ("list", Value::List(&list)),
            ("text", Value::from(&*every)),
            (&*every, Value::from(&["a", "b"])),
            ("floats", Value::List(&[Value::Float(0.1), Value::Float(1e300), Value::Float(-0.0)])),
            ("not", Value::Float(f64::NEG_INFINITY)),
            ("none", Value::from(None::<u64>)),
        ];
        let mut out = String::new();
        Value::Map(&members).push(&mut out);
        let read: Tree = serde_json::from_str(&out).unwrap();
        assert_eq!(read["list"], serde_json::json!([-1, u64::MAX, null, true, {"k": [1]}]));
        assert_eq!(read["text"], Tree::from(&*every));
        assert_eq!(read[&*every], serde_json::json!(["a", "b"]));
        assert_eq!(read["floats"], serde_json::json!([0.1, 1e300, -0.0]));
        assert_eq!((&read["not"], &read["none"]), (&Tree::from("-Infinity"), &Tree::Null));
        assert!(!out.contains('\n'));
    }
}
