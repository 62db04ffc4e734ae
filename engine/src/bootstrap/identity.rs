//! What a data directory says of itself: the file `IDENTITY` (`docs/format.md`).

use bytes::{Buf, BufMut};
use margate_net::codec::{decode_map, encode_map};
use margate_net::ids::{ClusterId, DirectoryId, NodeId};
use margate_net::limits::{DOCUMENT_BYTES_MAX, NODES_MAX};
use margate_net::map::Map;

/// First bytes of the file.
const MAGIC: &[u8; 4] = b"MgtI";
/// Version of this file and of everything beside it.
pub const FORMAT: u16 = 1;

/// A data directory's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The directory, random, new in every new directory.
    pub directory: DirectoryId,
    /// The node it belongs to.
    pub node: NodeId,
    /// What it is part of.
    pub membership: Membership,
}

/// What a data directory is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Nothing yet.
    Empty,
    /// It bootstraps: peers are being sent this record.
    Creating(Creation),
    /// A deployment.
    Member {
        /// The record that made it.
        creation: Creation,
        /// Whether every core's first batch is durable: from then on an empty log is a lost one.
        cores_created: bool,
        /// Whether it was empty when the deployment existed: it was made with no replica, and its cores ask to be admitted.
        joined: bool,
    },
}

/// The record that makes a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Every node and the directory it answered with.
    pub directories: Vec<(NodeId, DirectoryId)>,
    /// The first map, with the cluster id in it.
    pub map: Map,
}

/// Bytes are not an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// Not the file's first bytes.
    #[error("it does not begin as a Margate identity does")]
    Magic,
    /// Written by a newer Margate.
    #[error("it has format {found} and this build knows {FORMAT}; start a newer margate")]
    NewerFormat {
        /// The format it has.
        found: u16,
    },
    /// The checksum is wrong.
    #[error("its checksum is {found:08x} and should be {expected:08x}: the file is damaged")]
    Checksum {
        /// As in the file.
        found: u32,
        /// As computed.
        expected: u32,
    },
    /// Sound, but cut short or contradictory.
    #[error("its contents make no sense")]
    Contents,
}

impl Creation {
    /// The deployment.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.map.cluster()
    }

    /// The directory a node answered with.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<DirectoryId> {
        self.directories.iter().find(|(id, _)| *id == node).map(|(_, directory)| *directory)
    }
}

impl Identity {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_u16_le(FORMAT);
        let (stage, creation): (u16, _) = match &self.membership {
            Membership::Empty => (0, None),
            Membership::Creating(creation) => (1, Some(creation)),
            Membership::Member {
                creation,
                cores_created,
                joined,
            } => (2 + u16::from(*cores_created) + 2 * u16::from(*joined), Some(creation)),
        };
        out.put_u16_le(stage);
        out.put_u128_le(self.directory.0);
        out.put_u64_le(self.node.0);
        if let Some(creation) = creation {
            put_creation(&mut out, creation);
        }
        out.put_u32_le(crc32fast::hash(&out));
        out
    }

    /// The way back.
    ///
    /// # Errors
    /// [`IdentityFault`]: what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityFault> {
        let (contents, checksum) = bytes.split_last_chunk::<4>().ok_or(IdentityFault::Magic)?;
        let mut rest = contents.strip_prefix(MAGIC).ok_or(IdentityFault::Magic)?;
        let found = rest.try_get_u16_le().map_err(|_| IdentityFault::Contents)?;
        if found > FORMAT {
            return Err(IdentityFault::NewerFormat { found });
        }
        let (found, expected) = (u32::from_le_bytes(*checksum), crc32fast::hash(contents));
        if found != expected {
            return Err(IdentityFault::Checksum { found, expected });
        }
        decode(&mut rest).filter(|_| rest.is_empty()).ok_or(IdentityFault::Contents)
    }
}

