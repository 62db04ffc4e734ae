//! Redis' client: writes and reads of single keys, one reply each.

use std::net::SocketAddr;

use bytes::Bytes;

use super::redis_connection::{Connection, RedisError};
use super::resp::Reply;
use crate::target::{Effect, Failure, Row, Target};

/// Connections to the node; workers share them in turn.
pub(crate) struct Redis {
    connections: Vec<Connection>,
}

/// `compare` refuses benches that scan before it starts anything.
#[derive(Debug, thiserror::Error)]
#[error("redis keeps keys in no order, so there is nothing to scan")]
struct NoOrder;

impl Redis {
    /// Opens connections.
    ///
    /// # Errors
    /// The node does not answer.
    pub(crate) async fn connect(node: SocketAddr, connections: usize) -> Result<Self, RedisError> {
        let mut opened = Vec::with_capacity(connections);
        for _ in 0..connections {
            opened.push(Connection::open(node).await?);
        }
        Ok(Self { connections: opened })
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What the node says under a name in a section of `INFO`.
    ///
    /// # Errors
    /// The node's or the connection's.
    pub(crate) async fn info(&self, section: &str, name: &str) -> Result<Option<String>, RedisError> {
        let Reply::Bulk(Some(said)) = self.connection(0).ask(&[b"INFO", section.as_bytes()]).await? else {
            return Err(RedisError::Misanswered);
        };
        let said = String::from_utf8_lossy(&said);
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.map(|value| value.trim().to_owned()))
    }

    /// How the node is set.
    ///
    /// # Errors
    /// The node's or the connection's.
    pub(crate) async fn setting(&self, name: &str) -> Result<Option<String>, RedisError> {
        let Reply::Array(name_and_value) = self.connection(0).ask(&[b"CONFIG", b"GET", name.as_bytes()]).await? else {
            return Err(RedisError::Misanswered);
        };
        let value = name_and_value.into_iter().nth(1).flatten();
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    fn connection(&self, worker: usize) -> &Connection {
        &self.connections[worker % self.connections.len()]
    }
}

impl Target for Redis {
    async fn put(&self, worker: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let reply = self.connection(worker).ask(&[b"SET", &key, &value]).await;
        let written = reply.and_then(|reply| match reply {
            Reply::Status(_) => Ok(()),
            Reply::Error(_) | Reply::Bulk(_) | Reply::Array(_) => Err(RedisError::Misanswered),
        });
        written.map_err(|error| Failure {
            effect: effect_of_write(&error),
            cause: Box::new(error),
        })
    }

    async fn get(&self, worker: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        match self.connection(worker).ask(&[b"GET", &key]).await.map_err(Failure::none)? {
            Reply::Bulk(found) => Ok(found),
            Reply::Status(_) | Reply::Error(_) | Reply::Array(_) => Err(Failure::none(RedisError::Misanswered)),
        }
    }

    async fn scan(&self, _: usize, _: Bytes, _: usize) -> Result<Vec<Row>, Failure> {
        Err(Failure::none(NoOrder))
    }
}

/// Only a refusal proves that nothing was written.
fn effect_of_write(error: &RedisError) -> Effect {
    match error {
        RedisError::Refused { .. } | RedisError::Connect { .. } => Effect::None,
        RedisError::Lost | RedisError::Late { .. } | RedisError::Misanswered => Effect::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_the_node_refused_is_known_to_have_changed_nothing() {
        let said = "READONLY".to_owned();
        assert_eq!(effect_of_write(&RedisError::Refused { said }), Effect::None);
        let after = Duration::ZERO;
        for error in [RedisError::Lost, RedisError::Late { after }, RedisError::Misanswered] {
            assert_eq!(effect_of_write(&error), Effect::Unknown, "{error}");
        }
    }
}
