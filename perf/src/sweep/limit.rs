//! What bounds an operation on this machine, by what fio and the echo measured in the same sweep, and which share of it was reached.
//!
//! All three replicas share one disk, and all processes its CPUs. So a put writes its value three times to the disk, at the
//! least, and three messages go there and back: the client's, and one to each follower. A put alone cannot be faster than two
//! messages, one after the other, and a flush. What is batched needs less than that for each operation; what an index, a
//! checksum or a journal takes is not in it. A share above one says that batching beat the echo's way of sending.

use super::lines::Lines;

/// Copies of each value on the one disk.
const REPLICAS: f64 = 3.0;
/// Messages there and back for each put: the client's and two followers'.
const PUT_MESSAGES: f64 = 3.0;
/// Messages one after the other in a put.
const PUT_HOPS: f64 = 2.0;

/// What the machine does without us.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Microseconds of a small flush, the median.
    pub(crate) flush_us: f64,
    /// Small flushes per second, one after the other.
    pub(crate) flushes_per_s: f64,
    /// Bytes per second, written as the disk likes.
    pub(crate) written_per_s: f64,
    /// Microseconds of a message there and back, the median.
    pub(crate) message_us: f64,
    /// Messages there and back per second, by how many are under way, fewest first.
    pub(crate) messages_per_s: Vec<(f64, f64)>,
}

/// How fast, and what of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Operations per second.
    pub(crate) ops_per_s: f64,
    /// Operations under way.
    pub(crate) in_flight: f64,
    /// Share of writes.
    pub(crate) write_share: f64,
    /// Bytes of each value.
    pub(crate) value_bytes: f64,
}

/// A share of a limit, and which.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// 1 is all of it.
    pub(crate) share: f64,
    /// Of what.
    pub(crate) of: String,
}

impl Limits {
    /// From the lines of `limits`; `None` if one is missing.
    pub(crate) fn of(lines: &Lines<'_>) -> Option<Self> {
        let flush = lines.with("bench", "append").at("block_bytes", 4_096.0);
        let written = lines.with("bench", "write");
        let echo = lines.with("bench", "echo");
        Some(Self {
            flush_us: flush.median("p50_us")?,
            flushes_per_s: flush.median("ops_per_s")?,
            written_per_s: written.median("ops_per_s")? * written.median("block_bytes")?,
            message_us: echo.at("in_flight", 1.0).median("p50_us")?,
            messages_per_s: messages_per_s(&echo)?,
        })
    }

    /// What an echo gives with so many messages under way, or as many as were tried that are not more.
    fn messages_per_s(&self, in_flight: f64) -> f64 {
        let tried = self.messages_per_s.iter().take_while(|(tried, _)| *tried <= in_flight);
        tried
            .last()
            .or(self.messages_per_s.first())
            .map_or(f64::INFINITY, |(_, per_s)| *per_s)
    }

    /// Of a rate: of the limit that is lower.
    pub(crate) fn share_of_rate(&self, rate: Rate) -> Share {
        let Rate {
            ops_per_s,
            in_flight,
            write_share,
            value_bytes,
        } = rate;
        let messages = (1.0 - write_share) + write_share * PUT_MESSAGES;
        let loopback = self.messages_per_s(in_flight) / messages;
        let disk = self.written_per_s / (REPLICAS * value_bytes * write_share);
        let (limit, of) = if disk < loopback {
            (disk, "the disk's bandwidth: each value on it three times")
        } else if write_share > 0.0 {
            (loopback, "the loopback's messages: three there and back for each put")
        } else {
            (loopback, "the loopback's messages: one there and back for each get")
        };
        Share {
            share: ops_per_s / limit,
            of: format!("{of} ({limit:.0}/s)"),
        }
    }

    /// The least time of a put against its median.
    pub(crate) fn share_of_put_time(&self, p50_us: f64) -> Share {
        let least = PUT_HOPS * self.message_us + self.flush_us;
        Share {
            share: least / p50_us,
            of: format!("two messages and a flush, one after the other ({least:.0} µs)"),
        }
    }

    /// The least time of a get against its median.
    pub(crate) fn share_of_get_time(&self, p50_us: f64) -> Share {
        Share {
            share: self.message_us / p50_us,
            of: format!("one message there and back ({:.0} µs)", self.message_us),
        }
    }

    /// Of so many appends per second by so many writers, one flush for all of them at the most.
    pub(crate) fn share_of_appends(&self, appends_per_s: f64, writers: f64) -> Share {
        let limit = self.flushes_per_s * writers;
        Share {
            share: appends_per_s / limit,
            of: format!("fio's flushes of 4 KiB, one after the other, each for all writers ({limit:.0}/s)"),
        }
    }
}

/// Of each number of messages under way; `None` where none was tried.
fn messages_per_s(echo: &Lines<'_>) -> Option<Vec<(f64, f64)>> {
    let rate = |in_flight: f64| Some((in_flight, echo.at("in_flight", in_flight).median("ops_per_s")?));
    let rates: Vec<_> = echo.distinct("in_flight").into_iter().filter_map(rate).collect();
    (!rates.is_empty()).then_some(rates)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What `limits` prints on a machine of round numbers.
    pub(crate) fn limit_lines() -> Vec<Value> {
        vec![
            json!({"bench": "append", "block_bytes": 4096, "p50_us": 100.0, "ops_per_s": 8000.0}),
            json!({"bench": "write", "block_bytes": 131_072, "ops_per_s": 10_000.0}),
            json!({"bench": "echo", "in_flight": 1, "p50_us": 50.0, "ops_per_s": 20_000.0}),
            json!({"bench": "echo", "in_flight": 768, "p50_us": 300.0, "ops_per_s": 3_000_000.0}),
        ]
    }

    #[test]
    fn the_lower_limit_binds() {
        let lines = limit_lines();
        let limits = Limits::of(&Lines::new(&lines)).expect("all are there");
        let share = |ops_per_s, in_flight, write_share, value_bytes| {
            limits.share_of_rate(Rate {
                ops_per_s,
                in_flight,
                write_share,
                value_bytes,
            })
        };
        let small = share(100_000.0, 768.0, 1.0, 256.0);
        assert!(
            (small.share - 0.1).abs() < 1e-9 && small.of.starts_with("the loopback's"),
            "{small:?}"
        );
        let large = share(10_000.0, 768.0, 1.0, 65_536.0);
        assert!(large.of.starts_with("the disk's") && large.share > 1.0, "{large:?}");
        let get = share(300_000.0, 2_048.0, 0.0, 256.0);
        assert!(
            (share(2_000.0, 64.0, 0.0, 256.0).share - 0.1).abs() < 1e-9,
            "no more than 1 was tried below 64"
        );
        assert!((get.share - 0.1).abs() < 1e-9 && get.of.contains("each get"), "{get:?}");
        assert!((limits.share_of_put_time(400.0).share - 0.5).abs() < 1e-9);
        assert!((limits.share_of_get_time(100.0).share - 0.5).abs() < 1e-9);
        assert!((limits.share_of_appends(32_000.0, 8.0).share - 0.5).abs() < 1e-9);
    }

    #[test]
    fn without_one_of_them_there_are_none() {
        let lines = limit_lines();
        assert_eq!(Limits::of(&Lines::new(&lines[1..])), None);
    }
}
