//! A file or a pipe whose reader can be called away, also while it waits for bytes that do not come.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long a reader waits before it looks whether it is called away.
#[cfg(target_os = "linux")]
const LOOK_EVERY_NS: i64 = 50_000_000;

/// Reads a file. When there is nothing to be read yet, as of a pipe, it looks now and then whether `interrupt` has become
/// true, and fails then.
pub(crate) struct Input<'a> {
    file: File,
    /// What it reads may be written by somebody who takes his time.
    waits: bool,
    interrupt: &'a AtomicBool,
    while_waiting: &'a dyn Fn(),
}

impl<'a> Input<'a> {
    /// Opens the file or pipe at `path`. `while_waiting` is called now and then while there is nothing to be read.
    ///
    /// On Linux this does not wait until a pipe has a writer either. Elsewhere both wait as any program does.
    pub(crate) fn open(
        path: &Path,
        interrupt: &'a AtomicBool,
        while_waiting: &'a dyn Fn(),
    ) -> io::Result<Input<'a>> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(target_os = "linux")]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = options.open(path)?;
        let kind = file.metadata()?.file_type();
        let waits = cfg!(target_os = "linux") && !kind.is_file() && !kind.is_dir();
        Ok(Input { file, waits, interrupt, while_waiting })
    }

    /// Tells whether it is a directory, of which nothing can be read.
    #[cfg(feature = "pcap")]
    pub(crate) fn is_dir(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.is_dir())
    }

    /// Waits until there is something to be read, or the end.
    #[cfg(target_os = "linux")]
    fn wait(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY_NS };
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(io::Error::other("reading was interrupted"));
            }
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => (self.while_waiting)(),
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn wait(&self) -> io::Result<()> {
        let _ = (self.interrupt.load(Ordering::Relaxed), self.while_waiting);
        Ok(())
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.waits {
                self.wait()?;
            }
            match self.file.read(buffer) {
                // Somebody else took it.
                Err(error) if self.waits && error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}
