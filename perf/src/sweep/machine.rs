//! What the page says about the machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// A name and what is known under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// The name.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
}

/// What can be found out; `data` is where the data lie, `margate` the program that is measured.
pub(crate) fn facts(data: &Path, margate: &Path) -> Vec<Fact> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/self/mountinfo");
    let cpus = available_parallelism().map_or_else(|_| String::new(), |cpus| format!("{cpus} × "));
    let known = [
        ("CPUs", after(&read("/proc/cpuinfo"), "model name").map(|model| cpus + &model)),
        ("memory", after(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", Some(read("/proc/sys/kernel/osrelease").trim().to_owned())),
        ("file system and disk of the data", mounted(&mounts, data)),
        ("margate", version(margate, "--version")),
        ("fio", version(Path::new("fio"), "--version")),
        ("etcd", version(Path::new("etcd"), "--version")),
        ("redis", version(Path::new("redis-server"), "--version")),
    ];
    let told = known.into_iter().filter_map(|(name, value)| {
        Some(Fact {
            name: name.to_owned(),
            value: value.filter(|value| !value.is_empty())?,
        })
    });
    told.collect()
}

/// What stands behind a name and a colon, where it stands first.
fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The type of the file system and its device, of the innermost mount that holds this path.
fn mounted(mounts: &str, path: &Path) -> Option<String> {
    let of_line = |line: &str| {
        let (place, system) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.to_owned();
        let mut words = system.split(' ');
        Some((point, format!("{} on {}", words.next()?, words.next()?)))
    };
    let holding = mounts.lines().filter_map(of_line).filter(|(point, _)| path.starts_with(point));
    holding.max_by_key(|(point, _)| point.len()).map(|(_, told)| told)
}

/// The first line a program says about its version.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
    said.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_told() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      40 22 0:30 / /data rw shared:2 - xfs /dev/vdb rw\n\
                      41 22 0:31 / /dat rw - tmpfs tmpfs rw\nnonsense\n";
        let told = |path: &str| mounted(mounts, Path::new(path));
        assert_eq!(told("/data/x").as_deref(), Some("xfs on /dev/vdb"));
        assert_eq!(told("/home").as_deref(), Some("ext4 on /dev/vda"));
        assert_eq!(mounted("", Path::new("/")), None);
    }

    #[test]
    fn what_cannot_be_found_out_is_left_out() {
        let facts = facts(Path::new("/"), Path::new("/no/such/program"));
        assert!(facts.iter().all(|fact| fact.name != "margate" && !fact.value.is_empty()));
        assert!(facts.iter().any(|fact| fact.name == "kernel"));
        assert_eq!(after("a\t: 1\nb: 2", "b").as_deref(), Some("2"));
    }
}
