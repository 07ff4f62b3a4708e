//! Which segments to merge next, so that their number stays bounded.
//!
//! Segments stand newest first. A merge takes a run of neighbours from the newest on, because entries of one key must stay ordered by
//! age over the segments. It starts once there are [`RUNS_MAX`] segments and goes on for as long as the next older one is not larger
//! than all that has been taken: sizes then grow at least geometrically with age, so there are O(log n) segments, and an entry is
//! rewritten O(log n) times. This is the size-tiered policy of Bigtable's merging compactions (Chang et al., OSDI 2006, section 5.4).

/// As many segments as stand side by side before the newest are merged.
const RUNS_MAX: usize = 4;

/// How many of the newest segments to merge; `sizes` newest first. `None` if there is nothing to do.
pub(crate) fn pick(sizes: &[u64]) -> Option<usize> {
    if sizes.len() <= RUNS_MAX {
        return None;
    }
    let mut taken = 2;
    let mut bytes = sizes.iter().take(taken).sum::<u64>();
    for size in sizes.iter().skip(taken) {
        if *size > bytes.saturating_mul(2) && sizes.len() - taken < RUNS_MAX {
            break;
        }
        bytes = bytes.saturating_add(*size);
        taken += 1;
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_segments_are_left_alone() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[1, 1, 1, 1]), None);
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
        assert!(most <= 2 * RUNS_MAX, "{most} segments at once");
        assert!(written <= 10_000 * 12, "{written} units written");
    }
}
