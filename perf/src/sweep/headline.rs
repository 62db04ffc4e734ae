//! The numbers a reader wants first, each with the ratio to who was measured beside it and the share of the limit that binds.

use serde_json::Value;

use super::limit::{Limits, Rate, Share};
use super::lines::{Lines, number, word};
use super::state::State;
use crate::report::versus::Ratio;
use crate::units::in_words;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Headline {
    /// What was done.
    pub(crate) what: String,
    /// Margate's number, with its unit.
    pub(crate) measured: String,
    /// Beside whom, and how many times theirs it is.
    pub(crate) beside: Option<(String, Ratio)>,
    /// The share of the limit that binds.
    pub(crate) share: Option<Share>,
}

/// All that the finished parts give.
pub(crate) fn headlines(state: &State) -> Vec<Headline> {
    let limits = Limits::of(&state.lines("limits"));
    let found = Found {
        state,
        limits: limits.as_ref(),
    };
    let mut all = Vec::new();
    all.extend(found.rate("etcd-768", "put", 1.0));
    all.extend(found.latency("etcd-768", "put", "p99_us"));
    all.extend(found.latency("etcd-1", "put", "p50_us"));
    all.extend(found.rate("etcd-768", "get", 0.0));
    all.extend(found.latency("etcd-1", "get", "p50_us"));
    all.extend(found.rate("ycsb-a", "ycsb-a", 0.5));
    all.extend(found.rate("redis", "put", 1.0));
    all.extend(found.rate("redis", "get", 0.0));
    all.extend(found.batch());
    all.extend(found.open());
    all.extend(found.logs());
    all.extend(found.cold_gets());
    all.extend(found.amplification());
    all.extend(found.scale());
    all.extend(found.overload());
    all.extend(found.failover());
    all.extend(found.restarts());
    all
}

struct Found<'a> {
    state: &'a State,
    limits: Option<&'a Limits>,
}

