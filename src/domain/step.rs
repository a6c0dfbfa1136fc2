//! The domain `step`: a step of a test.
//!
//! A step that failed may be tried again: that it is retried is told by its next `execution_started`.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one step.
    StepEmitter "step" Domain::STEP;

    initial Created;
    terminal Completed Skipped Unsupported;
    state Created "created"          -> [Pending Executing Skipped Unsupported];
    state Pending "pending"          -> [Executing Skipped Unsupported];
    state Executing "executing"      -> [Completed Failed Unsupported];
    state Retrying "retrying"        -> [Executing Failed Unsupported];
    state Completed "completed"      -> [];
    state Failed "failed"            -> [Retrying];
    state Skipped "skipped"          -> [];
    state Unsupported "unsupported"  -> [];

    0 "execution_started" Lifecycle -> { from Failed: [Retrying Executing] | [Executing] } {}
        StepExecutionStartedEvent execution_started(prerequisites: Value<'_>, step_name: &str)
            + ExecutionStarted<'a> { step_config: Value<'a>, test_case_id: &'a str }
            = { action: "step_execution_started" };

    1 "execution_completed" Lifecycle -> [Completed] { duration_ns OptU64 8 }
        StepExecutionCompletedEvent execution_completed(step_name: &str)
            + ExecutionCompleted<'a> { duration: Duration => duration_ns, result: Value<'a>, output: &'a str,
                test_case_id: &'a str }
            = { action: "step_execution_completed" };

    2 "execution_failed" Lifecycle -> [Failed] { duration_ns OptU64 8, retry_count OptU32 16 }
        StepExecutionFailedEvent execution_failed(error_message: &str, retry_count: u64 => retry_count,
                step_name: &str)
            + ExecutionFailed<'a> { error_details: Value<'a>, duration: Duration => duration_ns,
                test_case_id: &'a str }
            = { action: "step_execution_failed" };

    3 "progress" Sample -> [] { progress_percentage OptF64 8 }
        StepProgressEvent progress(progress_message: &str, step_name: &str)
            + Progress<'a> { progress_percentage: f64 => progress_percentage, current_operation: &'a str,
                test_case_id: &'a str }
            = { action: "step_progress" };

    4 "unsupported" Lifecycle -> [Unsupported] {}
        StepUnsupportedEvent unsupported(reason: &str, alternative_steps: Value<'_>, step_name: &str)
            + Unsupported<'a> { test_case_id: &'a str }
            = { action: "step_unsupported" };

    5 "skipped" Lifecycle -> [Skipped] {}
        StepSkippedEvent skipped(skip_reason: &str, step_name: &str)
            + Skipped<'a> { skip_condition: &'a str, test_case_id: &'a str }
            = { action: "step_skipped" };
}
