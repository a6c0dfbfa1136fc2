//! Files of results, read back by other readers or computed anew.

mod csv;
mod dir;
mod event_file;
mod hlog;
mod jsonl;
mod openmetrics;
mod records;
mod result;
mod values;
