//! The page: one file that shows everything without asking for anything else.
//!
//! `html` writes text and tables, `plot` draws, `histograms` reads what runs have left.
//!
//! Not here, on purpose: scripts, fonts, pictures from elsewhere.

pub(crate) mod histograms;
mod html;
mod plot;

use std::collections::BTreeMap;

use serde_json::Value;

use super::headline::{Headline, headlines};
use super::lines::{Lines, word};
use super::machine::Fact;
use super::parts::Part;
use super::state::{Finished, State};
use histograms::Curve;
use html::{cell, columns, escape, row, table};
use plot::{Axis, Plot, Series};

/// Histograms of each part.
pub(crate) type Curves = BTreeMap<String, Vec<Curve>>;

/// Makes it, of what is finished of these parts.
pub(crate) fn page(state: &State, parts: &[Part], curves: &Curves) -> String {
    let kind = if state.key.quick {
        "<p><b>A quick sweep</b>: one round, few keys, short windows. It shows that everything works; its numbers say little.</p>"
    } else {
        ""
    };
    let missing: Vec<&str> = parts
        .iter()
        .map(|part| part.name)
        .filter(|name| state.part(name).is_none())
        .collect();
    let missing = match missing.as_slice() {
        [] => String::new(),
        names => format!("<p>Not finished: {}.</p>", names.join(", ")),
    };
    let told = parts
        .iter()
        .filter_map(|part| Some(self::part(state, part, state.part(part.name)?, curves)));
    let body = [
        kind.to_owned(),
        missing,
        machine(&state.machine, &state.key.build),
        summary(&headlines(state)),
        ladder(state),
        told.collect(),
    ];
    html::document("Margate: what was measured", &body.concat())
}

fn machine(facts: &[Fact], build: &str) -> String {
    let rows = facts.iter().map(|fact| row(&[cell(&fact.name), cell(&fact.value)]));
    let build = row(&[cell("checksums of both programs"), cell(build)]);
    format!("<h2>The machine</h2>{}", table(&["", ""], rows.chain([build])))
}

fn summary(headlines: &[Headline]) -> String {
    let told = |headline: &Headline| {
        let beside = headline.beside.as_ref();
        let (share, of) = headline
            .share
            .as_ref()
            .map_or((String::new(), ""), |share| (format!("{:.2}", share.share), share.of.as_str()));
        row(&[
            cell(&headline.what),
            cell(&headline.measured),
            cell(&beside.map_or_else(String::new, |(peer, ratio)| format!("{ratio} × {peer}"))),
            cell(&share),
            cell(of),
        ])
    };
    let about = "<p>Medians of all rounds; ratios are of medians, with the smallest and the largest of a round. η is the share of the lowest \
                 limit that fio and an echo over the loopback have shown in this sweep.</p>";
    let ratios: Vec<_> = headlines
        .iter()
        .filter_map(|headline| {
            headline
                .beside
                .as_ref()
                .map(|(peer, ratio)| (format!("{} ÷ {peer}", headline.what), *ratio))
        })
        .collect();
    let heads = ["", "margate", "ratio", "η", "of"];
    format!(
        "<h2>Headlines</h2>{about}{}{}",
        table(&heads, headlines.iter().map(told)),
        plot::ratios(&ratios)
    )
}

/// Throughput against latency, as more and more is in flight.
fn ladder(state: &State) -> String {
    let names = state.finished.iter().map(|part| part.name.as_str());
    let all: Vec<&Value> = names
        .filter(|name| *name == "own" || name.starts_with("etcd-"))
        .flat_map(|name| state.lines(name).iter().collect::<Vec<_>>())
        .collect();
    let lines = Lines::new(all).closed();
    let of_bench = |bench: &str| {
        let series = [("margate", "p50_us"), ("margate", "p99_us"), ("etcd", "p50_us"), ("etcd", "p99_us")];
        let series = series.map(|(system, latency)| rungs(&lines.with("bench", bench).with("system", system), (system, latency)));
        Plot {
            title: format!("{bench}, 256 B: latency against throughput, as more is in flight"),
            x: Axis::Log("operations per second"),
            y: Axis::Log("latency in microseconds"),
            series: series.into(),
        }
        .draw()
    };
    format!("<h2>Throughput against latency</h2>{}", ["put", "get"].map(of_bench).concat())
}

/// A point for each number of operations under way.
fn rungs(lines: &Lines<'_>, (system, latency): (&str, &str)) -> Series {
    let point = |in_flight: f64| {
        let rung = lines.at("in_flight", in_flight);
        Some((rung.median("ops_per_s")?, rung.median(latency)?))
    };
    Series {
        name: format!("{system} {}", latency.trim_end_matches("_us")),
        points: lines.distinct("in_flight").into_iter().filter_map(point).collect(),
    }
}

