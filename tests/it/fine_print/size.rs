//! `max_bytes`: judged by the net change, exactly where it matters; deletes and purges always pass.

use std::collections::BTreeMap;

use annals::{Batch, Bucket, BucketConfig, ErrorKind, PutOptions, Revision};

use crate::fixture::{Fixture, Probe, Refused, ms, on_each_store, ttl};

/// Puts operations into a batch.
type Fill<'a> = dyn Fn(&mut Batch, &Bucket) + 'a;

const FULL: Refused = Refused { kind: ErrorKind::BucketFull, actual: None };
/// What an entry counts beside key and value.
const ENTRY_BYTES: u64 = 32;

/// A bucket for exactly two values of ten bytes under keys of one, and that is what it holds: `a` (1) and `b` (2).
fn full(store: &Fixture, depth: u8) -> Probe<'_> {
    let bucket = store.bucket(BucketConfig::new("b").history(depth).max_bytes(2 * (1 + 10 + ENTRY_BYTES)));
    bucket.put("a", "0123456789");
    bucket.put("b", "0123456789");
    bucket
}

#[test]
fn deletes_and_purges_pass_in_a_full_bucket_and_may_exceed_its_limit() {
    on_each_store(|store| {
        let bucket = full(store, 3);
        assert_eq!(bucket.delete("a"), 3);
        assert_eq!(bucket.delete("missing"), 4);
        assert_eq!(bucket.purge("another"), 5);
        assert_eq!(bucket.delete_matching("b"), (1, 6));
        assert!(bucket.status().bytes > 2 * (1 + 10 + ENTRY_BYTES), "{}", bucket.status().bytes);
        assert_eq!(bucket.refusal(|bucket| bucket.put("c", "")), FULL);
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.delete(&handle, "x", Revision::NONE).purge(&handle, "b", Revision::from(6));
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [7, 8]);
        assert_eq!(bucket.purge_deletes(ms(0)), 5);
        assert_eq!(bucket.status().bytes, 0);
        assert_eq!(bucket.put("c", "0123456789"), 9);
    });
}

#[test]
fn a_write_is_judged_by_what_it_pushes_out() {
    on_each_store(|store| {
        let bucket = full(store, 1);
        assert_eq!(bucket.put("a", "9876543210"), 3, "as much out as in");
        assert_eq!(bucket.refusal(|bucket| bucket.put("a", "9876543210a")), FULL);
        assert_eq!(bucket.put("a", "98765"), 4);
        assert_eq!(bucket.put("b", "0123456789abcde"), 5, "what one has left the other may take");
        assert_eq!(bucket.refusal(|bucket| bucket.update("a", "987654", Revision::from(4))), FULL);
    });
}

#[test]
fn a_batch_is_judged_by_its_net() {
    on_each_store(|store| {
        let bucket = full(store, 1);
        let try_batch = |fill: &Fill<'_>| {
            let handle = bucket.handle();
            store.batch(|batch| fill(batch, &{ handle })).map_err(|error| error.kind())
        };
        // 5 bytes from the one to the other, in either order.
        let moved = |batch: &mut Batch, bucket: &Bucket| {
            batch.put(bucket, "a", "0123456789abcde").put(bucket, "b", "01234");
        };
        assert_eq!(try_batch(&moved), Ok(vec![3, 4]));
        assert_eq!(
            try_batch(&|batch, bucket| {
                batch.put(bucket, "b", "0123456789").put(bucket, "a", "0123456789");
            }),
            Ok(vec![5, 6])
        );
        let one_more = |batch: &mut Batch, bucket: &Bucket| {
            batch.put(bucket, "a", "0123456789abcde").put(bucket, "b", "012345");
        };
        assert_eq!(try_batch(&one_more), Err(ErrorKind::BucketFull));
        // A value that the same batch pushes out again counts for nothing.
        let for_a_moment = |batch: &mut Batch, bucket: &Bucket| {
            batch.put(bucket, "a", [7; 100]).put(bucket, "a", "0123456789");
        };
        assert_eq!(try_batch(&for_a_moment), Ok(vec![7, 8]));
        // What its purge frees is there for its puts.
        let replaced = |batch: &mut Batch, bucket: &Bucket| {
            batch.purge(bucket, "a", Revision::NONE).put(bucket, "a", "9876543210");
        };
        assert_eq!(try_batch(&replaced), Ok(vec![9, 10]));
        assert_eq!(bucket.status().bytes, 2 * (1 + 10 + ENTRY_BYTES));
    });
}

