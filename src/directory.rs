//! A directory that was opened, and its files: regular ones, by plain names, and never what a link leads to.
//!
//! Whoever may write into a directory chooses what lies there: a link to a file elsewhere, a pipe that nobody writes into, a
//! device. So a file is opened without following a link and without waiting, and is looked at before it is used. And a directory
//! may be moved while it is worked in: another one may then lie where it was.
//!
//! On Linux all of this goes by the opened directory (`openat` and its kin), so that it stays the same one wherever it is moved.
//! On other Unix systems each file is found by the directory's path again, and on Windows a link is noticed before a file is
//! opened, not while it is: there, somebody who changes the directory at that very moment can mislead us.
//!
//! The path of the directory itself may lead through links: that is the word of whoever gave it.

use crate::fork::Birthplace;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// An opened directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Not on Windows, where directories are not opened.
    file: Option<File>,
    birthplace: Birthplace,
}

/// A file that is written by the process that made it alone: a child that it forks shares the file, and must not write its copy of
/// what was still to be written.
#[derive(Debug)]
pub(crate) struct OwnFile {
    file: File,
    birthplace: Birthplace,
}

impl OwnFile {
    pub(crate) fn new(file: File) -> OwnFile {
        OwnFile { file, birthplace: Birthplace::here() }
    }

    /// Returns the file, to be read.
    #[cfg(feature = "journal")]
    pub(crate) fn get(&self) -> &File {
        &self.file
    }

    /// Returns the file, to be changed; an error in a child of the process that made it.
    pub(crate) fn writable(&self) -> io::Result<&File> {
        if self.birthplace.is_here() { Ok(&self.file) } else { Err(forked()) }
    }
}

impl io::Write for OwnFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writable()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writable()?;
        self.file.flush()
    }
}

fn forked() -> io::Error {
    io::Error::other("it was opened before this process was forked; open one of its own here")
}

/// What has a name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Nothing.
    Absent,
    /// A regular file of so many bytes.
    Regular { len: u64 },
    /// A directory, a link, a pipe, a device.
    Other,
}

impl Directory {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Directory> {
        #[cfg(target_os = "linux")]
        let file = {
            use rustix::fs::{Mode, OFlags};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some(File::from(rustix::fs::open(path, flags, Mode::empty())?))
        };
        #[cfg(not(target_os = "linux"))]
        let file = {
            if !std::fs::metadata(path)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if cfg!(unix) { Some(File::open(path)?) } else { None }
        };
        Ok(Directory { path: path.to_owned(), file, birthplace: Birthplace::here() })
    }

    /// Returns the path by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory as a file, for its lock.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Tells whether this is the process that opened it, and not a child that was forked since: that changes nothing in it.
    pub(crate) fn is_own(&self) -> bool {
        self.birthplace.is_here()
    }

    fn check_own(&self) -> io::Result<()> {
        if self.is_own() { Ok(()) } else { Err(forked()) }
    }

    /// Tells whether its path still leads to it. It does where that cannot be found out.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(|file| is_at(file, &self.path))
    }

    /// Lists the names.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        #[cfg(target_os = "linux")]
        if let Some(file) = &self.file {
            return read_names(file);
        }
        std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Looks at what has the name, and at no place where a link leads.
    pub(crate) fn entry(&self, name: &str) -> io::Result<Entry> {
        #[cfg(target_os = "linux")]
        let found = self.stat(name);
        #[cfg(not(target_os = "linux"))]
        let found =
            std::fs::symlink_metadata(self.path.join(name)).map(|there| (there.is_file(), there.len()));
        match found {
            Ok((true, len)) => Ok(Entry::Regular { len }),
            Ok((false, _)) => Ok(Entry::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entry::Absent),
            Err(error) => Err(error),
        }
    }

    /// Tells whether it is a regular file, and its length.
    #[cfg(target_os = "linux")]
    fn stat(&self, name: &str) -> io::Result<(bool, u64)> {
        let Some(dir) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let stat = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        Ok((is_file, u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Opens the regular file `name` for reading.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.regular(name, OpenOptions::new().read(true))
    }

    /// Makes the file `name`, for reading and writing; `AlreadyExists` when something has the name.
    pub(crate) fn create_new(&self, name: &str) -> io::Result<File> {
        self.check_own()?;
        self.any(name, OpenOptions::new().read(true).write(true).create_new(true), Creates::New)
    }

    /// Opens the regular file `name` for reading and writing, or makes it. One that has other names too may be somebody's
    /// under these, and is refused.
    #[cfg(feature = "journal")]
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<File> {
        self.check_own()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = check_regular(self.any(name, &options, Creates::Missing)?)?;
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 1 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it has another name too (a hard link) and is not written to",
            ));
        }
        Ok(file)
    }

    /// Gives the file `from` the name `to`, replacing a file of that name; where that is a link, the link.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_own()?;
        #[cfg(target_os = "linux")]
        if let Some(file) = &self.file {
            return Ok(rustix::fs::renameat(file, from, file, to)?);
        }
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    /// Removes the file `name`; where that is a link, the link.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.check_own()?;
        #[cfg(target_os = "linux")]
        if let Some(file) = &self.file {
            return Ok(rustix::fs::unlinkat(file, name, rustix::fs::AtFlags::empty())?);
        }
        std::fs::remove_file(self.path.join(name))
    }

    /// Makes creations, renames and removals survive a power cut. Only Unix opens directories; elsewhere there is nothing to
    /// sync.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }

    fn regular(&self, name: &str, options: &OpenOptions) -> io::Result<File> {
        check_regular(self.any(name, options, Creates::Nothing)?)
    }

    /// Opens whatever has the name, unless that is a link, and does not wait for the other end of a pipe.
    #[cfg(target_os = "linux")]
    fn any(&self, name: &str, _options: &OpenOptions, creates: Creates) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags};
        let Some(dir) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let flags = match creates {
            Creates::Nothing => flags | OFlags::RDONLY,
            #[cfg(feature = "journal")]
            Creates::Missing => flags | OFlags::RDWR | OFlags::CREATE,
            Creates::New => flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        match rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Ok(File::from(file)),
            Err(rustix::io::Errno::LOOP) => Err(irregular()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn any(&self, name: &str, options: &OpenOptions, _creates: Creates) -> io::Result<File> {
        let path = self.path.join(name);
        let mut options = options.clone();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY,
        );
        if std::fs::symlink_metadata(&path).is_ok_and(|there| there.is_symlink()) {
            return Err(irregular());
        }
        options.open(path)
    }
}

