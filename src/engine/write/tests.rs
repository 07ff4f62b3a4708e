use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::engine::recovery;
use crate::engine::settings::Settings;
use crate::env::Env;
use crate::spec::BucketSpec;

fn open() -> Arc<Core> {
    Arc::new(recovery::open(Env::memory(), Path::new("/store"), Settings::default().fitted()).unwrap())
}

fn create(core: &Core, spec: BucketSpec) -> BucketId {
    match core.submit(Request::CreateBucket(spec)).unwrap() {
        Answer::Bucket(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Submits while the leader is busy with an edit that gives the bucket a limit: the write has counted nothing.
#[test]
fn a_bucket_that_gets_a_limit_while_writes_are_in_line_is_counted_by_the_leader() {
    let core = open();
    let spec = BucketSpec { history: 5, ..BucketSpec::new("b".to_owned()) };
    let id = create(&core, spec.clone());
    let submit = |key: &[u8]| core.submit_detached(&OpFields::put(id, key, b"value", Condition::None), WriteOptions::default());
    thread::scope(|scope| {
        let busy = core.leader.lock();
        // Room for two entries of 1 + 5 + 32 bytes.
        let limited = BucketSpec { max_bytes: 2 * 38, ..spec };
        let edit = scope.spawn(|| core.submit(Request::EditBucket(id, limited)));
        while !core.queue.is_led() {
            thread::yield_now();
        }
        let submitted = [submit(b"a"), submit(b"b"), submit(b"c"), submit(b"a")].map(Result::unwrap);
        drop(busy);
        edit.join().unwrap().unwrap();
        let committer = scope.spawn(|| core.run_committer());
        let outcomes = submitted.iter().map(|submitted| submitted.wait().map_err(|error| error.kind()));
        let outcomes: Vec<_> = outcomes.collect();
        let full = Err(ErrorKind::BucketFull);
        assert_eq!(outcomes, [Ok(Revision(1)), Ok(Revision(2)), full, full]);
        assert_eq!(submitted[0].wait().unwrap(), Revision(1));
        core.queue.stop();
        committer.join().unwrap();
    });
    let size = core.leader.lock().buckets[&id].state.size.unwrap();
    assert_eq!(size.bytes, 2 * 38);
}

/// The first writer's read is out of date by the time it is its turn, and so is the second one's.
#[test]
fn a_condition_on_what_expired_since_it_was_read_is_judged_anew() {
    let clock = crate::testing::clock::ManualClock::new();
    let core = Arc::new(recovery::open(clock.env_in_memory(), Path::new("/store"), Settings::default().fitted()).unwrap());
    let aged = create(&core, BucketSpec { max_age: 1_000_000_000, history: 5, ..BucketSpec::new("aged".to_owned()) });
    let plain = create(&core, BucketSpec { history: 5, ..BucketSpec::new("plain".to_owned()) });
    let put = |id, value, ttl| {
        let fields = OpFields { ttl, ..OpFields::put(id, b"k", value, Condition::None) };
        core.write(&fields, WriteOptions::default()).unwrap()
    };
    put(plain, b"older", 0);
    for (id, ttl) in [(aged, 0), (plain, 1_000_000_000)] {
        let revision = put(id, b"old", ttl);
        thread::scope(|scope| {
            let busy = core.leader.lock();
            let core = &core;
            let fields = OpFields::put(id, b"k", b"new", Condition::Revision(revision));
            let update = scope.spawn(move || core.write(&fields, WriteOptions::default()));
            while !core.queue.is_led() {
                thread::yield_now();
            }
            clock.advance(std::time::Duration::from_secs(1));
            drop(busy);
            assert_eq!(update.join().unwrap().unwrap_err().kind(), ErrorKind::WrongRevision);
        });
        put(id, b"next life", 0);
        assert_eq!(
            core.read(id, |reader| reader.history(&crate::subject::Pattern::parse("k").unwrap())).unwrap().len(),
            1,
            "nothing comes back"
        );
    }
}
