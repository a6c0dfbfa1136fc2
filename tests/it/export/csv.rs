//! `paths.csv` and `states.csv` read back, whatever the names hold, and no cell of theirs does anything.
#![cfg(feature = "csv")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::skip::skip;
use panther_events::export::csv::{
    DelayCells, PATH_COLUMNS, PathRow, STATE_COLUMNS, StateRow, write_paths, write_states,
};

const ROW: PathRow<'_> = PathRow {
    from: "client",
    to: "server",
    sent: 1201,
    lost: 32,
    beyond_horizon: 3,
    duplicated: 9,
    reordered: 500,
    delay_count: 1169,
    delay: Some(DelayCells {
        min_ns: 1,
        p50_ns: 2,
        p90_ns: 3,
        p99_ns: 4,
        p999_ns: 5,
        max_ns: u64::MAX,
        mean_ns: 6,
    }),
};

#[test]
fn rows_stand_under_the_columns_they_belong_to() {
    let mut out = Vec::new();
    let silent = PathRow { from: "b", to: "a", delay_count: 0, delay: None, ..ROW };
    write_paths(&mut out, [ROW, silent]).unwrap();
    let expected = "from,to,sent,lost,duplicated,reordered,delay_count,delay_min_ns,delay_p50_ns,delay_p90_ns,\
        delay_p99_ns,delay_p999_ns,delay_max_ns,delay_mean_ns,beyond_horizon\n\
        client,server,1201,32,9,500,1169,1,2,3,4,5,18446744073709551615,6,3\n\
        b,a,1201,32,9,500,0,,,,,,,,3\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(PATH_COLUMNS.join(","), expected.lines().next().unwrap());
}

/// Takes back what makes a cell harmless.
fn name_of(cell: &str) -> String {
    let mut rest = cell.strip_prefix('\'').unwrap_or(cell);
    let mut name = String::new();
    while let Some((before, escaped)) = rest.split_once("\\u{") {
        let (code, behind) = escaped.split_once('}').unwrap();
        name.push_str(before);
        name.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        rest = behind;
    }
    name + rest
}

const NAMES: [&str; 24] = [
    "a,b",
    "say \"hi\"",
    "two\nlines",
    "\r",
    "\t=1",
    "=1+1",
    "=HYPERLINK(\"http://x\",\"y\")",
    "+49",
    "-1",
    "-server",
    "@SUM(A1)",
    "\u{ff1d}1",
    "'quoted",
    "'=1",
    "''",
    " padded ",
    "",
    "ü🦀",
    "a;b\tc",
    "\0\u{1b}[2J\u{7f}\u{9b}31m",
    "\u{202e}cba",
    "C:\\users\\u",
    "\\u{1b}",
    "\\\\u{5c}u{",
];

#[test]
fn names_come_back_and_none_is_a_formula_or_steers_a_terminal() {
    let mut out = Vec::new();
    write_paths(&mut out, NAMES.map(|name| PathRow { from: name, to: name, ..ROW })).unwrap();
    let mut states = Vec::new();
    write_states(&mut states, NAMES.map(state_row)).unwrap();
    for (bytes, text_columns) in [(out, &[0, 1][..]), (states, &[0, 1, 2, 4, 5, 6])] {
        assert!(bytes.iter().all(|byte| *byte == b'\n' || (*byte >= b' ' && *byte != 0x7f)));
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let read: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(read.len(), NAMES.len());
        for (record, name) in read.iter().zip(NAMES) {
            for column in text_columns {
                let cell = &record[*column];
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\u{ff1d}']), "{cell:?}");
                assert!(!cell.contains(panther_events::event::is_harmful), "{cell:?}");
                assert_eq!(name_of(cell), name, "{cell:?}");
            }
        }
    }
}

fn state_row(name: &str) -> StateRow<'_> {
    let (experiment, test, step) = (name, name, name);
    StateRow { entity: name, domain: name, state: name, since_ns: 7, experiment, test, step }
}

/// Python's reader, which spreadsheets and data frames resemble.
#[test]
fn python_reads_the_same_cells() {
    const SCRIPT: &str = "import csv, json, sys\n\
        rows = list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))\n\
        print(json.dumps(rows))";
    let python = std::env::var("PANTHER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let file = tempfile::NamedTempFile::new().unwrap();
    write_states(&mut file.as_file(), NAMES.map(state_row)).unwrap();
    let Ok(output) = std::process::Command::new(python).args(["-c", SCRIPT]).arg(file.path()).output() else {
        return skip("python", "python3 is not here");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[0], STATE_COLUMNS);
    assert_eq!(rows.len(), NAMES.len() + 1);
    for (row, name) in rows[1..].iter().zip(NAMES) {
        assert_eq!((name_of(&row[0]), &*row[3], name_of(&row[6])), (name.to_owned(), "7", name.to_owned()));
        assert!(!row[0].starts_with(['=', '+', '-', '@', '\t', '\r']), "{row:?}");
    }
}
