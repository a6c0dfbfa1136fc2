//! The observer `metrics`: counts per kind, and histograms of what payloads measure.
//!
//! A payload field whose name ends in `_ns` is a duration, one in `_bytes` a size; each such field of each kind
//! gets a histogram of its own. That is the convention of the whole schema, so a domain of the user's is
//! measured without a further word.

mod buckets;

pub use buckets::SIGNIFICANT_DIGITS;

use crate::domain::Schema;
use crate::event::kind::KIND_COUNT;
use crate::event::payload::FieldValue;
use crate::event::{EventKind, Field, FieldType, KindSet, Record};
use crate::observe::metrics::buckets::Buckets;
use crate::observe::{Batch, Interest, Observer, Report, Scope, Undelivered, members};
use hdrhistogram::Histogram;

/// Returns the value at quantile `q` (0 to 1) of a histogram, to its precision; `None` when it is empty.
///
/// The rank is `q` times the count, rounded to the nearest: as HdrHistogram's Java and Python readers do, so that all
/// who read an exported histogram see the same figure. (Rust's `value_at_quantile` rounds up.)
#[must_use]
pub fn quantile(histogram: &Histogram<u64>, q: f64) -> Option<u64> {
    let count = histogram.len() as f64;
    let rank = (q * count).round().clamp(1.0, count.max(1.0));
    (!histogram.is_empty()).then(|| histogram.value_at_quantile((rank - 0.5) / count))
}

/// Counts events and records what they measure.
///
/// Counts include duplicates, apart; histograms hold new events only.
pub struct Metrics {
    kinds: Vec<KindCount>,
    /// By kind: where its recorders lie in `recorders`.
    ranges: Vec<(u32, u32)>,
    recorders: Vec<Recorder>,
    interest: KindSet,
}

/// Records one field of one kind.
struct Recorder {
    kind: EventKind,
    field: Field,
    unit: Unit,
    place: Option<Place>,
    buckets: Buckets,
    refused: u64,
}

/// Where in a payload's words an integer lies.
#[derive(Clone, Copy)]
struct Place {
    word: usize,
    shift: u32,
    mask: u64,
    signed: bool,
}

/// How many events of a kind there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindCount {
    /// The kind.
    pub kind: EventKind,
    /// New events.
    pub new: u64,
    /// Duplicates of them.
    pub duplicates: u64,
}

/// What a measured field is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Durations, in nanoseconds.
    Nanoseconds,
    /// Sizes, in bytes.
    Bytes,
}

/// A payload's field with the histogram of its values.
#[derive(Clone, Debug)]
pub struct Measure {
    /// The kind.
    pub kind: EventKind,
    /// The field's description.
    pub field: Field,
    /// What it is counted in, from its name.
    pub unit: Unit,
    /// The values of new events.
    pub histogram: Histogram<u64>,
    /// Exact sum of the values.
    pub sum: u128,
    /// Values that the histogram could not hold: negative ones. They are in no other figure.
    pub refused: u64,
}

/// What [`Metrics`] found: the kinds that occurred, and the measures with a value.
#[derive(Clone, Debug, Default)]
pub struct MetricsReport {
    /// Counts, lowest kind first.
    pub kinds: Vec<KindCount>,
    /// Histograms, in order of kind and field.
    pub measures: Vec<Measure>,
}

impl Metrics {
    /// Measures all kinds of `schema`.
    #[must_use]
    pub fn new(schema: &Schema) -> Metrics {
        let mut metrics = Metrics {
            kinds: Vec::new(),
            ranges: vec![(0, 0); KIND_COUNT],
            recorders: Vec::new(),
            interest: KindSet::EMPTY,
        };
        for index in 0..KIND_COUNT as u16 {
            let kind = EventKind::from_index(index);
            metrics.kinds.push(KindCount { kind, new: 0, duplicates: 0 });
            let Some(fields) = schema.fields(kind) else { continue };
            metrics.interest = metrics.interest.with(kind);
            let start = metrics.recorders.len() as u32;
            metrics.recorders.extend(fields.iter().filter_map(|field| Recorder::new(kind, field.clone())));
            if let Some(range) = metrics.ranges.get_mut(kind.index()) {
                *range = (start, metrics.recorders.len() as u32);
            }
        }
        metrics
    }
}

