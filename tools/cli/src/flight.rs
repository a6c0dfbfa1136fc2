//! The flight recorder that `ingest` keeps beside its results.

use crate::journal_args::now_ns;
use crate::plain::plain;
use crate::results::Failure;
use panther_events::journal::snapshot;
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A recorder, and where its snapshots go.
pub(crate) struct Flight {
    pub(crate) recorder: FlightRecorder,
    path: PathBuf,
    snapshots: u32,
}

impl Flight {
    pub(crate) fn create(path: &Path) -> Result<Flight, Failure> {
        let recorder = FlightRecorder::create(path, &RecorderOptions::default(), now_ns())?;
        Ok(Flight { recorder, path: path.to_owned(), snapshots: 0 })
    }

    /// Forgets all events: what was emitted comes again, under the same numbers.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.recorder.remove_file()?;
        self.recorder = FlightRecorder::create(&self.path, &RecorderOptions::default(), now_ns())?;
        Ok(())
    }

    /// Copies what the recorder holds to a journal beside it, and says so. The run goes on whatever becomes of that.
    pub(crate) fn snapshot(&mut self) {
        // An earlier run may have left some.
        let path = loop {
            self.snapshots += 1;
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{}.journal", self.snapshots));
            let path = PathBuf::from(name);
            if std::fs::symlink_metadata(&path).is_err() {
                break path;
            }
        };
        let told = match snapshot(&self.recorder, &path, now_ns()) {
            Ok(account) => format!("{} events written to {}", account.stored, path.display()),
            Err(error) => format!("error: no snapshot: {error}"),
        };
        // Where standard error is gone, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{}", plain(&told));
    }
}
