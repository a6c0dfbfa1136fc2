//! What is subtracted in each stretch: nothing where nothing is proved.

use super::fit::Fit;
use super::line::Line;
use super::stretch::Stretch;

/// Returns what to take for the second clock less the first in each stretch, if only the second is to be corrected.
///
/// Nothing, wherever clocks that agree are possible. From there on over steps, what was right before and the step: a path that is slower
/// in one direction stays so. Else the estimate. `raw` tells what the offset is where the one that may be corrected is not, if that is
/// possible: zero, or what is subtracted from the other one.
/// `sync_ns` is what the clocks' synchronisation is worth, where that is declared.
pub(super) fn select(fit: &Fit, raw: impl Fn(&Stretch) -> Option<Line>, sync_ns: Option<u64>) -> Vec<Choice> {
    let mut chosen: Vec<Choice> =
        fit.stretches.iter().map(|stretch| raw(stretch).map_or(Choice::None, Choice::Raw)).collect();
    carry(fit, &mut chosen, None);
    for at in (1..chosen.len()).rev() {
        let (Some(stretch), Some(after)) = (fit.stretches.get(at - 1), fit.stretches.get(at)) else {
            continue;
        };
        let step = fit.step_before(after).map(|step| step.by_ns);
        let line = chosen.get(at).and_then(Choice::line).zip(step);
        let line = line.map(|(line, by_ns)| line.raised(by_ns.saturating_neg()));
        if let (Some(slot @ Choice::None), Some(line)) = (chosen.get_mut(at - 1), line)
            && stretch.allows(&line)
        {
            *slot = Choice::Line(line);
        }
    }
    carry(fit, &mut chosen, Some(&|stretch| stretch.estimate(sync_ns)));
    chosen
}

/// What is taken for the offset of two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// Nothing yet.
    None,
    /// What it is where nothing is subtracted.
    Raw(Line),
    /// This is subtracted.
    Line(Line),
}

impl Choice {
    /// Returns the offset, the second clock less the first.
    pub(super) fn line(&self) -> Option<Line> {
        match self {
            Choice::None => None,
            Choice::Raw(line) | Choice::Line(line) => Some(*line),
        }
    }
}

/// Carries what is chosen over the steps that follow, and where nothing comes to be chosen, begins with the estimate.
fn carry(fit: &Fit, chosen: &mut [Choice], estimate: Option<&dyn Fn(&Stretch) -> Line>) {
    let mut before: Option<Line> = None;
    for (stretch, slot) in fit.stretches.iter().zip(chosen) {
        if matches!(slot, Choice::None) {
            let step = fit.step_before(stretch).map(|step| step.by_ns);
            let carried = before.zip(step).map(|(line, by_ns)| line.raised(by_ns));
            let carried = carried.filter(|line| stretch.allows(line));
            let line = carried.or_else(|| estimate.map(|estimate| estimate(stretch)));
            *slot = line.map_or(Choice::None, Choice::Line);
        }
        before = slot.line();
    }
}
