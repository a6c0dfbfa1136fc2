//! The journal that `ingest` writes beside its results.

use crate::journal_args::{Description, Inputs, JournalSource, now_ns};
use crate::results::Failure;
use panther_events::clock::Clock;
use panther_events::domain::Schema;
use panther_events::event::{EventId, Record, Symbols};
use panther_events::ingest::{Coverage, DigestKey};
use panther_events::journal::storage::DirStorage;
use panther_events::journal::{
    Damage, Finding, JournalLog, JournalNotes, Options, ReadOptions, RunId, holds_journal,
};
use panther_events::pipeline::Builder;
use panther_events::run::InputTotals;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of a document that a journal surely takes.
const DOCUMENT_LEN_MAX: usize = 1 << 20;

/// Signs of an error that are kept where the inputs are summed.
const ERROR_CHARS_MAX: usize = 1000;

/// What the writer that is opened later would cut off is not to be remembered: a journal is read as it is.
const AS_IT_IS: ReadOptions = ReadOptions { salvage: false, as_ended: true };

/// A journal that is open for writing, and what it holds already.
pub(crate) struct Opened {
    log: JournalLog,
    earlier: Option<JournalSource>,
}

/// Puts down in the journal what the run read, and knows what was wrong with what it held already.
pub(crate) struct Notes {
    journal: JournalNotes,
    earlier: Rc<RefCell<Earlier>>,
}

/// What is to be said of a journal that was resumed, as it was before.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    /// What is wrong with it, other than that its writer died.
    pub(crate) stall: Vec<String>,
    /// Why it may have held events that could not be read.
    pub(crate) doubts: Vec<String>,
}

/// What of each packet the digests cover that a journal to be resumed holds; `None` where there is none.
pub(crate) fn earlier_coverage(path: &Path, resume: bool) -> Result<Option<Coverage>, Failure> {
    let described = earlier_description(path, resume)?;
    Ok(described.map(|run| run.digest_bytes.map_or(Coverage::Whole, Coverage::Prefix)))
}

/// The key of the digests that a journal to be resumed holds; `None` where there is none.
pub(crate) fn earlier_key(path: &Path, resume: bool) -> Result<Option<DigestKey>, Failure> {
    let key = earlier_description(path, resume)?.and_then(|run| run.digest_key);
    let parse = |key: String| key.parse().map_err(|error| format!("{}: {error}", path.display()).into());
    key.map(parse).transpose()
}

fn earlier_description(path: &Path, resume: bool) -> Result<Option<Description>, Failure> {
    let Some(mut earlier) = earlier(path, resume)? else { return Ok(None) };
    // The description comes before the first record.
    earlier.next_block()?;
    Ok(earlier.description())
}

/// Opens the journal at `path`: a new one, or with `resume` the one that is there.
pub(crate) fn open(
    path: &Path,
    options: Options,
    resume: bool,
    description: &Description,
    symbols: &Arc<Symbols>,
) -> Result<Opened, Failure> {
    if let Some(mut earlier) = earlier(path, resume)? {
        earlier.next_block()?;
        if let Some(described) = earlier.description() {
            same_digests(path, &described, description)?;
        }
    }
    let earlier = earlier(path, resume)?;
    let run = earlier.as_ref().and_then(|earlier| earlier.reader.run()).unwrap_or_else(RunId::random);
    let schema = Schema::new();
    let mut log = JournalLog::open(path, run, options, Clock::cycles(), symbols, &schema)?;
    if earlier.is_none() {
        log.define_document(Description::key(), &serde_json::to_vec(description)?);
    }
    Ok(Opened { log, earlier })
}

fn earlier(path: &Path, resume: bool) -> Result<Option<JournalSource>, Failure> {
    match path.is_dir() && holds_journal(&DirStorage::new(path))? {
        false => Ok(None),
        true if resume => Ok(Some(JournalSource::open(path, AS_IT_IS)?)),
        true => {
            let remedy = "give --resume to go on with it, or choose another directory";
            Err(format!("{}: holds a journal already; {remedy}", path.display()).into())
        }
    }
}

