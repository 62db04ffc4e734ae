//! Whether a port can be listened on, found out before anything is started or touched.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// Listens on an address. A node that has just died keeps its ports for some milliseconds, since the kernel takes its
/// rings apart in the background: that is waited out, so that a node can be started again at once.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => thread::sleep(PAUSE),
            bound => return bound,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_that_becomes_free_is_taken_and_one_that_stays_taken_is_an_error() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = taken.local_addr().expect("bound");
        let stays = listen(address).expect_err("it is taken");
        assert_eq!(stays.kind(), io::ErrorKind::AddrInUse);
        let waiting = thread::spawn(move || listen(address));
        drop(taken);
        waiting.join().expect("no panic").expect("it is free now");
    }
}
