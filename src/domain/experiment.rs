//! The domain `experiment`: a run as a whole.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one experiment.
    ExperimentEmitter "experiment" Domain::EXPERIMENT;

    initial Created;
    terminal Completed Failed FinishedEarly;
    state Created "created"                       -> [Initializing Failed];
    state Initializing "initializing"             -> [LoadingPlugins Failed FinishedEarly];
    state LoadingPlugins "loading_plugins"        -> [PluginsLoaded Failed FinishedEarly];
    state PluginsLoaded "plugins_loaded"          -> [InitializingTests Failed FinishedEarly];
    state InitializingTests "initializing_tests"  -> [TestsInitialized Failed FinishedEarly];
    state TestsInitialized "tests_initialized"    -> [Running Failed FinishedEarly];
    state Running "running"                       -> [CollectingResults Failed FinishedEarly];
    state CollectingResults "collecting_results"  -> [Completed Failed];
    state Completed "completed"                   -> [];
    state Failed "failed"                         -> [];
    state FinishedEarly "finished_early"          -> [];

    0 "initialized" Lifecycle -> [Initializing] {}
        ExperimentInitializedEvent initialized(config: Value<'_>);

    1 "plugin_loading_started" Lifecycle -> [LoadingPlugins] { plugin_count OptU32 8 }
        ExperimentPluginLoadingStartedEvent plugin_loading_started()
            + PluginLoadingStarted { plugin_count: u64 => plugin_count };

    2 "plugin_loading_completed" Lifecycle -> [PluginsLoaded] { plugin_count OptU32 8 }
        ExperimentPluginLoadingCompletedEvent plugin_loading_completed(loaded_plugins: Value<'_>,
                plugin_count: u64 => plugin_count);

    3 "plugin_loading_failed" Lifecycle -> [Failed] {}
        ExperimentPluginLoadingFailedEvent plugin_loading_failed(error_message: &str, failed_plugins: Value<'_>)
            + PluginLoadingFailed<'a> { error_type: &'a str };

    4 "test_cases_initialized" Lifecycle -> [InitializingTests TestsInitialized] { test_count OptU32 8 }
        ExperimentTestCasesInitializedEvent test_cases_initialized(test_count: u64 => test_count,
                test_names: Value<'_>);

    5 "execution_started" Lifecycle -> [Running] { test_count OptU32 8 }
        ExperimentExecutionStartedEvent execution_started()
            + ExecutionStarted { test_count: u64 => test_count };

    6 "execution_completed" Lifecycle -> [CollectingResults] { duration_ns OptU56 8, success_count OptU24 15,
                failure_count OptU24 18, total_count OptU24 21 }
        ExperimentExecutionCompletedEvent execution_completed(success_count: u64 => success_count,
                failure_count: u64 => failure_count, total_count: u64 => total_count)
            + ExecutionCompleted { duration_seconds: Duration => duration_ns };

    7 "execution_failed" Lifecycle -> [Failed] {}
        ExperimentExecutionFailedEvent execution_failed(error_message: &str)
            + ExecutionFailed<'a> { error_type: &'a str, phase: &'a str };

    8 "finished_early" Lifecycle -> [FinishedEarly] {}
        ExperimentFinishedEarlyEvent finished_early(reason: &str)
            + FinishedEarly<'a> { details: Value<'a> };

    9 "completed" Lifecycle -> [Completed] {}
        ExperimentCompletedEvent completed(summary: Value<'_>);

    10 "failed" Lifecycle -> [Failed] {}
        ExperimentFailedEvent failed(error_message: &str)
            + Failed<'a> { error_type: &'a str, summary: Value<'a> };

    11 "service_failure" Lifecycle -> [] {}
        ExperimentServiceFailureEvent service_failure(failed_service: &str, reason: &str, termination_source: &str)
            + ServiceFailure<'a> { details: Value<'a> };
}
