//! Samples for data fields: what a field holds follows from its name and type, so that what must come back is known
//! without a list.

use panther_events::domain::{DataField, DataType, Members};
use panther_events::event::Value;
use serde_json::{Value as Tree, json};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Whether fields that may be left out are left out.
    pub(crate) static BARE: Cell<bool> = const { Cell::new(false) };
}

/// Returns the sample for the field `name`.
pub(crate) fn v<T: Sample>(name: &'static str) -> T {
    T::of(name)
}

pub(crate) trait Sample {
    fn of(name: &'static str) -> Self;
}

impl Sample for &str {
    fn of(name: &'static str) -> Self {
        text(name).leak()
    }
}

impl Sample for u64 {
    fn of(name: &'static str) -> Self {
        100 + name.len() as u64
    }
}

impl Sample for i64 {
    fn of(name: &'static str) -> Self {
        -(name.len() as i64)
    }
}

impl Sample for f64 {
    fn of(name: &'static str) -> Self {
        name.len() as f64 + 0.1
    }
}

impl Sample for bool {
    fn of(name: &'static str) -> Self {
        name.len().is_multiple_of(2)
    }
}

impl Sample for Duration {
    fn of(name: &'static str) -> Self {
        Duration::new(name.len() as u64, 123_456_700)
    }
}

impl Sample for &[u16] {
    fn of(_: &'static str) -> Self {
        &[8080, 443]
    }
}

impl Sample for Value<'_> {
    fn of(name: &'static str) -> Self {
        match name {
            "metric_value" => Value::Float(2.5),
            _ => Value::Map(vec![("of", Value::Text(name)), ("list", Value::from(&["a", "b"]))].leak()),
        }
    }
}

impl Sample for Members<'_> {
    fn of(_: &'static str) -> Self {
        Members(&[("test_case", Value::Text("t-1")), ("component", Value::Null)])
    }
}

impl<T: Sample> Sample for Option<T> {
    fn of(name: &'static str) -> Self {
        (!BARE.get()).then(|| T::of(name))
    }
}

fn text(name: &str) -> String {
    format!("the \"{name}\"\\\n\u{1}é😀")
}

/// What the sample for `field` is as JSON, and what it is in the payload.
pub(crate) fn expected(field: &DataField) -> (Tree, Tree) {
    let len = field.name.len();
    let millis = field.name.ends_with("_ms");
    let both = |tree: Tree| (tree.clone(), tree);
    match field.ty {
        DataType::Text => both(text(field.name).into()),
        DataType::Unsigned => both((100 + len).into()),
        DataType::Signed => both((-(len as i64)).into()),
        DataType::Float => both((len as f64 + 0.1).into()),
        DataType::Bool => both(len.is_multiple_of(2).into()),
        DataType::Duration => {
            let text = if millis { format!("{len}123.4567") } else { format!("{len}.1234567") };
            (serde_json::from_str(&text).unwrap(), (len as u64 * 1_000_000_000 + 123_456_700).into())
        }
        DataType::Ports => (json!([8080, 443]), 8080.into()),
        DataType::Any if field.name == "metric_value" => both(2.5.into()),
        DataType::Any => both(json!({"of": field.name, "list": ["a", "b"]})),
        DataType::Fixed(text) => both(text.into()),
        DataType::Members | DataType::Time => both(Tree::Null),
    }
}
