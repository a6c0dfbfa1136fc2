//! OpenMetrics 1.0 text: numbers of a finished run for Prometheus and everything that reads its format.
//!
//! ```text
//! # TYPE panther_events_offered counter
//! # HELP panther_events_offered Events that emitters offered.
//! panther_events_offered_total{source="0"} 3857
//! # EOF
//! ```
//!
//! The rules that a writer can break are errors here: a family appears once, its name ends with its unit,
//! label sets within a family differ, counters are neither negative nor NaN, buckets are cumulative.
//!
//! Why no client library: crate `prometheus-client` keeps live metrics in a registry that outlives many
//! scrapes. It has no summaries, checks neither names nor values nor repetitions, and needs five more
//! crates. A finished run only has numbers to write down.

mod number;
mod text;

pub use number::Number;

use std::collections::BTreeSet;
use std::io::{self, Write};
use text::{check_label, check_name, push_canonical, push_escaped, push_number};

/// Labels of a sample: names and values. Values may hold any text.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Why an exposition could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenMetricsError {
    /// A name breaks the format's rules.
    #[error("{name:?} cannot name a {what}: {reason}")]
    Name {
        /// A family or a label.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The family's name does not end with its unit.
    #[error("the family {family:?} is in {unit:?}; its name must end with \"_{unit}\"")]
    UnitSuffix {
        /// The family.
        family: String,
        /// Its unit.
        unit: String,
    },
    /// The family, or one whose samples have the same names, was written already.
    #[error("{name:?} is the name of a family or sample written before; write each family once, whole")]
    RepeatedFamily {
        /// The name that two families share.
        name: String,
    },
    /// The family already has a sample with these labels.
    #[error("the family {family:?} already has a sample with the labels {labels}; write each set once")]
    RepeatedLabels {
        /// The family.
        family: String,
        /// The labels as they would be written.
        labels: String,
    },
    /// A value is not allowed for the family's type.
    #[error("the family {family:?} cannot hold {value:?}: {reason}")]
    Value {
        /// The family.
        family: String,
        /// The value.
        value: Number,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The output failed.
    #[error("cannot write the metrics: {0}; check the output")]
    Io(#[from] io::Error),
}

/// Writes one exposition, family after family.
///
/// What is refused leaves no trace in the output. After [`OpenMetricsError::Io`] the output may end in the
/// middle of a line and is not to be used.
#[derive(Debug)]
pub struct Exposition<W> {
    out: W,
    /// Names of families and of the samples they can have.
    names: BTreeSet<String>,
    line: String,
}

/// A family that is being written; see [`Exposition::counter`] and its siblings.
#[derive(Debug)]
struct Family<'e, W> {
    exposition: &'e mut Exposition<W>,
    name: String,
    labels_seen: BTreeSet<String>,
}

/// Writes the samples of a counter: values that only rise.
#[derive(Debug)]
pub struct Counter<'e, W>(Family<'e, W>);

/// Writes the samples of a gauge: values that rise and fall.
#[derive(Debug)]
pub struct Gauge<'e, W>(Family<'e, W>);

/// Writes the samples of an info: facts as labels.
#[derive(Debug)]
pub struct Info<'e, W>(Family<'e, W>);

/// Writes the samples of a summary: quantiles, sum and count.
#[derive(Debug)]
pub struct Summary<'e, W>(Family<'e, W>);

/// Writes the samples of a histogram: cumulative buckets, sum and count.
#[derive(Debug)]
pub struct Histogram<'e, W>(Family<'e, W>);

impl<W: Write> Exposition<W> {
    /// Begins an exposition; give it a buffered output.
    pub fn new(out: W) -> Exposition<W> {
        Exposition { out, names: BTreeSet::new(), line: String::new() }
    }

