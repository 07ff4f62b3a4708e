//! Which segments to merge next, so that their number stays bounded.
//!
//! Segments stand newest first. A merge takes neighbours from the newest on, because entries of one key must stay ordered by age over
//! the segments: as many as possible, at least [`RUNS_MIN`], and the oldest of them not larger than all the others together. So what is
//! left is larger than what came of the merge, sizes grow with age, there are O(log n) segments, and each entry is rewritten O(log n)
//! times. This is the size-tiered policy of Bigtable's merging compactions (Chang et al., OSDI 2006, section 5.4).

/// Fewer segments than this are not worth a merge.
const RUNS_MIN: usize = 4;

/// How many of the newest segments to merge; `sizes` newest first. `None` if there is nothing to do.
pub(crate) fn pick(sizes: &[u64]) -> Option<usize> {
    let (mut newer, mut found) = (0_u64, None);
    for (at, size) in sizes.iter().enumerate() {
        if at + 1 >= RUNS_MIN && *size <= newer {
            found = Some(at + 1);
        }
        newer = newer.saturating_add(*size);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_segments_are_left_alone() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[1, 1, 1]), None);
    }

    #[test]
    fn a_large_old_segment_is_not_rewritten_for_a_few_small_ones() {
        assert_eq!(pick(&[1, 1, 1, 1, 1000]), Some(4));
        assert_eq!(pick(&[1, 1, 1, 1, 1]), Some(5));
    }

    #[test]
    fn the_number_of_segments_and_of_rewrites_stays_logarithmic() {
        let (mut sizes, mut written, mut most) = (Vec::new(), 0_u64, 0);
        for _ in 0..10_000 {
            sizes.insert(0, 1_u64);
            if let Some(count) = pick(&sizes) {
                let merged = sizes.drain(..count).sum();
                written += merged;
                sizes.insert(0, merged);
            }
            most = most.max(sizes.len());
        }
        let log = 10_000_u64.ilog2();
        assert!(most <= RUNS_MIN + log as usize, "{most} segments at once");
        assert!(written <= 10_000 * u64::from(log), "{written} units written");
    }
}
