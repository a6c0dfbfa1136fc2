//! The journal and the flight recorder: what is written is read back, or named as missing.

mod bounds;
mod compress;
mod contexts;
mod crash;
mod damage;
mod faults;
mod foreign;
mod forgetting;
mod format;
mod log;
mod operations;
mod recorder;
mod removed;
mod replay;
mod resume;
mod roundtrip;
mod slow;
mod table;
