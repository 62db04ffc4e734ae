//! Sharing the machine's CPUs out among the nodes.

use rustix::thread::{CpuSet, sched_getaffinity};

/// The CPUs this process may use; what the machine has beyond them does not count.
pub(crate) fn available() -> Vec<usize> {
    // It fails only on a machine with more CPUs than a CpuSet holds; then nothing is pinned.
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// Each node's CPUs, at least one per core, no CPU twice; `None` if there are not enough.
///
/// A node pins its cores inside its share; what is left of the share serves its other threads.
pub(crate) fn shares(available: &[usize], nodes: usize, cores: usize) -> Option<Vec<Vec<usize>>> {
    if nodes * cores > available.len() {
        return None;
    }
    let share = |node: usize| {
        let (start, end) = (node * available.len() / nodes, (node + 1) * available.len() / nodes);
        available.get(start..end).map(<[usize]>::to_vec)
    };
    (0..nodes).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_cpus_once() {
        assert_eq!(shares(&[0, 1], 3, 1), None);
        assert_eq!(shares(&[0, 2, 4], 3, 1), Some(vec![vec![0], vec![2], vec![4]]));
        for (cpus, nodes, cores) in [(8, 3, 2), (16, 3, 1), (7, 2, 3), (1, 1, 1)] {
            let available: Vec<usize> = (10..10 + cpus).collect();
            let shares = shares(&available, nodes, cores).expect("enough");
            assert!(shares.iter().all(|share| share.len() >= cores));
            assert_eq!(shares.concat(), available);
        }
    }

    #[test]
    fn this_process_has_a_cpu() {
        assert!(!available().is_empty());
    }
}
