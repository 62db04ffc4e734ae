//! How a node's log files are open: the flags of every descriptor that names `*/log/*.seg`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes bypass the page cache.
const DIRECT: u32 = libc::O_DIRECT.cast_unsigned();
/// Writes return when their data are durable. (rustix gives this name to `O_SYNC`, which is more.)
const DSYNC: u32 = libc::O_DSYNC.cast_unsigned();

/// One open log file of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogDescriptor {
    /// The process.
    pub(crate) pid: u32,
    /// The file.
    pub(crate) path: PathBuf,
    /// Its open flags, as `open` takes them.
    pub(crate) flags: u32,
}

impl LogDescriptor {
    /// Whether writes through it are direct and durable.
    pub(crate) fn is_direct_and_durable(&self) -> bool {
        self.flags & (DIRECT | DSYNC) == DIRECT | DSYNC
    }
}

impl fmt::Display for LogDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {} flags 0{:o}", self.pid, self.path.display(), self.flags)?;
        let word = |flag, word| if self.flags & flag != 0 { word } else { "" };
        write!(f, "{}{}", word(DIRECT, " O_DIRECT"), word(DSYNC, " O_DSYNC"))
    }
}

/// What the descriptors say about durability, in the words of the result line.
pub(crate) fn durability(descriptors: &[LogDescriptor]) -> String {
    let good = descriptors.iter().filter(|descriptor| descriptor.is_direct_and_durable()).count();
    match (good, descriptors.len()) {
        (_, 0) => "quorum; no log descriptors found on this machine".to_owned(),
        (good, all) if good == all => format!("quorum, O_DIRECT|O_DSYNC on {all} log descriptors"),
        (good, all) => format!("quorum; only {good} of {all} log descriptors have O_DIRECT|O_DSYNC"),
    }
}

/// Every open log file of a process. Descriptors that close meanwhile are left out.
///
/// # Errors
/// The process is gone or not ours to look at.
pub(crate) fn of_process(pid: u32) -> io::Result<Vec<LogDescriptor>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Ok(path) = fs::read_link(entry.path()) else { continue };
        if !is_log_segment(&path) {
            continue;
        }
        let info = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name());
        let Some(flags) = fs::read_to_string(info).ok().and_then(|text| parse_flags(&text)) else {
            continue;
        };
        found.push(LogDescriptor { pid, path, flags });
    }
    Ok(found)
}

fn is_log_segment(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    folder.is_some_and(|name| name == "log") && path.extension().is_some_and(|extension| extension == "seg")
}

/// The line `flags:` in octal.
fn parse_flags(text: &str) -> Option<u32> {
    let octal = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(octal.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn only_segments_in_a_folder_called_log_are_log_files() {
        assert!(is_log_segment(Path::new("/d/node-1/data/log/00000001.seg")));
        assert!(!is_log_segment(Path::new("/d/node-1/data/log/LOCK")));
        assert!(!is_log_segment(Path::new("/d/node-1/data/index/00000001.seg")));
        assert!(!is_log_segment(Path::new("socket:[1]")));
    }

    #[test]
    fn an_open_file_of_this_process_is_found_with_its_flags() {
        // Not in /tmp, which may be in memory and then refuses O_DIRECT.
        let folder = tempfile::tempdir_in(".").expect("the crate's folder is writable");
        let log = folder.path().canonicalize().expect("it is there").join("log");
        fs::create_dir(&log).expect("a new folder");
        let open = |name: &str, flags| {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create_new(true).custom_flags(flags);
            options.open(log.join(name)).expect("a new file")
        };
        let _good = open("1.seg", libc::O_DIRECT | libc::O_DSYNC);
        let _cached = open("2.seg", libc::O_DSYNC);
        let _lazy = open("3.seg", libc::O_DIRECT);
        let mut found = of_process(std::process::id()).expect("this process");
        found.retain(|descriptor| descriptor.path.starts_with(&log));
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let good: Vec<bool> = found.iter().map(LogDescriptor::is_direct_and_durable).collect();
        assert_eq!(good, [true, false, false], "{found:?}");
        assert!(durability(&found).contains("only 1 of 3"), "{}", durability(&found));
        assert!(found[0].to_string().ends_with("O_DIRECT O_DSYNC"), "{}", found[0]);
    }

    #[test]
    fn durability_says_what_was_read() {
        let descriptor = |flags| LogDescriptor {
            pid: 1,
            path: PathBuf::from("log/1.seg"),
            flags,
        };
        let good = descriptor(0o2_150_001);
        assert_eq!(
            durability(&[good.clone(), good.clone()]),
            "quorum, O_DIRECT|O_DSYNC on 2 log descriptors"
        );
        assert!(durability(&[good, descriptor(DIRECT)]).contains("only 1 of 2"));
        assert!(durability(&[]).contains("no log descriptors"));
    }

    proptest! {
        #[test]
        fn any_text_has_flags_or_not_but_never_panics(text in "\\PC*", flags: u32) {
            parse_flags(&text);
            let kernel = format!("pos:\t0\nflags:\t0{flags:o}\nmnt_id:\t1\n");
            prop_assert_eq!(parse_flags(&kernel), Some(flags));
        }
    }
}
