//! A JSON value as Python's `json.loads` returns it.

use crate::ingest::panther::text::Text;

/// Holds what Python reads from JSON.
#[derive(Clone, PartialEq, Debug)]
pub enum PantherValue {
    /// `null`, Python's `None`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits 64 bits; `-0` is 0.
    Int(i64),
    /// Any other integer: its decimal digits with a leading `-` when negative, no leading zero.
    BigInt(Box<str>),
    /// A number with a fraction or an exponent, or `NaN`, `Infinity`, `-Infinity`.
    Float(f64),
    /// A string.
    Text(Text),
    /// An array, Python's `list`.
    List(Vec<PantherValue>),
    /// An object, Python's `dict`.
    Object(Object),
}

impl PantherValue {
    /// Returns the string, if the value is one and has a UTF-8 form.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            PantherValue::Text(text) => text.as_str(),
            _ => None,
        }
    }

    /// Returns the integer, if the value is one that fits 64 bits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            PantherValue::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// Returns the number as the nearest float, if the value is a number (a boolean is none).
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            PantherValue::Int(int) => Some(*int as f64),
            PantherValue::BigInt(digits) => digits.parse().ok(),
            PantherValue::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// Returns the value's type in JSON's words, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            PantherValue::Null => "null",
            PantherValue::Bool(_) => "a boolean",
            PantherValue::Int(_) | PantherValue::BigInt(_) => "an integer",
            PantherValue::Float(_) => "a float",
            PantherValue::Text(_) => "a string",
            PantherValue::List(_) => "an array",
            PantherValue::Object(_) => "an object",
        }
    }
}

/// Holds an object's members in Python's order, each key once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Object(Vec<(Text, PantherValue)>);

impl Object {
    /// Makes an object of members in the order of the file: of members with the same key the last one's value
    /// stays, in the first one's place, as in a Python `dict`.
    #[must_use]
    pub fn from_members(mut members: Vec<(Text, PantherValue)>) -> Object {
        const SCANNED: usize = 12;
        let repeats = |index: usize, key: &Text| members.iter().take(index).any(|(known, _)| known == key);
        if members.len() <= SCANNED
            && !members.iter().enumerate().any(|(index, (key, _))| repeats(index, key))
        {
            return Object(members);
        }
        let mut by_key: Vec<usize> = (0..members.len()).collect();
        // A stable sort: equal keys stay in the order of the file.
        by_key.sort_by(|&a, &b| members.get(a).map(|m| &m.0).cmp(&members.get(b).map(|m| &m.0)));
        let same_key = |&a: &usize, &b: &usize| members.get(a).map(|m| &m.0) == members.get(b).map(|m| &m.0);
        let repeated: Vec<Vec<usize>> =
            by_key.chunk_by(same_key).filter(|run| run.len() > 1).map(<[usize]>::to_vec).collect();
        if repeated.is_empty() {
            return Object(members);
        }
        let mut goes = vec![false; members.len()];
        for run in &repeated {
            if let [first, .., last] = run[..] {
                members.swap(first, last);
            }
            for &index in run.iter().skip(1) {
                if let Some(goes) = goes.get_mut(index) {
                    *goes = true;
                }
            }
        }
        let mut goes = goes.into_iter();
        members.retain(|_| !goes.next().unwrap_or(false));
        Object(members)
    }

    /// Returns the value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&PantherValue> {
        self.0.iter().find(|(known, _)| known.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Returns the members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &PantherValue)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Returns how many members the object has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the object has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_keys_the_last_value_stays_in_the_first_place() {
        let members = |list: &[(&str, i64)]| -> Vec<(Text, PantherValue)> {
            list.iter().map(|&(key, int)| (Text::from(key), PantherValue::Int(int))).collect()
        };
        let object =
            Object::from_members(members(&[("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5), ("b", 6)]));
        assert_eq!(object, Object(members(&[("b", 6), ("a", 5), ("c", 4)])));
        assert_eq!(object.get("a"), Some(&PantherValue::Int(5)));
        assert_eq!(object.get("d"), None);
    }
}
