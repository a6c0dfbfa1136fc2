//! How figures are shown.

/// A duration in nanoseconds as people write it.
pub(super) fn span(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    format!("{value:.3} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_with_a_unit_that_fits() {
        for (ns, text) in
            [(7, "7 ns"), (1_500, "1.500 us"), (12_345_678, "12.346 ms"), (3_600_000_000_000, "3600.000 s")]
        {
            assert_eq!(span(ns), text);
        }
    }
}
