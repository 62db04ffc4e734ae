//! Addresses on this machine for processes that are about to be started.
//!
//! Not here, on purpose: keeping them. Between the choice and the start somebody else may take one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Addresses where nobody listens right now, all different: the kernel chooses, all are held until the last is known.
///
/// # Errors
/// There are none.
pub(crate) fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_addresses_are_different_and_can_be_taken() {
        let addresses = free_addresses(8).expect("the kernel has ports");
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 8);
        let held: Vec<_> = addresses.iter().map(TcpListener::bind).collect();
        assert!(held.iter().all(Result::is_ok), "{held:?}");
    }
}
