//! Rows: into memory, from there into LMDB, and found there.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use margate_engine::index::marks::Identity;
use margate_engine::index::overlay::{WARMED_KEYS, WarmedKeys};
use margate_engine::index::{CoreMarks, Generation, IndexError, IndexReader, IndexWriter, Overlay};
use margate_engine::runtime::index_reader::HeedReader;
use margate_engine::runtime::index_store::{HeedIndex, HeedWriter};
use margate_engine::types::{Position, ValueHash};
use margate_net::ids::{ClusterId, DirectoryId, Space, Version};

use super::{Part, Scale, sample};
// Keys of numbers in a row stand in no order.
use crate::workload::keys::key;

/// Bytes of the index's map; the file is sparse.
const MAP_BYTES: usize = 1 << 30;
const OURS: Identity = Identity {
    cluster: ClusterId(1),
    directory: DirectoryId(1),
};

/// The version of what is there before, and its generation.
const FIRST: Version = Version(1);

/// Keys into an overlay.
pub(super) struct OverlayInsert {
    scale: Scale,
    overlay: Overlay,
    keys: Vec<Bytes>,
}

impl OverlayInsert {
    pub(super) fn new(scale: Scale) -> Self {
        // Every second one is there already.
        let keys = (0..scale.operations as u64).map(|number| key(if number % 2 == 0 { scale.rows + number } else { number }));
        Self {
            scale,
            overlay: Overlay::new(),
            keys: keys.collect(),
        }
    }
}

impl Part for OverlayInsert {
    fn prepare(&mut self) -> Result<(), IndexError> {
        self.overlay = rows((0..self.scale.rows).map(key), FIRST);
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let slot = sample::slot(FIRST.next(), ValueHash::default());
        let mut inserted = 0;
        // As a core applies an entry.
        for keys in self.keys.chunks(WARMED_KEYS) {
            let mut warmed: WarmedKeys<'_> = Default::default();
            warmed.iter_mut().zip(keys).for_each(|(warmed, key)| *warmed = key);
            let hints = self.overlay.warm(sample::SPACE, &warmed);
            let hinted = warmed.into_iter().zip(hints).take(keys.len());
            inserted += hinted.filter(|key| self.overlay.insert_newer_at(sample::SPACE, *key, slot)).count();
        }
        Ok(inserted)
    }
}

/// Generations, each with records in a segment of its own, of which half overwrite rows and half add some.
pub(super) struct Commit {
    scale: Scale,
    writer: HeedWriter,
    next: Generation,
}

impl Commit {
    pub(super) fn new(scale: Scale, folder: &Path) -> Result<Self, IndexError> {
        // Without a reader LMDB uses pages again, as it does where readers move on.
        let (_, writer, last) = filled(scale, folder)?;
        Ok(Self { scale, writer, next: last })
    }
}

impl Part for Commit {
    fn prepare(&mut self) -> Result<(), IndexError> {
        let (number, operations) = (self.next.number + 1, self.scale.operations as u64);
        let first = number * operations;
        let numbers = (first..first + operations).map(|draw| match draw % 2 {
            0 => self.scale.rows + draw,
            _ => draw % self.scale.rows,
        });
        self.next = generation(number, rows(numbers.map(key), Version(number)));
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let churn = self.writer.commit(&self.next)?;
        let here = churn.iter().find(|(segment, _)| u64::from(*segment) == self.next.number);
        Ok(here.map_or(0, |(_, rows)| usize::try_from(rows).unwrap_or_default()))
    }
}

/// Keys that are there, in no order.
pub(super) struct Get {
    reader: HeedReader,
    keys: Vec<Bytes>,
}

impl Get {
    pub(super) fn new(scale: Scale, folder: &Path) -> Result<Self, IndexError> {
        let (mut reader, _, _) = filled(scale, folder)?;
        reader.refresh()?;
        Ok(Self {
            reader,
            keys: (0..scale.operations as u64).map(key).collect(),
        })
    }
}

impl Part for Get {
    fn prepare(&mut self) -> Result<(), IndexError> {
        Ok(())
    }

    fn run(&mut self) -> Result<usize, IndexError> {
        let mut found = 0;
        for key in &self.keys {
            found += usize::from(self.reader.get(sample::SPACE, key)?.is_some());
        }
        Ok(found)
    }
}

/// An index with all rows, and the generation that brought them.
fn filled(scale: Scale, folder: &Path) -> Result<(HeedReader, HeedWriter, Generation), IndexError> {
    let (reader, mut writer) = HeedIndex::open(folder, MAP_BYTES, OURS)?;
    let first = generation(FIRST.0, rows((0..scale.rows).map(key), FIRST));
    writer.commit(&first)?;
    Ok((reader, writer, first))
}

fn rows(keys: impl Iterator<Item = Bytes>, version: Version) -> Overlay {
    let mut rows = Overlay::new();
    for key in keys {
        rows.insert_newer(sample::SPACE, &key, sample::slot(version, ValueHash::default()));
    }
    rows
}

fn generation(number: u64, rows: Overlay) -> Generation {
    Generation {
        number,
        rows: Arc::new(rows),
        core: CoreMarks {
            generation: number,
            replay: Position { segment: 1, offset: 4_096 },
            replay_sequence: number,
            next_space: Space(sample::SPACE.0 + 1),
        },
        replicas: Vec::new(),
        positions: Vec::new(),
        cleared: Vec::new(),
    }
}