    /// Begins a counter. `name` goes without `_total`, which the samples get.
    ///
    /// # Errors
    /// When the name or unit breaks the format's rules or is taken, or the output fails.
    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
    ) -> Result<Counter<'_, W>, OpenMetricsError> {
        self.family("counter", &["", "_total", "_created"], name, help, unit).map(Counter)
    }

    /// Begins a gauge.
    ///
    /// # Errors
    /// As [`Exposition::counter`].
    pub fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
    ) -> Result<Gauge<'_, W>, OpenMetricsError> {
        self.family("gauge", &[""], name, help, unit).map(Gauge)
    }

    /// Begins an info, which has no unit. `name` goes without `_info`, which the samples get.
    ///
    /// # Errors
    /// As [`Exposition::counter`].
    pub fn info(&mut self, name: &str, help: &str) -> Result<Info<'_, W>, OpenMetricsError> {
        self.family("info", &["", "_info"], name, help, None).map(Info)
    }

    /// Begins a summary.
    ///
    /// # Errors
    /// As [`Exposition::counter`].
    pub fn summary(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
    ) -> Result<Summary<'_, W>, OpenMetricsError> {
        self.family("summary", &["", "_count", "_sum", "_created"], name, help, unit).map(Summary)
    }

    /// Begins a histogram.
    ///
    /// # Errors
    /// As [`Exposition::counter`].
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&str>,
    ) -> Result<Histogram<'_, W>, OpenMetricsError> {
        let suffixes = &["", "_count", "_sum", "_bucket", "_created"];
        self.family("histogram", suffixes, name, help, unit).map(Histogram)
    }

    /// Writes the end mark, without which an exposition counts as truncated, flushes, and returns the output.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> Result<W, OpenMetricsError> {
        self.out.write_all(b"# EOF\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn family(
        &mut self,
        kind: &str,
        suffixes: &[&str],
        name: &str,
        help: &str,
        unit: Option<&str>,
    ) -> Result<Family<'_, W>, OpenMetricsError> {
        let invalid = |reason| OpenMetricsError::Name { what: "family", name: name.to_owned(), reason };
        check_name(name).map_err(invalid)?;
        if let Some(unit) = unit
            && !name.strip_suffix(unit).is_some_and(|stem| !unit.is_empty() && stem.ends_with('_'))
        {
            return Err(OpenMetricsError::UnitSuffix { family: name.to_owned(), unit: unit.to_owned() });
        }
        let samples: Vec<_> = suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
        if let Some(taken) = samples.iter().find(|name| self.names.contains(*name)) {
            return Err(OpenMetricsError::RepeatedFamily { name: taken.clone() });
        }
        self.names.extend(samples);
        self.line.clear();
        self.line.push_str(&format!("# TYPE {name} {kind}\n"));
        if let Some(unit) = unit {
            self.line.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        if !help.is_empty() {
            self.line.push_str(&format!("# HELP {name} "));
            push_escaped(&mut self.line, help);
            self.line.push('\n');
        }
        self.out.write_all(self.line.as_bytes())?;
        Ok(Family { exposition: self, name: name.to_owned(), labels_seen: BTreeSet::new() })
    }
}

impl<W: Write> Counter<'_, W> {
    /// Writes the sample with these labels.
    ///
    /// # Errors
    /// When the value is negative or not finite, the labels are invalid or repeated, or the output fails.
    pub fn sample(
        &mut self,
        labels: Labels<'_>,
        value: impl Into<Number>,
    ) -> Result<&mut Self, OpenMetricsError> {
        let value = value.into();
        self.0.check_counter(value)?;
        self.0.begin(labels, &[])?;
        self.0.push("_total", labels, None, value);
        self.0.end()?;
        Ok(self)
    }
}

impl<W: Write> Gauge<'_, W> {
    /// Writes the sample with these labels; any number is allowed.
    ///
    /// # Errors
    /// When the labels are invalid or repeated, or the output fails.
    pub fn sample(
        &mut self,
        labels: Labels<'_>,
        value: impl Into<Number>,
    ) -> Result<&mut Self, OpenMetricsError> {
        self.0.begin(labels, &[])?;
        self.0.push("", labels, None, value.into());
        self.0.end()?;
        Ok(self)
    }
}

impl<W: Write> Info<'_, W> {
    /// Writes the facts `labels`.
    ///
    /// # Errors
    /// When the labels are invalid or repeated, or the output fails.
    pub fn sample(&mut self, labels: Labels<'_>) -> Result<&mut Self, OpenMetricsError> {
        self.0.begin(labels, &[])?;
        self.0.push("_info", labels, None, Number::Unsigned(1));
        self.0.end()?;
        Ok(self)
    }
}

impl<W: Write> Summary<'_, W> {
    /// Writes the quantiles, as pairs of quantile (0 to 1) and value, then sum and count of all values.
    ///
    /// # Errors
    /// When a quantile is outside 0 to 1 or not above the one before, a value or the sum is negative or not
    /// finite (a summary without values gives no quantiles), the labels are invalid or repeated, or the
    /// output fails.
    pub fn sample(
        &mut self,
        labels: Labels<'_>,
        quantiles: &[(f64, f64)],
        sum: f64,
        count: u64,
    ) -> Result<&mut Self, OpenMetricsError> {
        let mut previous = f64::NEG_INFINITY;
        for (quantile, value) in quantiles {
            if !(0.0..=1.0).contains(quantile) || *quantile <= previous {
                let reason = "quantiles lie from 0 to 1 and rise";
                return Err(self.0.invalid(Number::Float(*quantile), reason));
            }
            previous = *quantile;
            self.0.check_counter(Number::Float(*value))?;
        }
        self.0.check_counter(Number::Float(sum))?;
        self.0.begin(labels, &["quantile"])?;
        for (quantile, value) in quantiles {
            self.0.push("", labels, Some(("quantile", *quantile)), Number::Float(*value));
        }
        self.0.push("_count", labels, None, Number::Unsigned(count));
        self.0.push("_sum", labels, None, Number::Float(sum));
        self.0.end()?;
        Ok(self)
    }
}

