//! Reads segments that were compressed after they had ended in place of what they were. Their form is in
//! [`crate::journal::format`].

/// Whether this build can read such segments.
pub(crate) const READABLE: bool = cfg!(feature = "zstd");

#[cfg(feature = "zstd")]
pub(crate) use super::seekable::open;

/// Stands in where nothing can be unpacked. Nobody asks: such a build passes these files by.
#[cfg(not(feature = "zstd"))]
pub(crate) fn open(
    _file: Box<dyn crate::journal::storage::StorageFile>,
) -> std::io::Result<Box<dyn crate::journal::storage::StorageFile>> {
    Err(std::io::ErrorKind::Unsupported.into())
}
