//! The names of the files that hold segments.

const SUFFIX: &str = ".journal";
const COMPRESSED_SUFFIX: &str = ".zst";
#[cfg(feature = "zstd")]
const PARTIAL_SUFFIX: &str = ".partial";

/// In which form a file holds a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// As it was written.
    Plain,
    /// As [`crate::journal::format`] has it.
    Compressed,
}

/// Returns the file name of segment `number`.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:08}{SUFFIX}")
}

/// Returns the file name of segment `number` once it is compressed.
pub(crate) fn compressed_name(number: u32) -> String {
    segment_name(number) + COMPRESSED_SUFFIX
}

/// Returns the name that the compressed file of segment `number` has until it is whole.
#[cfg(feature = "zstd")]
pub(crate) fn partial_name(number: u32) -> String {
    compressed_name(number) + PARTIAL_SUFFIX
}

/// Tells whether a file of this name is the beginning of a compressed one.
#[cfg(feature = "zstd")]
pub(crate) fn is_partial(name: &str) -> bool {
    let whole = name.strip_suffix(PARTIAL_SUFFIX).and_then(parse_name);
    whole.is_some_and(|(_, form)| form == Form::Compressed)
}

/// Returns the number of the segment that a file of this name holds, and in which form.
pub(crate) fn parse_name(name: &str) -> Option<(u32, Form)> {
    let (plain, form) = match name.strip_suffix(COMPRESSED_SUFFIX) {
        Some(plain) => (plain, Form::Compressed),
        None => (name, Form::Plain),
    };
    let number = plain.strip_suffix(SUFFIX)?.parse().ok()?;
    (plain == segment_name(number)).then_some((number, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_other_names_are_none() {
        for number in [0, 7, 99_999_999, 100_000_000, u32::MAX] {
            assert_eq!(parse_name(&segment_name(number)), Some((number, Form::Plain)));
            assert_eq!(parse_name(&compressed_name(number)), Some((number, Form::Compressed)));
        }
        for name in [
            "LOCK",
            "1.journal",
            "00000001.journal.tmp",
            "+0000001.journal",
            "00000001",
            "00000001.zst",
            "00000001.journal.zst.zst",
            "00000001.journal.zst.partial",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