impl Found<'_> {
    /// Operations per second, beside a peer.
    fn rate(&self, part: &str, bench: &str, write_share: f64) -> Option<Headline> {
        let lines = self.state.lines(part).with("bench", bench).about_all();
        let ours = lines.with("system", "margate");
        let ops_per_s = ours.median("ops_per_s")?;
        let rate = rate_of(&ours, ops_per_s, write_share)?;
        Some(Headline {
            what: what(&ours)?,
            measured: format!("{ops_per_s:.0} ops/s"),
            beside: beside(&lines, "ops_per_s"),
            share: self.limits.map(|limits| limits.share_of_rate(rate)),
        })
    }

    /// A latency, beside a peer; the median has a least time to be compared with.
    fn latency(&self, part: &str, bench: &str, name: &str) -> Option<Headline> {
        let lines = self.state.lines(part).with("bench", bench).about_all();
        let ours = lines.with("system", "margate");
        let micros = ours.median(name)?;
        let share = |limits: &Limits| match bench {
            "get" => limits.share_of_get_time(micros),
            _ => limits.share_of_put_time(micros),
        };
        Some(Headline {
            what: format!("{}: {}", what(&ours)?, name.trim_end_matches("_us")),
            measured: micros_in_words(micros),
            beside: beside(&lines, name),
            share: self.limits.filter(|_| name == "p50_us").map(share),
        })
    }

    /// The batch writer, beside single puts.
    fn batch(&self) -> Option<Headline> {
        let lines = self.state.lines("own");
        let batch = lines.with("bench", "batch");
        let puts = lines.with("bench", "put").closed().at("in_flight", 768.0);
        let (ops_per_s, value_bytes) = (batch.median("ops_per_s")?, batch.median("value_bytes")?);
        let rate = rate_of(&batch, ops_per_s, 1.0)?;
        let ratio = Ratio::of(&batch.all("ops_per_s"), &puts.all("ops_per_s"));
        Some(Headline {
            what: format!("batch writer, {}", in_bytes(value_bytes)),
            measured: format!("{ops_per_s:.0} ops/s"),
            beside: ratio.map(|ratio| ("puts with 768 in flight".to_owned(), ratio)),
            share: self.limits.map(|limits| limits.share_of_rate(rate)),
        })
    }

    /// The clock at half the rate.
    fn open(&self) -> Option<Headline> {
        let lines = self.state.lines("own").open();
        let (wanted, p50) = (lines.median("wanted_per_s")?, lines.median("p50_us")?);
        let tail = [lines.median("p99_us")?, lines.median("p999_us")?].map(micros_in_words);
        Some(Headline {
            what: format!("puts by the clock, {wanted:.0}/s, half of what 768 in flight gave: p99 / p99.9"),
            measured: tail.join(" / "),
            beside: None,
            share: self.limits.map(|limits| limits.share_of_put_time(p50)).map(|share| Share {
                of: format!("{}, against the p50 of {}", share.of, micros_in_words(p50)),
                ..share
            }),
        })
    }

    /// Appends of small values by so many writers, and of whole batches.
    fn logs(&self) -> Vec<Headline> {
        let lines = self.state.lines("log");
        let verdicts = lines
            .iter()
            .filter_map(|line| Some((word(line, "bench")?, word(line, "peer")?, ratio_of(line)?)));
        let headline = |(bench, peer, ratio): (&str, &str, Ratio)| Headline {
            what: bench.to_owned(),
            measured: format!("{:.0}/s", ratio.ours),
            beside: Some((peer.to_owned(), ratio)),
            share: match peer {
                "fio" => Some(of_fio(ratio)),
                _ => writers_in(bench).and_then(|writers| Some(self.limits?.share_of_appends(ratio.ours, writers))),
            },
        };
        verdicts.map(headline).collect()
    }

    fn cold_gets(&self) -> Option<Headline> {
        let lines = self.state.lines("cold-get");
        let (line, ratio) = lines.iter().find_map(|line| Some((line, ratio_of(line)?)))?;
        Some(Headline {
            what: word(line, "bench")?.to_owned(),
            measured: format!("{:.0}/s", ratio.ours),
            beside: Some(("fio".to_owned(), ratio)),
            share: Some(of_fio(ratio)),
        })
    }

    /// Bytes on disk; the least is one for each.
    fn amplification(&self) -> Vec<Headline> {
        let lines = self.state.lines("amplification");
        let headline = |line: &Value| {
            let per_byte = number(line, "disk_per_byte")?;
            Some(Headline {
                what: format!(
                    "disk bytes for each byte of a value and replica, {}, {}",
                    in_bytes(number(line, "value_bytes")?),
                    word(line, "phase")?
                ),
                measured: format!("{per_byte:.2}"),
                beside: None,
                share: Some(Share {
                    share: 1.0 / per_byte,
                    of: "each byte written once".to_owned(),
                }),
            })
        };
        lines.iter().filter_map(headline).collect()
    }

    /// The most keys of each order.
    fn scale(&self) -> Vec<Headline> {
        let all = self.state.lines("scale");
        let of_order = |order: &&str| {
            let lines = all.with("order", order);
            let most = lines.all("keys").into_iter().fold(0.0, f64::max);
            let largest = lines.at("keys", most);
            let (ops_per_s, ratio) = (largest.median("ops_per_s")?, largest.median("ratio")?);
            let rate = rate_of(&largest, ops_per_s, 1.0)?;
            Some(Headline {
                what: format!(
                    "put with {most:.0} keys, {order}, at least {:.0} index commits",
                    largest.median("commits")?
                ),
                measured: format!("{ops_per_s:.0} ops/s, {ratio:.2} times that of the fewest keys"),
                beside: None,
                share: self.limits.map(|limits| limits.share_of_rate(rate)),
            })
        };
        ["uniform", "sequential"].iter().filter_map(of_order).collect()
    }

    fn overload(&self) -> Option<Headline> {
        let lines = self.state.lines("overload");
        let line = lines.iter().next()?;
        let held = line.get("held_max")?;
        let held_mib = (number(held, "anonymous_kib")? + number(held, "locked_kib")?) / 1024.0;
        let calm = number(line, "calm_after_ms").map_or("not in the time it was watched".to_owned(), |millis| format!("{millis:.0} ms"));
        let share = number(line, "goodput_ratio")?;
        Some(Headline {
            what: format!(
                "overload: {:.0} in flight, memory per node, time to the p99 of before",
                number(line, "in_flight")?
            ),
            measured: format!("{:.0} ops/s, {held_mib:.0} MiB, {calm}", number(line, "goodput_per_s")?),
            beside: None,
            share: Some(Share {
                share,
                of: "its own peak".to_owned(),
            }),
        })
    }

    fn failover(&self) -> Option<Headline> {
        let lines = self.state.lines("failover");
        let line = lines.iter().next()?;
        Some(Headline {
            what: format!(
                "kill -9 of a leader, {:.0} times, until its shards take writes: p50 / max",
                number(line, "kills")?
            ),
            measured: format!("{:.0} / {:.0} ms", number(line, "p50_ms")?, number(line, "max_ms")?),
            beside: None,
            share: None,
        })
    }

    fn restarts(&self) -> Vec<Headline> {
        let lines = self.state.lines("restart");
        let headline = |line: &Value| {
            let log_bytes = number(line, "log_bytes_min")?;
            Some(Headline {
                what: format!(
                    "restart, {}, {:.1} GiB of log: median / max until it serves",
                    word(line, "end")?,
                    log_bytes / GIB
                ),
                measured: format!("{:.0} / {:.0} ms", number(line, "serves_p50_ms")?, number(line, "serves_max_ms")?),
                beside: None,
                share: None,
            })
        };
        lines.iter().filter_map(headline).collect()
    }
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The bench of these lines, with its values and operations under way.
fn what(lines: &Lines<'_>) -> Option<String> {
    let line = lines.iter().next()?;
    let (bench, in_flight) = (word(line, "bench")?, number(line, "in_flight")?);
    Some(format!(
        "{bench} {}, {in_flight:.0} in flight",
        in_bytes(number(line, "value_bytes")?)
    ))
}

