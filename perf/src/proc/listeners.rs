//! Which process on this machine listens on an address: `/proc/net/tcp` names the socket, `/proc/PID/fd` its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// The state of a listening socket, as the kernel writes it.
const LISTEN: &str = "0A";

/// The processes that listen on these addresses. IPv4 only; addresses of other machines have none.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn pids(addresses: &[SocketAddr]) -> io::Result<BTreeSet<u32>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let inodes: BTreeMap<u64, SocketAddr> = table.lines().skip(1).filter_map(parse_listener).collect();
    let wanted: BTreeSet<u64> = inodes
        .iter()
        .filter(|(_, listens)| addresses.iter().any(|address| reaches(**listens, *address)))
        .map(|(inode, _)| *inode)
        .collect();
    let mut pids = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if owns_any(&entry.path(), &wanted) {
            pids.insert(pid);
        }
    }
    Ok(pids)
}

/// Whether a listener takes connections to the address: its own, or all of this machine's.
fn reaches(listens: SocketAddr, address: SocketAddr) -> bool {
    listens.port() == address.port() && (listens.ip() == address.ip() || (listens.ip().is_unspecified() && address.ip().is_loopback()))
}

fn owns_any(process: &Path, inodes: &BTreeSet<u64>) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    let targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let mut sockets = targets.filter_map(|target| parse_socket(target.to_str()?));
    sockets.any(|inode| inodes.contains(&inode))
}

/// `socket:[inode]`
fn parse_socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode …`
fn parse_listener(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    // The kernel prints the address as a number of its own byte order.
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((fields.get(9)?.parse().ok()?, SocketAddr::new(IpAddr::V4(ip), port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    #[test]
    fn this_process_is_found_by_its_listener_and_not_by_a_closed_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let found = pids(&[address]).expect("/proc is there");
        assert_eq!(found, BTreeSet::from([std::process::id()]));
        drop(listener);
        assert!(pids(&[address]).expect("/proc is there").is_empty());
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(reaches(address("0.0.0.0:80"), address("127.0.0.1:80")));
        assert!(!reaches(address("0.0.0.0:80"), address("127.0.0.1:81")));
        assert!(!reaches(address("127.0.0.2:80"), address("127.0.0.1:80")));
    }

    proptest! {
        #[test]
        fn any_line_is_a_listener_or_not_but_never_panics(line in "\\PC*", fields: Vec<u32>) {
            parse_listener(&line);
            parse_socket(&line);
            let fields: Vec<String> = fields.iter().map(|field| format!("{field:X}:{field:X}")).collect();
            parse_listener(&format!("0: {} 0A {}", fields.join(" "), fields.join(" ")));
        }
    }
}
