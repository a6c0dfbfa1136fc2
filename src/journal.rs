//! The journal: records on disk.

pub mod block;
pub mod check;
pub mod damage;
mod delivery;
pub mod durability;
pub mod filter;
pub mod format;
mod lock;
pub mod options;
mod plan;
pub mod reader;
pub mod recovery;
mod scan;
mod segment;
pub mod storage;
pub mod writer;

pub use block::Definition;
pub use check::{RepairError, Report, repair, verify};
pub use damage::{Damage, Finding, SourceGap};
pub use durability::{Account, Durability, Mark, Marks};
pub use filter::Filter;
pub use format::{Position, RunId};
pub use lock::LOCK_NAME;
pub use options::{DefineError, OpenError, Options, Select};
pub use reader::{JournalReader, ReadBlock, ReadError, ReadOptions, Status};
pub use writer::{Appended, CloseError, JournalWriter, Trouble};
