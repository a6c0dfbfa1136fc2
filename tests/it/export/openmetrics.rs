//! The OpenMetrics writer writes what the specification says, and refuses what it forbids.
#![cfg(feature = "openmetrics")]

use panther_events::export::openmetrics::{Exposition, OpenMetricsError};

#[test]
fn an_exposition_of_every_type_is_written_as_the_specification_shows() {
    let mut exposition = Exposition::new(Vec::new());
    exposition
        .counter("panther_events_offered", "Events that emitters offered.", None)
        .unwrap()
        .sample(&[("source", "0")], 3857u64)
        .unwrap()
        .sample(&[("source", "1")], u64::MAX)
        .unwrap();
    exposition
        .gauge("buffer_bytes", "A \"quoted\" help,\nwith \\ in it.", Some("bytes"))
        .unwrap()
        .sample(&[], -1.5)
        .unwrap();
    exposition.info("panther_run", "").unwrap().sample(&[("name", "a\"b\\c\nd,e}🦀")]).unwrap();
    exposition
        .summary("path_delay_seconds", "One-way delay.", Some("seconds"))
        .unwrap()
        .sample(&[("from", "client"), ("to", "server")], &[(0.5, 0.005), (0.999, 0.01)], 6.25, 1169)
        .unwrap();
    exposition
        .histogram("size_bytes", "Sizes.", Some("bytes"))
        .unwrap()
        .sample(&[], &[(64.0, 1), (1e6, 3)], 3000.0, 4)
        .unwrap();
    let text = String::from_utf8(exposition.finish().unwrap()).unwrap();
    let expected = r##"# TYPE panther_events_offered counter
# HELP panther_events_offered Events that emitters offered.
panther_events_offered_total{source="0"} 3857
panther_events_offered_total{source="1"} 18446744073709551615
# TYPE buffer_bytes gauge
# UNIT buffer_bytes bytes
# HELP buffer_bytes A \"quoted\" help,\nwith \\ in it.
buffer_bytes -1.5
# TYPE panther_run info
panther_run_info{name="a\"b\\c\nd,e}🦀"} 1
# TYPE path_delay_seconds summary
# UNIT path_delay_seconds seconds
# HELP path_delay_seconds One-way delay.
path_delay_seconds{from="client",to="server",quantile="0.5"} 0.005
path_delay_seconds{from="client",to="server",quantile="0.999"} 0.01
path_delay_seconds_count{from="client",to="server"} 1169
path_delay_seconds_sum{from="client",to="server"} 6.25
# TYPE size_bytes histogram
# UNIT size_bytes bytes
# HELP size_bytes Sizes.
size_bytes_bucket{le="64.0"} 1
size_bytes_bucket{le="1e+06"} 3
size_bytes_bucket{le="+Inf"} 4
size_bytes_count 4
size_bytes_sum 3000.0
# EOF
"##;
    assert_eq!(text, expected);
}

#[test]
fn a_family_or_a_sample_name_appears_once() {
    let mut exposition = Exposition::new(Vec::new());
    exposition.counter("a", "", None).unwrap();
    for second in [exposition.gauge("a", "", None).map(|_| ()), exposition.counter("a", "", None).map(|_| ())]
    {
        assert!(matches!(second, Err(OpenMetricsError::RepeatedFamily { .. })), "{second:?}");
    }
    // `b`, a gauge, and the unnamed samples of a summary `b` have one name.
    exposition.gauge("b", "", None).unwrap();
    assert!(matches!(exposition.summary("b", "", None), Err(OpenMetricsError::RepeatedFamily { .. })));
}

#[test]
fn names_units_and_labels_that_break_the_rules_are_refused() {
    let mut exposition = Exposition::new(Vec::new());
    for name in ["", "1a", "a-b", "a b", "events_total", "delay\n"] {
        assert!(matches!(exposition.counter(name, "", None), Err(OpenMetricsError::Name { .. })), "{name:?}");
    }
    for (name, unit) in
        [("delay", "seconds"), ("delayseconds", "seconds"), ("seconds", "seconds"), ("a_", "")]
    {
        let refused = exposition.gauge(name, "", Some(unit));
        assert!(matches!(refused, Err(OpenMetricsError::UnitSuffix { .. })), "{name:?} {unit:?}");
    }
    let mut gauge = exposition.gauge("g", "", None).unwrap();
    for labels in [&[("a-b", "")][..], &[("__a", "")], &[("", "")], &[("a", "1"), ("b", "2"), ("a", "3")]] {
        assert!(matches!(gauge.sample(labels, 1.0), Err(OpenMetricsError::Name { .. })), "{labels:?}");
    }
    let mut summary = exposition.summary("s", "", None).unwrap();
    assert!(matches!(summary.sample(&[("quantile", "1")], &[], 0.0, 0), Err(OpenMetricsError::Name { .. })));
    let mut histogram = exposition.histogram("h", "", None).unwrap();
    assert!(matches!(histogram.sample(&[("le", "1")], &[], 0.0, 0), Err(OpenMetricsError::Name { .. })));
}

#[test]
fn a_set_of_labels_appears_once_in_whatever_order() {
    let mut exposition = Exposition::new(Vec::new());
    let mut gauge = exposition.gauge("g", "", None).unwrap();
    gauge.sample(&[("a", "1"), ("b", "2")], 1u64).unwrap();
    for same in [&[("b", "2"), ("a", "1")][..], &[("a", "1"), ("b", "2"), ("c", "")]] {
        assert!(matches!(gauge.sample(same, 2u64), Err(OpenMetricsError::RepeatedLabels { .. })), "{same:?}");
    }
    // Values are told apart by their escapes: one label here, two there.
    gauge.sample(&[("a", "1\",b=\"2")], 3u64).unwrap();
}

#[test]
fn values_that_a_type_cannot_hold_are_refused() {
    let mut exposition = Exposition::new(Vec::new());
    let refused =
        |result: Result<(), OpenMetricsError>| matches!(result, Err(OpenMetricsError::Value { .. }));
    let mut counter = exposition.counter("c", "", None).unwrap();
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(refused(counter.sample(&[], value).map(|_| ())), "{value}");
    }
    assert!(refused(counter.sample(&[], -1i64).map(|_| ())));
    let mut summary = exposition.summary("s", "", None).unwrap();
    for quantiles in [&[(1.5, 1.0)][..], &[(0.5, -1.0)], &[(0.5, f64::NAN)], &[(0.9, 1.0), (0.5, 1.0)]] {
        assert!(refused(summary.sample(&[], quantiles, 1.0, 1).map(|_| ())), "{quantiles:?}");
    }
    assert!(refused(summary.sample(&[], &[], f64::NAN, 1).map(|_| ())));
    let mut histogram = exposition.histogram("h", "", None).unwrap();
    for buckets in [&[(2.0, 1), (1.0, 1)][..], &[(1.0, 2), (2.0, 1)], &[(1.0, 6)], &[(f64::INFINITY, 5)]] {
        assert!(refused(histogram.sample(&[], buckets, 1.0, 5).map(|_| ())), "{buckets:?}");
    }
    // A refused sample leaves no trace: its labels are still free.
    histogram.sample(&[], &[(1.0, 5)], 1.0, 5).unwrap();
}
