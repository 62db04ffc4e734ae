//! Taking a fuzzer's bytes apart, and making checksums right where an input asks for it.

/// Takes numbers off the front; zeros when nothing is left.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Two bytes, little endian.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Eight bytes, little endian.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let front = self.bytes(N);
        taken[..front.len()].copy_from_slice(front);
        taken
    }
}

/// The number at a place, if it is there.
#[must_use]
pub fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
}

/// Writes the CRC-32 of `bytes`, its own four bytes at `at` counted as zeros, there.
pub fn seal_inside(bytes: &mut [u8], at: usize) {
    if let Some(place) = at.checked_add(4).and_then(|end| bytes.get_mut(at..end)) {
        place.fill(0);
        let checksum = crc32fast::hash(bytes).to_le_bytes();
        bytes[at..at + 4].copy_from_slice(&checksum);
    }
}

/// Writes the CRC-32 of `before` and of all but the last four bytes over those.
pub fn seal_end(before: &[u8], bytes: &mut [u8]) {
    if let Some((contents, checksum)) = bytes.split_last_chunk_mut::<4>() {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(before);
        hasher.update(contents);
        *checksum = hasher.finalize().to_le_bytes();
    }
}

/// Makes both checksums of every frame of a stream right, as far as its lengths can be followed.
pub fn seal_frames(stream: &mut [u8]) {
    const HEADER: usize = 32;
    let mut rest = stream;
    while rest.len() >= HEADER {
        let lengths = number_at(rest, 16).zip(number_at(rest, 20));
        let whole = lengths.and_then(|(body, payload)| HEADER.checked_add(body)?.checked_add(payload));
        let end = whole.unwrap_or(usize::MAX).min(rest.len());
        let (frame, after) = rest.split_at_mut(end);
        let content = crc32fast::hash(&frame[HEADER..]).to_le_bytes();
        frame[24..28].copy_from_slice(&content);
        let header = crc32fast::hash(&frame[..28]).to_le_bytes();
        frame[28..HEADER].copy_from_slice(&header);
        rest = after;
    }
}
