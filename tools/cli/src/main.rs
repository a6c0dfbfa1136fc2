//! The command `panther-events`: captures and event files in, a result directory out.

mod bench;
mod cat;
mod flight;
mod ingest;
mod journal_args;
mod journal_log;
mod panther_id;
mod plain;
mod recover;
mod repair;
mod replay;
mod report;
mod results;
mod signals;
mod verify;

use clap::{Parser, Subcommand};
use panther_events::ingest::panther::PythonVersion;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exact event pipeline for network tests.
#[derive(Parser)]
#[command(name = "panther-events", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what this machine gives: emit, ring, dedup, the whole pipeline, delays and idle use.
    Bench(bench::Args),
    /// Read packet captures or PANTHER's events, and write a result directory.
    Ingest(ingest::Args),
    /// Print a journal's events as JSON Lines.
    Cat(cat::Args),
    /// List everything that is wrong with a journal.
    Verify(verify::Args),
    /// Bring out what a dead process left: the last events of each emitter, or a journal.
    Recover(recover::Args),
    /// Write a sound journal from what can be read of another one.
    Repair(repair::Args),
    /// Feed a journal through a pipeline and write a result directory.
    Replay(replay::Args),
    /// Write single result files from a journal.
    Export(replay::ExportArgs),
    /// Print PANTHER's id of each line of a file of its events.
    PantherId {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// The Python version whose text PANTHER hashed.
        #[arg(long, default_value = "3.11", value_name = "X.Y")]
        python: PythonVersion,
    },
}

/// How a command ended; the exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// All was done.
    Done = 0,
    /// Done, but some input was refused or lost.
    Partly = 1,
    /// Nothing was done: unusable arguments or input.
    Nothing = 2,
    /// All was done, and what was to have passed has not.
    NotPassed = 3,
}

fn main() -> ExitCode {
    // Clap itself exits with 2 for unusable arguments.
    let command = Cli::parse().command;
    if let Err(error) = signals::outlive_file_size_limits() {
        return ExitCode::from(ended(Err(error.into())) as u8);
    }
    let outcome = match command {
        Command::Bench(args) => bench::run(&args),
        Command::Ingest(args) => ended(ingest::run(&args)),
        Command::Cat(args) => ended(cat::run(&args)),
        Command::Verify(args) => ended(verify::run(&args)),
        Command::Recover(args) => ended(recover::run(&args)),
        Command::Repair(args) => ended(repair::run(&args)),
        Command::Replay(args) => ended(replay::run(&args)),
        Command::Export(args) => ended(replay::export(&args)),
        Command::PantherId { file, python } => print_ids(&file, python),
    };
    ExitCode::from(outcome as u8)
}

fn ended(outcome: Result<Outcome, results::Failure>) -> Outcome {
    outcome.unwrap_or_else(|failure| {
        // Where standard error is gone too, the exit status has to do.
        let _ = writeln!(io::stderr(), "error: {}", plain::plain(&failure.to_string()));
        Outcome::Nothing
    })
}

fn print_ids(file: &Path, python: PythonVersion) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = panther_id::run(file, python, &mut out, &mut io::stderr().lock());
    match ended.and_then(|ended| out.flush().map(|()| ended)) {
        Ok(panther_id::Outcome::Complete) => Outcome::Done,
        Ok(panther_id::Outcome::SomeRefused) => Outcome::Partly,
        Ok(panther_id::Outcome::Unreadable) => Outcome::Nothing,
        // `panther-events panther-id FILE | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Done,
        Err(error) => {
            // Where standard error is gone too, the exit status has to do.
            let _ = writeln!(io::stderr(), "error: {error}");
            Outcome::Nothing
        }
    }
}