/// A rate of what these lines are about.
fn rate_of(lines: &Lines<'_>, ops_per_s: f64, write_share: f64) -> Option<Rate> {
    Some(Rate {
        ops_per_s,
        in_flight: lines.median("in_flight")?,
        write_share,
        value_bytes: lines.median("value_bytes")?,
    })
}

/// The peer among these lines and the ratio to it.
fn beside(lines: &Lines<'_>, name: &str) -> Option<(String, Ratio)> {
    let peer = lines
        .iter()
        .filter_map(|line| word(line, "system"))
        .find(|system| *system != "margate")?;
    let series = |system| lines.with("system", system).all(name);
    Ratio::of(&series("margate"), &series(peer)).map(|ratio| (peer.to_owned(), ratio))
}

/// The ratio of a line that is about one.
fn ratio_of(line: &Value) -> Option<Ratio> {
    Some(Ratio {
        ours: number(line, "ours")?,
        theirs: number(line, "theirs")?,
        ratio: number(line, "ratio")?,
        min: number(line, "min")?,
        max: number(line, "max")?,
    })
}

fn of_fio(ratio: Ratio) -> Share {
    Share {
        share: ratio.ratio,
        of: format!("fio at the same depth, in turn ({:.0}/s)", ratio.theirs),
    }
}

/// The number before the last word of, say, `log append of 256 B, 8 writers`.
fn writers_in(bench: &str) -> Option<f64> {
    bench.rsplit(' ').nth(1)?.parse().ok()
}

fn in_bytes(bytes: f64) -> String {
    // A whole number that came from a usize.
    format!("{bytes:.0}").parse().map_or_else(|_| String::new(), in_words)
}

