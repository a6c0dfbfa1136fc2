//! The command `panther-events`: captures and event files in, a result directory out.

mod ingest;
mod plain;
mod report;

use clap::{Parser, Subcommand};
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
    /// Read packet captures, pair their packets, and write a result directory.
    Ingest(ingest::Args),
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
}

fn main() -> ExitCode {
    // Clap itself exits with 2 for unusable arguments.
    let outcome = match Cli::parse().command {
        Command::Ingest(args) => ingest::run(&args),
    };
    ExitCode::from(outcome as u8)
}
