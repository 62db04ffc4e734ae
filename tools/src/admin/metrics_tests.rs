//! The text is read back line by line, as a scraper does: every sample belongs to a family, histograms are whole and rise.

use std::collections::{BTreeMap, BTreeSet};

use margate_net::codec::OperationKind;
use margate_net::ids::{CoreId, NodeId};
use margate_net::measure::{Number, Stage, Traffic};
use margate_net::message::Readiness;

use super::super::look::tests::{answering, member, silent};
use super::*;

/// A node of two cores, of which one has measured something and one is silent.
fn node() -> View {
    let mut core = answering(0, &[Readiness::Ready, Readiness::Leaderless]);
    if let Answer::Status(status) = &mut core.answer
        && let Some(measures) = &mut status.measures
    {
        measures.numbers.set(Number::LogBytes, 8_192);
        measures.numbers.set(Number::Connections, 3);
        measures.times.record(Span::Write(Stage::Durable), 250_000, 4);
        measures.times.record(Span::Write(Stage::Durable), 1 << 40, 1);
        measures.outcomes.count(OperationKind::Set, None);
        measures.traffic.push(Traffic {
            bytes_sent: 77,
            ..Traffic::none(NodeId(2), CoreId(1))
        });
    }
    member(vec![core, silent(1)])
}

/// Families with their types, and samples with their values.
fn parsed(text: &str) -> (BTreeMap<&str, &str>, BTreeMap<&str, f64>) {
    let (mut families, mut samples, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let body = text.strip_suffix("# EOF\n").expect("it ends with its end");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name) && families.insert(name, kind).is_none(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("a unit");
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(samples.insert(series, value), None, "{line}");
        }
    }
    (families, samples)
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or_default()
}

#[test]
fn every_sample_belongs_to_its_family() {
    let text = encode(node()).expect("it is written");
    let (families, samples) = parsed(&text);
    assert!(families.keys().all(|name| name.starts_with("margate_")));
    for series in samples.keys() {
        let name = name_of(series);
        let suffixes = ["_total", "_info", "_bucket", "_sum", "_count", ""];
        let kind = suffixes
            .iter()
            .find_map(|suffix| families.get(name.strip_suffix(suffix)?).map(|kind| (*kind, *suffix)));
        let allowed = match kind {
            Some(("counter", suffix)) => suffix == "_total",
            Some(("gauge", suffix)) => suffix.is_empty(),
            Some(("info", suffix)) => suffix == "_info",
            Some(("histogram", suffix)) => ["_bucket", "_sum", "_count"].contains(&suffix),
            Some(_) | None => false,
        };
        assert!(allowed, "{series} is of {kind:?}");
    }
}

#[test]
fn what_was_measured_is_told() {
    let text = encode(node()).expect("it is written");
    let (_, samples) = parsed(&text);
    for (series, value) in [
        (r#"margate_log_written_bytes_total{core="0"}"#, 8_192.0),
        (r#"margate_connections{core="0"}"#, 3.0),
        (r#"margate_core_up{core="0"}"#, 1.0),
        (r#"margate_core_up{core="1"}"#, 0.0),
        (r#"margate_core_unanswered_total{core="1"}"#, 3.0),
        (r#"margate_operations_total{core="0",op="set",result="ok"}"#, 1.0),
        (r#"margate_peer_sent_bytes_total{core="0",peer="2/1"}"#, 77.0),
        (r#"margate_replicas_leaderless{core="0"}"#, 2.0),
        (r#"margate_replicas_ready{core="0"}"#, 1.0),
        (r#"margate_shard_leads{core="0",shard="2"}"#, 0.0),
        (r#"margate_stage_seconds_count{core="0",op="write",stage="durable"}"#, 5.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
}

#[test]
fn histograms_rise_to_all_they_have() {
    let text = encode(node()).expect("it is written");
    let (families, samples) = parsed(&text);
    let histograms = families.values().filter(|kind| **kind == "histogram").count();
    assert_eq!(histograms, 5);
    // Samples stand in the order of their bounds.
    let buckets: Vec<(&str, f64)> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.starts_with("margate_stage_seconds_bucket") && series.contains(r#"stage="durable""#))
        .map(|(series, value)| (series, value.parse().expect("a number")))
        .collect();
    let counts: Vec<f64> = buckets.iter().map(|(_, count)| *count).collect();
    assert!(counts.is_sorted() && counts.len() == 24, "{buckets:?}");
    assert!(buckets[23].0.contains(r#"le="+Inf""#) && counts[23] == 5.0 && counts[22] == 4.0);
    let within = buckets.iter().find(|(_, count)| *count == 4.0).map(|(series, _)| *series);
    assert!(within.is_some_and(|series| series.contains(r#"le="0.000262144""#)), "{within:?}");
    let sum = samples[r#"margate_stage_seconds_sum{core="0",op="write",stage="durable"}"#];
    assert!((sum - 1_099.512_627_776).abs() < 0.01, "{sum}");
}

#[test]
fn many_shards_have_no_line_each() {
    let many = [Readiness::Ready; SHARD_LABELS_MAX + 1];
    let text = encode(member(vec![answering(0, &many)])).expect("it is written");
    assert!(!text.contains("shard=\"") && text.contains(r#"margate_replicas_ready{core="0"} 65"#));
}
