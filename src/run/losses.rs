//! What a run lost beyond what its inputs were short of.

use crate::paths::SightingsReport;
use crate::pipeline::Snapshot;

/// Says what was lost, a line each. `findings` are warnings of what the events are, and not of how they were handled.
pub(super) fn losses(
    snapshot: &Snapshot,
    sightings: Option<&SightingsReport>,
    findings: &[String],
) -> Vec<String> {
    let (account, dedup) = (&snapshot.account, &snapshot.dedup);
    let refused = sightings.map_or(0, |report| report.refused);
    let counts = [
        (account.dropped_full, "events were dropped because their ring was full"),
        (account.rejected, "events were refused by the pipeline"),
        (dedup.spill_read_failures, "reads of ids on disk failed; duplicates may have passed as new"),
        (dedup.spill_write_failures, "writes of ids to disk failed; more memory than allowed was held"),
        (refused, "sightings were left out, of more vantage points than there can be"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, what)| format!("{count} {what}"));
    let failed = account.observers.iter().filter(|(_, delivery)| delivery.failed > 0);
    let failed = failed.map(|(name, delivery)| format!("observer {name}: {} events failed", delivery.failed));
    let further = Some(account.further_observers.delivery.failed).filter(|failed| *failed > 0);
    let further = further.map(|failed| format!("observers of further names: {failed} events failed"));
    // No cores are asked for here, so what the pipeline warns of beside is trouble: of an observer, or a dead thread.
    let stall = snapshot.warnings.iter().filter(|warning| !findings.contains(warning)).cloned();
    stall.chain(failed).chain(further).chain(counts).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::paths::{Sightings, SightingsOptions};
    use crate::pipeline::Pipeline;

    #[test]
    fn each_loss_is_told_and_nothing_where_there_is_none() {
        let mut builder = Pipeline::builder();
        let key = builder.observer("sightings", |_| Sightings::new(&SightingsOptions::default()));
        let mut snapshot = builder.start().unwrap().shutdown();
        let mut sightings = snapshot.report(key).unwrap().clone();
        assert_eq!(losses(&snapshot, Some(&sightings), &[]), Vec::<String>::new());
        sightings.refused = 1;
        snapshot.account.dropped_full = 2;
        snapshot.account.rejected = 3;
        snapshot.dedup.spill_read_failures = 4;
        snapshot.dedup.spill_write_failures = 5;
        snapshot.account.observers[0].1.failed = 6;
        snapshot.warnings.push("observer x: disk full".to_owned());
        snapshot.warnings.push("1 invalid transition".to_owned());
        let told = losses(&snapshot, Some(&sightings), &["1 invalid transition".to_owned()]);
        let starts = ["observer x: disk full", "observer sightings: 6", "2 ", "3 ", "4 ", "5 ", "1 "];
        assert_eq!(told.len(), starts.len(), "{told:?}");
        assert!(told.iter().zip(starts).all(|(told, start)| told.starts_with(start)), "{told:?}");
    }
}
