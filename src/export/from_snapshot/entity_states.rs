//! `states.csv`: the entities of a snapshot.

use crate::event::{Context, Level, Symbol};
use crate::export::csv::{StateRow, write_states};
use crate::observe::state::{EntityState, StateReport};
use crate::pipeline::Snapshot;
use std::io::{self, Write};

/// Writes the states of all entities of a snapshot, by domain, name and context; what has no known name goes by number.
///
/// # Errors
/// When the output fails.
pub fn write_entity_states(out: &mut dyn Write, report: &StateReport, snapshot: &Snapshot) -> io::Result<()> {
    let name = |symbol: Symbol| snapshot.symbols.name(symbol).unwrap_or_else(|| symbol.to_string().into());
    let place = |context: &Context, level| context.get(level).map_or_else(|| "".into(), name);
    let names = |entity: &EntityState| {
        let places = [Level::Experiment, Level::Test, Level::Step].map(|level| place(&entity.context, level));
        (name(entity.entity), places)
    };
    let mut entities: Vec<_> = report.entities().map(|entity| (names(&entity), entity)).collect();
    entities.sort_by(|(names, entity), (other_names, other)| {
        (entity.domain, names).cmp(&(other.domain, other_names))
    });
    let rows = entities.iter().map(|((name, [experiment, test, step]), entity)| StateRow {
        entity: name,
        domain: snapshot.schema.domain_name(entity.domain).unwrap_or("?"),
        state: &entity.state,
        since_ns: entity.since_ns,
        experiment,
        test,
        step,
    });
    write_states(out, rows)
}
