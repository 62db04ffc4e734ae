//! Curves from the histograms that runs have left: an interval log of each run.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

/// Points of a curve for each nine of its percentiles.
const POINTS_PER_NINE: u32 = 12;
/// Nines shown at most.
const NINES_MAX: u32 = 5;

/// Latencies of one bench of one system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Curve {
    /// The tag in the log.
    pub(crate) name: String,
    /// One in how many is slower, and than how many microseconds.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One curve for each tag of these logs, all intervals of a tag together; what is no histogram is left out.
pub(crate) fn curves(logs: &[Vec<u8>]) -> Vec<Curve> {
    let mut by_tag: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for log in logs {
        for entry in IntervalLogIterator::new(log).map_while(Result::ok) {
            let LogEntry::Interval(interval) = entry else { continue };
            let Ok(bytes) = STANDARD.decode(interval.encoded_histogram()) else {
                continue;
            };
            let Ok(histogram) = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()) else {
                continue;
            };
            let tag = interval.tag().map(|tag| tag.to_string()).unwrap_or_default();
            match by_tag.get_mut(&tag) {
                // Those of one tag have the same bounds; one that has not cannot be added.
                Some(sum) => drop(sum.add(&histogram)),
                None => drop(by_tag.insert(tag, histogram)),
            }
        }
    }
    by_tag
        .into_iter()
        .map(|(name, histogram)| Curve {
            name,
            points: points(&histogram),
        })
        .collect()
}

/// As far as there are enough values to tell.
fn points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let one_in = (0..=NINES_MAX * POINTS_PER_NINE).map(|at| 10_f64.powf(f64::from(at) / f64::from(POINTS_PER_NINE)));
    let enough = one_in.take_while(|one_in| *one_in <= histogram.len() as f64);
    let point = |one_in: f64| (one_in, histogram.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1_000.0);
    enough.map(point).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::driver::measured::tests::measured;
    use crate::report::hdr::HdrLog;
    use crate::workload::bench::{Bench, Kind};

    #[test]
    fn what_a_run_wrote_is_drawn_with_all_its_rounds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let mut log = HdrLog::create(Some(&path)).expect("the folder is writable").expect("one is wanted");
        for _ in 0..2 {
            log.add("margate", Bench::Put, &measured(&[(Kind::Update, &[1_000; 50])]))
                .expect("the disk has room");
        }
        log.add("etcd", Bench::Put, &measured(&[(Kind::Update, &[9_000])]))
            .expect("the disk has room");
        let bytes = std::fs::read(&path).expect("it was written");
        let curves = curves(&[bytes]);
        let [etcd, margate] = curves.as_slice() else { panic!("{curves:?}") };
        assert_eq!((etcd.name.as_str(), etcd.points.len()), ("etcd-put", 1));
        let two_nines = usize::try_from(2 * POINTS_PER_NINE + 1).expect("a few");
        assert_eq!(margate.points.len(), two_nines, "100 values");
        assert!(margate.points.iter().all(|(_, micros)| (990.0..=1_010.0).contains(micros)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_log_or_not_but_never_panic(bytes: Vec<u8>, text in "\\PC*") {
            curves(&[bytes, text.into_bytes(), b"Tag=a,1.0,1.0,1.0,AAAA\n".to_vec()]);
        }
    }
}
