//! What dedup is told of before the start: an earlier part of the run.

use crate::dedup::{BATCH, Dedup, Verdict};
use crate::emit::source::EmitShared;
use crate::event::{Identity, Record};

/// Calls what it is given on the records of the earlier part.
pub(crate) type Preload = Box<dyn FnOnce(&mut dyn FnMut(&[Record]))>;

/// Shows each shard's dedup its share of the records, and lets sources begin behind theirs; returns how many records
/// there were.
pub(crate) fn preload(feeds: Vec<Preload>, emit_shared: &EmitShared, dedups: &mut [Dedup]) -> u64 {
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
            let shard = emit_shared.router.shard(record.kind(), record.entity(), digest);
            if let (Some(share), Some(dedup)) = (shares.get_mut(shard), dedups.get_mut(shard)) {
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
    emit_shared.sources.begin_after(&last);
    records_seen
}

fn check(dedup: &mut Dedup, share: &mut Vec<Record>) {
    let mut verdicts = [Verdict::New; BATCH];
    dedup.check(share, &mut verdicts);
    share.clear();
}
