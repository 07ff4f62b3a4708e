//! Batches: what they may hold, what their conditions see, and that nothing of a refused one is left.

use annals::{Batch, Bucket, BucketConfig, ErrorKind, Options, PutOptions, Revision, Store};

use crate::fixture::{Refused, ms, on_each_store, refused, ttl};

/// Puts operations into a batch.
type Fill<'a> = dyn Fn(&mut Batch, &Bucket) + 'a;

const INVALID: Refused = Refused { kind: ErrorKind::InvalidArgument, actual: None };

#[test]
fn an_empty_batch_does_nothing() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "value");
        let before = store.store().status().unwrap().last_commit;
        assert_eq!(store.batch(|_| ()).unwrap(), [0; 0]);
        assert_eq!(bucket.last(), 1);
        assert!(store.store().status().unwrap().last_commit <= before.max(store.store().status().unwrap().last_commit));
        assert!(store.store().batch().is_empty());
    });
}

#[test]
fn a_condition_on_a_key_that_the_batch_wrote_before_is_refused() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        let conditions: [&Fill<'_>; 5] = [
            &|batch, bucket| {
                batch.update(bucket, "k", "3", Revision::from(1));
            },
            &|batch, bucket| {
                batch.create(bucket, "k", "3");
            },
            &|batch, bucket| {
                batch.delete(bucket, "k", Revision::from(1));
            },
            &|batch, bucket| {
                batch.purge(bucket, "k", Revision::from(1));
            },
            &|batch, bucket| {
                batch.check(bucket, "k", Revision::from(1));
            },
        ];
        for (at, condition) in conditions.into_iter().enumerate() {
            let refusal = bucket.refusal(|bucket| {
                let mut batch = store.store().batch();
                batch.put(bucket, "other", "1").put(bucket, "k", "2");
                condition(&mut batch, bucket);
                batch.commit()
            });
            assert_eq!(refusal, INVALID, "condition {at}");
        }
        // First the condition, then as many writes as one likes; and no condition is none.
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.check(&handle, "k", Revision::from(1)).update(&handle, "k", "2", Revision::from(1)).put(&handle, "k", "3");
            batch.delete(&handle, "k", Revision::NONE).purge(&handle, "k", Revision::NONE).put(&handle, "k", "6");
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [0, 2, 3, 4, 5, 6]);
        assert_eq!(bucket.history("k"), "PURGE 5, PUT 6");
    });
}

#[test]
fn keys_of_other_buckets_are_other_keys() {
    on_each_store(|store| {
        let (a, b) = (store.bucket(BucketConfig::new("a")), store.bucket(BucketConfig::new("b")));
        let handles = (a.handle(), b.handle());
        let revisions = store.batch(|batch| {
            batch.put(&handles.0, "k", "1").create(&handles.1, "k", "1").put(&handles.0, "l", "2");
            drop(handles);
        });
        assert_eq!(revisions.unwrap(), [1, 1, 2]);
    });
}

#[test]
fn conditions_are_judged_by_the_state_before_the_batch() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("a", "1");
        let refusal = bucket.refusal(|bucket| {
            // That `a` is deleted in the same batch does not help.
            store.store().batch().delete(bucket, "b", Revision::NONE).check(bucket, "a", Revision::NONE).commit()
        });
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 1));
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.check(&handle, "a", Revision::from(1)).delete(&handle, "a", Revision::from(1)).create(&handle, "c", "3");
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [0, 2, 3]);
    });
}

#[test]
fn a_check_takes_no_revision_and_none_means_no_entry_at_all() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("value", "1");
        bucket.delete("marker");
        bucket.put_with("expired", "3", ttl(10));
        store.pass(ms(10));
        let check = |key: &'static str, revision: u64| {
            let handle = bucket.handle();
            let answer = store.batch(move |batch| {
                batch.check(&handle, key, Revision::from(revision));
            });
            answer.map_err(|error| (error.kind(), error.actual_revision().map(Revision::get)))
        };
        assert_eq!(check("value", 1), Ok(vec![0]));
        assert_eq!(check("marker", 2), Ok(vec![0]));
        assert_eq!(check("missing", 0), Ok(vec![0]));
        assert_eq!(check("expired", 0), Ok(vec![0]));
        assert_eq!(check("value", 0), Err((ErrorKind::WrongRevision, Some(1))));
        assert_eq!(check("marker", 0), Err((ErrorKind::WrongRevision, Some(2))));
        assert_eq!(check("missing", 1), Err((ErrorKind::WrongRevision, Some(0))));
        assert_eq!(check("expired", 3), Err((ErrorKind::WrongRevision, Some(0))));
        assert_eq!(bucket.put("next", "4"), 4);
    });
}

