//! The disk below a directory: what file system it is, whether it takes direct writes, how full it is, who schedules it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use margate_engine::core::room::DiskLimits;
use margate_engine::log::limits::SEGMENT_BYTES_DEFAULT;
use margate_engine::runtime::planted_writes::{PLANTED, WARNING};
use rustix::fs::{major, minor, stat, statvfs};

use super::machine::{chosen, text_of};
use super::row::{Item, Row};
use super::trial::{Latency, Trial, TrialError};
use crate::units::show_size;

/// File systems that nodes were run on.
const TRIED: [&str; 2] = ["ext4", "xfs"];
/// File systems that live in memory.
const IN_MEMORY: [&str; 3] = ["devtmpfs", "ramfs", "tmpfs"];
/// File systems that live on another machine, or in another process.
const ELSEWHERE: [&str; 8] = ["9p", "ceph", "cifs", "fuse", "glusterfs", "nfs", "smb3", "virtiofs"];
/// Blocks of the log; direct writes may need no coarser ones.
const BLOCK_BYTES: u32 = 4_096;
/// Below this a disk holds up every write: it has neither flash nor a cache that survives a power cut.
const MEDIAN_MAX: Duration = Duration::from_millis(2);
/// Above this every hundredth write is felt.
const P99_MAX: Duration = Duration::from_millis(20);
/// Below this a core's first segments leave less than the watermark, and writes are refused from the start.
const FREE_MIN: u64 = {
    let reserve = DiskLimits::usual_reserve(SEGMENT_BYTES_DEFAULT, 1);
    DiskLimits::new(reserve, SEGMENT_BYTES_DEFAULT, 1).watermark + FIRST_SEGMENTS * SEGMENT_BYTES_DEFAULT as u64
};
/// The one in use, and those prewritten.
const FIRST_SEGMENTS: u64 = 4;
/// Below this logs and indexes that grow soon meet the end.
const FREE_EASY: u64 = 10 << 30;

/// Every row about the disk below a directory that exists.
pub(super) fn rows(directory: &Path) -> io::Result<Vec<Row>> {
    let mount = text_of("/proc/self/mountinfo").and_then(|text| mount_of(&text, directory));
    let device = device_of(stat(directory)?.st_dev);
    let free = statvfs(directory)?;
    let trial = Trial::run(directory);
    Ok(vec![
        mount.map_or_else(
            || Row::unknown(Item::FileSystem, "/proc/self/mountinfo"),
            |mount| file_system(&mount),
        ),
        direct_io(&trial),
        scheduler(device.as_ref()),
        latency(trial.as_ref().ok().map(|trial| &trial.latency)),
        free_space(free.f_bavail.saturating_mul(free.f_frsize)),
    ])
}

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    source: String,
}

/// The mount a directory lies in: the last one of those with the longest path, for later ones cover earlier ones.
fn mount_of(mountinfo: &str, directory: &Path) -> Option<Mount> {
    let directory = fs::canonicalize(directory).ok()?;
    let above = mountinfo
        .lines()
        .filter_map(parse_mount)
        .filter(|(point, _)| directory.starts_with(point));
    above.max_by_key(|(point, _)| point.components().count()).map(|(_, mount)| mount)
}

fn parse_mount(line: &str) -> Option<(PathBuf, Mount)> {
    let (place, kind) = line.split_once(" - ")?;
    let point = unescape(place.split(' ').nth(4)?);
    let mut words = kind.split(' ');
    let mount = Mount {
        kind: words.next()?.to_owned(),
        source: unescape(words.next()?),
    };
    Some((point.into(), mount))
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let letter = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (letter, part.get(3..)) {
            (Some(letter), Some(rest)) => plain.extend([char::from(letter)].into_iter().chain(rest.chars())),
            (None | Some(_), None | Some(_)) => plain.extend(['\\'].into_iter().chain(part.chars())),
        }
    }
    plain
}

fn file_system(mount: &Mount) -> Row {
    let (kind, source) = (mount.kind.as_str(), &mount.source);
    let local = "put the data on a local disk with ext4 or xfs";
    let family = kind.split('.').next().unwrap_or(kind);
    if TRIED.contains(&kind) {
        Row::pass(Item::FileSystem, format!("{kind} on {source}"))
    } else if IN_MEMORY.contains(&kind) {
        Row::fail(Item::FileSystem, format!("{kind}: it is gone when the machine stops"), local)
    } else if ELSEWHERE
        .iter()
        .any(|name| family == *name || (*name == "nfs" && family.starts_with("nfs")))
    {
        let found = format!("{kind} from {source}: it is not this machine's own, and what it calls durable is its server's word");
        Row::warn(Item::FileSystem, found, local)
    } else {
        Row::warn(Item::FileSystem, format!("{kind} on {source}: nodes were not tried on it"), local)
    }
}

