//! The member `results` of `summary.json`.

use crate::observe::results::Outcome;
use serde::Serialize;

/// Tests that the file shows one by one; all are counted.
pub const TESTS_SHOWN: usize = 1000;

/// What became of tests, steps and assertions.
#[derive(Clone, Debug, Serialize)]
pub struct ResultsSummary {
    /// The verdict on everything: `passed` only where there is a test, everything passed, and nothing is missing; `skipped` where all of it was left out.
    pub outcome: &'static str,
    /// Why nobody can say that everything passed, though no failure may be known: events that were dropped, refused or not
    /// taken may have told of one. With any of these, `outcome` is not `passed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Tests by verdict: one of which a part failed has failed, and one of which a part never ended is incomplete.
    pub tests: TallySummary,
    /// Steps by verdict.
    pub steps: TallySummary,
    /// Assertions by outcome.
    pub assertions: TallySummary,
    /// Assertions that tests say they have checked.
    pub checks: TallySummary,
    /// The first [`TESTS_SHOWN`] tests, by their beginnings; where there are more, those first that have not passed.
    pub tree: Vec<TestSummary>,
    /// Steps of no known test, or of one of several, of those that have failed.
    pub failed_steps: Vec<StepSummary>,
    /// Assertions of no known test, or of one of several, of those that have failed.
    pub failed_assertions: Vec<AssertionSummary>,
    /// All steps of no known test, or of one of several, by verdict; they are among `steps`.
    pub steps_beside: TallySummary,
    /// All assertions of no known test or step, or of one of several, by outcome; they are among `assertions`.
    pub assertions_beside: TallySummary,
    /// The experiments, by their beginnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<ExperimentSummary>,
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
    pub incomplete: u64,
}

/// One experiment.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of `ExperimentResult`")]
pub struct ExperimentSummary {
    pub experiment: String,
    #[serde(flatten)]
    pub part: PartSummary,
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
    /// Checks of which no result is told.
    #[serde(skip_serializing_if = "is_zero")]
    pub checks_unknown: u64,
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
    /// How often it was run; not there for once.
    #[serde(skip_serializing_if = "is_once")]
    pub runs: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ResultsSummary {
    /// Takes note of why it is not known whether everything passed: a verdict that weighs less than `unknown` becomes that.
    pub fn doubt(&mut self, why: impl Into<String>) {
        self.doubts.push(why.into());
        let weighs_less = [Outcome::Passed, Outcome::Skipped, Outcome::Unsupported].map(Outcome::name);
        if weighs_less.contains(&self.outcome) {
            self.outcome = Outcome::Unknown.name();
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_once(runs: &u32) -> bool {
    *runs <= 1
}
