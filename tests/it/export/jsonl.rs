//! Every event becomes one line of valid JSON that says what the record says.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::dedup::{Sighting, Verdict};
use panther_events::event::{Domain, EventId, EventKind, Field, FieldType, Identity, Payload};
use panther_events::event::{Origin, Record, Symbol, Symbols};
use panther_events::export::jsonl::EventLines;
use serde_json::{Value, json};

panther_events::payload! {
    struct Sample [EventKind::new(Domain::FIRST_USER, 5)] {
        float: f64,
        signed: i64,
        name: Symbol,
    }
}

panther_events::payload! {
    struct Named [EventKind::new(Domain::FIRST_USER, 6)] {
        name: Symbol,
    }
}

panther_events::payload! {
    struct Sizes [EventKind::new(Domain::PACKET, 1)] {
        wide: u64,
        word: u32,
        half: u16,
        a: u8,
        b: u8,
    }
}

fn line(
    record: &Record,
    verdict: Option<Verdict>,
    kind: Option<(&str, &[Field])>,
    symbols: &Symbols,
) -> String {
    let mut lines = EventLines::new(Vec::new(), |asked| kind.filter(|_| asked == record.kind()));
    lines.write(record, verdict, symbols).unwrap();
    assert_eq!(lines.written(), 1);
    String::from_utf8(lines.into_inner()).unwrap()
}

