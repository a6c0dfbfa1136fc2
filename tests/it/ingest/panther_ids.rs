//! PANTHER's ids come out as PANTHER computed them, and no input, however broken, does harm.
#![cfg(feature = "panther")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these functions are part of tests")]

use crate::support::random::Rng;
use crate::support::skip::skip;
use panther_events::ingest::panther::json::{INT_DIGITS_MAX, parse};
use panther_events::ingest::panther::{
    Counts, Limits, PantherEvent, PantherReader, PantherValue, ParseErrorKind, PythonVersion, Reason, Text,
    content, panther_id,
};
use panther_events::ingest::panther::{write_float, write_repr};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

// The subcommand is a plain function over paths and writers, so it is tested without starting a process.
#[path = "../../../tools/cli/src/panther_id.rs"]
mod panther_id_command;
use panther_id_command::Outcome;

const PYTHON: PythonVersion = PythonVersion::V3_11;

#[test]
fn every_id_in_the_samples_is_reproduced() {
    for name in ["panther-dev.jsonl", "panther-odd.jsonl"] {
        assert_eq!(ids_reproduced(&data(name)), 200, "{name}");
    }
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/panther");
    for (name, lines) in [("dev.jsonl", 3_000), ("odd.jsonl", 400), ("lifecycle.jsonl", 1_342)] {
        let path = shared.join(name);
        if path.exists() {
            assert_eq!(ids_reproduced(&path), lines, "{name}");
        } else {
            skip("data", &format!("{name} is not here"));
        }
    }
}