fn part(state: &State, part: &Part, finished: &Finished, curves: &Curves) -> String {
    let verdict = if finished.is_good() {
        ""
    } else {
        " <b>Something was not as it should be: a command ended with another code than 0.</b>"
    };
    let commands: String = finished
        .runs
        .iter()
        .map(|run| {
            let code = run.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            let note = if run.code == Some(0) {
                String::new()
            } else {
                format!("    # ended with {code}")
            };
            escape(&format!("margate-perf {}{note}\n", run.command))
        })
        .collect();
    let lines = state.lines(part.name);
    format!(
        "<h2>{}</h2><p>{:.0} s, steal {:.1} %.{verdict}</p><pre>{commands}</pre>{}{}{}",
        escape(part.title),
        finished.secs,
        100.0 * finished.steal,
        tables(&lines),
        if part.name == "scale" { keys(&lines) } else { String::new() },
        latencies(curves.get(part.name).map_or(&[], Vec::as_slice)),
    )
}

/// Lines that have the same columns share a table.
fn tables(lines: &Lines<'_>) -> String {
    let mut shapes: Vec<(Vec<&str>, Vec<&Value>)> = Vec::new();
    for line in lines.iter() {
        let columns = columns(line);
        match shapes.iter_mut().find(|(known, _)| *known == columns) {
            Some((_, lines)) => lines.push(line),
            None => shapes.push((columns, vec![line])),
        }
    }
    let of_shape = |(columns, lines): &(Vec<&str>, Vec<&Value>)| {
        let rows = lines
            .iter()
            .map(|line| row(&columns.iter().map(|name| html::value(&line[*name])).collect::<Vec<_>>()));
        table(columns, rows)
    };
    shapes.iter().map(of_shape).collect()
}

/// Puts as there are more keys, on as many cores and shards as at first.
fn keys(lines: &Lines<'_>) -> String {
    let lines = lines.like_first("cores").like_first("shards");
    let mut orders: Vec<&str> = lines.iter().filter_map(|line| word(line, "order")).collect();
    orders.sort_unstable();
    orders.dedup();
    let of_order = |order: &&str| {
        let lines = lines.with("order", order);
        let point = |keys: f64| Some((keys, lines.at("keys", keys).median("ops_per_s")?));
        Series {
            name: (*order).to_owned(),
            points: lines.distinct("keys").into_iter().filter_map(point).collect(),
        }
    };
    Plot {
        title: "put: throughput as there are more keys".to_owned(),
        x: Axis::Log("keys"),
        y: Axis::Log("operations per second"),
        series: orders.iter().map(of_order).collect(),
    }
    .draw()
}

fn latencies(curves: &[Curve]) -> String {
    if curves.is_empty() {
        return String::new();
    }
    let series = |curve: &Curve| Series {
        name: curve.name.clone(),
        points: curve.points.clone(),
    };
    Plot {
        title: "latency by percentile, all rounds".to_owned(),
        x: Axis::Percentile("percentile"),
        y: Axis::Log("latency in microseconds"),
        series: curves.iter().map(series).collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::limit::tests::limit_lines;
    use super::super::parts::parts;
    use super::super::state::tests::state;
    use super::*;

    #[test]
    fn more_cores_are_not_more_keys() {
        let point = |order: &str, keys: u32, cores: u32, ops_per_s: f64| json!({"order": order, "keys": keys, "cores": cores, "shards": 4, "ops_per_s": ops_per_s});
        let lines = [
            point("uniform", 10, 1, 100.0),
            point("uniform", 20, 1, 90.0),
            point("sequential", 10, 1, 80.0),
            point("uniform", 10, 2, 900.0),
        ];
        let drawn = keys(&Lines::new(&lines));
        assert_eq!(drawn.matches("<polyline").count(), 2, "{drawn}");
        assert!(!drawn.contains(">1k<"), "one core writes no more than 100: {drawn}");
    }

    #[test]
    fn the_page_holds_everything_and_asks_for_nothing() {
        let turn = |system: &str, in_flight: u32| {
            json!({"system": system, "bench": "put", "in_flight": in_flight, "value_bytes": 256,
            "ops_per_s": 1000.0, "p50_us": 100.0, "p99_us": 200.0, "version": "<script>"})
        };
        let lines = vec![turn("margate", 768), turn("etcd", 768), json!({"note": "a&b"})];
        let mut state = state(&[("limits", limit_lines()), ("etcd-768", lines), ("etcd-1", vec![turn("margate", 1)])]);
        state.finished[1].runs[0].code = Some(1);
        let curve = Curve {
            name: "margate-put".to_owned(),
            points: vec![(1.0, 10.0), (10.0, 20.0)],
        };
        let page = page(&state, &parts(true), &BTreeMap::from([("etcd-768".to_owned(), vec![curve])]));
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for held in [
            "<svg",
            "etcd-768 --rounds 1",
            "ended with 1",
            "a&amp;b",
            "margate-put",
            "Not finished: ycsb-a",
            "A quick sweep",
            "η",
        ] {
            assert!(page.contains(held), "{held} in {page}");
        }
        for outside in ["<script", "http", "src=", "href=", "@import"] {
            assert!(!page.contains(outside), "{outside} in {page}");
        }
        assert_eq!(page.matches("<table>").count(), page.matches("</table>").count());
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