impl Observer for Metrics {
    type Report = MetricsReport;

    fn interest(&self) -> Interest {
        Interest { kinds: self.interest, duplicates: true, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (kind, share) in batch.by_kind() {
            let new = share & batch.new;
            if let Some(count) = self.kinds.get_mut(kind.index()) {
                count.new += u64::from(new.count_ones());
                count.duplicates += u64::from((share & !batch.new).count_ones());
            }
            let (start, end) = self.ranges.get(kind.index()).copied().unwrap_or_default();
            for recorder in self.recorders.get_mut(start as usize..end as usize).unwrap_or_default() {
                recorder.record(batch.records, new);
            }
        }
        Ok(())
    }

    fn report(&self) -> MetricsReport {
        let occurred = |count: &&KindCount| count.new + count.duplicates > 0;
        MetricsReport {
            kinds: self.kinds.iter().filter(occurred).copied().collect(),
            measures: self.recorders.iter().filter_map(Recorder::measure).collect(),
        }
    }
}

impl Recorder {
    fn new(kind: EventKind, field: Field) -> Option<Recorder> {
        let unit = if field.name.ends_with("_ns") {
            Unit::Nanoseconds
        } else if field.name.ends_with("_bytes") {
            Unit::Bytes
        } else {
            return None;
        };
        let place = Place::of(&field);
        Some(Recorder { kind, field, unit, place, buckets: Buckets::default(), refused: 0 })
    }

    /// Records the field of all records that are in `share`.
    fn record(&mut self, records: &[Record], share: u64) {
        let Recorder { field, place, buckets, refused, .. } = self;
        if let Some(place) = *place {
            buckets.count(members(records, share).filter_map(|record| {
                let value = place.read(record.payload_words());
                *refused += u64::from(value.is_none());
                value
            }));
            return;
        }
        let payloads = members(records, share).map(Record::payload_bytes);
        buckets.count(payloads.filter_map(|payload| match field.read(payload)? {
            FieldValue::Unsigned(value) => Some(value),
            FieldValue::Signed(value) if value >= 0 => Some(value as u64),
            // Where the field says nothing, it is no value at all; this one is no duration and no size.
            _ => {
                *refused += 1;
                None
            }
        }));
    }

    /// Returns what was recorded; `None` when there was nothing.
    fn measure(&self) -> Option<Measure> {
        let Recorder { kind, unit, refused, .. } = *self;
        let field = self.field.clone();
        let histogram = match self.buckets.histogram() {
            Some(histogram) => histogram,
            None if refused > 0 => Histogram::new(SIGNIFICANT_DIGITS).ok()?,
            None => return None,
        };
        Some(Measure { kind, field, unit, histogram, sum: self.buckets.sum(), refused })
    }
}

impl Place {
    /// Returns the place of an integer that is always there and lies within one word, as most fields do.
    fn of(field: &Field) -> Option<Place> {
        use FieldType::{I64, U8, U16, U32, U64};
        let size = field.ty.size();
        let (word, byte) = (field.offset / 8, field.offset % 8);
        if !matches!(field.ty, U8 | U16 | U32 | U64 | I64) || word >= 3 || byte + size > 8 {
            return None;
        }
        let bytes_below = if cfg!(target_endian = "little") { byte } else { 8 - byte - size };
        let shift = 8 * bytes_below as u32;
        let mask = u64::MAX >> (64 - 8 * size);
        Some(Place { word, shift, mask, signed: field.ty == I64 })
    }

