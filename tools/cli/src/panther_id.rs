//! `panther-events panther-id FILE`: PANTHER's id of each event in a file.

use panther_events::ingest::panther::{PantherReader, PythonVersion, Reason, panther_id};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// Refusals that are told one by one; the rest are only counted.
const REFUSALS_TOLD: u64 = 20;

/// Says how a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Each line was an event or blank.
    Complete,
    /// Some lines were refused.
    SomeRefused,
    /// The file could not be opened, or not be read to its end.
    Unreadable,
}

/// Writes one line to `out` for each line of the file (`-` is standard input): the id that PANTHER gives the
/// event under `python`, `-` for a line that is refused, nothing for a blank one. Tells what was refused on
/// `err`.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub(crate) fn run(
    path: &Path,
    python: PythonVersion,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Outcome> {
    if path.as_os_str() == "-" {
        return ids(io::stdin().lock(), Path::new("<stdin>"), python, out, err);
    }
    match File::open(path) {
        Ok(file) => ids(BufReader::with_capacity(1 << 16, file), path, python, out, err),
        Err(error) => {
            let path = path.to_string_lossy();
            let path = panther_events::ingest::panther::escape_for_terminal(&path);
            writeln!(err, "{path}: cannot be opened: {error}")?;
            Ok(Outcome::Unreadable)
        }
    }
}

fn ids(
    input: impl BufRead,
    path: &Path,
    python: PythonVersion,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Outcome> {
    let mut reader = PantherReader::new(input, path);
    let mut lines_written = 0;
    let mut outcome = Outcome::Complete;
    while let Some(event) = reader.next() {
        let counts = reader.counts();
        align(out, &mut lines_written, counts.lines - 1)?;
        match event {
            Ok(event) => writeln!(out, "{}", panther_id(&event, python))?,
            Err(refused) => {
                writeln!(out, "-")?;
                let is_end = matches!(refused.reason, Reason::Unreadable(_));
                outcome = if is_end { Outcome::Unreadable } else { Outcome::SomeRefused };
                if is_end || counts.refused <= REFUSALS_TOLD {
                    writeln!(err, "{refused}")?;
                }
            }
        }
        lines_written += 1;
    }
    let counts = reader.counts();
    align(out, &mut lines_written, counts.lines)?;
    out.flush()?;
    if counts.refused > REFUSALS_TOLD {
        let all = counts.refused;
        writeln!(
            err,
            "{all} of {} lines were refused; the first {REFUSALS_TOLD} are told above",
            counts.lines
        )?;
    }
    Ok(outcome)
}

/// Writes an empty line for each blank one passed over.
fn align(out: &mut impl Write, lines_written: &mut u64, lines: u64) -> io::Result<()> {
    while *lines_written < lines {
        writeln!(out)?;
        *lines_written += 1;
    }
    Ok(())
}