#[test]
fn data_is_empty_or_braces_or_sorted_strings_without_the_timestamp() {
    let of = |data: &str| content(&event(data), PYTHON);
    assert_eq!(of("{}"), "e:n:i:");
    assert_eq!(of(r#"{"timestamp": 1}"#), "e:n:i:{}");
    assert_eq!(
        of(r#"{"b": [1, "it's", {"x": null}], "\ud800": true, "a": "é\n", "\ue000": 1e16, "timestamp": 0}"#),
        r#"e:n:i:{'a': 'é\n', 'b': '[1, "it\'s", {\'x\': None}]', '\ud800': 'True', '\ue000': '1e+16'}"#
    );
    // As Python's uuid.uuid5(uuid.NAMESPACE_DNS, "e:n:i:") says.
    assert_eq!(panther_id(&event("{}"), PYTHON).to_string(), "c6564250-25be-5113-ae73-4c3a9612e8d6");
}

#[test]
fn the_order_of_keys_in_data_does_not_matter_and_repeated_ones_end_where_python_puts_them() {
    let id = |data: &str| panther_id(&event(data), PYTHON);
    assert_eq!(id(r#"{"a": 1, "b": 2}"#), id(r#"{"b": 2, "a": 1}"#));
    assert_eq!(id(r#"{"a": 1, "b": 2}"#), id(r#"{"b": 2, "a": 0, "timestamp": 3, "a": 1}"#));
    assert_ne!(id(r#"{"a": {"x": 1, "y": 2}}"#), id(r#"{"a": {"y": 2, "x": 1}}"#));
    assert_eq!(id(r#"{"a": {"x": 1, "y": 2}}"#), id(r#"{"a": {"x": 0, "y": 2, "x": 1}}"#));
}

#[test]
fn json_is_accepted_as_python_accepts_it() {
    let long = "9".repeat(INT_DIGITS_MAX);
    let accepted = [
        ("null", "None"),
        (" [ true ,false\t,\r\n{ } ] ", "[True, False, {}]"),
        ("[NaN, Infinity, -Infinity, 1E400, -1e400, 1e-400]", "[nan, inf, -inf, inf, -inf, 0.0]"),
        ("[-0, -0.0, 0e5, 1.50, 1E+2]", "[0, -0.0, 0.0, 1.5, 100.0]"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775809", "-9223372036854775809"),
        (&format!("-{long}"), &format!("-{long}")),
        (r#""\"\\\/\b\f\n\r\t\u0041\uD83e\udD80""#, r#"'"\\/\x08\x0c\n\r\tA🦀'"#),
        (r#""\ud83d\ud83e\udd80\udd80x\ud800\u0041""#, r"'\ud83d🦀\udd80x\ud800A'"),
        ("\"\u{7f}\u{80}\"", r"'\x7f\x80'"),
        (r#"{"b": 1, "a": 2, "b": 3}"#, "{'b': 3, 'a': 2}"),
    ];
    for (json, python) in accepted {
        let mut out = String::new();
        write_repr(&mut out, &parse(json.as_bytes(), &Limits::default()).unwrap(), PYTHON);
        assert_eq!(out, python, "{json}");
    }
}

#[test]
fn json_is_refused_as_python_refuses_it_at_the_byte_at_fault() {
    use ParseErrorKind::*;
    let long = "1".repeat(INT_DIGITS_MAX + 1);
    let too_long = format!("[-{long}]");
    let refused: [(&[u8], usize, ParseErrorKind); 29] = [
        (b"", 0, ExpectedValue),
        (b"  ", 2, ExpectedValue),
        (b"\xef\xbb\xbf1", 0, ByteOrderMark),
        (b"\"a\xff\"", 2, NotUtf8),
        (b"\"\xed\xa0\x80\"", 1, NotUtf8),
        (b"nul", 0, ExpectedValue),
        (b"1 2", 2, TrailingData),
        (b"01", 1, TrailingData),
        (b"1.", 1, TrailingData),
        (b"1e+", 1, TrailingData),
        (b"-", 0, ExpectedValue),
        (b"+1", 0, ExpectedValue),
        (b".5", 0, ExpectedValue),
        (b"-NaN", 0, ExpectedValue),
        (b"[1,]", 3, ExpectedValue),
        (b"[1 2]", 3, ExpectedComma),
        (b"[1", 2, ExpectedComma),
        (b"[1}", 2, ExpectedComma),
        (b"{1: 2}", 1, ExpectedKey),
        (b"{\"a\": 1,}", 8, ExpectedKey),
        (b"{\"a\" 1}", 5, ExpectedColon),
        (b"{\"a\": }", 6, ExpectedValue),
        (b"[\"a]", 1, UnterminatedString),
        (b"\"\\n", 0, UnterminatedString),
        (b"\"a\x1f\"", 2, ControlCharacter(0x1f)),
        (b"\"\\x\"", 1, BadEscape),
        (b"\"\\ud800\\u+123\"", 7, BadUnicodeEscape),
        (b"\"\\u12\"", 1, BadUnicodeEscape),
        (too_long.as_bytes(), 1, IntTooLong(INT_DIGITS_MAX + 1)),
    ];
    for (json, offset, kind) in refused {
        let error = parse(json, &Limits::default()).unwrap_err();
        assert_eq!((error.offset, error.kind), (offset, kind), "{:?}", String::from_utf8_lossy(json));
    }
}

#[test]
fn depth_strings_and_values_are_bounded() {
    let limits = Limits::default();
    let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
    assert!(parse(&nested(200), &limits).is_ok());
    assert_eq!(parse(&nested(201), &limits).unwrap_err().kind, ParseErrorKind::TooDeep(200));
    assert_eq!(parse(&nested(1_000), &limits).unwrap_err().offset, 200);
    assert_eq!(
        parse(&br#"{"a":"#.repeat(1_000_000), &limits).unwrap_err().kind,
        ParseErrorKind::TooDeep(200)
    );
    assert!(parse(&nested(255), &Limits { depth_max: u8::MAX, ..limits }).is_ok());

    let string = |len: usize| [b"[\"", &*vec![b'x'; len], b"\"]"].concat();
    assert!(parse(&string(1 << 20), &limits).is_ok());
    let error = parse(&string((1 << 20) + 1), &limits).unwrap_err();
    assert_eq!((error.offset, error.kind), (1, ParseErrorKind::StringTooLong(1 << 20)));
    assert_eq!(parse(&string(10_000_000), &limits).unwrap_err().kind, ParseErrorKind::StringTooLong(1 << 20));
    let limits = Limits { string_bytes_max: 6, ..limits };
    assert!(parse(br#""\ud800\ud800""#, &limits).is_ok());
    assert!(parse(br#""\ud800\ud800\n""#, &limits).is_err());
    assert!(parse(br#""\u00e9\u00e9\u00e9x""#, &limits).is_err());

    let limits = Limits { values_max: 3, ..limits };
    assert!(parse(b"[1, {\"a\": 2}]", &limits).is_err_and(|e| e.kind == ParseErrorKind::TooManyValues(3)));
    assert!(parse(b"[1, 2]", &limits).is_ok());
}

#[test]
fn a_reader_tells_each_refusal_and_goes_on() {
    let good = line(r#""data": {}"#);
    let input = [
        good.as_bytes(),
        b"\r\n\n \t\r\n",
        b"[]\n{\n",
        line(r#""data": {"\u0041": "#).as_bytes(),
        b"\n",
        &vec![b'x'; 1_001],
        b"\n",
        b"{\"name\": \"\xff\"}\n",
        good.as_bytes(),
    ]
    .concat();
    let path = Path::new("a\x1b[31m.jsonl");
    let mut reader = PantherReader::with_limits(Cursor::new(input), path, 1_000, Limits::default());
    let refused: Vec<String> = reader.by_ref().filter_map(|event| Some(event.err()?.to_string())).collect();
    assert_eq!(
        refused,
        [
            r"a\u{1b}[31m.jsonl:4: byte 0: not an object; write one event a line",
            r"a\u{1b}[31m.jsonl:5: byte 1: not JSON: a key in double quotes should begin here",
            r"a\u{1b}[31m.jsonl:6: byte 118: not JSON: a value should begin here",
            r"a\u{1b}[31m.jsonl:7: byte 1000: a line of more than 1000 bytes; raise the limit or split it",
            r"a\u{1b}[31m.jsonl:8: byte 10: not UTF-8; write the file as UTF-8",
        ]
    );
    assert_eq!(reader.counts(), Counts { lines: 9, events: 2, refused: 5, blank: 2 });
}

#[test]
fn a_line_may_be_exactly_as_long_as_the_limit() {
    let good = line(r#""data": {}"#);
    for (limit, events) in [(good.len(), 2), (good.len() - 1, 0)] {
        let input = Cursor::new(format!("{good}\n{good}"));
        let mut reader = PantherReader::with_limits(input, Path::new("x"), limit, Limits::default());
        assert_eq!(reader.by_ref().filter(Result::is_ok).count(), events);
        assert_eq!(reader.counts().lines, 2);
    }
}

#[test]
fn fields_are_checked_and_messages_are_safe_to_print() {
    let of = |json: &str| PantherEvent::from_json(json.as_bytes(), &Limits::default());
    let refusal = |fields: &str| {
        let error = of(&line(fields)).unwrap_err();
        (error.offset, error.reason.to_string())
    };
    let at = line("").len() - 1;
    assert_eq!(refusal(r#""x": 1"#), (0, "the field \"data\" is missing".into()));
    let found = "the field \"data\" is an array; it has to be an object";
    assert_eq!(refusal(r#""data": []"#), (at + 8, found.into()));
    assert_eq!(refusal(r#""data": {}, "name": null"#).1, "the field \"name\" is null; it has to be a string");
    assert!(matches!(
        of(&line(r#""data": {}, "entity_id": "\udc00""#)).unwrap_err().reason,
        Reason::LoneSurrogate("entity_id")
    ));
    assert_eq!(refusal(r#""data": {}, "id": "\u001b[31m""#).1, r#"the id "\u{1b}[31m" is not a UUID"#);
    let (_, message) = refusal(r#""data": {}, "timestamp": "2026-02-30T00:00:00\n""#);
    assert!(message.starts_with(r#"the timestamp "2026-02-30T00:00:00\u{a}" is not a time"#), "{message}");

    let event =
        of(&line(r#""data": {"a": -1}, "id": "c81d6fd0-a50b-52ae-949e-94fe6d88436a", "new": [1]"#)).unwrap();
    assert_eq!(event.id.unwrap().to_string(), "c81d6fd0-a50b-52ae-949e-94fe6d88436a");
    assert_eq!((&*event.event_type, event.time_ns), ("t", 1_795_473_827_988_657_000));
    assert_eq!(event.data.get("a"), Some(&PantherValue::Int(-1)));
}

#[test]
fn an_error_of_the_input_ends_the_iteration() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let input =
        std::io::BufReader::new(std::io::Read::chain(Cursor::new(line(r#""data": {}"#) + "\n{"), Broken));
    let mut reader = PantherReader::new(input, Path::new("x"));
    assert!(reader.next().unwrap().is_ok());
    assert_eq!(reader.next().unwrap().unwrap_err().to_string(), "x:2: byte 1: cannot be read: broken");
    assert!(reader.next().is_none());
    assert_eq!(reader.counts(), Counts { lines: 2, events: 1, refused: 1, blank: 0 });
}

#[test]
fn the_command_writes_one_line_for_each_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let good = line(r#""data": {}"#);
    let id = "c6564250-25be-5113-ae73-4c3a9612e8d6";
    let run = |input: &str| {
        std::fs::write(&path, input).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = panther_id_command::run(&path, PYTHON, &mut out, &mut err).unwrap();
        (outcome, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    assert_eq!(
        run(&format!("{good}\n\n{good}")),
        (Outcome::Complete, format!("{id}\n\n{id}\n"), String::new())
    );
    let (outcome, out, err) = run(&format!("\nx\n{good}\n\n"));
    assert_eq!((outcome, out), (Outcome::SomeRefused, format!("\n-\n{id}\n\n")));
    assert!(err.contains("events.jsonl:2: byte 0: not JSON"), "{err}");
    let (_, out, err) = run(&"x\n".repeat(50));
    assert_eq!((out.lines().count(), err.lines().count()), (50, 21));
    assert!(err.ends_with("50 of 50 lines were refused; the first 20 are told above\n"), "{err}");
    let absent = directory.path().join("absent");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let outcome = panther_id_command::run(&absent, PYTHON, &mut out, &mut err).unwrap();
    assert_eq!((outcome, out.len()), (Outcome::Unreadable, 0));
}

#[test]
fn random_values_come_back_from_json() {
    let mut random = Rng::seeded();
    for _ in 0..3_000 {
        let value = random_value(&mut random, 0);
        let mut json = String::new();
        write_json(&mut json, &value);
        let found = parse(json.as_bytes(), &Limits::default());
        assert_eq!(found.as_ref(), Ok(&value), "{json}");
    }
}

#[test]
fn broken_lines_are_judged_as_serde_json_judges_them_and_never_panic() {
    let mut random = Rng::seeded();
    let odd = std::fs::read_to_string(data("panther-odd.jsonl")).unwrap();
    let lines: Vec<&str> = odd.lines().collect();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = lines[random.index(lines.len())].as_bytes().to_vec();
        for _ in 0..=random.index(2) {
            mutate(&mut bytes, &mut random);
        }
        let text = String::from_utf8_lossy(&bytes);
        let ours = parse(&bytes, &Limits::default());
        let theirs: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
        match (&ours, &theirs) {
            (Ok(_), Ok(_)) => accepted += 1,
            (Err(_), Err(_)) => refused += 1,
            // What Python accepts and serde_json does not.
            (Ok(_), Err(error)) => {
                let known = ["NaN", "Infinity", "\\ud", "\\uD"].iter().any(|form| text.contains(form))
                    || error.to_string().contains("out of range");
                assert!(known, "{error}: {text}");
            }
            (Err(error), Ok(_)) => panic!("{error}: {text}"),
        }
        if let Err(error) = ours {
            assert!(error.offset <= bytes.len());
        }
    }
    println!("{accepted} accepted and {refused} refused by both");
    assert!(accepted > 1_000 && refused > 1_000);
}

#[test]
fn a_reader_accounts_for_every_line_of_a_broken_file() {
    let mut random = Rng::seeded();
    let whole = std::fs::read(data("panther-odd.jsonl")).unwrap();
    let limits = Limits { depth_max: 3, string_bytes_max: 40, values_max: 12 };
    let mut refused_in_all = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..200 {
            mutate(&mut bytes, &mut random);
        }
        let newlines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lines = newlines + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n'));
        let mut reader = PantherReader::with_limits(Cursor::new(&bytes), Path::new("x\0"), 700, limits);
        let (mut events, mut refused) = (0, 0);
        for event in reader.by_ref() {
            match event {
                Ok(event) => {
                    events += 1;
                    assert_eq!(panther_id(&event, PYTHON).get_version_num(), 5);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().chars().any(char::is_control), "{error}");
                }
            }
        }
        let counts = reader.counts();
        assert_eq!((counts.lines, counts.events, counts.refused), (lines, events, refused));
        assert_eq!(counts.lines, counts.events + counts.refused + counts.blank);
        refused_in_all += refused;
    }
    assert!(refused_in_all > 100);
}

#[test]
fn printable_characters_and_floats_are_those_of_the_python_at_hand() {
    const SCRIPT: &str = "import struct, sys\n\
        print('%d.%d' % sys.version_info[:2])\n\
        print(''.join('01'[chr(c).isprintable()] for c in range(0x110000)))\n\
        for line in sys.stdin: print(repr(struct.unpack('<d', struct.pack('<Q', int(line)))[0]))";
    let mut random = Rng::seeded();
    // Any bits; multiples of a quarter that have ties between shortest forms; powers of two and neighbours.
    let floats: Vec<u64> = (0..20_000)
        .map(|n| match n % 3 {
            0 => random.next(),
            1 => ((1_u64 << 52 | random.next() >> 12) as f64 / 4.0).to_bits(),
            _ => ((random.index(2_046) as u64) << 52).wrapping_add(random.index(3) as u64).wrapping_sub(1),
        })
        .collect();
    let python =
        Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        return skip("python", "python3 is not here");
    };
    let input: String = floats.iter().map(|bits| format!("{bits}\n")).collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
    writer.join().unwrap();

    let mut lines = output.lines();
    let (version, printable) = (lines.next().unwrap(), lines.next().unwrap());
    match version.replace("3.9", "3.10").parse::<PythonVersion>() {
        Ok(version) => {
            for (point, expected) in (0..).zip(printable.bytes()) {
                assert_eq!(version.is_printable(point), expected == b'1', "U+{point:04X}");
            }
        }
        Err(_) => skip("python", &format!("the characters of Python {version} are not known")),
    }
    for (bits, expected) in floats.iter().zip(lines.by_ref()) {
        let mut found = String::new();
        write_float(&mut found, f64::from_bits(*bits));
        assert_eq!(found, expected, "{bits:#x}");
    }
    assert!(lines.next().is_none());
}

fn ids_reproduced(path: &Path) -> usize {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let events = PantherReader::new(file, path).map(|event| event.unwrap());
    events.inspect(|event| assert_eq!(Some(panther_id(event, PYTHON)), event.id, "{event:?}")).count()
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Returns the line of an event with more fields after the usual ones.
fn line(fields: &str) -> String {
    let usual =
        r#""name":"n","type":"t","entity_type":"e","entity_id":"i","timestamp":"2026-11-23T22:43:47.988657""#;
    format!("{{{usual}, {fields}}}")
}

fn event(data: &str) -> PantherEvent {
    PantherEvent::from_json(line(&format!("\"data\": {data}")).as_bytes(), &Limits::default()).unwrap()
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    const ODD: &[u8] = b"{}[]\",:\\u0dD89aeE+-.NI \t\r\n\0\x1f\x7f\x80\xed\xff";
    let at = random.index(bytes.len());
    let odd = ODD[random.index(ODD.len())];
    match random.index(5) {
        0 => bytes[at] = odd,
        1 => bytes.insert(at, odd),
        2 => drop(bytes.remove(at)),
        3 => bytes[at] = random.next() as u8,
        _ => {
            let end = (at + random.index(20)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = random.index(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

fn random_value(random: &mut Rng, depth: usize) -> PantherValue {
    match random.index(if depth < 4 { 8 } else { 6 }) {
        0 => PantherValue::Null,
        1 => PantherValue::Bool(random.index(2) == 0),
        2 => PantherValue::Int(random.next() as i64 >> random.index(64)),
        3 => PantherValue::BigInt(format!("-{}{}", u64::MAX, random.next()).into()),
        4 => {
            let float = f64::from_bits(random.next());
            PantherValue::Float(if float.is_finite() { float } else { f64::NEG_INFINITY })
        }
        5 => PantherValue::Text(random_text(random)),
        6 => PantherValue::List((0..random.index(4)).map(|_| random_value(random, depth + 1)).collect()),
        _ => {
            let members =
                (0..random.index(20)).map(|_| (random_text(random), random_value(random, depth + 2)));
            PantherValue::Object(panther_events::ingest::panther::Object::from_members(members.collect()))
        }
    }
}

fn random_text(random: &mut Rng) -> Text {
    let point = |random: &mut Rng| match random.index(4) {
        0 => random.index(0x80) as u32,
        // A pair would be one character in JSON, so only low surrogates.
        1 => 0xdc00 + random.index(0x400) as u32,
        2 => random.index(0xd800) as u32,
        _ => 0x1_0000 + random.index(0x10_0000) as u32,
    };
    let points: Vec<u32> = (0..random.index(5)).map(|_| point(random)).collect();
    Text::from_code_points(&points)
}

/// Writes JSON with every character of a string escaped.
fn write_json(out: &mut String, value: &PantherValue) {
    let write_text = |out: &mut String, text: &Text| {
        out.push('"');
        for point in text.code_points() {
            match char::from_u32(point) {
                Some(c) => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| *out += &format!("\\u{unit:04x}"))
                }
                None => *out += &format!("\\u{point:04x}"),
            }
        }
        out.push('"');
    };
    match value {
        PantherValue::Null => out.push_str("null"),
        PantherValue::Bool(bool) => *out += &bool.to_string(),
        PantherValue::Int(int) => *out += &int.to_string(),
        PantherValue::BigInt(digits) => out.push_str(digits),
        PantherValue::Float(f64::NEG_INFINITY) => out.push_str("-Infinity"),
        PantherValue::Float(float) => *out += &format!("{float:e}"),
        PantherValue::Text(text) => write_text(out, text),
        PantherValue::List(values) => {
            for (index, value) in values.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                write_json(out, value);
            }
            out.push_str(if values.is_empty() { "[]" } else { "]" });
        }
        PantherValue::Object(object) => {
            out.push('{');
            for (index, (key, value)) in object.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_text(out, key);
                out.push(':');
                write_json(out, value);
            }
            out.push('}');
        }
    }
}
