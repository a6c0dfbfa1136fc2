//! The domain `environment`: where tests run. Beside its own life it has three families of events: `network`,
//! `execution`, and the collection of outputs. Those say nothing about its state.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one environment.
    EnvironmentEmitter "environment" Domain::ENVIRONMENT;

    initial Created;
    terminal Destroyed;
    state Created "created"            -> [Initializing Destroying Error];
    state Initializing "initializing"  -> [Initialized Destroying Error];
    state Initialized "initialized"    -> [SettingUp Destroying Error];
    state SettingUp "setting_up"       -> [Setup TearingDown Error];
    state Setup "setup"                -> [Ready TearingDown Error];
    state Ready "ready"                -> [TearingDown Error];
    state TearingDown "tearing_down"   -> [TornDown Destroying Error];
    state TornDown "torn_down"         -> [Destroying Error];
    state Destroying "destroying"      -> [Destroyed Error];
    state Destroyed "destroyed"        -> [];
    state Error "error"                -> [Ready TearingDown Destroying];

    0 "created" Lifecycle -> [Created] {}
        EnvironmentCreatedEvent created(config: Value<'_>, environment_type: &str);

    1 "initialization_started" Lifecycle -> [Initializing] {}
        EnvironmentInitializationStartedEvent initialization_started(initialization_type: &str);

    2 "initialization_completed" Lifecycle -> [Initialized] { duration_ns OptU64 8 }
        EnvironmentInitializationCompletedEvent initialization_completed(duration: Duration => duration_ns)
            + InitializationCompleted<'a> { initialization_details: Value<'a> };

    3 "initialization_failed" Lifecycle -> [Error] {}
        EnvironmentInitializationFailedEvent initialization_failed(error_message: &str)
            + InitializationFailed<'a> { error_details: Value<'a> };

    4 "setup_started" Lifecycle -> [SettingUp] {}
        EnvironmentSetupStartedEvent setup_started(setup_config: Value<'_>);

    5 "setup_completed" Lifecycle -> [Setup] { duration_ns OptU64 8 }
        EnvironmentSetupCompletedEvent setup_completed(duration: Duration => duration_ns)
            + SetupCompleted<'a> { resources_allocated: Value<'a> };

    6 "setup_failed" Lifecycle -> [Error] {}
        EnvironmentSetupFailedEvent setup_failed(error_message: &str)
            + SetupFailed<'a> { error_details: Value<'a> };

    7 "ready" Lifecycle -> [Ready] {}
        EnvironmentReadyEvent ready(readiness_checks: Value<'_>);

    8 "teardown_started" Lifecycle -> [TearingDown] {}
        EnvironmentTeardownStartedEvent teardown_started(teardown_reason: &str);

    9 "teardown_completed" Lifecycle -> [TornDown] { duration_ns OptU64 8 }
        EnvironmentTeardownCompletedEvent teardown_completed(duration: Duration => duration_ns)
            + TeardownCompleted<'a> { resources_released: Value<'a> };

    10 "teardown_failed" Lifecycle -> [Error] {}
        EnvironmentTeardownFailedEvent teardown_failed(error_message: &str)
            + TeardownFailed<'a> { error_details: Value<'a> };

    11 "deployment_started" Lifecycle -> [] {}
        EnvironmentDeploymentStartedEvent deployment_started(services: Value<'_>)
            + DeploymentStarted<'a> { deployment_config: Value<'a> };

    12 "deployment_completed" Lifecycle -> [] { duration_ns OptU64 8, success Bool 21 }
        EnvironmentDeploymentCompletedEvent deployment_completed(success: bool => success,
                duration: Duration => duration_ns)
            + DeploymentCompleted<'a> { deployed_services: Value<'a>, deployment_details: Value<'a> };

    13 "deployment_failed" Lifecycle -> [Error] {}
        EnvironmentDeploymentFailedEvent deployment_failed(error_message: &str, error_type: &str,
                failed_services: Value<'_>)
            + DeploymentFailed<'a> { error_details: Value<'a> };

    14 "destroyed" Lifecycle -> [Destroying Destroyed] { cleanup_duration_ns OptU64 8 }
        EnvironmentDestroyedEvent destroyed(cleanup_duration: Duration => cleanup_duration_ns)
            + Destroyed<'a> { cleanup_details: Value<'a> };

    15 "error" Lifecycle -> [Error] { recovery_possible Bool 21 }
        EnvironmentErrorEvent error(error_message: &str, error_type: &str,
                recovery_possible: bool => recovery_possible)
            + EnvironmentError<'a> { error_details: Value<'a> };

    16 "resource" Sample -> [] {}
        EnvironmentResourceEvent resource(resource_type: &str, resource_action: &str)
            + Resource<'a> { resource_details: Value<'a> };

    17 "configuration" Lifecycle -> [] {}
        EnvironmentConfigurationEvent configuration(config_change: &str, old_config: Value<'_>,
                new_config: Value<'_>);

    18 "monitoring" Sample -> [] { metric_value OptF64 8 }
        EnvironmentMonitoringEvent monitoring(metric_name: &str, metric_value: Value<'_> => metric_value,
                metric_unit: &str)
            + Monitoring<'a> { additional_metrics: Value<'a> };

    19 "network.setup.started" Lifecycle -> [] {}
        NetworkSetupStartedEvent network_setup_started(interfaces: Value<'_>)
            + NetworkSetupStarted<'a> { network_config: Value<'a> }
            = { action: "network_setup_started", environment_subtype: "network" };

    20 "network.setup.completed" Lifecycle -> [] { duration_ns OptU64 8 }
        NetworkSetupCompletedEvent network_setup_completed()
            + NetworkSetupCompleted<'a> { allocated_resources: Value<'a>, duration: Duration => duration_ns,
                network_config: Value<'a> }
            = { action: "network_setup_completed", environment_subtype: "network" };

    21 "network.setup.failed" Lifecycle -> [] {}
        NetworkSetupFailedEvent network_setup_failed(error_message: &str)
            + NetworkSetupFailed<'a> { error_details: Value<'a>, network_config: Value<'a> }
            = { action: "network_setup_failed", environment_subtype: "network" };

    22 "network.teardown.started" Lifecycle -> [] {}
        NetworkTeardownStartedEvent network_teardown_started(teardown_reason: &str)
            + NetworkTeardownStarted<'a> { network_config: Value<'a> }
            = { action: "network_teardown_started", environment_subtype: "network" };

    23 "network.teardown.completed" Lifecycle -> [] { duration_ns OptU64 8 }
        NetworkTeardownCompletedEvent network_teardown_completed()
            + NetworkTeardownCompleted<'a> { released_resources: Value<'a>, duration: Duration => duration_ns,
                network_config: Value<'a> }
            = { action: "network_teardown_completed", environment_subtype: "network" };

    24 "execution.setup.started" Lifecycle -> [] {}
        ExecutionEnvironmentSetupStartedEvent execution_setup_started()
            + ExecutionEnvironmentSetupStarted<'a> { resource_limits: Value<'a>, execution_config: Value<'a> }
            = { action: "execution_setup_started", environment_subtype: "execution" };

    25 "execution.setup.completed" Lifecycle -> [] { duration_ns OptU64 8 }
        ExecutionEnvironmentSetupCompletedEvent execution_setup_completed()
            + ExecutionEnvironmentSetupCompleted<'a> { allocated_resources: Value<'a>,
                duration: Duration => duration_ns, execution_config: Value<'a> }
            = { action: "execution_setup_completed", environment_subtype: "execution" };

    26 "execution.monitoring" Sample -> [] { cpu_usage OptF64 8, memory_usage OptF64 16 }
        ExecutionEnvironmentResourceMonitoringEvent execution_monitoring()
            + ExecutionEnvironmentResourceMonitoring<'a> { cpu_usage: f64 => cpu_usage,
                memory_usage: f64 => memory_usage, additional_metrics: Value<'a>, execution_config: Value<'a> }
            = { action: "execution_monitoring", environment_subtype: "execution" };

    27 "execution.limit.exceeded" Sample -> [] { current_value OptF64 8, limit_value OptF64 16 }
        ExecutionEnvironmentLimitExceededEvent execution_limit_exceeded(limit_type: &str, action_taken: &str)
            + ExecutionEnvironmentLimitExceeded<'a> { current_value: f64 => current_value,
                limit_value: f64 => limit_value, execution_config: Value<'a> }
            = { action: "execution_limit_exceeded", environment_subtype: "execution" };

    28 "output_collection_started" Lifecycle -> [] {}
        OutputCollectionStartedEvent output_collection_started(collection_targets: Value<'_>)
            + OutputCollectionStarted<'a> { collection_config: Value<'a> }
            = { action: "output_collection_started" };

    29 "output_collected" Lifecycle -> [] { output_size_bytes OptU64 8 }
        OutputCollectedEvent output_collected(output_type: &str, output_path: &str)
            + OutputCollected<'a> { output_size: u64 => output_size_bytes, metadata: Value<'a> }
            = { action: "output_collected" };

    30 "outputs_collected" Lifecycle -> [] { total_size_bytes OptU64 8, total_count OptU32 16 }
        OutputsCollectedEvent outputs_collected(outputs: Value<'_>, total_count: u64 => total_count)
            + OutputsCollected { total_size: u64 => total_size_bytes }
            = { action: "outputs_collected" };

    31 "output_collection_completed" Lifecycle -> [] { collection_duration_ns OptU64 8, total_outputs OptU32 16 }
        OutputCollectionCompletedEvent output_collection_completed(outputs: Value<'_>,
                total_outputs: u64 => total_outputs)
            + OutputCollectionCompleted<'a> { collection_duration: Duration => collection_duration_ns,
                collection_summary: Value<'a> }
            = { action: "output_collection_completed" };
}
