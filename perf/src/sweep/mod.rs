//! Everything that measures, part by part, and one page about it.
//!
//! ```text
//!  parts ──► this program as a child, --json ──► lines ──► state.json ──► report.html
//!            one command after the other         as they are             tables, plots, shares of limits
//! ```
//! Each part is a few command lines of this same program; its lines are kept as they are printed, so that there is one way
//! of measuring and the page shows what a reader of a terminal would have seen. `state` is what is finished: an interrupted
//! sweep goes on behind it, with the same build and size only. The first part measures what the disk and the loopback do
//! without us; `limit` says which of that bounds what, and `headline` which share of it was reached.
//!
//! Not here, on purpose: measuring, and starting children (`commands/sweep.rs`).

pub(crate) mod arguments;
pub(crate) mod headline;
pub(crate) mod limit;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod page;
pub(crate) mod parts;
pub(crate) mod state;
