//! What a batch writer asks for: a value under a key, or no value any more.

use bytes::Bytes;
use margate_net::codec::RawRequest;

/// A set, or a delete where there is no value; it asks for nothing back and is done whatever stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The key.
    pub(crate) key: Bytes,
    /// The value; `None` deletes the key.
    pub(crate) value: Option<Bytes>,
}

impl Change {
    /// Bytes of key and value.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// As it is sent, but for where.
    pub(super) fn request(&self) -> RawRequest<'_> {
        RawRequest::write(&self.key, self.value.as_deref())
    }
}
