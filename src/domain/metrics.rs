//! The domain `metrics`: sampled values.
//!
//! PANTHER sends further fields with its samples (a test case, a component, labels). They go into the
//! document as they are; see [`Members`]. The field `timestamp` is the record's time.

use crate::domain::builder::Members;
use crate::event::{Domain, Value};
use std::time::Duration;

crate::domain::table::domain! {
    /// Emits events of one metric.
    MetricsEmitter "metrics" Domain::METRICS;

    initial Collecting;
    terminal Stopped;
    state Collecting "collecting"  -> [Paused Stopped Error];
    state Paused "paused"          -> [Collecting Stopped Error];
    state Stopped "stopped"        -> [];
    state Error "error"            -> [Collecting Stopped];

    0 "collected" Sample -> [Collecting] { value OptF64 8 }
        MetricCollectedEvent collected(metric_name: &str, metric_type: &str, value: f64 => value)
            + MetricCollected<'a> { more: Members<'a> }
            at timestamp;

    1 "resource" Sample -> [Collecting] { value OptF64 8 }
        ResourceMetricEvent resource(resource_type: &str, value: f64 => value)
            + ResourceMetric<'a> { more: Members<'a> }
            at timestamp;

    2 "timing" Sample -> [Collecting] { duration_ns OptU64 8 }
        TimingMetricEvent timing(operation: &str, duration: Duration => duration_ns)
            + TimingMetric<'a> { more: Members<'a> }
            at timestamp;

    3 "counter" Sample -> [Collecting] { value OptI64 8, increment Bool 21 }
        CounterMetricEvent counter(counter_name: &str, value: i64 => value, increment: bool => increment)
            + CounterMetric<'a> { more: Members<'a> }
            at timestamp;

    4 "summary" Sample -> [] {}
        MetricsSummaryEvent summary(metrics: Value<'_>)
            + MetricsSummary<'a> { more: Members<'a> }
            at timestamp;
}