fn direct_io(trial: &Result<Trial, TrialError>) -> Row {
    let mend = "put the data on a local disk with ext4 or xfs";
    match trial {
        Ok(_) if PLANTED => Row::fail(Item::DirectIo, WARNING, "use a build without that feature"),
        Ok(Trial {
            alignment: Some(bytes), ..
        }) if *bytes > BLOCK_BYTES => Row::fail(
            Item::DirectIo,
            format!("direct writes must be aligned to {bytes} bytes"),
            "use a disk with sectors of at most 4 KiB",
        ),
        Ok(Trial {
            alignment: Some(bytes), ..
        }) => Row::pass(Item::DirectIo, format!("taken, aligned to {bytes} bytes or more")),
        Ok(Trial { alignment: None, .. }) => Row::pass(Item::DirectIo, "taken, aligned to 4096 bytes"),
        Err(error @ TrialError::Direct(_)) => Row::fail(Item::DirectIo, error.to_string(), mend),
        Err(error @ TrialError::Write(source)) if source.raw_os_error() == Some(libc::EINVAL) => {
            Row::fail(Item::DirectIo, error.to_string(), mend)
        }
        Err(error @ (TrialError::Make(_) | TrialError::Write(_))) => Row::fail(
            Item::DirectIo,
            error.to_string(),
            "make the directory writable for this user and free some space, then check again",
        ),
    }
}

fn latency(latency: Option<&Latency>) -> Row {
    let Some(latency) = latency else {
        return Row::fail(Item::SyncLatency, "not measured: direct writes failed", "see direct i/o");
    };
    let (median, p99) = (latency.median, latency.p99);
    let found = format!(
        "median {}, p99 {} of {} durable writes of 4 KiB",
        show_micros(median),
        show_micros(p99),
        latency.writes
    );
    if median > MEDIAN_MAX || p99 > P99_MAX {
        let mend = "use a flash disk, best one whose cache survives a power cut; keep other writers off it; check again when it is idle";
        Row::warn(Item::SyncLatency, found, mend)
    } else {
        Row::pass(Item::SyncLatency, found)
    }
}

fn show_micros(span: Duration) -> String {
    let micros = span.as_micros();
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}

fn free_space(bytes: u64) -> Row {
    let found = show_size(bytes);
    let mend = "free some, or use a larger disk";
    if bytes < FREE_MIN {
        Row::fail(Item::FreeSpace, found, mend)
    } else if bytes < FREE_EASY {
        Row::warn(Item::FreeSpace, found, mend)
    } else {
        Row::pass(Item::FreeSpace, found)
    }
}

/// A disk as the kernel schedules it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: String,
    scheduler: String,
    rotates: bool,
}

/// The disk with this number, or the one that the partition with this number is part of.
fn device_of(number: u64) -> Option<Device> {
    let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    let own = fs::canonicalize(link).ok()?;
    let places = [Some(own.as_path()), own.parent()];
    let disk = places.into_iter().flatten().find(|place| place.join("queue/scheduler").exists())?;
    let scheduler = text_of(disk.join("queue/scheduler"))?;
    let name = disk.file_name()?.to_string_lossy().into_owned();
    Some(Device {
        scheduler: chosen(&scheduler).unwrap_or(&scheduler).to_owned(),
        rotates: !is_virtual(&name) && text_of(disk.join("queue/rotational")).is_some_and(|text| text == "1"),
        name,
    })
}

/// Disks of virtual machines claim to rotate; what is below them the host schedules.
fn is_virtual(name: &str) -> bool {
    name.starts_with("vd") || name.starts_with("xvd")
}

