//! From the bytes of a connection to operations.

use bytes::BytesMut;
use margate_engine::index::IndexError;
use margate_net::codec::{FrameWriter, decode_requests};
use margate_net::frame::{Stage, take_frame};
use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::message::{Precondition, Request};

use super::{Part, Scale, sample};
use crate::workload::keys::key;

/// A frame of sets, as a client under load sends them.
pub(super) struct FrameOfSets {
    bytes: Vec<u8>,
    received: BytesMut,
}

impl FrameOfSets {
    pub(super) fn new(scale: Scale) -> Self {
        let numbers = 0..scale.operations as u64;
        let values = sample::values(numbers.clone());
        let request = |(number, value)| Request {
            id: number,
            shard: ShardId(1),
            range_epoch: RangeEpoch(1),
            timeout_ms: 5_000,
            operation: sample::set(key(number), value, Precondition::Always),
        };
        let requests: Vec<Request> = numbers.zip(values).map(request).collect();
        let mut bytes = Vec::new();
        FrameWriter::new().requests(&mut bytes, &requests);
        Self {
            bytes,
            received: BytesMut::new(),
        }
    }
}

impl Part for FrameOfSets {
    fn prepare(&mut self) -> Result<(), IndexError> {
        self.received = BytesMut::from(&self.bytes[..]);
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let frame = take_frame(&mut self.received, Stage::Established).expect("its own writer made it");
        let frame = frame.expect("all of it is there");
        let received = decode_requests(&frame).expect("its own writer made it");
        Ok(received.iter().filter(|received| received.request.is_ok()).count())
    }
}
