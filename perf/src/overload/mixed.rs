//! Workers that share patient clients and others: each kind has every other worker.

use std::sync::Arc;

use bytes::Bytes;

use super::impatient::Impatient;
use crate::margate::target::Margate;
use crate::target::{Failure, Row, Target};

/// Both kinds of clients.
pub(crate) struct Mixed {
    /// Those that wait as long as they are asked to.
    pub(crate) patient: Arc<Margate>,
    /// Those that do not.
    pub(crate) impatient: Vec<Impatient>,
}

impl Mixed {
    /// Times a core asked for patience and got none.
    pub(crate) fn ignored(&self) -> u64 {
        self.impatient.iter().map(Impatient::ignored).sum()
    }
}

impl Target for Mixed {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let (pair, is_patient) = (worker / 2, worker.is_multiple_of(2));
        match is_patient {
            true => self.patient.put(pair, key, value).await,
            false => self.impatient[pair % self.impatient.len()].put(key, value).await,
        }
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.patient.get(worker, key).await
    }

    async fn scan(&self, worker: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.patient.scan(worker, low, rows).await
    }
}
