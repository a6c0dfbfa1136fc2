//! Invalid transitions, as a person reads them.

use super::counts::{DomainStates, InvalidTransition};
use crate::domain::Schema;
use crate::event::{EventKind, Symbol, Symbols};

/// Invalid transitions of a domain that are told one by one.
const SHOWN: usize = 3;

/// A line for each domain that has some: how many, and the first of them.
pub(super) fn of(
    domains: &[DomainStates],
    invalid: &[InvalidTransition],
    schema: &Schema,
    symbols: &Symbols,
) -> Vec<String> {
    let name = |symbol: Symbol| match symbols.name(symbol) {
        Some(name) => format!("{name:?}"),
        None => symbol.to_string(),
    };
    let event = |kind: EventKind| match schema.name(kind).and_then(|name| name.split_once('.')) {
        Some((_, event)) => event.to_owned(),
        None => format!("event {}", kind.code()),
    };
    let line = |domain: &DomainStates| {
        let of_domain = invalid.iter().filter(|invalid| invalid.domain == domain.domain);
        let one = |invalid: &InvalidTransition| {
            let within =
                invalid.context.parts().map(|(level, part)| format!(" of {} {}", level.name(), name(part)));
            let within: String = within.collect();
            format!(
                "{}{within} was {} when {} came",
                name(invalid.entity),
                invalid.state,
                event(invalid.kind)
            )
        };
        let first: Vec<_> = of_domain.take(SHOWN).map(one).collect();
        let more = match domain.invalid.saturating_sub(first.len() as u64) {
            0 => String::new(),
            more if first.is_empty() => format!("{more}, none of which was kept"),
            more => format!(", and {more} more"),
        };
        let s = if domain.invalid == 1 { "" } else { "s" };
        let (count, domain) = (domain.invalid, &domain.name);
        format!("{count} invalid transition{s} of domain {domain}: {}{more}", first.join(", "))
    };
    domains.iter().filter(|domain| domain.invalid > 0).map(line).collect()
}