fn scheduler(device: Option<&Device>) -> Row {
    let Some(Device { name, scheduler, rotates }) = device else {
        return Row::warn(
            Item::Scheduler,
            "there is no disk of this machine below the directory, or the kernel does not say which",
            "look at /sys/block/DISK/queue/scheduler of the disk that holds the data: none is best for flash",
        );
    };
    let found = format!("{scheduler} for {name}");
    if *rotates || scheduler == "none" {
        Row::pass(Item::Scheduler, found)
    } else {
        let mend = format!("echo none > /sys/block/{name}/queue/scheduler, at every boot");
        Row::warn(Item::Scheduler, found, mend)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use proptest::prelude::*;

    use super::super::row::Verdict;
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 0:25 / /tmp rw - tmpfs none rw
29 28 0:26 / /tmp/a\\040b rw shared:1 - nfs4 host:/x\\040y rw
no mount at all
";

    fn mount(kind: &str) -> Mount {
        Mount {
            kind: kind.to_owned(),
            source: "host:/x".to_owned(),
        }
    }

    fn trial(alignment: Option<u32>) -> Trial {
        Trial {
            alignment,
            latency: measured(100, 200),
        }
    }

    fn measured(median: u64, p99: u64) -> Latency {
        Latency {
            writes: 200,
            median: Duration::from_micros(median),
            p99: Duration::from_micros(p99),
        }
    }

    #[test]
    fn mounts_are_found_by_path() {
        let points: Vec<_> = MOUNTS
            .lines()
            .filter_map(parse_mount)
            .map(|(point, mount)| (point, mount.kind))
            .collect();
        let expected = [("/proc", "proc"), ("/", "ext4"), ("/tmp", "tmpfs"), ("/tmp/a b", "nfs4")];
        assert_eq!(points, expected.map(|(point, kind)| (PathBuf::from(point), kind.to_owned())));
        let root = mount_of(MOUNTS, Path::new("/")).expect("there is a root");
        assert_eq!((root.kind.as_str(), root.source.as_str()), ("ext4", "/dev/vda"));
        assert_eq!(mount_of("", Path::new("/")), None);
        assert_eq!(unescape("a\\040b\\9\\"), "a b\\9\\");
    }

    #[test]
    fn file_systems_are_tried_elsewhere_or_in_memory() {
        for (kind, verdict) in [
            ("ext4", Verdict::Pass),
            ("xfs", Verdict::Pass),
            ("tmpfs", Verdict::Fail),
            ("ramfs", Verdict::Fail),
            ("nfs4", Verdict::Warn),
            ("fuse.sshfs", Verdict::Warn),
            ("btrfs", Verdict::Warn),
            ("overlay", Verdict::Warn),
        ] {
            assert_eq!(file_system(&mount(kind)).verdict, verdict, "{kind}");
        }
    }

    #[test]
    fn direct_writes_are_taken_or_refused() {
        for (alignment, verdict) in [
            (None, Verdict::Pass),
            (Some(512), Verdict::Pass),
            (Some(4_096), Verdict::Pass),
            (Some(65_536), Verdict::Fail),
        ] {
            assert_eq!(direct_io(&Ok(trial(alignment))).verdict, verdict, "{alignment:?}");
        }
        let refused = Error::from_raw_os_error(libc::EINVAL);
        let row = direct_io(&Err(TrialError::Direct(refused)));
        assert!(
            row.verdict == Verdict::Fail && row.lines().concat().contains("ext4 or xfs"),
            "{row:?}"
        );
        let row = direct_io(&Err(TrialError::Make(Error::from_raw_os_error(libc::EACCES))));
        assert!(row.verdict == Verdict::Fail && row.lines().concat().contains("writable"), "{row:?}");
    }

    #[test]
    fn slow_full_and_scheduled_disks_warn() {
        assert_eq!(latency(Some(&measured(120, 900))).verdict, Verdict::Pass);
        assert_eq!(
            latency(Some(&measured(120, 900))).found,
            "median 0.12 ms, p99 0.90 ms of 200 durable writes of 4 KiB"
        );
        assert_eq!(latency(Some(&measured(4_000, 4_000))).verdict, Verdict::Warn);
        assert_eq!(latency(Some(&measured(120, 30_000))).verdict, Verdict::Warn);
        assert_eq!(latency(None).verdict, Verdict::Fail);
        assert_eq!(free_space(1 << 20).verdict, Verdict::Fail);
        assert_eq!(free_space(1 << 30).verdict, Verdict::Warn);
        assert_eq!(free_space(1 << 40).verdict, Verdict::Pass);
        let device = |scheduler: &str, rotates| Device {
            name: "vda".to_owned(),
            scheduler: scheduler.to_owned(),
            rotates,
        };
        assert_eq!(scheduler(Some(&device("none", false))).verdict, Verdict::Pass);
        assert_eq!(scheduler(Some(&device("mq-deadline", true))).verdict, Verdict::Pass);
        assert_eq!(scheduler(Some(&device("mq-deadline", false))).verdict, Verdict::Warn);
        assert_eq!(scheduler(None).verdict, Verdict::Warn);
    }

    proptest! {
        #[test]
        fn any_line_is_a_mount_or_none(line in ".{0,80}") {
            let _ = parse_mount(&line);
            let _ = mount_of(&line, Path::new("/"));
        }
    }
}