impl<W: Write> Histogram<'_, W> {
    /// Writes the buckets, as pairs of inclusive upper bound and *cumulative* count, then sum and count.
    ///
    /// The bucket without bound (`+Inf`) is added; it holds `count`.
    ///
    /// # Errors
    /// When a bound is negative, not finite or not above the one before, counts fall or exceed `count`, the
    /// sum is negative or not finite, the labels are invalid or repeated, or the output fails.
    pub fn sample(
        &mut self,
        labels: Labels<'_>,
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) -> Result<&mut Self, OpenMetricsError> {
        let (mut bound_before, mut count_before) = (f64::NEG_INFINITY, 0);
        for (bound, cumulative) in buckets {
            if !bound.is_finite() || *bound < 0.0 || *bound <= bound_before {
                let reason = "bounds are finite, not negative, and rise; the bucket +Inf is added";
                return Err(self.0.invalid(Number::Float(*bound), reason));
            }
            if *cumulative < count_before || *cumulative > count {
                let reason = "bucket counts are cumulative and end at the count";
                return Err(self.0.invalid(Number::Unsigned(*cumulative), reason));
            }
            (bound_before, count_before) = (*bound, *cumulative);
        }
        self.0.check_counter(Number::Float(sum))?;
        self.0.begin(labels, &["le"])?;
        for (bound, cumulative) in buckets {
            self.0.push("_bucket", labels, Some(("le", *bound)), Number::Unsigned(*cumulative));
        }
        self.0.push("_bucket", labels, Some(("le", f64::INFINITY)), Number::Unsigned(count));
        self.0.push("_count", labels, None, Number::Unsigned(count));
        self.0.push("_sum", labels, None, Number::Float(sum));
        self.0.end()?;
        Ok(self)
    }
}

impl<W: Write> Family<'_, W> {
    /// Checks the labels and that no sample of the family has them. An empty value counts as no label.
    fn begin(&mut self, labels: Labels<'_>, reserved: &[&str]) -> Result<(), OpenMetricsError> {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable();
        for (at, (name, _)) in sorted.iter().enumerate() {
            let invalid = |reason| OpenMetricsError::Name { what: "label", name: (*name).to_owned(), reason };
            check_label(name).map_err(invalid)?;
            if reserved.contains(name) {
                return Err(invalid("the type of the family uses it itself; rename it"));
            }
            if sorted.get(at + 1).is_some_and(|(next, _)| next == name) {
                return Err(invalid("it appears twice in one sample; give it once"));
            }
        }
        sorted.retain(|(_, value)| !value.is_empty());
        let mut key = String::new();
        push_labels(&mut key, &sorted, None);
        if let Some(labels) = self.labels_seen.replace(key) {
            return Err(OpenMetricsError::RepeatedLabels { family: self.name.clone(), labels });
        }
        self.exposition.line.clear();
        Ok(())
    }

    fn push(&mut self, suffix: &str, labels: Labels<'_>, own: Option<(&str, f64)>, value: Number) {
        let line = &mut self.exposition.line;
        line.push_str(&self.name);
        line.push_str(suffix);
        push_labels(line, labels, own);
        line.push(' ');
        push_number(line, value);
        line.push('\n');
    }

    fn end(&mut self) -> Result<(), OpenMetricsError> {
        Ok(self.exposition.out.write_all(self.exposition.line.as_bytes())?)
    }

    fn check_counter(&self, value: Number) -> Result<(), OpenMetricsError> {
        let fits = match value {
            Number::Unsigned(_) => true,
            Number::Signed(value) => value >= 0,
            Number::Float(value) => value.is_finite() && value >= 0.0,
        };
        if fits { Ok(()) } else { Err(self.invalid(value, "it must be finite and not negative")) }
    }

    fn invalid(&self, value: Number, reason: &'static str) -> OpenMetricsError {
        OpenMetricsError::Value { family: self.name.clone(), value, reason }
    }
}

fn push_labels(line: &mut String, labels: Labels<'_>, own: Option<(&str, f64)>) {
    if labels.is_empty() && own.is_none() {
        return;
    }
    let mut separator = '{';
    for (name, value) in labels {
        line.push(separator);
        separator = ',';
        line.push_str(name);
        line.push_str("=\"");
        push_escaped(line, value);
        line.push('"');
    }
    if let Some((name, value)) = own {
        line.push(separator);
        line.push_str(name);
        line.push_str("=\"");
        push_canonical(line, value);
        line.push('"');
    }
    line.push('}');
}