/// What is made where it is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "the options say it"))]
enum Creates {
    Nothing,
    #[cfg(feature = "journal")]
    Missing,
    New,
}

/// Opens the regular file at `path`, which somebody gave, for reading: links are followed, and a pipe is not waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    check_regular(options.open(path)?)
}

/// Gives the file or directory `from` the name `to`, where nothing has that; `AlreadyExists` where something has. Where the system
/// cannot promise it, an empty directory or a file of that name is replaced.
#[cfg(feature = "journal")]
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that does not know it.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            renamed => return Ok(renamed?),
        }
    }
    std::fs::rename(from, to)
}

#[cfg(target_os = "linux")]
fn read_names(dir: &File) -> io::Result<Vec<OsString>> {
    use rustix::fs::{Mode, OFlags, RawDir};
    use std::os::unix::ffi::OsStringExt;
    // A file of its own has a place of its own to read at.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
    // It holds the longest name many times.
    let mut room = [const { std::mem::MaybeUninit::uninit() }; 8 << 10];
    let mut entries = RawDir::new(dir, &mut room);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.try_reserve(1)?;
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Returns what more there is to say of an error that comes of a limit on the size of files, or of memory.
pub(crate) fn size_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::FileTooLarge => "; raise the limit on the size of files (`ulimit -f`)",
        io::ErrorKind::OutOfMemory => "; give the process more memory",
        _ => "",
    }
}

/// Tells whether `path` leads to the open file. It does where that cannot be found out.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let there = std::fs::metadata(path);
    let gone =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match (file.metadata(), there) {
        (Ok(own), Ok(there)) => is_same(&own, &there),
        (_, Err(error)) => !gone(&error),
        (Err(_), _) => true,
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

/// Returns the first place at or after `offset` where the file may hold something else than zeros; `None` where there is none up
/// to its end. What lies before it is a hole, which need not be read. Where holes are not told, that is `offset` itself.
pub(crate) fn next_data(file: &File, offset: u64) -> Option<u64> {
    #[cfg(target_os = "linux")]
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(offset)) {
        Ok(data) => return Some(data.max(offset)),
        Err(rustix::io::Errno::NXIO) => return None,
        Err(_) => {}
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
    Some(offset)
}

fn check_regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn irregular() -> io::Error {
    let why = "it is no regular file (links, pipes, devices and directories are not opened here)";
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(all(test, unix, feature = "journal"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn only_regular_files_are_opened_and_nobody_waits_for_a_pipe() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        let dir = Directory::open(temp.path()).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "dangling", "directory", "pipe", "socket"] {
            assert_eq!(dir.entry(name).unwrap(), Entry::Other, "{name}");
            assert!(dir.open_file(name).is_err() && dir.open_or_create(name).is_err(), "{name}");
            assert_eq!(dir.create_new(name).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        drop(socket);
        assert!(open_regular(&at("pipe")).is_err() && open_regular(temp.path()).is_err());
        assert!(!at("nowhere").exists());
        std::fs::hard_link(at("file"), at("other")).unwrap();
        assert!(dir.open_or_create("file").is_err(), "written to under both names");
        assert_eq!(dir.entry("file").unwrap(), Entry::Regular { len: 4 });
        let mut text = String::new();
        dir.open_file("file").unwrap().read_to_string(&mut text).unwrap();
        open_regular(&at("link")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "texttext");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_is_moved_stays_the_one_that_is_worked_in() {
        let temp = tempfile::tempdir().unwrap();
        let (here, away) = (temp.path().join("here"), temp.path().join("away"));
        std::fs::create_dir(&here).unwrap();
        let dir = Directory::open(&here).unwrap();
        assert!(dir.is_in_place());
        std::fs::rename(&here, &away).unwrap();
        assert!(!dir.is_in_place());
        std::fs::create_dir(&here).unwrap();
        std::fs::write(here.join("a"), "another's").unwrap();
        assert!(!dir.is_in_place());
        dir.create_new("b").unwrap().write_all(b"ours").unwrap();
        dir.rename("b", "a").unwrap();
        assert_eq!(dir.names().unwrap(), ["a"]);
        assert_eq!(std::fs::read_to_string(here.join("a")).unwrap(), "another's");
        assert_eq!(std::fs::read_to_string(away.join("a")).unwrap(), "ours");
        dir.remove("a").unwrap();
        dir.sync().unwrap();
        assert!(here.join("a").exists() && !away.join("a").exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn holes_are_told() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"begin").unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(next_data(&file, 0), Some(0));
        if let Some(data) = next_data(&file, 1 << 20) {
            // A file system without holes says that all is data.
            assert_eq!(data, 1 << 20);
        }
    }
}
