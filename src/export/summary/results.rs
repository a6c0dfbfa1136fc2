//! The member `results` of `summary.json`.

use crate::event::Symbol;
use crate::observe::results::{
    AssertionResult, Part, ResultTree, ResultsReport, StepResult, Tally, TestResult,
};
use crate::pipeline::Snapshot;
use serde::Serialize;

/// Tests that the file shows one by one; all are counted.
pub const TESTS_SHOWN: usize = 1000;

/// What became of tests, steps and assertions.
#[derive(Clone, Debug, Serialize)]
pub struct ResultsSummary {
    /// Tests by verdict: one of which a part failed has failed.
    pub tests: TallySummary,
    /// Steps by outcome.
    pub steps: TallySummary,
    /// Assertions by outcome.
    pub assertions: TallySummary,
    /// Assertions that tests say they have checked.
    pub checks: TallySummary,
    /// The first tests, by their beginnings.
    pub tree: Vec<TestSummary>,
    /// Steps of no known test, of those that have failed.
    pub failed_steps: Vec<StepSummary>,
    /// Assertions of no known test, of those that have failed.
    pub failed_assertions: Vec<AssertionSummary>,
}

/// How many there are, and how many of them have which outcome.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Tally`")]
pub struct TallySummary {
    pub total: u64,
    pub running: u64,
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub unsupported: u64,
    pub unknown: u64,
}

/// One test.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `TestResult`")]
pub struct TestSummary {
    pub test: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    #[serde(flatten)]
    pub part: PartSummary,
    pub steps: Vec<StepSummary>,
    pub assertions: Vec<AssertionSummary>,
    pub checks_passed: u64,
    pub checks_failed: u64,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `StepResult`")]
pub struct StepSummary {
    pub step: String,
    #[serde(flatten)]
    pub part: PartSummary,
    pub assertions: Vec<AssertionSummary>,
}

/// One assertion.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `AssertionResult`")]
pub struct AssertionSummary {
    pub assertion: String,
    #[serde(flatten)]
    pub part: PartSummary,
}

/// What became of it, when, and why.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `Part`")]
pub struct PartSummary {
    pub outcome: &'static str,
    pub started_ns: u64,
    pub ended_ns: Option<u64>,
    pub duration_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ResultsSummary {
    /// Makes the summary of what the observer `results` found.
    #[must_use]
    pub fn new(report: &ResultsReport, snapshot: &Snapshot) -> ResultsSummary {
        let names = Names(snapshot);
        let tree: ResultTree = report.tree();
        let failed = |part: &Part| part.outcome == crate::observe::results::Outcome::Failed;
        let steps = tree.steps.iter().filter(|step| failed(&step.part)).take(TESTS_SHOWN);
        let assertions = tree.assertions.iter().filter(|assertion| failed(&assertion.part)).take(TESTS_SHOWN);
        ResultsSummary {
            tests: tree.tests_tally().into(),
            steps: tree.steps_tally().into(),
            assertions: tree.assertions_tally().into(),
            checks: tree.checks_tally().into(),
            tree: tree.tests.iter().take(TESTS_SHOWN).map(|test| names.test(test)).collect(),
            failed_steps: steps.map(|step| names.step(step)).collect(),
            failed_assertions: assertions.map(|assertion| names.assertion(assertion)).collect(),
        }
    }
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
        }
    }

    fn step(&self, step: &StepResult) -> StepSummary {
        StepSummary {
            step: self.name(step.step),
            part: PartSummary::from(&step.part),
            assertions: step.assertions.iter().map(|assertion| self.assertion(assertion)).collect(),
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
            message: part.message.as_deref().map(str::to_owned),
        }
    }
}

impl From<Tally> for TallySummary {
    fn from(tally: Tally) -> TallySummary {
        let total = tally.total();
        let Tally { running, passed, failed, skipped, unsupported, unknown } = tally;
        TallySummary { total, running, passed, failed, skipped, unsupported, unknown }
    }
}
