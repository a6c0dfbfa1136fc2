//! A Python string: code points, among them surrogates that stand alone.

use std::cmp::Ordering;

/// Holds a Python string.
///
/// A JSON escape such as `\ud800` is a lone surrogate. Python keeps it in a string; UTF-8 has no form for it.
/// A text without lone surrogates is kept as UTF-8, any other as code points; so equal strings are equal texts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Text(Form);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Form {
    Utf8(Box<str>),
    /// Holds at least one surrogate.
    CodePoints(Box<[u32]>),
}

impl Text {
    /// Makes a text of code points, each at most `0x10ffff`; a larger one becomes U+FFFD.
    ///
    /// Two surrogates that would make a pair stay two code points, as in Python.
    #[must_use]
    pub fn from_code_points(code_points: &[u32]) -> Text {
        let utf8: Option<String> = code_points.iter().map(|&point| char::from_u32(point)).collect();
        match utf8 {
            Some(utf8) => Text(Form::Utf8(utf8.into_boxed_str())),
            None => {
                let cut = |&point: &u32| if point > 0x10_ffff { 0xfffd } else { point };
                Text(Form::CodePoints(code_points.iter().map(cut).collect()))
            }
        }
    }

    /// Returns the text as UTF-8, or `None` when it holds a lone surrogate.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Form::Utf8(utf8) => Some(utf8),
            Form::CodePoints(_) => None,
        }
    }

    /// Turns the text into UTF-8, or gives it back when it holds a lone surrogate.
    ///
    /// # Errors
    /// The text itself, when it has no UTF-8 form.
    pub fn into_string(self) -> Result<String, Text> {
        match self.0 {
            Form::Utf8(utf8) => Ok(utf8.into_string()),
            Form::CodePoints(_) => Err(self),
        }
    }

    /// Returns the code points in order.
    pub fn code_points(&self) -> impl Iterator<Item = u32> + '_ {
        let (utf8, points): (&str, &[u32]) = match &self.0 {
            Form::Utf8(utf8) => (utf8, &[]),
            Form::CodePoints(points) => ("", points),
        };
        utf8.chars().map(u32::from).chain(points.iter().copied())
    }
}

impl From<String> for Text {
    fn from(utf8: String) -> Text {
        Text(Form::Utf8(utf8.into_boxed_str()))
    }
}

impl From<&str> for Text {
    fn from(utf8: &str) -> Text {
        Text(Form::Utf8(utf8.into()))
    }
}

/// Compares as Python compares strings: by code points.
impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        match (&self.0, &other.0) {
            // UTF-8 sorts by bytes as its code points sort.
            (Form::Utf8(a), Form::Utf8(b)) => a.cmp(b),
            _ => self.code_points().cmp(other.code_points()),
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_by_code_points_with_surrogates_among_them() {
        let ascending = [
            Text::from("a"),
            Text::from("\u{d7ff}"),
            Text::from_code_points(&[0xd800]),
            Text::from_code_points(&[0xd800, 0x61]),
            Text::from_code_points(&[0xdfff]),
            Text::from("\u{e000}"),
            Text::from("\u{1f980}"),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    }

    #[test]
    fn a_text_that_has_a_utf_8_form_is_kept_as_such() {
        assert_eq!(Text::from_code_points(&[0x61, 0x1f980]), Text::from("a\u{1f980}"));
        let lone = Text::from_code_points(&[0x61, 0xdc00]);
        assert_eq!((lone.as_str(), lone.code_points().collect::<Vec<_>>()), (None, vec![0x61, 0xdc00]));
        assert_eq!(Text::from_code_points(&[0x11_0000]).code_points().collect::<Vec<_>>(), [0xfffd]);
    }
}
