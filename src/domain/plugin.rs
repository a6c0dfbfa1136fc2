//! The domain `plugin`: a plugin, and the services that it makes.
//!
//! A plugin has no last state: it can always be loaded again.

use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one plugin.
    PluginEmitter "plugin" Domain::PLUGIN;

    initial Unknown;
    terminal ;
    state Unknown "unknown"            -> [Loading];
    state Loading "loading"            -> [Loaded LoadFailed Error];
    state Loaded "loaded"              -> [Initializing Error];
    state LoadFailed "load_failed"     -> [Loading];
    state Initializing "initializing"  -> [Initialized Error];
    state Initialized "initialized"    -> [Starting Error];
    state Starting "starting"          -> [Started Error];
    state Started "started"            -> [Stopping Error];
    state Stopping "stopping"          -> [Stopped Error];
    state Stopped "stopped"            -> [Loading Starting];
    state Error "error"                -> [Loading Stopping];

    0 "loading_started" Lifecycle -> [Loading] {}
        PluginLoadingStartedEvent loading_started(plugin_name: &str, plugin_type: &str)
            + LoadingStarted<'a> { plugin_path: &'a str, loading_config: Value<'a> }
            = { action: "plugin_loading_started" };

    1 "loading_completed" Lifecycle -> [Loaded] { duration_ns OptU64 8 }
        PluginLoadingCompletedEvent loading_completed(capabilities: Value<'_>, plugin_name: &str, plugin_type: &str)
            + LoadingCompleted<'a> { duration: Duration => duration_ns, version: &'a str }
            = { action: "plugin_loading_completed" };
        PluginLoadedEvent loaded(plugin_path: &str, plugin_name: &str, plugin_type: &str)
            + Loaded<'a> { metadata: Value<'a> }
            = { action: "plugin_loaded" };

    2 "loading_failed" Lifecycle -> [LoadFailed] { duration_ns OptU64 8 }
        PluginLoadingFailedEvent loading_failed(error_message: &str, plugin_name: &str, plugin_type: &str)
            + LoadingFailed<'a> { error_details: Value<'a>, duration: Duration => duration_ns }
            = { action: "plugin_loading_failed" };

    3 "initialized" Lifecycle -> [Initializing Initialized] {}
        PluginInitializedEvent initialized(dependencies: Value<'_>, plugin_name: &str, plugin_type: &str)
            + Initialized<'a> { initialization_config: Value<'a> }
            = { action: "plugin_initialized" };

    4 "started" Lifecycle -> [Starting Started] { startup_duration_ns OptU64 8 }
        PluginStartedEvent started(plugin_name: &str, plugin_type: &str)
            + Started<'a> { startup_duration: Duration => startup_duration_ns, startup_details: Value<'a> }
            = { action: "plugin_started" };

    5 "stopped" Lifecycle -> [Stopping Stopped] { cleanup_duration_ns OptU64 8 }
        PluginStoppedEvent stopped(stop_reason: &str, plugin_name: &str, plugin_type: &str)
            + Stopped<'a> { cleanup_duration: Duration => cleanup_duration_ns, cleanup_details: Value<'a> }
            = { action: "plugin_stopped" };

    6 "error" Lifecycle -> [Error] { recoverable Bool 21 }
        PluginErrorEvent error(error_message: &str, error_type: &str, recoverable: bool => recoverable,
                plugin_name: &str, plugin_type: &str)
            + PluginError<'a> { error_details: Value<'a> }
            = { action: "plugin_error" };

    7 "service_created" Lifecycle -> [] {}
        PluginServiceCreatedEvent service_created(service_id: &str, service_name: &str, service_type: &str,
                plugin_name: &str, plugin_type: &str)
            + ServiceCreated<'a> { service_config: Value<'a> }
            = { action: "plugin_service_created" };
        ServiceManagerCreatedEvent service_manager_created(service_name: &str, implementation: &str,
                protocol: &str, plugin_name: &str, plugin_type: &str)
            + ServiceManagerCreated<'a> { service_config: Value<'a> }
            = { action: "service_manager_created" };

    8 "service_started" Lifecycle -> [] { startup_duration_ns OptU64 8 }
        PluginServiceStartedEvent service_started(service_id: &str, service_name: &str, plugin_name: &str,
                plugin_type: &str)
            + ServiceStarted { startup_duration: Duration => startup_duration_ns }
            = { action: "plugin_service_started" };

    9 "service_stopped" Lifecycle -> [] {}
        PluginServiceStoppedEvent service_stopped(service_id: &str, service_name: &str, stop_reason: &str,
                plugin_name: &str, plugin_type: &str)
            = { action: "plugin_service_stopped" };
}