#[test]
fn a_line_has_its_members_in_order() {
    let symbols = Symbols::new();
    let sizes = Sizes { wide: u64::MAX, word: 70_000, half: 300, a: 1, b: 2 };
    let entity = symbols.intern("client").unwrap();
    let id = EventId::from_bits(0x0123_4567_89ab_8def_8123_4567_89ab_cdef).unwrap();
    let record = Record::with_digest(id, 1_700_000_000_123_456_789, entity, &sizes).numbered(3, 7);
    let first = Sighting { time_ns: 1_700_000_000_000_000_001, source: 65_535 };
    let duplicate = Some(Verdict::Duplicate { first: Some(first) });
    let text = line(&record, duplicate, Some(("packet.seen", Sizes::FIELDS)), &symbols);
    let expected = concat!(
        r#"{"id":"01234567-89ab-8def-8123-456789abcdef","time_ns":1700000000123456789,"entity":"client","#,
        r#""kind":"packet.seen","source":3,"seq":7,"verdict":"duplicate","first_time_ns":1700000000000000001,"#,
        r#""first_source":65535,"payload":{"wide":18446744073709551615,"word":70000,"half":300,"a":1,"b":2}}"#,
        "\n"
    );
    assert_eq!(text, expected);

    let text = line(&record, Some(Verdict::New), Some(("packet.seen", &[])), &symbols);
    assert!(text.contains(r#""seq":7,"verdict":"new","payload":{}}"#), "{text}");
    let text = line(&record, Some(Verdict::Duplicate { first: None }), Some(("packet.seen", &[])), &symbols);
    assert!(text.contains(r#""verdict":"duplicate","payload":{}}"#), "{text}");
}

#[test]
fn nothing_that_steers_a_terminal_is_written() {
    let harmful = ('\u{7f}'..='\u{9f}').chain(['\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}']);
    let harmful = harmful.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
    let name: String = harmful.flat_map(|c| ['é', '\\', c, '\n', '"', '→']).collect();
    let symbols = Symbols::new();
    let entity = symbols.intern(&name).unwrap();
    let record = Record::new(Identity::Occurrence, 1, entity, &Named { name: entity });
    let text = line(&record, None, Some(("lab.noted", Named::FIELDS)), &symbols);
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.trim_end_matches('\n').contains(steers), "{text:?}");
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&read["entity"], &read["payload"]["name"]), (&json!(name), &json!(name)));
    assert!(text.contains(r##"é\\\u009b\n\"→"##), "{text}");
}

#[test]
fn what_no_table_knows_is_still_written() {
    let symbols = Symbols::new();
    let entity = Symbol::from_bits(0x00ab_cdef_0123_4567);
    let sample = Sample { float: f64::NAN, signed: i64::MIN, name: Symbol::NONE };
    let record = Record::new(Identity::Content, 0, entity, &sample);
    let value: Value = serde_json::from_str(&line(&record, None, None, &symbols)).unwrap();
    assert_eq!(value["entity"], "#00abcdef01234567");
    assert_eq!(value["kind"], "#16.5");
    let hex: String = record.payload_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(value["payload"], hex);

    // A description that does not fit the payload must not make the line invalid.
    let wrong = [Field { name: "far".into(), ty: FieldType::U64, offset: 20 }];
    let value: Value = serde_json::from_str(&line(&record, None, Some(("x", &wrong)), &symbols)).unwrap();
    assert_eq!(value["payload"], json!({ "far": null }));
}

#[test]
fn floats_that_json_cannot_hold_are_null_and_counted() {
    let symbols = Symbols::new();
    let mut lines = EventLines::new(Vec::new(), |_| Some(("sample", Sample::FIELDS)));
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0] {
        let sample = Sample { float, signed: 0, name: Symbol::NONE };
        let record = Record::new(Identity::Content, 0, Symbol::NONE, &sample);
        lines.write(&record, None, &symbols).unwrap();
    }
    assert_eq!((lines.non_finite(), lines.written()), (3, 4));
    let text = String::from_utf8(lines.into_inner()).unwrap();
    assert_eq!(text.matches(r#""payload":{"float":null,"signed":0,"name":null}"#).count(), 3);
    assert_eq!(text.matches(r#""payload":{"float":1.0,"signed":0,"name":null}"#).count(), 1);
}

/// Names are kept from line to line, many in one place: each line must still have its own.
#[test]
fn names_that_come_again_are_not_mixed_up() {
    let symbols = Symbols::new();
    let mut lines = EventLines::new(Vec::new(), |_| Some(("sample", Sample::FIELDS)));
    let name =
        |n: usize| format!("{}{}\"{n}", "x".repeat(n % 80), if n.is_multiple_of(3) { "" } else { "ü" });
    let order: Vec<_> = (0..12_000).map(|n| n * 7919 % 3_000).collect();
    for n in &order {
        // Every fifth name is not in the table until its second half comes.
        let late = n % 5 == 0 && symbols.len() < 2_400;
        let entity = if late { Symbol::of(&name(*n)) } else { symbols.intern(&name(*n)).unwrap() };
        let sample = Sample { float: 0.0, signed: i64::from(late), name: entity };
        lines.write(&Record::new(Identity::Content, 0, entity, &sample), None, &symbols).unwrap();
    }
    let text = String::from_utf8(lines.into_inner()).unwrap();
    let mut unknown = 0;
    for (line, n) in text.lines().zip(&order) {
        let read: Value = serde_json::from_str(line).unwrap();
        let late = read["payload"]["signed"] == 1;
        let expected = if late && read["entity"] == Symbol::of(&name(*n)).to_string() {
            unknown += 1;
            Symbol::of(&name(*n)).to_string()
        } else {
            name(*n)
        };
        assert_eq!(read["entity"], expected);
        assert_eq!(read["payload"]["name"], expected);
        assert!(late || read["entity"] == name(*n));
    }
    assert!(unknown > 100 && unknown < 2_000, "{unknown}");
}

/// Against serde_json as the oracle: names of any characters, floats of any bits.
#[test]
fn random_events_parse_back_to_what_was_written() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = SplitMix(seed);
    for _ in 0..5_000 {
        let symbols = Symbols::new();
        let (entity, kind, name) = (random.text(), random.text(), random.text());
        let sample = Sample {
            float: f64::from_bits(random.next()),
            signed: random.next() as i64,
            name: symbols.intern(&name).unwrap(),
        };
        let entity_symbol = symbols.intern(&entity).unwrap();
        let (time_ns, source, seq) = (random.next(), random.next() as u16, random.next() as u32);
        let record = Record::new(Identity::Occurrence, time_ns, entity_symbol, &sample).numbered(source, seq);
        let origin = Origin::from_bits(u128::from(random.next()));
        // One that no pipeline has seen has no id.
        let record = if seq % 4 == 0 { record } else { record.identified(origin) };
        let text = line(&record, Some(Verdict::New), Some((&kind, Sample::FIELDS)), &symbols);
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text:?}");
        let read: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let written = json!({
            "id": record.id().map(|id| id.to_string()),
            "time_ns": time_ns,
            "entity": entity,
            "kind": kind,
            "source": source,
            "seq": seq,
            "verdict": "new",
            "payload": { "float": read["payload"]["float"], "signed": sample.signed, "name": name },
        });
        assert_eq!(read, written);
        // serde_json's own parser of floats may be off by one unit; the digits are what counts.
        if sample.float.is_finite() {
            let digits = text.split(r#""float":"#).nth(1).unwrap().split(',').next().unwrap();
            assert_eq!(digits.parse::<f64>().unwrap().to_bits(), sample.float.to_bits(), "{digits}");
        } else {
            assert_eq!(read["payload"]["float"], Value::Null);
        }
    }
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A name that leans towards what needs care: controls, quotes, separators, characters beyond the BMP.
    fn text(&mut self) -> String {
        let len = self.next() % 12;
        (0..len)
            .map(|_| match self.next() % 6 {
                0 => char::from((self.next() % 0x20) as u8),
                1 => ['"', '\\', '/', '\u{7f}', '\u{2028}', '\u{feff}'][self.next() as usize % 6],
                2 => char::from_u32(0x1_0000 + (self.next() % 0x10_0000) as u32).unwrap(),
                3 => char::from_u32((self.next() % 0xd800) as u32).unwrap(),
                _ => char::from(b'a' + (self.next() % 26) as u8),
            })
            .collect()
    }
}
