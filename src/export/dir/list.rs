//! The lists of a result directory: `MANIFEST`, and `.intent` while a result is sealed.
//!
//! The first line says that the list is this crate's, and its version; then comes a line for each file, its size in bytes and its
//! name. A file that does not begin so, or has any other line, is somebody else's: nothing is removed that it names.

use crate::directory::{Directory, Entry};
use crate::export::dir::error::{DirError, refused};
use crate::export::dir::name::{FILES_MAX, INTENT, MANIFEST, NAME_LEN_MAX, check_name};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};

/// Of both, the longest that is written: what was there and what comes, and for each name a size of up to 20 digits.
const LEN_MAX: u64 = 3 * FILES_MAX as u64 * (NAME_LEN_MAX as u64 + 22);

/// Files by name, each with the sizes that it had when it was written.
pub(super) type Listed = BTreeMap<String, BTreeSet<u64>>;

/// A list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    Manifest,
    Intent,
}

impl List {
    pub(super) fn name(self) -> &'static str {
        match self {
            List::Manifest => MANIFEST,
            List::Intent => INTENT,
        }
    }

    fn first_line(self) -> &'static str {
        match self {
            List::Manifest => "panther-events result 1",
            List::Intent => "panther-events intent 1",
        }
    }

    /// Returns the list's text.
    pub(super) fn text<'a>(self, files: impl Iterator<Item = (&'a String, u64)>) -> String {
        let lines = files.map(|(name, len)| format!("{len} {name}\n"));
        std::iter::once(format!("{}\n", self.first_line())).chain(lines).collect()
    }

    /// Reads a text back; `None` when this crate did not write it.
    fn parse(self, text: &str) -> Option<Listed> {
        let mut lines = text.lines();
        if lines.next() != Some(self.first_line()) || !text.ends_with('\n') {
            return None;
        }
        let mut listed = Listed::new();
        for line in lines {
            let (len, name) = line.split_once(' ')?;
            check_name(name).ok()?;
            listed.entry(name.to_owned()).or_default().insert(len.parse().ok()?);
        }
        Some(listed)
    }

    /// Adds to `listed` what the list in `dir` names, where there is one.
    fn read(self, dir: &Directory, listed: &mut Listed) -> Result<(), DirError> {
        let path = || dir.path().join(self.name());
        let failed = |error| refused("read the list of files", &path(), error);
        match dir.entry(self.name()).map_err(failed)? {
            Entry::Absent => return Ok(()),
            Entry::Regular { len } if len <= LEN_MAX => {}
            Entry::Regular { .. } | Entry::Other => return Err(DirError::Foreign { path: path() }),
        }
        let mut bytes = Vec::new();
        let read = dir.open_file(self.name()).and_then(|file| file.take(LEN_MAX).read_to_end(&mut bytes));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => DirError::Foreign { path: path() },
            _ => failed(error),
        })?;
        let found = std::str::from_utf8(&bytes).ok().and_then(|text| self.parse(text));
        for (name, sizes) in found.ok_or_else(|| DirError::Foreign { path: path() })? {
            listed.entry(name).or_default().extend(sizes);
        }
        Ok(())
    }
}

/// Returns the files of the earlier result in `dir`, and those that an interrupted commit was to touch.
pub(super) fn earlier(dir: &Directory) -> Result<Listed, DirError> {
    let mut listed = Listed::new();
    List::Manifest.read(dir, &mut listed)?;
    List::Intent.read(dir, &mut listed)?;
    Ok(listed)
}

/// Tells whether a result file may get this name: nothing has it, or a file of an earlier result.
pub(super) fn may_be_replaced(dir: &Directory, listed: &Listed, name: &str) -> io::Result<bool> {
    Ok(match dir.entry(name)? {
        Entry::Absent => true,
        Entry::Regular { .. } => listed.contains_key(name),
        Entry::Other => false,
    })
}