    /// Reads the value; `None` when it is negative.
    #[inline(always)]
    fn read(self, payload: &[u64; 3]) -> Option<u64> {
        let value = payload.get(self.word)? >> self.shift & self.mask;
        (!self.signed || value <= i64::MAX as u64).then_some(value)
    }
}

impl Measure {
    fn is_like(&self, other: &Measure) -> bool {
        (self.kind, self.field.offset) == (other.kind, other.field.offset)
    }
}

impl Report for MetricsReport {
    fn merge(&mut self, other: MetricsReport) {
        for count in other.kinds {
            match self.kinds.binary_search_by_key(&count.kind, |known| known.kind) {
                Ok(at) => {
                    if let Some(known) = self.kinds.get_mut(at) {
                        known.new += count.new;
                        known.duplicates += count.duplicates;
                    }
                }
                Err(at) => self.kinds.insert(at, count),
            }
        }
        for measure in other.measures {
            match self.measures.iter_mut().find(|known| known.is_like(&measure)) {
                Some(known) => {
                    known.sum += measure.sum;
                    known.refused += measure.refused;
                    if known.histogram.add(&measure.histogram).is_err() {
                        known.refused += measure.histogram.len();
                    }
                }
                None => self.measures.push(measure),
            }
        }
        self.measures.sort_by_key(|measure| (measure.kind, measure.field.offset));
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod tests {
    use super::*;
    use crate::dedup::Verdict;
    use crate::domain::packet::PacketSeen;
    use crate::event::{EventId, Payload, Symbol};
    use bytemuck::Zeroable;

    #[test]
    fn a_quantile_is_the_value_of_the_nearest_rank() {
        let mut histogram = Histogram::new(3).unwrap();
        assert_eq!(quantile(&histogram, 0.5), None);
        for n in 1..=1_000u64 {
            histogram.record(n).unwrap();
            let sorted: Vec<_> = (1..=n).collect();
            for q in [0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((q * n as f64).round() as usize).clamp(1, n as usize);
                assert_eq!(quantile(&histogram, q), Some(sorted[rank - 1]), "{q} of {n}");
            }
        }
    }

    #[test]
    fn integers_are_read_where_they_lie() {
        let words: [u64; 3] = bytemuck::must_cast::<[u8; 24], _>(std::array::from_fn(|n| 0x80 + 5 * n as u8));
        let types = [FieldType::U8, FieldType::U16, FieldType::U32, FieldType::U64, FieldType::I64];
        for ty in types {
            for offset in (0..24).step_by(ty.size()) {
                let field = Field { name: "x_ns".into(), ty: ty.clone(), offset };
                let expected = match field.read(bytemuck::must_cast_ref(&words)) {
                    Some(FieldValue::Unsigned(value)) => Some(value),
                    Some(FieldValue::Signed(value)) => u64::try_from(value).ok(),
                    _ => panic!("not an integer"),
                };
                let place = Place::of(&field).unwrap();
                assert_eq!(place.read(&words), expected, "{field:?}");
            }
        }
        let outside = [(FieldType::U64, 20), (FieldType::U32, 24), (FieldType::U16, 7), (FieldType::F64, 0)];
        for (ty, offset) in outside {
            assert!(Place::of(&Field { name: "x_ns".into(), ty: ty.clone(), offset }).is_none());
        }
    }

    fn seen(n: u32) -> Record {
        let payload = PacketSeen { wire_len_bytes: n, captured_len_bytes: n / 2, ..PacketSeen::zeroed() };
        Record::with_digest(EventId::from_hash(u128::from(n)), 0, Symbol::NONE, &payload)
    }

    #[test]
    fn merged_reports_equal_the_report_of_one() {
        let schema = Schema::new();
        let records: Vec<_> = (1..=60).map(|n| seen(n * 25)).collect();
        let verdicts: Vec<_> = (0..60)
            .map(|n| if n % 4 == 0 { Verdict::Duplicate { first: None } } else { Verdict::New })
            .collect();
        let mut whole = Metrics::new(&schema);
        whole.observe(&Batch::new(&records, &verdicts, u64::MAX)).unwrap();
        let mut merged = MetricsReport::default();
        for selected in [0x0f0f_0f0f_0f0f_0f0f, 0xf0f0_f0f0_f0f0_f0f0] {
            let mut part = Metrics::new(&schema);
            part.observe(&Batch::new(&records, &verdicts, selected)).unwrap();
            merged.merge(part.report());
        }
        let whole = whole.report();
        assert_eq!(whole.kinds, [KindCount { kind: PacketSeen::KIND, new: 45, duplicates: 15 }]);
        assert_eq!(merged.kinds, whole.kinds);
        assert_eq!(merged.measures.len(), 2);
        for (one, other) in merged.measures.iter().zip(&whole.measures) {
            assert_eq!((one.sum, one.unit), (other.sum, Unit::Bytes));
            assert_eq!(one.histogram, other.histogram);
        }
        let exact: u128 = (1..=60).filter(|n| (n - 1) % 4 != 0).map(|n| n * 25).sum();
        assert_eq!(whole.measures[0].sum, exact);
    }

    use crate::event::Shared;

    const LAB: crate::event::Domain = crate::event::Domain::FIRST_USER;

    const fn field(name: &'static str, ty: FieldType, offset: usize) -> Field {
        Field { name: Shared::Static(name), ty, offset }
    }

    /// A signed duration that is always there, one that may be absent, and sizes; what is called otherwise is not
    /// measured.
    const JITTER: &[Field] = &[
        field("jitter_ns", FieldType::I64, 0),
        field("offset_ns", FieldType::OptI64, 8),
        field("len_bytes", FieldType::U16, 16),
        field("queue_bytes", FieldType::OptU16, 18),
        field("count", FieldType::U32, 20),
    ];
    const LOAD: &[Field] = &[field("load_bytes", FieldType::F64, 0), field("wait_ns", FieldType::U64, 8)];

    const DOMAIN: crate::domain::DomainDef = crate::domain::DomainDef {
        domain: LAB,
        name: Shared::Static("lab"),
        kinds: Shared::Static(&[
            crate::domain::KindDef {
                kind: EventKind::new(LAB, 0),
                name: Shared::Static("jitter"),
                identity: crate::event::Identity::Digest,
                sampled: true,
                fields: Shared::Static(JITTER),
            },
            crate::domain::KindDef {
                kind: EventKind::new(LAB, 1),
                name: Shared::Static("load"),
                identity: crate::event::Identity::Digest,
                sampled: true,
                fields: Shared::Static(LOAD),
            },
        ]),
        states: None,
    };

    /// What a record holds, as it was put there.
    #[derive(Clone, Copy, Debug)]
    enum Made {
        Jitter { jitter: i64, offset: Option<i64>, len: u16, queue: Option<u16> },
        Load { load: f64, wait: u64 },
    }

    impl Made {
        fn record(self, number: u128) -> Record {
            let mut bytes = [0; 24];
            let code = match self {
                Made::Jitter { jitter, offset, len, queue } => {
                    bytes[..8].copy_from_slice(&jitter.to_ne_bytes());
                    bytes[8..16].copy_from_slice(&offset.unwrap_or(i64::MIN).to_ne_bytes());
                    bytes[16..18].copy_from_slice(&len.to_ne_bytes());
                    bytes[18..20].copy_from_slice(&queue.unwrap_or(u16::MAX).to_ne_bytes());
                    bytes[20..].copy_from_slice(&77_u32.to_ne_bytes());
                    0
                }
                Made::Load { load, wait } => {
                    bytes[..8].copy_from_slice(&load.to_ne_bytes());
                    bytes[8..16].copy_from_slice(&wait.to_ne_bytes());
                    1
                }
            };
            let kind = EventKind::new(LAB, code);
            let id = EventId::digest(&number.to_le_bytes()).bits();
            Record::raw(id, crate::event::Identity::Digest, 0, Symbol::NONE, kind, bytemuck::cast(bytes))
        }

        /// Kind, field, unit, and the value: `None` where it is refused.
        fn values(self) -> Vec<(u8, &'static str, Unit, Option<u64>)> {
            use Unit::{Bytes, Nanoseconds};
            let at_least_0 = |value: i64| u64::try_from(value).ok();
            match self {
                Made::Jitter { jitter, offset, len, queue } => {
                    let mut values = vec![(0, "jitter_ns", Nanoseconds, at_least_0(jitter))];
                    values.extend(offset.map(|offset| (0, "offset_ns", Nanoseconds, at_least_0(offset))));
                    values.push((0, "len_bytes", Bytes, Some(len.into())));
                    values.extend(queue.map(|queue| (0, "queue_bytes", Bytes, Some(queue.into()))));
                    values
                }
                Made::Load { wait, .. } => {
                    vec![(1, "load_bytes", Bytes, None), (1, "wait_ns", Nanoseconds, Some(wait))]
                }
            }
        }
    }

    /// By kind and offset: field, unit, values in order, and how many were refused.
    type Expected = Vec<(u8, &'static str, Unit, Vec<u64>, u64)>;

    fn expected(made: &[Made], is_new: impl Fn(usize) -> bool) -> (Vec<KindCount>, Expected) {
        let mut kinds = Vec::new();
        for code in [0, 1] {
            let of_kind = |at: &usize| matches!(made[*at], Made::Jitter { .. }) == (code == 0);
            let (new, duplicates): (Vec<usize>, Vec<usize>) =
                (0..made.len()).filter(of_kind).partition(|at| is_new(*at));
            let (new, duplicates) = (new.len() as u64, duplicates.len() as u64);
            kinds.push(KindCount { kind: EventKind::new(LAB, code), new, duplicates });
        }
        kinds.retain(|count| count.new + count.duplicates > 0);
        let order = ["jitter_ns", "offset_ns", "len_bytes", "queue_bytes", "load_bytes", "wait_ns"];
        let measures = order.into_iter().filter_map(|name| {
            let new = made.iter().enumerate().filter(|(at, _)| is_new(*at));
            let of_field = new.flat_map(|(_, made)| made.values()).filter(|value| value.1 == name);
            let all: Vec<_> = of_field.collect();
            let (code, _, unit, _) = *all.first()?;
            let mut values: Vec<u64> = all.iter().filter_map(|value| value.3).collect();
            values.sort_unstable();
            let refused = (all.len() - values.len()) as u64;
            Some((code, name, unit, values, refused))
        });
        let measures = measures.collect();
        (kinds, measures)
    }

    fn check(report: &MetricsReport, (kinds, measures): &(Vec<KindCount>, Expected), label: &str) {
        assert_eq!(&report.kinds, kinds, "{label}");
        let found: Vec<_> = report
            .measures
            .iter()
            .map(|measure| (measure.kind.code(), &*measure.field.name, measure.unit, measure.refused))
            .collect();
        let wanted = measures.iter().map(|(code, name, unit, _, refused)| (*code, *name, *unit, *refused));
        assert_eq!(found, wanted.collect::<Vec<_>>(), "{label}");
        for (measure, (_, name, _, values, _)) in report.measures.iter().zip(measures) {
            let mut histogram = Histogram::<u64>::new(SIGNIFICANT_DIGITS).unwrap();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            let counts = |histogram: &Histogram<u64>| -> Vec<_> {
                let steps = histogram.iter_recorded();
                steps.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
            };
            assert_eq!(counts(&measure.histogram), counts(&histogram), "{label} {name}");
            assert_eq!(measure.histogram.len(), values.len() as u64, "{label} {name}");
            assert_eq!(measure.sum, values.iter().map(|value| u128::from(*value)).sum(), "{label} {name}");
        }
    }

    /// Every way to share eight records out over two instances, in both orders of merging, and one instance for all.
    #[test]
    fn counts_sums_and_refusals_are_those_of_the_values_however_records_are_shared_out() {
        let jitter = |jitter, offset, queue| Made::Jitter { jitter, offset, len: jitter as u16, queue };
        let mixed = [
            jitter(5, Some(-1), Some(1)),
            jitter(-1, Some(i64::MAX), None),
            jitter(i64::MAX, None, Some(u16::MAX - 1)),
            Made::Load { load: 0.5, wait: u64::MAX },
            jitter(i64::MIN, Some(0), Some(0)),
            Made::Load { load: -0.5, wait: 0 },
            jitter(0, Some(-7), None),
            jitter(5, Some(i64::MIN + 1), Some(1)),
        ];
        let alike = [jitter(-3, Some(-4), None); 8];
        let mut schema = Schema::new();
        schema.register(&DOMAIN).unwrap();
        for (made, duplicates) in [(mixed, 0_u64), (mixed, 0b1001_0010), (alike, 0), (alike, 0xff)] {
            let records: Vec<Record> = (0..).zip(&made).map(|(at, made)| made.record(at)).collect();
            let verdict = |at: u64| {
                if duplicates >> at & 1 == 1 { Verdict::Duplicate { first: None } } else { Verdict::New }
            };
            let verdicts: Vec<Verdict> = (0..8).map(verdict).collect();
            let expected = expected(&made, |at| duplicates >> at as u64 & 1 == 0);
            for share in 0..=255 {
                let part = |selected| {
                    let mut instance = Metrics::new(&schema);
                    instance.observe(&Batch::new(&records, &verdicts, selected)).unwrap();
                    instance.report()
                };
                let mut merged = part(share);
                merged.merge(part(!share));
                check(&merged, &expected, &format!("{share:#b} of {made:?}, duplicates {duplicates:#b}"));
            }
        }
    }
}
