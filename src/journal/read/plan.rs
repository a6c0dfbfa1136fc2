//! Which segments make up a journal, in which order, and where each ends: told by their first blocks.

use crate::journal::format::compressed;
use crate::journal::format::names::{Form, compressed_name, parse_name, segment_name};
use crate::journal::format::{BlockHeader, BlockKind, HEADER_LEN_MAX, Link, Position, RunId};
use crate::journal::read::scan::Scan;
use crate::journal::storage::Storage;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// A journal's segments in reading order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) run: Option<RunId>,
    pub(crate) steps: Vec<Step>,
    /// Segments that no later one continues.
    pub(crate) abandoned: Vec<u32>,
    pub(crate) oldest_segment: u32,
    /// No file has a byte other than zero.
    pub(crate) all_empty: bool,
    /// Some segment begins with a header of an unknown version.
    pub(crate) unknown_version: bool,
    /// A segment that there is in a form only that this build cannot read.
    pub(crate) unreadable: Option<String>,
}

/// One segment to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) number: u32,
    /// The file's name; `None` for a segment that a later one continues and that is not there.
    pub(crate) name: Option<String>,
    /// Where the segment ends, and its last block's checksum, as its successor says.
    pub(crate) end: Option<(u64, u32)>,
}

struct First {
    name: String,
    open: Option<(BlockHeader, Link)>,
}

impl Plan {
    /// Reads the first block of every segment in `storage`.
    pub(crate) fn of(storage: &dyn Storage) -> io::Result<Plan> {
        let mut firsts: BTreeMap<u32, First> = BTreeMap::new();
        let (mut all_empty, mut unknown_version) = (true, false);
        let mut unreadable = None;
        for (number, name) in names(storage)? {
            if !compressed::READABLE && name != segment_name(number) {
                unreadable.get_or_insert(name);
                continue;
            }
            let Some(mut scan) = open(storage, number)? else { continue };
            let open = first_block(&mut scan, number)?;
            unknown_version |= open.is_none() && scan.is_unknown_version(0)?;
            all_empty &= open.is_none() && scan.zeros_from(0)?;
            firsts.insert(number, First { name, open });
        }
        let run = match common_run(&firsts) {
            Some(run) => Some(run),
            None => any_run(storage, &firsts)?,
        };
        for first in firsts.values_mut() {
            first.open = first.open.filter(|(header, _)| Some(header.run) == run);
        }
        let oldest_segment =
            firsts.values().filter_map(|first| first.open).map(|(h, _)| h.oldest_segment).max();
        let mut plan = Plan {
            run,
            oldest_segment: oldest_segment.unwrap_or(0),
            all_empty,
            unknown_version,
            unreadable,
            ..Plan::default()
        };
        plan.chain(&firsts);
        Ok(plan)
    }

    /// Follows the links from the last segment back to the first.
    fn chain(&mut self, firsts: &BTreeMap<u32, First>) {
        let step = |number: u32, end| Step {
            number,
            name: firsts.get(&number).map(|first| first.name.clone()),
            end,
        };
        // Segments behind the last intact first block: they can only be the journal's end.
        let last = firsts.iter().rev().find(|(_, first)| first.open.is_some()).map(|(number, _)| *number);
        let behind = firsts.range(last.map_or(0, |last| last.saturating_add(1))..);
        let mut steps: Vec<Step> = match last {
            Some(u32::MAX) => Vec::new(),
            _ => behind.rev().map(|(number, _)| step(*number, None)).collect(),
        };
        let mut next = last.map(|number| (number, None));
        while let Some((number, end)) = next {
            steps.push(step(number, end));
            let before = || firsts.range(..number).next_back().map(|(number, _)| *number);
            next = match firsts.get(&number).and_then(|first| first.open) {
                Some((header, link)) => match link.previous_end {
                    // The link of a sound journal points back; any other is no link.
                    Some(end) if end.segment < number && end.segment >= self.oldest_segment => {
                        Some((end.segment, Some((end.offset, header.previous))))
                    }
                    _ => None,
                },
                // Nothing tells what this one continues: the one before it, most likely.
                None => before().map(|number| (number, None)),
            };
        }
        steps.reverse();
        let used: HashSet<u32> = steps.iter().map(|step| step.number).collect();
        let unused = firsts.keys().copied().filter(|number| !used.contains(number));
        self.abandoned = unused.filter(|number| *number >= self.oldest_segment).collect();
        self.steps = steps;
    }
}

/// The segments that there are, by number, each with the name of the file that is read.
fn names(storage: &dyn Storage) -> io::Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    for name in storage.list()? {
        match parse_name(&name) {
            Some((number, Form::Compressed)) if compressed::READABLE => drop(names.insert(number, name)),
            Some((number, Form::Plain)) if !compressed::READABLE => drop(names.insert(number, name)),
            Some((number, _)) => drop(names.entry(number).or_insert(name)),
            None => {}
        }
    }
    Ok(names)
}

/// Opens a segment, in whichever form it is there; `None` when it is not there any more.
///
/// A compressed file that bears its name is whole, whatever became of the original.
pub(crate) fn open(storage: &dyn Storage, number: u32) -> io::Result<Option<Scan>> {
    // Between the first two looks, a writer may have put the compressed file in the original's place.
    let forms: &[Form] = if compressed::READABLE {
        &[Form::Compressed, Form::Plain, Form::Compressed]
    } else {
        &[Form::Plain]
    };
    for form in forms {
        let opened = match form {
            Form::Plain => storage.open(&segment_name(number)),
            Form::Compressed => storage.open(&compressed_name(number)).and_then(compressed::open),
        };
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(Scan::new).map(Some),
        }
    }
    Ok(None)
}

fn first_block(scan: &mut Scan, number: u32) -> io::Result<Option<(BlockHeader, Link)>> {
    let at = Position { segment: number, offset: 0 };
    let Some(header) = scan.header_at(0)?.filter(|header| {
        header.at == at
            && header.kind == BlockKind::Open
            && header.block == 0
            && header.len as usize <= HEADER_LEN_MAX
    }) else {
        return Ok(None);
    };
    Ok(scan.block(&header)?.filter(|block| block.intact).and_then(|block| {
        let link = Link::decode(block.body(&header))?;
        Some((header, link))
    }))
}

/// The run of most segments: a stray segment of another run does not take the journal over.
fn common_run(firsts: &BTreeMap<u32, First>) -> Option<RunId> {
    let runs = || firsts.values().filter_map(|first| first.open).map(|(header, _)| header.run);
    let mut counts: HashMap<RunId, usize> = HashMap::new();
    runs().for_each(|run| *counts.entry(run).or_default() += 1);
    // Of equally common ones the first.
    runs().rev().max_by_key(|run| counts.get(run).copied())
}

/// The run of any block, when no segment's first block is intact.
fn any_run(storage: &dyn Storage, firsts: &BTreeMap<u32, First>) -> io::Result<Option<RunId>> {
    for number in firsts.keys() {
        if let Some(header) = open(storage, *number)?.map(|mut scan| scan.any_header()).transpose()?.flatten()
        {
            return Ok(Some(header.run));
        }
    }
    Ok(None)
}

/// Returns a segment's file name for messages.
pub(crate) fn name_of(step: &Step) -> String {
    step.name.clone().unwrap_or_else(|| segment_name(step.number))
}
