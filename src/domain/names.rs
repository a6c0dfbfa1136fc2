//! What can be the name of something in a schema.

/// Bytes that a name can have.
pub(super) const LEN_MAX: usize = 64;

/// Tells whether `name` can be that of a domain.
pub(super) fn is_name(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    is_text(name) && name.bytes().all(is_part)
}

/// Tells whether `name` can be that of a kind: names of a hierarchy, with dots between.
pub(super) fn is_path(name: &str) -> bool {
    is_text(name) && name.split('.').all(is_name)
}

/// Tells whether `text` can be the name of a field, of a state, or of one of those that a field chooses among.
pub(super) fn is_text(text: &str) -> bool {
    (1..=LEN_MAX).contains(&text.len()) && !text.contains(char::is_control)
}
