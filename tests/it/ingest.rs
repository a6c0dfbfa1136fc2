//! Readers of captures and of PANTHER's events.

mod capture;
mod capture_facts;
mod damage;
mod digest;
mod packet;
mod panther_feed;
mod panther_ids;
mod panther_records;
mod reference;
