//! What `tests/corpus_support` says of `schema`, on any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/corpus_support/mod.rs"]
mod corpus_support;

fuzz_target!(|bytes: &[u8]| corpus_support::schema(bytes));
