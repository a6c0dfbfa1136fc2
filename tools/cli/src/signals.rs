//! What a signal may ask of a run that writes a journal or a flight recorder.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a limit on the size of files (`ulimit -f`) an error of the write that reaches it, as a full disk is, and no end of the
/// process. Where there is no such signal, it does nothing.
pub(crate) fn outlive_file_size_limits() -> io::Result<()> {
    // Caught, a signal does not end the process; what it sets nobody reads.
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// What was asked for so far.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    snapshot: Arc<AtomicBool>,
}

impl Signals {
    /// Catches nothing: a signal does what it does to any program.
    pub(crate) fn none() -> Signals {
        Signals::default()
    }

    /// Catches SIGINT and SIGTERM, which ask to stop and end the process when they come again, and SIGUSR1, which asks
    /// for a snapshot. Where there are no such signals, it catches nothing.
    pub(crate) fn catch() -> io::Result<Signals> {
        let signals = Signals::default();
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
            use signal_hook::flag;
            for signal in [SIGINT, SIGTERM] {
                // In this order, the second one of a kind finds the flag that the first one set.
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.stop))?;
                flag::register(signal, Arc::clone(&signals.stop))?;
            }
            flag::register(SIGUSR1, Arc::clone(&signals.snapshot))?;
        }
        Ok(signals)
    }

    /// Becomes true when the run is to stop.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Tells whether a snapshot was asked for since the last call.
    pub(crate) fn take_snapshot(&self) -> bool {
        self.snapshot.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGINT, SIGUSR1};
    use signal_hook::low_level::raise;

    #[test]
    fn each_signal_is_told_once_and_of_its_own() {
        let signals = Signals::catch().unwrap();
        let stops = || signals.stop().load(Ordering::Relaxed);
        assert!(!signals.take_snapshot() && !stops());
        for _ in 0..2 {
            raise(SIGUSR1).unwrap();
            assert!(signals.clone().take_snapshot(), "it is one for all");
            assert!(!signals.take_snapshot(), "it was taken");
        }
        assert!(!stops());
        raise(SIGINT).unwrap();
        assert!(stops() && stops() && !signals.take_snapshot());
        assert!(!Signals::none().take_snapshot());
    }
}
