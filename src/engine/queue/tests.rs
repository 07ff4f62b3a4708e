use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{GROUP_LEN_MAX, Joined, Member, Queue};
use crate::engine::commit::{Answer, Condition, Request, Write};
use crate::entry::{Flags, Value};
use crate::number::{BucketId, Revision};

fn write(len: usize) -> Arc<Member> {
    Member::new(Request::Write(Write {
        bucket: BucketId(1),
        key: b"k"[..].into(),
        flags: Flags::put(),
        value: Value::empty(),
        condition: Condition::None,
        pre_read: None,
        encoded: vec![0; len],
    }))
}

fn join_without_waiting(queue: &Queue, member: &Arc<Member>) {
    queue.0.lock().waiting.push_back(Arc::clone(member));
}

#[test]
fn a_group_is_bounded_and_a_change_of_a_bucket_goes_alone() {
    let queue = Queue::default();
    let half = GROUP_LEN_MAX / 2 - 100;
    for member in [write(half), write(half), write(half), write(10)] {
        join_without_waiting(&queue, &member);
    }
    join_without_waiting(&queue, &Member::new(Request::DeleteBucket("b".to_owned())));
    join_without_waiting(&queue, &write(2 * GROUP_LEN_MAX));
    let sizes: Vec<usize> = std::iter::from_fn(|| Some(queue.take_group().len()).filter(|len| *len > 0)).collect();
    assert_eq!(sizes, [2, 2, 1, 1], "two halves; a half and the rest; the bucket; one member larger than a group");
}

#[test]
fn every_member_is_answered_once_and_one_thread_leads_at_a_time() {
    let (queue, leading, answered) = (Queue::default(), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let member = write(10);
                    let answer = match queue.join(&member) {
                        Joined::Answered(answer) => answer,
                        Joined::Lead => {
                            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two leaders at once");
                            let group = queue.take_group();
                            assert!(Arc::ptr_eq(&group[0], &member), "the leader is the first of its group");
                            let answers =
                                group.iter().map(|_| Ok(Answer::Written(Revision(answered.fetch_add(1, Ordering::SeqCst)))));
                            let answers = answers.collect();
                            leading.fetch_sub(1, Ordering::SeqCst);
                            queue.finish(&member, group, answers)
                        }
                    };
                    assert!(matches!(answer, Ok(Answer::Written(_))));
                }
            });
        }
    });
    assert_eq!(answered.load(Ordering::SeqCst), 8 * 500);
    let state = queue.0.lock();
    assert!(!state.led && state.waiting.is_empty(), "the queue is at rest");
}
