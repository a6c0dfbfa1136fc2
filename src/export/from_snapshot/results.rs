//! The member `results` of `summary.json`.

use crate::event::Symbol;
use crate::export::summary::{
    AssertionSummary, ExperimentSummary, PartSummary, ResultsSummary, StepSummary, TESTS_SHOWN, TallySummary,
    TestSummary,
};
use crate::observe::results::{
    AssertionResult, ExperimentResult, Outcome, Part, ResultTree, ResultsReport, StepResult, Tally,
    TestResult,
};
use crate::pipeline::{Account, Snapshot};
use crate::process::Processing;

impl ResultsSummary {
    /// Makes the summary of what the observer `results` found. Where the snapshot's account tells of events that it may have
    /// missed, they are `doubts`.
    #[must_use]
    pub fn new(report: &ResultsReport, snapshot: &Snapshot) -> ResultsSummary {
        let names = Names(snapshot);
        let tree: ResultTree = report.tree();
        let steps = tree.steps.iter().filter(|step| step.outcome() == Outcome::Failed).take(TESTS_SHOWN);
        let failed = |assertion: &&AssertionResult| assertion.part.outcome == Outcome::Failed;
        let assertions = tree.assertions.iter().filter(failed).take(TESTS_SHOWN);
        let beside = tree.steps.iter().flat_map(|step| &step.assertions).chain(&tree.assertions);
        let mut summary = ResultsSummary {
            outcome: tree.outcome().name(),
            doubts: Vec::new(),
            tests: tree.tests_tally().into(),
            steps: tree.steps_tally().into(),
            assertions: tree.assertions_tally().into(),
            checks: tree.checks_tally().into(),
            tree: shown(&tree.tests).map(|test| names.test(test)).collect(),
            failed_steps: steps.map(|step| names.step(step)).collect(),
            failed_assertions: assertions.map(|assertion| names.assertion(assertion)).collect(),
            steps_beside: tree.steps.iter().map(StepResult::outcome).collect::<Tally>().into(),
            assertions_beside: beside.map(|assertion| assertion.part.outcome).collect::<Tally>().into(),
            experiments: tree.experiments.iter().take(TESTS_SHOWN).map(|one| names.experiment(one)).collect(),
        };
        missed(report, snapshot).into_iter().for_each(|why| summary.doubt(why));
        summary
    }
}

/// Says which events the observer may have missed, a line for each way.
fn missed(report: &ResultsReport, snapshot: &Snapshot) -> Vec<String> {
    let Account { dropped_full, rejected, in_flight, unique, .. } = snapshot.account;
    let (mut failed, mut behind) = (0, 0);
    for delivery in snapshot.deliveries::<ResultsReport>() {
        failed += delivery.failed;
        behind += unique.saturating_sub(delivery.handled + delivery.skipped + delivery.failed);
    }
    let before = snapshot.came_before(report);
    let counts = [
        (dropped_full, "events were dropped because their ring was full"),
        (rejected, "events were refused by the pipeline"),
        (in_flight, "events were still on their way"),
        (failed, "events were not taken by the observer of results: it panicked, or its limit was reached"),
        (behind, "events had not reached the observer of results"),
        (before.unwrap_or(0), "events came before the observer of results was added"),
    ];
    // What was known is a duplicate, and in no result. It may be what failed, or have a part that failed.
    let earlier = (snapshot.preloaded > 0).then(|| {
        let again = match snapshot.account.duplicates {
            0 => String::new(),
            again => format!(", and {again} may have come again"),
        };
        let known = snapshot.preloaded;
        format!(
            "{known} events of an earlier part of the run were known before{again}: the results are of this run's new events only"
        )
    });
    let gone = before.is_none().then(|| {
        "the report is none that the snapshot holds: its observer was removed before the end".to_owned()
    });
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let failed = |(_, processing): &&(Box<str>, Processing)| processing.failed > 0 || processing.panicked > 0;
    let processors = snapshot.account.processors.iter().filter(failed);
    let processors = processors.map(|(name, processing)| {
        format!(
            "the processor {name} panicked; {} events failed at it, and it may have derived more",
            processing.failed
        )
    });
    let unanswered = snapshot.unanswered.iter().map(ToString::to_string);
    counts
        .map(|(count, what)| format!("{count} {what}"))
        .chain(unanswered)
        .chain(processors)
        .chain(earlier)
        .chain(gone)
        .collect()
}

/// The tests that are shown: first those that have not passed, and in the order in which they stand.
fn shown(tests: &[TestResult]) -> impl Iterator<Item = &TestResult> {
    let passed = |test: &&TestResult| test.outcome() == Outcome::Passed;
    let bad = tests.len() - tests.iter().filter(passed).count();
    let (mut bad_left, mut passed_left) = (TESTS_SHOWN, TESTS_SHOWN.saturating_sub(bad));
    tests.iter().filter(move |test| {
        let left = if passed(test) { &mut passed_left } else { &mut bad_left };
        let is_shown = *left > 0;
        *left = left.saturating_sub(1);
        is_shown
    })
}

struct Names<'a>(&'a Snapshot);

impl Names<'_> {
    fn name(&self, symbol: Symbol) -> String {
        self.0.symbols.name(symbol).map_or_else(|| symbol.to_string(), |name| name.to_string())
    }

    fn test(&self, test: &TestResult) -> TestSummary {
        TestSummary {
            test: self.name(test.test),
            experiment: test.experiment.map(|experiment| self.name(experiment)),
            part: PartSummary { outcome: test.outcome().name(), ..PartSummary::from(&test.part) },
            steps: test.steps.iter().map(|step| self.step(step)).collect(),
            assertions: test.assertions.iter().map(|assertion| self.assertion(assertion)).collect(),
            checks_passed: test.checks.passed,
            checks_failed: test.checks.failed,
            checks_unknown: test.checks.unknown,
        }
    }

    fn step(&self, step: &StepResult) -> StepSummary {
        StepSummary {
            step: self.name(step.step),
            part: PartSummary { outcome: step.outcome().name(), ..PartSummary::from(&step.part) },
            assertions: step.assertions.iter().map(|assertion| self.assertion(assertion)).collect(),
        }
    }

    fn experiment(&self, experiment: &ExperimentResult) -> ExperimentSummary {
        ExperimentSummary {
            experiment: self.name(experiment.experiment),
            part: PartSummary::from(&experiment.part),
        }
    }

    fn assertion(&self, assertion: &AssertionResult) -> AssertionSummary {
        AssertionSummary {
            assertion: self.name(assertion.assertion),
            part: PartSummary::from(&assertion.part),
        }
    }
}

impl From<&Part> for PartSummary {
    fn from(part: &Part) -> PartSummary {
        PartSummary {
            outcome: part.outcome.name(),
            started_ns: part.started_ns,
            ended_ns: part.ended_ns,
            duration_ns: part.duration_ns,
            runs: part.runs,
            message: part.message.as_deref().map(str::to_owned),
        }
    }
}

impl From<Tally> for TallySummary {
    fn from(tally: Tally) -> TallySummary {
        let total = tally.total();
        let Tally { running, passed, failed, skipped, unsupported, unknown, incomplete } = tally;
        TallySummary { total, running, passed, failed, skipped, unsupported, unknown, incomplete }
    }
}
