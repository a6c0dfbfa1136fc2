//! The command's options with any text: what is taken means what it says.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tools/cli/tests/filters_support/mod.rs"]
mod filters_support;

fuzz_target!(|bytes: &[u8]| filters_support::options(bytes));
