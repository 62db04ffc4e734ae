//! The public client as a target.

use std::net::SocketAddr;

use bytes::Bytes;
use margate_client::{Client, ClientConfig, ConnectError, Error};

use crate::target::{Effect, Failure, Row, Target};

/// Clients of one deployment; workers share them in turn.
pub(crate) struct Margate {
    clients: Vec<Client>,
}

impl Margate {
    /// Connects `clients` clients, at least one.
    ///
    /// # Errors
    /// No endpoint answers.
    pub(crate) async fn connect(endpoints: &[SocketAddr], clients: usize) -> Result<Self, ConnectError> {
        let mut connected = Vec::with_capacity(clients.max(1));
        for _ in 0..clients.max(1) {
            connected.push(Client::connect(config(endpoints)).await?);
        }
        Ok(Self { clients: connected })
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// One of them.
    pub(crate) fn client(&self, worker: usize) -> &Client {
        &self.clients[worker % self.clients.len()]
    }
}

/// The client's defaults with these endpoints.
pub(crate) fn config(endpoints: &[SocketAddr]) -> ClientConfig {
    ClientConfig {
        endpoints: endpoints.to_vec(),
        ..ClientConfig::default()
    }
}

impl Target for Margate {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let written = self.client(worker).set(key, value).await;
        written.map(drop).map_err(failure)
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        let found = self.client(worker).get(key).await.map_err(failure)?;
        Ok(found.map(|found| found.value))
    }

    async fn scan(&self, worker: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        let page = self.client(worker).list(low, Bytes::new()).limit(rows).await.map_err(failure)?;
        let with_value = page.rows.into_iter().map(|row| (row.key, row.value.unwrap_or_default()));
        Ok(with_value.collect())
    }
}

/// An error of the client as a failure.
pub(crate) fn failure(error: Error) -> Failure {
    Failure {
        effect: effect(&error),
        cause: Box::new(error),
    }
}

/// What an error proves about the operation.
pub(crate) fn effect(error: &Error) -> Effect {
    match error {
        Error::OutcomeUnknown { .. } => Effect::Unknown,
        Error::Abandoned
        | Error::Closed
        | Error::OutOfOrder(_)
        | Error::Protocol(_)
        | Error::Refused(_)
        | Error::Timeout { .. }
        | Error::Unavailable { .. } => Effect::None,
    }
}

/// Whether a node that is gone, cut off or stands still is reason enough for an error.
pub(crate) fn explained(error: &Error) -> bool {
    match error {
        Error::OutOfOrder(_) | Error::OutcomeUnknown { .. } | Error::Unavailable { .. } | Error::Timeout { .. } => true,
        Error::Abandoned | Error::Refused(_) | Error::Protocol(_) | Error::Closed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_client::UnknownCause;
    use margate_net::error::Refusal;
    use std::time::Duration;

    #[test]
    fn only_an_unknown_outcome_may_have_changed_something() {
        let cause = UnknownCause::ConnectionLost;
        assert_eq!(effect(&Error::OutcomeUnknown { cause }), Effect::Unknown);
        let after = Duration::from_secs(5);
        for error in [Error::Refused(Refusal::NotFound), Error::Timeout { after }, Error::Closed] {
            assert_eq!(effect(&error), Effect::None, "{error}");
        }
    }

    #[test]
    fn a_killed_node_explains_silence_and_nothing_else() {
        let cause = UnknownCause::LeadershipLost;
        assert!(explained(&Error::OutcomeUnknown { cause }));
        assert!(explained(&Error::Timeout { after: Duration::ZERO }));
        assert!(!explained(&Error::Refused(Refusal::Damaged)));
        assert!(!explained(&Error::Closed));
    }

    #[tokio::test]
    async fn a_deployment_that_is_not_there_is_an_error_that_says_what_to_do() {
        let error = Margate::connect(&[], 1).await.err().expect("there is nowhere to connect to");
        assert!(error.to_string().contains("endpoint"), "{error}");
    }
}
