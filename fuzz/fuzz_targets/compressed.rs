//! One compressed segment with any bytes: nothing panics, and what is read is consistent.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/corpus_support/mod.rs"]
mod corpus_support;

fuzz_target!(|bytes: &[u8]| corpus_support::compressed(bytes));
