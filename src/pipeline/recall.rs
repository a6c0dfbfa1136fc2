//! What dedup is told of before the start: an earlier part of the run.

use crate::dedup::{BATCH, Dedup, Verdict};
use crate::emit::source::Entrance;
use crate::event::{Identity, Record};

/// Calls what it is given on the records of the earlier part.
pub(crate) type Recall = Box<dyn FnOnce(&mut dyn FnMut(&[Record]))>;

/// Shows each lane's dedup its share of the records, and lets sources begin behind theirs; returns how many records
/// there were.
pub(crate) fn recall(feeds: Vec<Recall>, entrance: &Entrance, dedups: &mut [Dedup]) -> u64 {
    if feeds.is_empty() {
        return 0;
    }
    let mut shares: Vec<Vec<Record>> = dedups.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    let mut last: Vec<Option<u32>> = vec![None; 1 << 16];
    let mut records_seen = 0;
    let mut show = |records: &[Record]| {
        for record in records {
            records_seen += 1;
            if let Some(last) = last.get_mut(usize::from(record.source())) {
                *last = (*last).max(Some(record.seq()));
            }
            let digest = record.id().filter(|_| record.identity() == Some(Identity::Digest));
            let lane = entrance.routes.lane(record.kind(), record.entity(), digest);
            if let (Some(share), Some(dedup)) = (shares.get_mut(lane), dedups.get_mut(lane)) {
                share.push(*record);
                if share.len() == BATCH {
                    check(dedup, share);
                }
            }
        }
    };
    for feed in feeds {
        feed(&mut show);
    }
    for (share, dedup) in shares.iter_mut().zip(dedups) {
        check(dedup, share);
    }
    entrance.sources.begin_after(&last);
    records_seen
}

fn check(dedup: &mut Dedup, share: &mut Vec<Record>) {
    let mut verdicts = [Verdict::New; BATCH];
    dedup.check(share, &mut verdicts);
    share.clear();
}