/// Refuses digests that would let no packet be known again.
fn same_digests(path: &Path, earlier: &Description, now: &Description) -> Result<(), Failure> {
    let of = |run: &Description| (run.digest_bytes, run.mask_checksums, run.digest_key.clone());
    if of(earlier) == of(now) {
        return Ok(());
    }
    let mut options = earlier.digest_bytes.map_or_else(
        || "no --digest-bytes, captures that are whole,".to_owned(),
        |bytes| format!("--digest-bytes {bytes}"),
    );
    options.push_str(if earlier.mask_checksums {
        " and --mask-checksums"
    } else {
        " and no --mask-checksums"
    });
    options.push_str(if earlier.digest_key.is_some() {
        " and --keyed-digests"
    } else {
        " and no --keyed-digests"
    });
    let shown = path.display();
    Err(format!("{shown}: its packets were recognised otherwise; give {options} as in its first run").into())
}

impl Opened {
    /// Lets the pipeline remember what the journal holds, and write into it.
    pub(crate) fn attach(self, builder: &mut Builder) -> Notes {
        let found: Rc<RefCell<Earlier>> = Rc::default();
        let notes = Notes { journal: self.log.notes(), earlier: Rc::clone(&found) };
        if let Some(mut earlier) = self.earlier {
            builder.preload(move |each: &mut dyn FnMut(&[Record])| {
                // What cannot be read is not remembered: it can come again as new, and nothing is dropped for it.
                let (mut found, mut records_seen) = (found.borrow_mut(), 0);
                loop {
                    match earlier.next_block() {
                        Ok(Some(records)) => {
                            records_seen += records.len() as u64;
                            each(records);
                        }
                        Ok(None) => break,
                        Err(error) => {
                            found.stall.push(format!("not all of the earlier journal was read: {error}"));
                            break;
                        }
                    }
                }
                found.stall.extend(damage(&earlier));
                let inputs = earlier.inputs();
                let doubts = earlier.missing().into_iter().chain(earlier.doubts(records_seen));
                // Where it has records, these are doubt enough: they may tell of a failure.
                let doubts = doubts.chain(earlier.absent(0));
                let doubts = doubts.chain(inputs.iter().flat_map(InputTotals::doubts));
                found.doubts.extend(doubts.map(|doubt| format!("the earlier journal: {doubt}")));
            });
        }
        let mut log = Some(self.log);
        // One worker sees everything, so one instance is made.
        builder.observer("journal", move |setup| {
            log.take().map_or_else(JournalLog::closed, |log| log.of(setup.origin, setup.totals))
        });
        notes
    }
}

impl Notes {
    /// To be called before the pipeline is shut down, which closes the journal. Returns what was wrong with it before.
    pub(crate) fn put_inputs(self, inputs: &[InputTotals]) -> Result<Earlier, Failure> {
        let (schema, written_ns) = (Inputs::SCHEMA.to_owned(), now_ns());
        let document = |inputs| serde_json::to_vec(&Inputs { schema: schema.clone(), written_ns, inputs });
        let mut text = document(inputs.to_vec())?;
        if text.len() > DOCUMENT_LEN_MAX {
            text = document(vec![all_of(inputs)])?;
        }
        // Where the journal ended early, the account tells of it.
        let _ = self.journal.define_document(EventId::digest(&text).bits(), &text);
        Ok(self.earlier.take())
    }
}

/// Sums what was read from so many inputs, or of such names, that no document has room for each.
fn all_of(inputs: &[InputTotals]) -> InputTotals {
    let sum =
        InputTotals { vantage: "all inputs".to_owned(), records: 0, rejected: 0, non_ip: 0, error: None };
    let mut sum = inputs.iter().fold(sum, |mut sum, input| {
        sum.add(input);
        sum
    });
    sum.error = sum.error.map(|error| error.chars().take(ERROR_CHARS_MAX).collect());
    sum
}

/// What is wrong with the earlier journal, other than that its writer died: a journal is resumed for that.
fn damage(earlier: &JournalSource) -> Vec<String> {
    let died = |finding: &Finding| match finding.damage {
        Damage::NotClosed => true,
        Damage::TornTail(_) => finding.set_aside == 0,
        Damage::Quarantined(_) | Damage::Trailing | Damage::BrokenLink | Damage::Abandoned => false,
    };
    let findings = earlier.reader.findings().iter();
    let mut damage: Vec<String> = findings
        .filter(|finding| finding.loses_records() && !died(finding))
        .map(|finding| format!("the earlier journal is damaged: {finding}"))
        .collect();
    if earlier.refused > 0 {
        damage
            .push(format!("the earlier journal has {} names or documents that do not fit", earlier.refused));
    }
    damage
}
