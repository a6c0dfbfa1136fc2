//! Tells by its beginning what a file is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What a file of events can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputFormat {
    /// A packet capture: pcap or pcapng.
    Capture,
    /// PANTHER's events: JSON Lines.
    Panther,
}

/// Bytes of a file that are looked at.
pub const BEGINNING_LEN: usize = 1 << 16;

impl InputFormat {
    /// Looks at the beginning of a file, up to [`BEGINNING_LEN`] bytes; `None` when it is neither.
    ///
    /// A capture begins with one of the magic numbers of pcap and pcapng. Of JSON Lines, one of the first lines begins
    /// like an object; the first need not, so that a file is not lost to one bad line.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Option<InputFormat> {
        const MAGIC: [[u8; 4]; 5] = [
            [0xa1, 0xb2, 0xc3, 0xd4],
            [0xd4, 0xc3, 0xb2, 0xa1],
            [0xa1, 0xb2, 0x3c, 0x4d],
            [0x4d, 0x3c, 0xb2, 0xa1],
            [0x0a, 0x0d, 0x0d, 0x0a],
        ];
        let beginning = beginning.get(..BEGINNING_LEN).unwrap_or(beginning);
        if MAGIC.iter().any(|magic| beginning.starts_with(magic)) {
            return Some(InputFormat::Capture);
        }
        let mut lines = beginning.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.any(begins_like_an_object).then_some(InputFormat::Panther)
    }

    /// Looks at the beginning of the file at `path`; `None` when it is neither. A pipe loses what is looked at.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn of_file(path: &Path) -> io::Result<Option<InputFormat>> {
        let mut beginning = Vec::new();
        File::open(path)?.take(BEGINNING_LEN as u64).read_to_end(&mut beginning)?;
        Ok(InputFormat::of(&beginning))
    }
}

/// A brace, and then a key or the other brace. A byte order mark before it is refused later, with a word.
fn begins_like_an_object(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let inside = line.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| matches!(inside.first(), Some(b'"' | b'}')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_and_json_lines_are_told_apart_by_content() {
        let cases: [(&[u8], Option<InputFormat>); 11] = [
            (b"\xef\xbb\xbf{\"id\": 1}", Some(InputFormat::Panther)),
            (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", Some(InputFormat::Capture)),
            (b"\xa1\xb2\x3c\x4d", Some(InputFormat::Capture)),
            (b"\x0a\x0d\x0d\x0a{\"id\":1}\n", Some(InputFormat::Capture)),
            (b"{\"id\": 1}\n", Some(InputFormat::Panther)),
            (b"\r\n \t{ \"id\": 1}", Some(InputFormat::Panther)),
            (b"\xff\xfe bad\n{}\n", Some(InputFormat::Panther)),
            (b"{id: 1}\n", None),
            (b"\xa1\xb2\xc3", None),
            (b"[{\"id\": 1}]\n", None),
            (b"", None),
        ];
        for (beginning, format) in cases {
            assert_eq!(InputFormat::of(beginning), format, "{beginning:?}");
        }
    }
}