fn put_creation(out: &mut Vec<u8>, creation: &Creation) {
    out.put_u32_le(u32::try_from(creation.directories.len()).expect("a map bounds its nodes"));
    for (node, directory) in &creation.directories {
        out.put_u64_le(node.0);
        out.put_u128_le(directory.0);
    }
    let map = encode_map(&creation.map);
    out.put_u32_le(u32::try_from(map.len()).expect("a map fits a frame"));
    out.put_slice(&map);
}

fn decode(rest: &mut &[u8]) -> Option<Identity> {
    let stage = rest.try_get_u16_le().ok()?;
    let directory = DirectoryId(rest.try_get_u128_le().ok()?);
    let node = NodeId(rest.try_get_u64_le().ok()?);
    let membership = match stage {
        0 => Membership::Empty,
        1 => Membership::Creating(take_creation(rest)?),
        2..=5 => Membership::Member {
            creation: take_creation(rest)?,
            cores_created: stage % 2 == 1,
            joined: stage >= 4,
        },
        _ => return None,
    };
    Some(Identity {
        directory,
        node,
        membership,
    })
}

fn take_creation(rest: &mut &[u8]) -> Option<Creation> {
    let count = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    if count > NODES_MAX {
        return None;
    }
    let directories = (0..count)
        .map(|_| Some((NodeId(rest.try_get_u64_le().ok()?), DirectoryId(rest.try_get_u128_le().ok()?))))
        .collect::<Option<_>>()?;
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    if length > DOCUMENT_BYTES_MAX || length > rest.len() {
        return None;
    }
    let (map, left) = rest.split_at(length);
    *rest = left;
    Some(Creation {
        directories,
        map: decode_map(map).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::static_map;
    use margate_net::map::MapNode;
    use proptest::prelude::*;

    fn identity(membership: impl Fn(Creation) -> Membership) -> Identity {
        let nodes = [MapNode {
            id: NodeId(1),
            cores: vec![([127, 0, 0, 1], 7400).into()],
        }];
        let map = static_map(ClusterId(5), &nodes, &[], 3).expect("a sound topology");
        let creation = Creation {
            directories: vec![(NodeId(1), DirectoryId(9))],
            map,
        };
        Identity {
            directory: DirectoryId(9),
            node: NodeId(1),
            membership: membership(creation),
        }
    }

    #[test]
    fn identities_survive_their_bytes() {
        let all = [identity(|_| Membership::Empty), identity(Membership::Creating)];
        let members = [(false, false), (true, false), (false, true), (true, true)].map(|(cores_created, joined)| {
            identity(|creation| Membership::Member {
                creation,
                cores_created,
                joined,
            })
        });
        for identity in all.into_iter().chain(members) {
            assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        }
    }

    #[test]
    fn a_deployment_of_many_shards_survives_its_bytes() {
        let nodes = [MapNode {
            id: NodeId(1),
            cores: vec![([127, 0, 0, 1], 7400).into()],
        }];
        let bounds: Vec<_> = (1..12_000u32).map(|at| at.to_be_bytes().repeat(25).into()).collect();
        let map = static_map(ClusterId(5), &nodes, &bounds, 3).expect("a sound topology");
        let creation = Creation {
            directories: vec![(NodeId(1), DirectoryId(9))],
            map,
        };
        let identity = identity(|_| Membership::Creating(creation.clone()));
        let bytes = identity.encode();
        assert!(bytes.len() > 1 << 20, "larger than a frame's body: {}", bytes.len());
        assert_eq!(Identity::decode(&bytes), Ok(identity));
    }

    #[test]
    fn a_flipped_byte_is_a_fault() {
        let bytes = identity(Membership::Creating).encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Identity::decode(&flipped).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_identity_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut sealed = [MAGIC.as_slice(), &[0, 0], &bytes].concat();
            sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
            let _ = Identity::decode(&bytes);
            let _ = Identity::decode(&sealed);
        }
    }
}
