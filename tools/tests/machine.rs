//! Machines that cannot run a node: what is said, with which code, and that nothing was touched. `margate check` says it before
//! a node is started.

mod support;

use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;
use support::cli::{Cli, assert_failed, stderr, stdout};
use support::node::{Single, node};
use support::{Process, READY, dev, eventually, free_address, margate, ready, scratch};

/// The node must end with code 1 and this message, having made no data directory.
#[track_caller]
fn assert_refused(mut command: Command, data: &Path, message: &str) {
    command.arg("--bootstrap");
    Process::start(command).expect_failure(1, message);
    assert!(!data.exists(), "{message:?} came after the data directory was made");
}

/// The command with a lower limit.
fn limited(mut command: Command, resource: Resource, limit: u64) -> Command {
    let lower = move || {
        Ok(setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            },
        )?)
    };
    // SAFETY: between fork and exec the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(lower) };
    command
}

/// The command in a sandbox where io_uring_setup fails with this error.
fn without_io_uring(mut command: Command, errno: i32) -> Command {
    let filter = io_uring_filter(errno);
    // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks; it owns the
    // filter, which the kernel copies.
    unsafe { command.pre_exec(move || forbid(&filter)) };
    command
}

/// Loads the number of the system call; if it is io_uring_setup fails it, else allows it.
fn io_uring_filter(errno: i32) -> [libc::sock_filter; 4] {
    let code = |code: u32| u16::try_from(code).expect("codes have 16 bits");
    let statement = |operation, k| libc::sock_filter {
        code: code(operation),
        jt: 0,
        jf: 0,
        k,
    };
    let number = u32::try_from(libc::SYS_io_uring_setup).expect("a small number");
    let failed = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).expect("a small number");
    [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
        },
        statement(libc::BPF_RET | libc::BPF_K, failed),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ]
}

fn forbid(filter: &[libc::sock_filter; 4]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: both calls change only this process; the program and its filter outlive the second, which reads them.
    let forbidden = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if forbidden { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn a_machine_that_lacks_something_is_told_what() {
    let scratch = scratch();
    let (data, address) = (scratch.path().join("data"), free_address());
    let command = || node(&data, 1, &[(1, &address)]);
    let locked = limited(command(), Resource::Memlock, 64 << 10);
    assert_refused(
        locked,
        &data,
        "the limit of locked memory is 65536 bytes and a core needs 524288; raise it (ulimit -l",
    );
    let files = limited(command(), Resource::Nofile, 64);
    assert_refused(
        files,
        &data,
        "the limit of open files is 64 and 1 cores need 320; raise it (ulimit -n",
    );
    // What a container's filter says, and what a kernel without it says.
    let forbidden = without_io_uring(command(), libc::EPERM);
    assert_refused(forbidden, &data, "io_uring is forbidden: ");
    let missing = without_io_uring(command(), libc::ENOSYS);
    assert_refused(
        missing,
        &data,
        "this kernel has no io_uring or an old one (error 38); Margate needs Linux 5.11",
    );
    // What was lacking is there again, and the same command works.
    let mut single = Single::create_at(scratch, address);
    single.cli().told(&["set", "a", "1"]);
    single.process.stop();
}

/// `margate check` on this directory.
fn check(data: &Path) -> Command {
    let mut command = margate();
    command.arg("check").arg("--data").arg(data).args(["-o", "json"]);
    command
}

/// The rows of a check that must end with this code.
#[track_caller]
fn rows(mut command: Command, code: i32) -> Vec<Value> {
    let output = command.output().expect("the binary runs");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{}{said}", stdout(&output));
    assert_eq!(code == 7, said.contains("checks failed: a node does not start here"), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["fit"], code == 0);
    document["rows"].as_array().expect("a list").clone()
}

/// The row of an item has this verdict, and says how to mend it if it is no pass.
#[track_caller]
fn assert_row(rows: &[Value], item: &str, verdict: &str, found: &str) {
    let row = rows.iter().find(|row| row["item"] == item).expect("every item has a row");
    assert_eq!(row["verdict"], verdict, "{row}");
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    assert!(text("found").contains(found) && !text("why").is_empty(), "{row}");
    assert_eq!(text("mend").is_empty(), verdict == "pass", "{row}");
}

#[test]
fn a_fit_machine_passes_its_check() {
    let data = scratch();
    let all = rows(check(data.path()), 0);
    let items: Vec<&str> = all.iter().filter_map(|row| row["item"].as_str()).collect();
    let expected = [
        "io_uring",
        "locked memory",
        "open files",
        "cpus",
        "cpu governor",
        "stolen time",
        "transparent huge pages",
        "clock source",
        "file system",
        "direct i/o",
        "i/o scheduler",
        "sync latency",
        "free space",
    ];
    assert_eq!(items, expected);
    assert_row(&all, "io_uring", "pass", "a ring was made");
    assert_row(&all, "direct i/o", "pass", "taken, aligned to ");
    let latency = all.iter().find(|row| row["item"] == "sync latency").expect("a row");
    assert!(
        latency["found"]
            .as_str()
            .is_some_and(|found| found.contains(" of 200 durable writes of 4 KiB")),
        "{latency}"
    );
    assert_eq!(
        std::fs::read_dir(data.path()).expect("a folder").count(),
        0,
        "the trial left something"
    );
    let text = margate()
        .args(["check", "--data"])
        .arg(data.path())
        .output()
        .expect("the binary runs");
    let text = stdout(&text);
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), expected.len(), "{text}");
}

