//! `paths.csv` reads back, whatever the names hold.
#![cfg(feature = "csv")]

use panther_events::export::csv::{DelayCells, PATH_COLUMNS, PathRow, write_paths};

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

#[test]
fn names_of_any_text_come_back_unchanged() {
    let names = ["a,b", "say \"hi\"", "two\nlines", "\r", "=1+1", " padded ", "", "ü🦀", "a;b\tc"];
    let rows = names.map(|name| PathRow { from: name, to: name, ..ROW });
    let mut out = Vec::new();
    write_paths(&mut out, rows).unwrap();
    let mut reader = csv::Reader::from_reader(out.as_slice());
    let read: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(read.len(), names.len());
    for (record, name) in read.iter().zip(names) {
        assert_eq!((&record[0], &record[1], &record[2]), (name, name, "1201"));
    }
}
