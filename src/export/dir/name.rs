//! The names of the files of a result, and those that they have until they are whole.

/// Lists a whole result; appears last.
pub(super) const MANIFEST: &str = "MANIFEST";
/// Lists what a commit is about to touch; gone again when the result is sealed.
pub(super) const INTENT: &str = ".intent";
/// Files of a result, at most: its lists stay short enough to be read.
pub(super) const FILES_MAX: usize = 4096;
/// Ends the temporary names. Long, because leftovers with it are removed unasked.
const PARTIAL: &str = ".panther-partial";
pub(super) const NAME_LEN_MAX: usize = 128;

pub(super) fn partial(name: &str) -> String {
    format!(".{name}{PARTIAL}")
}

/// Tells whether a run that was killed may have left a file of this name: the temporary one of a result file or a list.
pub(super) fn is_leftover(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL));
    inner.is_some_and(|name| name == MANIFEST || name == INTENT || check_name(name).is_ok())
}

pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty; give a name");
    }
    if name.len() > NAME_LEN_MAX {
        return Err("it is longer than 128 bytes; shorten it");
    }
    if name.starts_with('.') {
        return Err("it begins with a dot; such names are kept for temporary files");
    }
    if name == MANIFEST {
        return Err("it names the list of the result's files; choose another");
    }
    if name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control()) {
        return Err("it holds a separator or a control character; give a plain name without a directory");
    }
    Ok(())
}