#[test]
fn a_check_names_what_is_lacking_before_a_node_does() {
    let data = scratch();
    let failed = |command, item, found| assert_row(&rows(command, 7), item, "fail", found);
    failed(
        without_io_uring(check(data.path()), libc::ENOSYS),
        "io_uring",
        "has none or an old one (error 38)",
    );
    failed(without_io_uring(check(data.path()), libc::EPERM), "io_uring", "");
    let locked = limited(check(data.path()), Resource::Memlock, 64 << 10);
    failed(locked, "locked memory", "the limit of locked memory is 65536 bytes");
    failed(
        limited(check(data.path()), Resource::Nofile, 64),
        "open files",
        "the limit of open files is 64",
    );
    let scant = rows(limited(check(data.path()), Resource::Memlock, 1 << 20), 0);
    assert_row(&scant, "locked memory", "warn", "at most 1.0 MiB");
    let nowhere = margate()
        .args(["check", "--data", "/nowhere/at/all"])
        .output()
        .expect("the binary runs");
    assert_failed(&nowhere, 2, "cannot look at /nowhere/at/all: No such file or directory");
}

/// A file system in memory: Linux mounts one for shared memory. Where it does not, there is nothing to look at.
fn memory() -> Option<&'static Path> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux lists its mounts");
    let mounted = mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq(["/dev/shm", "tmpfs"]));
    mounted.then(|| Path::new("/dev/shm"))
}

#[test]
fn a_file_system_in_memory_fails_its_check() {
    let Some(memory) = memory() else { return };
    let all = rows(check(memory), 7);
    assert_row(&all, "file system", "fail", "tmpfs: it is gone when the machine stops");
}

#[test]
fn a_node_in_memory_starts_only_if_its_data_may_be_lost() {
    let Some(memory) = memory() else { return };
    let scratch = tempfile::tempdir_in(memory).expect("a folder in memory");
    let (data, address) = (scratch.path().join("data"), free_address());
    let mut refused = Process::start(node(&data, 1, &[(1, &address)]));
    refused.expect_failure(1, &format!("{} is on tmpfs, which ", data.display()));
    assert!(!data.exists(), "the refusal came after the data directory was made");
    // Before Linux 6.6 there is no way at all.
    if refused.talk().contains("takes no direct i/o") {
        return;
    }
    refused.expect_talk("or pass --volatile");
    let mut command = node(&data, 1, &[(1, &address)]);
    command.args(["--volatile", "--bootstrap"]);
    let mut volatile = Process::start(command);
    volatile.expect_talk("VOLATILE: every write is lost when this machine stops");
    let cli = Cli::at(&address).within("1s");
    eventually("the node serves", READY, || {
        cli.run(&["set", "a", "1"]).status.success().then_some(())
    });
    volatile.stop();
}

#[test]
fn dev_passes_volatile_on() {
    let Some(memory) = memory() else { return };
    let data = tempfile::tempdir_in(memory).expect("a folder in memory");
    let flags = ["--nodes", "1", "--port-base", "auto"];
    let mut refused = Process::start(dev(data.path(), &flags));
    refused.expect_failure(1, "all nodes have ended; the messages above say why");
    refused.expect_talk("is on tmpfs, which ");
    if refused.talk().contains("takes no direct i/o") {
        return;
    }
    let (mut volatile, _) = ready(data.path(), &[flags.as_slice(), &["--volatile"]].concat());
    volatile.expect_talk("VOLATILE: every write is lost when this machine stops");
    volatile.stop();
}

#[test]
fn dev_passes_on_what_its_nodes_lack() {
    let data = scratch();
    let command = limited(dev(data.path(), &["--port-base", "auto"]), Resource::Memlock, 64 << 10);
    let mut deployment = Process::start(command);
    deployment.expect_failure(1, "all nodes have ended; the messages above say why");
    deployment.expect_talk("the limit of locked memory is 65536 bytes");
    deployment.expect_talk("node 3 ended: exit status: 1");
}

#[test]
fn ports_and_directories_in_use_are_left_alone() {
    let mut single = Single::create();
    single.cli().told(&["set", "a", "1"]);
    let other = free_address();
    let same_data = node(&single.data(), 1, &[(1, &other)]);
    let in_use = format!("{} is in use by another process; stop that node", single.data().display());
    Process::start(same_data).expect_failure(1, &in_use);

    let elsewhere = single.scratch.path().join("elsewhere");
    let taken = format!("cannot listen on {}", single.address);
    assert_refused(node(&elsewhere, 1, &[(1, &single.address)]), &elsewhere, &taken);
    // Another program's port is no different, nor is one that only a later core would need.
    let program = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let cores = format!("{other}+{}", program.local_addr().expect("bound"));
    assert_refused(node(&elsewhere, 1, &[(1, &cores)]), &elsewhere, "cannot listen on ");

    assert_eq!(single.cli().told(&["get", "a"]), "1\n");
    single.cli().told(&["set", "a", "2"]);
    single.process.stop();
    single.start_again();
    assert_eq!(single.cli().told(&["get", "a"]), "2\n");
}
