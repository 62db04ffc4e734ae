//! Golden scripts: what a machine does, command by command, in full.
//!
//! A script is a file in `scripts/<machine>/`: its intent as comments, commands, a line `---`, then the whole visible
//! trace. `UPDATE=1 cargo test -p margate-engine golden` writes the traces anew; without it a difference fails.
//!
//! Not here, on purpose: random runs of whole clusters (the simulator); sockets and files (the binary's tests).

mod bootstrap;
mod core;
mod disk;
mod generations;
mod log;
mod runner;
mod show;

#[test]
fn golden_bootstrap() {
    runner::check("bootstrap", || Box::new(bootstrap::Machine::new()));
}

#[test]
fn golden_core() {
    runner::check("core", || Box::new(core::Machine::new()));
}

#[test]
fn golden_generations() {
    runner::check("generations", || Box::new(generations::Machine::new()));
}

#[test]
fn golden_log() {
    runner::check("log", || Box::new(log::Machine::new()));
}
