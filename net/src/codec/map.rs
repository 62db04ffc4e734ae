//! The map: a flatbuffer that is a frame's payload, or lies in a file.
//!
//! It stores where each range starts; where it ends is where the next one starts, so an encoded map
//! cannot help but tile the key space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;

use super::{FrameWriter, count_of, expect_kind, id128, length_of, u128_of, verified};
use crate::frame::{Frame, FrameError, FrameKind};
use crate::generated::margate::wire;
use crate::ids::{ClusterId, CoreId, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::map::{Map, MapError, MapNode, MapReplica, MapShard};

const FAMILY_V4: u8 = 4;
const FAMILY_V6: u8 = 6;

impl FrameWriter {
    /// Appends a MapRequest frame.
    pub fn map_request(&mut self, out: &mut Vec<u8>, request_id: u64) {
        Self::bare_frame(out, FrameKind::MapRequest, request_id);
    }

    /// Appends the answer to the map request with this id.
    pub fn map_reply(&mut self, out: &mut Vec<u8>, request_id: u64, map: &Map) {
        Self::document_frame(out, FrameKind::MapReply, request_id, &encode_map(map));
    }
}

/// Checks that a frame asks for the map; it says nothing else.
///
/// # Errors
/// [`FrameError`] if it does not.
pub fn decode_map_request(frame: &Frame) -> Result<(), FrameError> {
    expect_kind(frame, FrameKind::MapRequest)
}

/// What a MapReply frame says.
///
/// # Errors
/// [`FrameError`] if it is not one, or its map is impossible.
pub fn decode_map_reply(frame: &Frame) -> Result<Map, FrameError> {
    expect_kind(frame, FrameKind::MapReply)?;
    decode_map(&frame.payload).map_err(|error| error.in_frame(frame.kind))
}

/// Bytes are not an encoded map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapBytesError {
    /// They do not have the form of one.
    #[error("the bytes are not an encoded map: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// They have, but the parts do not make a map.
    #[error(transparent)]
    Impossible(#[from] MapError),
}

impl MapBytesError {
    /// The same, about a frame's payload.
    pub(super) fn in_frame(self, kind: FrameKind) -> FrameError {
        match self {
            Self::Malformed { what } => FrameError::Malformed { kind, what },
            Self::Impossible(error) => FrameError::ImpossibleMap(error),
        }
    }
}

/// A map as bytes, at most [`DOCUMENT_BYTES_MAX`] of them; without checksum, which its container has.
#[must_use]
pub fn encode_map(map: &Map) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let nodes: Vec<_> = map
        .nodes()
        .iter()
        .map(|node| wire::MapNodeFields::new(node.id.0, count_of(&node.cores)))
        .collect();
    let addresses: Vec<_> = map.nodes().iter().flat_map(|node| &node.cores).map(address_fields).collect();
    let shards: Vec<_> = map.shards().iter().map(shard_fields).collect();
    let replicas: Vec<_> = map.shards().iter().flat_map(|shard| &shard.replicas).map(replica_fields).collect();
    let lows: Vec<u8> = map.shards().iter().flat_map(|shard| shard.low.iter().copied()).collect();
    let cluster = id128(map.cluster().0);
    let args = wire::MapArgs {
        cluster: Some(&cluster),
        epoch: map.epoch().0,
        nodes: Some(builder.create_vector(&nodes)),
        addresses: Some(builder.create_vector(&addresses)),
        shards: Some(builder.create_vector(&shards)),
        replicas: Some(builder.create_vector(&replicas)),
        lows: Some(builder.create_vector(&lows)),
    };
    let root = wire::Map::create(&mut builder, &args);
    builder.finish(root, None);
    builder.finished_data().to_vec()
}

/// The way back of [`encode_map`].
///
/// # Errors
/// [`MapBytesError`] for bytes that are not a map's.
pub fn decode_map(bytes: &[u8]) -> Result<Map, MapBytesError> {
    let body = verified::<wire::Map<'_>>(bytes, DOCUMENT_BYTES_MAX).ok_or(malformed("not the flatbuffer of a map"))?;
    let mut addresses = body.addresses().iter();
    let nodes = body.nodes().iter().map(|fields| node(fields, &mut addresses));
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    let shards = shards(&body)?;
    if addresses.next().is_some() {
        return Err(malformed("it has addresses that belong to no node"));
    }
    Ok(Map::new(ClusterId(u128_of(body.cluster())), MapEpoch(body.epoch()), nodes, shards)?)
}

