//! What must hold for any text of the command's options: shared by the fuzz target and the replay of its corpus.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "checks of tests")]

use clap::Parser;
use panther_events::domain::Schema;
use panther_events::event::{EventKind, Identity, Level, Record, Symbol};
use panther_events::journal::Durability;
use panther_events_cli::filters::{
    Filters, Speed, context, parse_bytes, parse_durability, parse_horizon, parse_part, parse_segment,
    parse_span, parse_speed, parse_time_ns, parse_window, window_text,
};
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

static CATALOGUE: LazyLock<Schema> = LazyLock::new(Schema::new);

panther_events::payload! {
    /// An event of a kind that the schema knows.
    pub struct Known [EventKind::new(panther_events::event::Domain::PACKET, 0)] {
        value: u64,
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filters: Filters,
}

/// Takes `bytes` for the arguments of `cat`, one a line, and each line for the value of every option.
pub fn options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    text.lines().for_each(value);
    let line = std::iter::once("cat").chain(text.lines());
    match Line::try_parse_from(line) {
        Ok(line) => filters(&line.filters),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn filters(filters: &Filters) {
    let known = filters.kind.iter().all(|name| !CATALOGUE.select(name).is_empty());
    let (since, until) = (filters.since.unwrap_or(0), filters.until.unwrap_or(u64::MAX));
    let Ok(filter) = filters.filter(&CATALOGUE) else {
        assert!(!known || since > until, "refused without a reason: {filters:?}");
        return;
    };
    assert!(known && since <= until, "{filters:?}");
    let kind = EventKind::new(panther_events::event::Domain::PACKET, 0);
    let of_kind =
        filters.kind.is_empty() || filters.kind.iter().any(|name| CATALOGUE.select(name).contains(kind));
    let entities = [filters.entity.as_deref().unwrap_or("any"), "another entity"];
    for entity in entities {
        for source in [filters.source.unwrap_or(3), 0, u16::MAX] {
            for time_ns in [0, since, since.saturating_sub(1), until, until.saturating_add(1), u64::MAX] {
                let record = Record::new(Identity::Content, time_ns, Symbol::of(entity), &Known { value: 1 });
                let wanted = of_kind
                    && filters.entity.as_deref().is_none_or(|wanted| wanted == entity)
                    && filters.source.is_none_or(|wanted| wanted == source)
                    && (since..=until).contains(&time_ns);
                assert_eq!(filter.contains(&record.numbered(source, 1)), wanted, "{filters:?}");
            }
        }
    }
    // The levels come in one order, however they are given.
    let mut turned = filters.within.clone();
    turned.sort_by(|(a, _), (b, _)| b.cmp(a));
    let levels: Vec<Level> = filters.within.iter().map(|(level, _)| *level).collect();
    let once = |level: &Level| levels.iter().filter(|other| *other == level).count() == 1;
    if levels.iter().all(once) {
        assert_eq!(context(&filters.within), context(&turned));
    }
    assert_eq!(context(&filters.within).is_none(), filters.within.is_empty());
}

fn value(text: &str) {
    if let Ok(time_ns) = parse_time_ns(text) {
        let shown = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(time_ns)).to_string();
        assert_eq!(parse_time_ns(&shown), Ok(time_ns), "{text:?} is {shown}");
        assert_eq!(parse_time_ns(&time_ns.to_string()), Ok(time_ns));
    }
    if let Ok((level, name)) = parse_part(text) {
        assert_eq!(format!("{}={name}", level.name()), text);
    }
    if let Ok(window) = parse_window(text) {
        assert_eq!(parse_window(&window_text(window)), Ok(window), "{text:?}");
    }
    if let Ok(Durability::PowerLoss { every }) = parse_durability(text) {
        assert!(!every.is_zero());
    }
    if let Ok(horizon) = parse_horizon(text) {
        assert!(!horizon.is_zero());
    }
    if let Ok(span) = parse_span(text) {
        assert!(!span.is_zero());
    }
    if let Ok(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&bytes.to_string()), Ok(bytes), "{text:?}");
    }
    if let Ok(bytes) = parse_segment(text) {
        assert_eq!(parse_bytes(text), Ok(bytes));
        assert!((1 << 20..=1 << 40).contains(&bytes), "{text:?} is {bytes}");
    }
    if let Ok(Speed::Times(times)) = parse_speed(text) {
        assert!(times.is_finite() && times > 0.0);
    }
}
