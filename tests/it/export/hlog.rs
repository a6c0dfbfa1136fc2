//! An interval log reads back as what was written, through HdrHistogram's own parser.
#![cfg(feature = "hlog")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use panther_events::export::hlog::{HlogError, Interval, escape_tag, path_tag, write_hlog};
use std::time::Duration;

const START_NS: u64 = 1_700_000_000_123_456_789;

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    for value in values {
        histogram.record(value).unwrap();
    }
    histogram
}

#[test]
fn histograms_come_back_with_tags_times_and_every_count() {
    let there = histogram((0..5_000u64).map(|n| 4_000_000 + n * n));
    let back = histogram([1, 3_599_999_999_999]);
    let (tag_there, tag_back) = (path_tag("client", "server"), path_tag("server", "client"));
    let later = START_NS + 1_500_000_000;
    let intervals = [
        Interval { tag: &tag_there, start_ns: START_NS, len_ns: 2_000_000_000, histogram: &there },
        Interval { tag: &tag_back, start_ns: later, len_ns: 999_999, histogram: &back },
        Interval { tag: "", start_ns: later, len_ns: 1, histogram: &histogram([]) },
    ];
    let mut log = Vec::new();
    assert_eq!(write_hlog(&mut log, START_NS, intervals).unwrap(), 3);

    let entries: Vec<_> = IntervalLogIterator::new(&log).map(Result::unwrap).collect();
    let start = Duration::from_millis(1_700_000_000_123);
    assert_eq!(entries[..2], [LogEntry::StartTime(start), LogEntry::BaseTime(start)]);
    let written = [(Some("client->server"), 0, 2000, &there), (Some("server->client"), 1500, 0, &back)];
    assert_eq!(entries.len(), 5);
    for (entry, (tag, offset_ms, len_ms, histogram)) in entries[2..].iter().zip(written) {
        let LogEntry::Interval(interval) = entry else { panic!("{entry:?}") };
        assert_eq!(interval.tag().map(|tag| tag.as_str()), tag);
        assert_eq!(interval.start_timestamp(), Duration::from_millis(offset_ms));
        assert_eq!(interval.duration(), Duration::from_millis(len_ms));
        assert!((interval.max() - histogram.max() as f64 / 1e6).abs() < 0.001);
        let bytes = unbase64(interval.encoded_histogram());
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(&read, histogram);
    }
    let LogEntry::Interval(untagged) = &entries[4] else { panic!() };
    assert!(untagged.tag().is_none());
}

#[test]
fn tags_of_any_names_hold_nothing_forbidden_and_come_back() {
    let names = ["a", "", "a,b", "a b\r\n", "50%", "%2C", "a->b", "-", ">", "ü\u{2028}🦀", "\u{0}\t\u{7f}"];
    let mut tags = std::collections::BTreeSet::new();
    for from in names {
        for to in names {
            let tag = path_tag(from, to);
            assert!(!tag.chars().any(|c| c == ',' || c.is_whitespace() || c.is_control()), "{tag:?}");
            assert!(tags.insert(tag.clone()), "{tag:?} stands for two paths");
            let (left, right) = tag.split_once('>').unwrap();
            assert_eq!(unescape(left.strip_suffix('-').unwrap()), from);
            assert_eq!(unescape(right), to);
        }
        assert_eq!(unescape(&escape_tag(from)), from);
    }
}

#[test]
fn what_readers_would_misread_or_skip_is_refused() {
    let histogram = histogram([5]);
    let write = |tag, start_ns| {
        write_hlog(&mut Vec::new(), START_NS, [Interval { tag, start_ns, len_ns: 1, histogram: &histogram }])
    };
    assert!(matches!(write("a,b", START_NS), Err(HlogError::Tag { .. })));
    assert!(matches!(write("a b", START_NS), Err(HlogError::Tag { .. })));
    assert!(matches!(write("a", START_NS - 1), Err(HlogError::StartsBeforeLog { .. })));
    assert!(matches!(write("a", START_NS), Ok(1)));
}

fn unescape(tag: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = tag.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// RFC 4648, written here so that the test needs no crate for it.
fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|letter| *letter == c).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
