//! A node whose disk has less free than it is told to leave: it starts, reads and deletes, refuses other writes as such, and takes them
//! again once there is enough.

mod support;

use support::node::Single;
use support::{Process, READY, eventually};

/// More than any disk has.
const TOO_MUCH: &str = "1024TiB";

#[test]
fn a_disk_below_its_reserve_refuses_all_but_deletes() {
    let mut single = Single::create();
    single.cli().told(&["set", "k", "1"]);
    single.cli().told(&["set", "other", "1"]);
    eventually("segments are ready", READY, || {
        let status = single.cli().status()?;
        (status["cores"][0]["log_ready_bytes"] == 3 * (8 << 20)).then_some(())
    });
    single.process.stop();
    let mut command = single.command();
    command.args(["--reserve", TOO_MUCH]);
    single.process = Process::start(command);
    let cli = single.cli().within("1s");
    eventually("the node serves", READY, || cli.run(&["status"]).status.success().then_some(()));

    cli.assert_fails(&["set", "k", "2"], 4, "the disk is full");
    cli.assert_fails(&["cas", "k", "1", "2"], 4, "the disk is full");
    assert_eq!(cli.told(&["get", "k"]), "1\n");
    cli.told(&["delete", "other"]);
    let status = cli.json(&["status"]);
    let core = &status["cores"][0];
    assert_eq!(core["disk"], "low", "{status}");
    assert!(core["writes_refused"].as_u64().is_some_and(|refused| refused > 1), "{status}");
    assert_eq!(status["shards"][0]["replicas"][0]["writes"], "deletes", "{status}");
    single.process.stop();

    single.start_again();
    let cli = single.cli();
    cli.told(&["set", "k", "2"]);
    assert_eq!(cli.told(&["list"]), "k\t2\n");
    assert_eq!(cli.json(&["status"])["cores"][0]["disk"], "ample");
    single.process.stop();
}
