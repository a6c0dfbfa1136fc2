//! Reading a journal, and saying what is wrong with it.

pub(super) mod damage;
pub(super) mod defined;
mod definitions;
pub(super) mod error;
pub(super) mod filter;
pub(super) mod lacking;
pub(super) mod plan;
pub(super) mod reader;
pub(super) mod recovery;
mod recovery_policy;
pub(super) mod scan;
pub(super) mod sources;
pub(super) mod verify;
