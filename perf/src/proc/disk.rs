//! What a disk has read and written, by `/proc/diskstats`, and which disk a folder lies on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

/// Bytes of the sectors in which the kernel counts, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

/// A disk or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    major: u32,
    minor: u32,
}

/// Bytes since the machine's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskBytes {
    /// Read from it.
    pub(crate) read: u64,
    /// Written to it.
    pub(crate) written: u64,
}

impl Disk {
    /// The one that this folder lies on.
    ///
    /// # Errors
    /// The folder cannot be looked at.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let device = fs::metadata(folder)?.dev();
        Ok(Self {
            major: major(device),
            minor: minor(device),
        })
    }

    /// What it has done so far; `None` where the kernel does not count it, as for file systems over several disks.
    pub(crate) fn bytes(self) -> Option<DiskBytes> {
        parse(&fs::read_to_string("/proc/diskstats").ok()?, self)
    }

    /// The same once everything that was written to any file is on its disk.
    pub(crate) fn bytes_synced(self) -> Option<DiskBytes> {
        rustix::fs::sync();
        self.bytes()
    }
}

impl DiskBytes {
    /// What was done since an earlier look.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read.saturating_sub(earlier.read),
            written: self.written.saturating_sub(earlier.written),
        }
    }
}

/// `major minor name reads merged sectors ms writes merged sectors …`
fn parse(text: &str, disk: Disk) -> Option<DiskBytes> {
    let of_disk = |line: &&str| {
        let mut fields = line.split_whitespace();
        let mut number = || fields.next()?.parse().ok();
        number() == Some(disk.major) && number() == Some(disk.minor)
    };
    let fields: Vec<&str> = text.lines().find(of_disk)?.split_whitespace().collect();
    let bytes = |at: usize| fields.get(at)?.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES);
    Some(DiskBytes {
        read: bytes(5)?,
        written: bytes(9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "   7       0 loop0 1 0 1 0 1 0 1 0 0 0 0\n \
                        254       0 vda 653207 4455 100 389622 10287722 33905 200 15257737 0 423248 15715354\n";

    #[test]
    fn the_sectors_of_the_disk_are_counted() {
        let bytes = parse(TEXT, Disk { major: 254, minor: 0 }).expect("it is listed");
        assert_eq!((bytes.read, bytes.written), (51_200, 102_400));
        assert_eq!(parse(TEXT, Disk { major: 8, minor: 0 }), None);
        let since = bytes.since(DiskBytes { read: 1_200, written: 0 });
        assert_eq!((since.read, since.written), (50_000, 102_400));
    }

    #[test]
    fn this_folder_lies_somewhere() {
        let disk = Disk::of(Path::new(".")).expect("it is there");
        assert_eq!(disk, Disk::of(Path::new(".")).expect("it is there"));
        assert!(Disk::of(Path::new("/no/such/folder")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not_but_never_panics(text in "\\PC*", numbers: Vec<u64>) {
            let disk = Disk { major: 1, minor: 2 };
            parse(&text, disk);
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            parse(&format!("1 2 x {}", numbers.join(" ")), disk);
        }
    }
}
