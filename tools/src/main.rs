//! `margate`: the one binary users run.
//!
//! One command's way: [`args`] declares it, [`cmd::run`] carries it out, [`error::Failure`] says why it
//! failed and [`exit`] with which code. Results go through [`output`], talk to standard error.
//!
//! A running node is looked at over HTTP ([`admin`]).
//!
//! Not here, on purpose: routing and retries (`margate_client`), everything a node does
//! (`margate_engine`), load and comparisons (`margate-perf`).

mod admin;
mod args;
mod bounds;
mod cmd;
mod config;
mod error;
mod exit;
mod key;
mod listen;
mod log;
mod output;
mod signals;
mod suggest;
mod units;

use std::process::ExitCode;

/// Decision 31.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cmd::run(args::Args::read()).into()
}