#[test]
fn a_batch_over_buckets_is_refused_for_any_that_is_full() {
    on_each_store(|store| {
        let bucket = full(store, 1);
        let other = store.bucket(BucketConfig::new("other"));
        let refusal = bucket.refusal(|bucket| {
            let other = other.handle();
            store.store().batch().put(&other, "k", "value").put(bucket, "c", "").commit()
        });
        assert_eq!(refusal, FULL);
        assert_eq!(other.last(), 0);
    });
}

#[test]
fn a_lowered_limit_evicts_nothing_and_lets_nothing_grow() {
    on_each_store(|store| {
        let config = |limit| BucketConfig::new("b").max_bytes(limit);
        let bucket = store.bucket(config(None));
        for key in ["a", "b", "c"] {
            bucket.put(key, "0123456789");
        }
        store.update(config(Some(50)));
        assert_eq!((bucket.keys().as_str(), bucket.status().bytes), ("a b c", 129));
        assert_eq!(bucket.put("a", "9876543210"), 4);
        assert_eq!(bucket.put("a", "987654321"), 5, "it may shrink");
        assert_eq!(bucket.refusal(|bucket| bucket.put("a", "9876543210")), FULL);
        assert_eq!(bucket.refusal(|bucket| bucket.put("d", "")), FULL);
        store.update(config(Some(1000)));
        assert_eq!(bucket.put("d", "0123456789"), 6);
        store.update(config(None));
        assert_eq!(bucket.put("e", [0; 2000]), 7);
    });
}

#[test]
fn a_lowered_history_makes_room() {
    on_each_store(|store| {
        let config = |depth| BucketConfig::new("b").history(depth).max_bytes(3 * (1 + 10 + ENTRY_BYTES));
        let bucket = store.bucket(config(3));
        for _ in 0..3 {
            bucket.put("a", "0123456789");
        }
        assert_eq!(bucket.refusal(|bucket| bucket.put("b", "")), FULL);
        store.update(config(1));
        assert_eq!(bucket.put("b", "0123456789"), 4);
        store.update(config(3));
        assert_eq!(bucket.put("a", "0123456789"), 5);
        assert_eq!(bucket.refusal(|bucket| bucket.put("a", "0123456789")), FULL);
    });
}

#[test]
fn what_expires_makes_room_from_its_deadline_on() {
    on_each_store(|store| {
        let limit = 2 * (1 + 10 + ENTRY_BYTES);
        for bucket in [
            store.bucket(BucketConfig::new("own").max_bytes(limit)),
            store.bucket(BucketConfig::new("aged").max_bytes(limit).max_age(ms(1000))),
        ] {
            bucket.put_with("a", "0123456789", ttl(1000));
            bucket.put_with("b", "0123456789", ttl(1000));
            store.pass(ms(999));
            assert_eq!(bucket.refusal(|bucket| bucket.put("c", "")), FULL);
            store.pass(ms(1));
            assert_eq!(bucket.put("c", "0123456789"), 3);
            assert_eq!(bucket.put("a", "0123456789"), 4);
            assert_eq!(bucket.refusal(|bucket| bucket.put("d", "")), FULL);
        }
    });
}

#[test]
fn what_has_expired_is_not_pushed_out_again() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").max_bytes(100));
        bucket.put_with("a", "0123456789", ttl(1000));
        for missing in ["x", "y", "z"] {
            bucket.delete(missing);
        }
        assert_eq!(bucket.status().bytes, 43 + 3 * 33);
        assert_eq!(bucket.touch("a", ttl(1000)), Some(5), "as much out as in");
        store.pass(ms(1000));
        assert_eq!(bucket.status().bytes, 3 * 33);
        assert_eq!(bucket.refusal(|bucket| bucket.put("a", "0123456789")), FULL);
    });
}

/// A few keys with what each retains, newest first, as the words of the product's page have it: no eras, stubs, rollups.
struct Model {
    depth: usize,
    max_age: u64,
    now: u64,
    entries: BTreeMap<String, Vec<Kept>>,
}

#[derive(Clone, Copy)]
struct Kept {
    is_put: bool,
    len: u64,
    created: u64,
    /// By its own time to live.
    deadline: u64,
}