#[test]
fn a_batch_over_buckets_happens_in_all_of_them_or_in_none() {
    on_each_store(|store| {
        let (a, b) = (store.bucket(BucketConfig::new("a")), store.bucket(BucketConfig::new("b")));
        b.put("k", "1");
        let refusal = b.refusal(|b| {
            let a = a.handle();
            store.store().batch().put(&a, "k", "2").update(b, "k", "2", Revision::from(9)).put(&a, "l", "2").commit()
        });
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 1));
        assert_eq!((a.last(), a.keys()), (0, String::new()));
        let handles = (a.handle(), b.handle());
        let revisions = store.batch(|batch| {
            batch.put(&handles.0, "k", "2").update(&handles.1, "k", "2", Revision::from(1)).put(&handles.0, "l", "2");
            drop(handles);
        });
        assert_eq!(revisions.unwrap(), [1, 2, 2]);
    });
}

#[test]
fn what_is_wrong_with_an_operation_is_told_by_the_commit_and_nothing_is_written() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").max_value_size(3));
        let fails = |kind: ErrorKind, spoil: &Fill<'_>| {
            let refusal = bucket.refusal(|bucket| {
                let mut batch = store.store().batch();
                batch.put(bucket, "a", "1");
                spoil(&mut batch, bucket);
                batch.put(bucket, "b", "2").commit()
            });
            assert_eq!(refusal, Refused { kind, actual: None });
        };
        fails(ErrorKind::InvalidKey, &|batch, bucket| {
            batch.put(bucket, "not a key", "1");
        });
        fails(ErrorKind::InvalidKey, &|batch, bucket| {
            batch.check(bucket, "not a key", Revision::from(1));
        });
        fails(ErrorKind::ValueTooLarge, &|batch, bucket| {
            batch.put(bucket, "k", "1234");
        });
        fails(ErrorKind::InvalidArgument, &|batch, bucket| {
            batch.put_with(bucket, "k", "1", PutOptions::new().ttl(ms(0)));
        });
        let elsewhere = Store::in_memory().unwrap().create_bucket(BucketConfig::new("b")).unwrap();
        fails(ErrorKind::InvalidArgument, &|batch, _| {
            batch.put(&elsewhere, "k", "1");
        });
        assert_eq!(bucket.put("k", "1"), 1);
    });
}

#[test]
fn a_batch_is_empty_after_its_commit_whatever_became_of_it() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let (handle, mut batch) = (bucket.handle(), store.store().batch());
        batch.put(&handle, "a", "1").put(&handle, "b", "2");
        assert_eq!((batch.len(), batch.is_empty()), (2, false));
        batch.commit().unwrap();
        assert!(batch.is_empty());
        assert_eq!(batch.commit().unwrap(), []);
        batch.update(&handle, "a", "3", Revision::from(9)).commit().unwrap_err();
        batch.put(&handle, "not a key", "4").commit().unwrap_err();
        assert_eq!(batch.put(&handle, "c", "5").commit().unwrap(), [Revision::from(3)]);
    });
}

#[test]
fn an_operation_in_a_batch_may_have_a_time_to_live() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.put(&handle, "a", "1").put_with(&handle, "a", "2", ttl(100)).create_with(&handle, "b", "3", ttl(200));
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [1, 2, 3]);
        store.pass(ms(100));
        bucket.assert_nothing_at("a");
        assert_eq!(bucket.keys(), "b");
        // Twice in one batch over an expired entry: a new life, with both.
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.put(&handle, "a", "4").put(&handle, "a", "5");
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [4, 5]);
        assert_eq!(bucket.history("a"), "PUT 4, PUT 5");
    });
}

#[test]
fn a_deep_batch_on_one_key_keeps_the_newest() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            for value in ["1", "2", "3", "4"] {
                batch.put(&handle, "k", value);
            }
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [1, 2, 3, 4]);
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        assert_eq!(bucket.status().values, 2);
    });
}

#[test]
fn the_number_of_operations_is_an_option() {
    let store = Options::new().max_batch_operations(3).in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let fill = |count: usize| {
        let mut batch = store.batch();
        for _ in 0..count {
            batch.check(&bucket, "k", Revision::NONE);
        }
        batch.commit().map_err(|error| error.kind())
    };
    assert_eq!(fill(3), Ok(vec![Revision::NONE; 3]));
    assert_eq!(fill(4), Err(ErrorKind::InvalidArgument), "checks are operations");
}

#[test]
fn a_batch_larger_than_a_log_file_is_one_commit_all_the_same() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            for number in 0..200 {
                batch.put(&handle, format!("k{number:03}"), [number; 500]);
            }
            drop(handle);
        });
        assert_eq!(revisions.unwrap().len(), 200);
        store.reopen(false);
        for number in 0..200 {
            assert_eq!(bucket.get(&format!("k{number:03}")), Some(vec![number; 500]));
        }
        assert_eq!(bucket.put("next", "value"), 201);
    });
}
