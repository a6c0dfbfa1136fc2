//! `panther-events repair`: a sound journal from what can be read of another one.

use crate::Outcome;
use crate::plain::plain;
use crate::report::grouped;
use crate::results::{Failure, said};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{ReadOptions, repair};
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The journal's directory; nothing in it is changed.
    journal: PathBuf,
    /// The directory for the new journal.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Take intact records from behind a torn tail too. The result is then no prefix of what was sent.
    #[arg(long)]
    salvage: bool,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    if !args.journal.is_dir() {
        let shown = args.journal.display();
        return Err(format!("{shown}: is no directory; give the directory of a journal").into());
    }
    let options = ReadOptions { salvage: args.salvage, ..ReadOptions::default() };
    let new = Box::new(DirStorage::new(&args.out));
    let (report, account) =
        repair(DirStorage::new(&args.journal), new, options, crate::journal_args::now_ns())?;
    let lost = !report.is_sound() || account.lost_upstream > 0;
    let found = if lost { Outcome::Partly } else { Outcome::Done };
    let mut err = io::stderr();
    let findings =
        report.findings.iter().try_for_each(|finding| writeln!(err, "{}", plain(&finding.to_string())));
    let shown = plain(&args.out.display().to_string());
    let told = writeln!(io::stdout(), "{} records written to {shown}", grouped(account.stored));
    Ok(said(said(found, findings), told))
}
