//! The door before a node: accepts, finds out who dials, connects to the node, starts the pumps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use margate_net::codec::decode_hello;
use margate_net::frame::{Stage, missing, take_frame};
use margate_net::handshake::Role;
use margate_net::limits::{HEADER_BYTES, HELLO_BYTES_MAX};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::condition::Link;
use super::counts::count;
use super::pump::{self, Ends};
use super::{Dialler, LinkName, Shared, dice};

/// Time to say who one is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept: there are no descriptors left, which passes.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Lets everybody in, for as long as the runtime lives.
pub(super) async fn keep(listener: std::net::TcpListener, node: u64, address: SocketAddr, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(carry(stream, node, address, shared.clone()));
            }
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// One connection, from its first byte to its last. A node that cannot be reached closes it at once.
async fn carry(mut stream: TcpStream, node: u64, address: SocketAddr, shared: Arc<Shared>) {
    let Ok(Some((first, from))) = timeout(HELLO_WITHIN, who(&mut stream)).await else {
        return;
    };
    let link = link(LinkName { from, to: node }, &shared);
    let Ok(inner) = TcpStream::connect(address).await else { return };
    // Small frames must not wait for each other here either; a socket that is gone already ends the pumps.
    let _ = stream.set_nodelay(true);
    let _ = inner.set_nodelay(true);
    count(&shared.counts.connections);
    pump::run(Ends { outer: stream, inner }, first, &link, &shared.counts).await;
}

/// The link of this name; its dice begin with its first connection.
fn link(name: LinkName, shared: &Arc<Shared>) -> Arc<Link> {
    let mut links = shared.links();
    let link = links.entry(name).or_insert_with(|| {
        let link = Arc::new(Link::default());
        tokio::spawn(dice::roll(name, link.clone(), shared.clone()));
        link
    });
    link.clone()
}

/// Reads the first frame: its bytes, which the node gets too, and who sent them.
async fn who(stream: &mut TcpStream) -> Option<(Vec<u8>, Dialler)> {
    let mut buffer = BytesMut::with_capacity(HEADER_BYTES + HELLO_BYTES_MAX);
    loop {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        let bytes = buffer.to_vec();
        match dialler(&mut buffer) {
            Known::Yet(dialler) => return Some((bytes, dialler)),
            Known::NotYet if bytes.len() < HEADER_BYTES + HELLO_BYTES_MAX => {}
            Known::NotYet => return Some((bytes, Dialler::Client)),
        }
    }
}

enum Known {
    Yet(Dialler),
    NotYet,
}

/// Who sent these bytes; what is no hello is a client's, and the node will say what is wrong with it.
fn dialler(buffer: &mut BytesMut) -> Known {
    if missing(buffer, Stage::Handshake) > 0 {
        return Known::NotYet;
    }
    let hello = match take_frame(buffer, Stage::Handshake) {
        Ok(Some(frame)) => decode_hello(&frame),
        Ok(None) => return Known::NotYet,
        Err(error) => Err(error),
    };
    Known::Yet(match hello {
        Ok(hello) if hello.role != Role::Client && hello.node.0 != 0 => Dialler::Node(hello.node.0),
        Ok(_) | Err(_) => Dialler::Client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::codec::FrameWriter;
    use margate_net::handshake::Hello;
    use margate_net::ids::{ClusterId, CoreId, DirectoryId, Incarnation, NodeId};
    use proptest::prelude::*;

    fn hello(role: Role, node: u64) -> Vec<u8> {
        let hello = Hello {
            role,
            cluster: ClusterId(1),
            node: NodeId(node),
            core: CoreId(0),
            to_node: NodeId(2),
            to_core: CoreId(0),
            directory: DirectoryId(1),
            incarnation: Incarnation(1),
            tick_ms: 40,
            election_ticks: 10,
        };
        let mut out = Vec::new();
        FrameWriter::new().hello(&mut out, &hello);
        out
    }

    fn known(bytes: &[u8]) -> Option<Dialler> {
        match dialler(&mut BytesMut::from(bytes)) {
            Known::Yet(dialler) => Some(dialler),
            Known::NotYet => None,
        }
    }

    #[test]
    fn a_node_is_known_by_its_hello_and_others_are_clients() {
        let peer = hello(Role::Peer, 3);
        assert_eq!(known(&peer), Some(Dialler::Node(3)));
        assert_eq!(known(&peer[..peer.len() - 1]), None);
        assert_eq!(known(&hello(Role::Client, 0)), Some(Dialler::Client));
        assert_eq!(known(&[0; 64]), Some(Dialler::Client));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cut in 0usize..200) {
            known(&bytes);
            let peer = hello(Role::Peer, 3);
            known(peer.get(..cut).unwrap_or(&peer));
        }
    }
}
