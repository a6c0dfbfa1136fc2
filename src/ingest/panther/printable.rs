//! Which characters Python prints as they are, by version of Python.
//!
//! `repr()` escapes what `str.isprintable()` denies: the general categories Other and Separator except the
//! space. A character that a version of Unicode does not know yet has category Cn, which is one of Other; so
//! the same string has different representations, and the same event different ids, under different versions
//! of Python. `regex-syntax` is the one small, well-kept crate that knows since which version of Unicode a
//! character exists; its tables are those of Unicode 16. Its categories are the newest ones: no character
//! known to Unicode 13 went from printable to not printable, or back, up to Unicode 16.

use std::str::FromStr;
use std::sync::OnceLock;

/// Names the version of Python whose `repr()` is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PythonVersion {
    /// Python 3.9 and 3.10, with Unicode 13.0.
    V3_10,
    /// Python 3.11, with Unicode 14.0.
    #[default]
    V3_11,
    /// Python 3.12, with Unicode 15.0.
    V3_12,
    /// Python 3.13, with Unicode 15.1.
    V3_13,
    /// Python 3.14, with Unicode 16.0.
    V3_14,
}

impl PythonVersion {
    /// All versions, oldest first.
    pub const ALL: [PythonVersion; 5] = [
        PythonVersion::V3_10,
        PythonVersion::V3_11,
        PythonVersion::V3_12,
        PythonVersion::V3_13,
        PythonVersion::V3_14,
    ];

    /// Returns the version as people write it, such as `3.11`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PythonVersion::V3_10 => "3.10",
            PythonVersion::V3_11 => "3.11",
            PythonVersion::V3_12 => "3.12",
            PythonVersion::V3_13 => "3.13",
            PythonVersion::V3_14 => "3.14",
        }
    }

    /// Tells whether this Python's `str.isprintable()` holds for a code point.
    #[inline]
    #[must_use]
    pub fn is_printable(self, code_point: u32) -> bool {
        match code_point {
            0x20..0x7f => true,
            0..0xa1 => false,
            _ => self.printable().binary_search_by(|range| range.order(code_point)).is_ok(),
        }
    }

    fn printable(self) -> &'static [Range] {
        static TABLES: [OnceLock<Box<[Range]>>; 5] = [const { OnceLock::new() }; 5];
        let (table, age) = match self {
            PythonVersion::V3_10 => (&TABLES[0], "13.0"),
            PythonVersion::V3_11 => (&TABLES[1], "14.0"),
            PythonVersion::V3_12 => (&TABLES[2], "15.0"),
            PythonVersion::V3_13 => (&TABLES[3], "15.1"),
            PythonVersion::V3_14 => (&TABLES[4], "16.0"),
        };
        table.get_or_init(|| ranges(&format!(r"[\p{{age={age}}}--[\p{{Other}}\p{{Separator}}]]")))
    }
}

impl FromStr for PythonVersion {
    type Err = PythonVersionError;

    fn from_str(name: &str) -> Result<PythonVersion, PythonVersionError> {
        let known = PythonVersion::ALL.into_iter().find(|version| version.name() == name);
        known.ok_or(PythonVersionError)
    }
}

/// Says that a version of Python is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a known version of Python; give 3.10, 3.11, 3.12, 3.13 or 3.14")]
pub struct PythonVersionError;

/// Code points from first to last.
struct Range(u32, u32);

impl Range {
    fn order(&self, code_point: u32) -> std::cmp::Ordering {
        if self.1 < code_point {
            std::cmp::Ordering::Less
        } else if self.0 > code_point {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    }
}

/// Returns the code points in a class. The classes are the constants above, and a test parses each: the empty
/// answer is never seen.
fn ranges(class: &str) -> Box<[Range]> {
    use regex_syntax::hir::{Class, HirKind};
    match regex_syntax::parse(class).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            class.iter().map(|range| Range(range.start().into(), range.end().into())).collect()
        }
        _ => Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_prints_what_its_unicode_knows() {
        // Characters new in Unicode 13.0, 14.0, 15.0, 15.1 and 16.0.
        let new = [0x1_0e80, 0x1_fae0, 0x1_fae8, 0x2_ebf0, 0x1_fae9];
        for (version, python) in PythonVersion::ALL.into_iter().enumerate() {
            for (since, code_point) in new.into_iter().enumerate() {
                assert_eq!(python.is_printable(code_point), since <= version, "{code_point:x} in {python:?}");
            }
            assert_eq!(python.name().parse(), Ok(python));
        }
        assert_eq!("2.7".parse::<PythonVersion>(), Err(PythonVersionError));
    }

    #[test]
    fn other_and_separators_are_not_printable() {
        for python in PythonVersion::ALL {
            for no in
                [0, 0x1f, 0x7f, 0x9f, 0xa0, 0xad, 0x200b, 0x2028, 0x3000, 0xd800, 0xe000, 0xfeff, 0x10_ffff]
            {
                assert!(!python.is_printable(no), "{no:x}");
            }
            for yes in [0x20, 0x7e, 0xa1, 0xff, 0x301, 0x65e5, 0x1_f980, 0xe_0100] {
                assert!(python.is_printable(yes), "{yes:x}");
            }
        }
    }
}