impl Model {
    /// Whether the key shows anything.
    fn is_alive(&self, entries: &[Kept]) -> bool {
        entries.first().is_some_and(|newest| self.now < newest.deadline && self.now < newest.created + self.max_age)
    }

    fn bytes(&self) -> u64 {
        let alive = self.entries.iter().filter(|(_, entries)| self.is_alive(entries));
        let of_key = |(key, entries): (&String, &Vec<Kept>)| {
            let shown = entries.iter().filter(|kept| self.now < kept.deadline && self.now < kept.created + self.max_age);
            shown.map(|kept| key.len() as u64 + kept.len + ENTRY_BYTES).sum::<u64>()
        };
        alive.map(of_key).sum()
    }

    fn write(&mut self, key: &str, is_put: bool, len: u64, ttl: Option<u64>, is_purge: bool) {
        let mut entries = self.entries.remove(key).unwrap_or_default();
        if is_purge || !self.is_alive(&entries) {
            entries.clear();
        }
        let deadline = ttl.map_or(u64::MAX, |ttl| self.now + ttl);
        entries.insert(0, Kept { is_put, len, created: self.now, deadline });
        entries.truncate(self.depth);
        self.entries.insert(key.to_owned(), entries);
    }

    fn purge_deletes(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|_, entries| self.is_alive(entries) && entries[0].is_put);
        self.entries = entries;
    }
}

/// Writes with random lengths and times to live to few keys in a small bucket: whatever came before, a put is refused if and only if it grows
/// what is retained and that is then over the limit; and status tells exactly that sum.
#[test]
fn the_limit_is_exact_after_any_sequence_of_writes_and_passages_of_time() {
    for seed in 1..=6_u64 {
        on_each_store(|store| {
            let depth = 1 + (seed % 3) as usize;
            let limit = 350 * depth as u64;
            let config = BucketConfig::new("b").history(depth as u8).max_bytes(limit);
            let aged = seed % 2 == 0;
            let bucket = store.bucket(if aged { config.max_age(ms(150)) } else { config });
            let max_age = if aged { 150 } else { u64::MAX / 2 };
            let mut model = Model { depth, max_age, now: 0, entries: BTreeMap::new() };
            let mut random = seed;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let (mut refused, mut revision) = (0, 0);
            for step in 0..200 {
                let what = format!("seed {seed}, step {step}");
                let key = format!("k{}", "x".repeat(next(6) as usize));
                match next(14) {
                    0 => {
                        bucket.delete(&key);
                        model.write(&key, false, 0, None, false);
                    }
                    1 => {
                        bucket.purge_with(&key, ttl(40));
                        model.write(&key, false, 0, Some(40), true);
                    }
                    2 => {
                        let span = next(60);
                        store.pass(ms(span));
                        model.now += span;
                        assert_eq!(bucket.status().bytes, model.bytes(), "{what}");
                        continue;
                    }
                    3 if next(4) == 0 => {
                        bucket.purge_deletes(ms(0));
                        model.purge_deletes();
                        continue;
                    }
                    4 if next(8) == 0 => {
                        bucket.purge_all();
                        model.entries.clear();
                        continue;
                    }
                    _ => {
                        let (len, span) = (next(120), Some(next(100) + 1).filter(|span| span % 3 == 0));
                        let (before, undo) = (model.bytes(), model.entries.clone());
                        model.write(&key, true, len, span, false);
                        let fits = model.bytes() <= before || model.bytes() <= limit;
                        let options = PutOptions::new().ttl(span.map(ms));
                        let answer = bucket.handle().put_with(&key, vec![7; len as usize], options);
                        store.checkpoint();
                        if !fits {
                            let kind = answer.map(|revision| format!("revision {revision}, now {}", model.bytes()));
                            assert_eq!(kind.map_err(|error| error.kind()), Err(ErrorKind::BucketFull), "{what}");
                            model.entries = undo;
                            refused += 1;
                            continue;
                        }
                        answer.unwrap_or_else(|error| panic!("{what}: {error}"));
                    }
                }
                revision += 1;
                assert_eq!((bucket.status().bytes, bucket.last()), (model.bytes(), revision), "{what}");
            }
            assert!(refused > 10, "the limit was hardly met: {refused} times, seed {seed}");
        });
    }
}