/// A time of microseconds, for people.
pub(crate) fn micros_in_words(micros: f64) -> String {
    if micros < 1_000.0 {
        format!("{micros:.0} µs")
    } else {
        format!("{:.1} ms", micros / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::limit::tests::limit_lines;
    use super::super::state::tests::state;
    use super::*;

    fn turn(system: &str, ops_per_s: f64) -> Value {
        json!({"system": system, "bench": "put", "in_flight": 768, "value_bytes": 256, "ops_per_s": ops_per_s, "p50_us": 900.0, "p99_us": 2000.0})
    }

    #[test]
    fn a_rate_stands_beside_the_peers_and_its_limit() {
        let turns = [("margate", 90.0), ("etcd", 10.0), ("margate", 110.0), ("etcd", 10.0)];
        let lines = turns.map(|(system, rate)| turn(system, rate * 1_000.0)).to_vec();
        let headlines = headlines(&state(&[("limits", limit_lines()), ("etcd-768", lines)]));
        let [rate, p99] = headlines.as_slice() else {
            panic!("{headlines:?}")
        };
        assert_eq!(
            (rate.what.as_str(), rate.measured.as_str()),
            ("put 256 B, 768 in flight", "100000 ops/s")
        );
        let (peer, ratio) = rate.beside.as_ref().expect("both were measured");
        assert_eq!((peer.as_str(), ratio.ratio, ratio.min, ratio.max), ("etcd", 10.0, 9.0, 11.0));
        assert!(rate.share.as_ref().is_some_and(|share| (share.share - 0.1).abs() < 1e-9));
        assert_eq!((p99.measured.as_str(), p99.share.as_ref()), ("2.0 ms", None));
    }

    #[test]
    fn logs_and_cold_gets_have_their_ratios_in_their_lines() {
        let versus = |bench: &str, peer: &str| json!({"bench": bench, "peer": peer, "ours": 32.0, "theirs": 16.0, "ratio": 2.0, "min": 1.0, "max": 3.0});
        let logs = vec![
            json!({"system": "margate", "bench": "log-append", "ops_per_s": 32.0}),
            versus("log append of 256 B, 8 writers", "raft-engine"),
            versus("log append in batches of 64 KiB, 1 writer", "fio"),
        ];
        let headlines = headlines(&state(&[("limits", limit_lines()), ("log", logs)]));
        let shares: Vec<_> = headlines
            .iter()
            .filter_map(|headline| headline.share.as_ref())
            .map(|share| share.share)
            .collect();
        assert_eq!(shares, [32.0 / 64_000.0, 2.0]);
    }

    #[test]
    fn without_limits_there_are_numbers_and_no_shares_and_without_parts_nothing() {
        let scale = json!({"bench": "scale", "order": "uniform", "keys": 20, "value_bytes": 256, "in_flight": 768, "ops_per_s": 5.0, "ratio": 0.5, "commits": 3});
        let headlines_of = |parts: &[(&str, Vec<Value>)]| headlines(&state(parts));
        let found = headlines_of(&[("scale", vec![scale])]);
        assert!(matches!(found.as_slice(), [headline] if headline.share.is_none()), "{found:?}");
        assert_eq!(headlines_of(&[]), []);
    }

    #[test]
    fn what_is_overloaded_killed_and_restarted_is_told() {
        let overload = json!({"in_flight": 80, "goodput_per_s": 9.0, "goodput_ratio": 0.9, "calm_after_ms": null,
            "held_max": {"anonymous_kib": 1024, "locked_kib": 1024}});
        let failover = json!({"kills": 3, "p50_ms": 400.0, "max_ms": 500.0});
        let restart = json!({"end": "killed", "log_bytes_min": 2_147_483_648_u64, "serves_p50_ms": 1.0, "serves_max_ms": 2.0});
        let parts = [
            ("overload", vec![overload]),
            ("failover", vec![failover]),
            ("restart", vec![restart]),
        ];
        let told: Vec<_> = headlines(&state(&parts)).into_iter().map(|headline| headline.measured).collect();
        assert_eq!(told, ["9 ops/s, 2 MiB, not in the time it was watched", "400 / 500 ms", "1 / 2 ms"]);
    }
}