fn malformed(what: &'static str) -> MapBytesError {
    MapBytesError::Malformed { what }
}

/// Takes items off the front of a vector, or says that it is too short.
fn take<'a, T>(items: &mut flatbuffers::VectorIter<'a, T>, count: u32, what: &'static str) -> Result<Vec<T::Inner>, MapBytesError>
where
    T: flatbuffers::Follow<'a> + 'a,
{
    let count = count as usize;
    if count > items.len() {
        return Err(malformed(what));
    }
    Ok(items.take(count).collect())
}

fn node(fields: &wire::MapNodeFields, addresses: &mut flatbuffers::VectorIter<'_, wire::AddressFields>) -> Result<MapNode, MapBytesError> {
    let found = take(addresses, fields.cores(), "a node has more cores than addresses")?;
    Ok(MapNode {
        id: NodeId(fields.id()),
        cores: found.into_iter().map(address).collect::<Result<_, _>>()?,
    })
}

fn shards(body: &wire::Map<'_>) -> Result<Vec<MapShard>, MapBytesError> {
    let (fields, mut replicas) = (body.shards(), body.replicas().iter());
    let lows = lows(body)?;
    // A range ends where the next one starts; the last one has no end.
    let highs = lows.iter().skip(1).cloned().chain([Bytes::new()]);
    let mut shards = Vec::with_capacity(fields.len());
    for ((fields, low), high) in fields.iter().zip(&lows).zip(highs) {
        let members = take(&mut replicas, fields.replicas(), "a shard has more replicas than there are")?;
        shards.push(MapShard {
            id: ShardId(fields.id()),
            low: low.clone(),
            high,
            range_epoch: RangeEpoch(fields.range_epoch()),
            member_epoch: MemberEpoch(fields.member_epoch()),
            replicas: members.into_iter().map(replica).collect(),
        });
    }
    match replicas.next() {
        None => Ok(shards),
        Some(_) => Err(malformed("it has replicas that belong to no shard")),
    }
}

fn lows(body: &wire::Map<'_>) -> Result<Vec<Bytes>, MapBytesError> {
    let mut rest = Bytes::copy_from_slice(body.lows().bytes());
    let mut lows = Vec::with_capacity(body.shards().len());
    for fields in body.shards() {
        let length = fields.low_length() as usize;
        if length > rest.len() {
            return Err(malformed("its bounds are longer than there are bytes for them"));
        }
        lows.push(rest.split_to(length));
    }
    if rest.is_empty() {
        Ok(lows)
    } else {
        Err(malformed("it has bytes of bounds that belong to no shard"))
    }
}

fn address(fields: &wire::AddressFields) -> Result<SocketAddr, MapBytesError> {
    let ip = u128_of(fields.ip());
    match fields.family() {
        FAMILY_V4 => {
            let bits = u32::try_from(ip).map_err(|_| malformed("an IPv4 address has more than 32 bits"))?;
            Ok(SocketAddrV4::new(Ipv4Addr::from_bits(bits), fields.port()).into())
        }
        FAMILY_V6 => Ok(SocketAddrV6::new(Ipv6Addr::from_bits(ip), fields.port(), fields.flow(), fields.scope()).into()),
        _ => Err(malformed("an address is neither IPv4 nor IPv6")),
    }
}

fn address_fields(address: &SocketAddr) -> wire::AddressFields {
    let (ip, family) = match address.ip() {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), FAMILY_V4),
        IpAddr::V6(ip) => (ip.to_bits(), FAMILY_V6),
    };
    let (flow, scope) = match address {
        SocketAddr::V4(_) => (0, 0),
        SocketAddr::V6(address) => (address.flowinfo(), address.scope_id()),
    };
    wire::AddressFields::new(&id128(ip), flow, scope, address.port(), family)
}

fn shard_fields(shard: &MapShard) -> wire::MapShardFields {
    wire::MapShardFields::new(
        shard.id.0,
        shard.range_epoch.0,
        shard.member_epoch.0,
        length_of(&shard.low),
        count_of(&shard.replicas),
    )
}

fn replica_fields(replica: &MapReplica) -> wire::MapReplicaFields {
    wire::MapReplicaFields::new(replica.id.0, replica.node.0, replica.core.0)
}

fn replica(fields: &wire::MapReplicaFields) -> MapReplica {
    MapReplica {
        id: ReplicaId(fields.id()),
        node: NodeId(fields.node()),
        core: CoreId(fields.core()),
    }
}
