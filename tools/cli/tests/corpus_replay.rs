//! Promise: what the fuzz target of the command's options began with, and whatever it found, is taken or refused without
//! a panic, and means what it says.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod filters_support;

use std::path::Path;

#[test]
fn the_options_take_their_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/filters");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{}: no corpus", folder.display());
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(file).unwrap();
        for len in 0..=bytes.len() {
            filters_support::options(&bytes[..len]);
        }
    }
}
