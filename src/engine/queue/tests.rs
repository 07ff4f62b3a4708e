use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Entered, GROUP_LEN_MAX, Member, Queue, Waited};
use crate::engine::request::{Answer, Ops, Request, Write};
use crate::number::Revision;

fn write(len: usize) -> Request {
    let ops = Ops::Many(Vec::new());
    Request::Write(Write {
        swept: None,
        bytes: vec![0; len],
        ops,
        lenient: false,
        synced: false,
        alone: false,
        leader_reads: false,
        counted: false.into(),
    })
}

fn join_without_waiting(queue: &Queue, request: Request) {
    queue.state.lock().waiting.push_back(Member::new(request, false));
}

#[test]
fn a_group_is_bounded_and_a_change_of_a_bucket_goes_alone() {
    let queue = Queue::default();
    let half = GROUP_LEN_MAX / 2 - 100;
    for request in [write(half), write(half), write(half), write(10)] {
        join_without_waiting(&queue, request);
    }
    join_without_waiting(&queue, Request::DeleteBucket("b".to_owned()));
    join_without_waiting(&queue, write(2 * GROUP_LEN_MAX));
    let sizes: Vec<usize> = std::iter::from_fn(|| Some(queue.take_group().len()).filter(|len| *len > 0)).collect();
    assert_eq!(sizes, [2, 2, 1, 1], "two halves; a half and the rest; the bucket; one member larger than a group");
}

#[test]
fn every_member_is_answered_once_and_one_thread_leads_at_a_time() {
    let (queue, leading, answered) = (Queue::default(), AtomicU64::new(0), AtomicU64::new(0));
    let next = || Ok(Answer::Written(Revision(answered.fetch_add(1, Ordering::SeqCst))));
    let lead = || assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two leaders at once");
    let queue = &queue;
    let (lead, next, leading) = (&lead, &next, &leading);
    let lead_group = &|own: Option<&Arc<Member>>| {
        lead();
        let group = queue.take_group();
        assert!(own.is_none_or(|own| Arc::ptr_eq(&group[0], own)), "the leader is the first of its group");
        let answers = group.iter().map(|_| next()).collect();
        leading.fetch_sub(1, Ordering::SeqCst);
        queue.finish(own, group, answers)
    };
    thread::scope(|scope| {
        let committer = scope.spawn(|| {
            while queue.wait_for_call() {
                lead_group(None);
            }
        });
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                scope.spawn(move || {
                    for _ in 0..500 {
                        if writer == 0 {
                            assert!(matches!(queue.enter_detached(write(10)).unwrap().wait_answer(), Ok(Answer::Written(_))));
                            continue;
                        }
                        let answer = match queue.enter(write(10)) {
                            Entered::Alone(_) => {
                                lead();
                                let answer = next();
                                leading.fetch_sub(1, Ordering::SeqCst);
                                queue.hand_on();
                                answer
                            }
                            Entered::Queued(member) => match member.wait() {
                                Waited::Answered(answer) => answer,
                                Waited::Lead => lead_group(Some(&member)).unwrap(),
                            },
                        };
                        assert!(matches!(answer, Ok(Answer::Written(_))));
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        queue.stop();
        committer.join().unwrap();
    });
    assert_eq!(answered.load(Ordering::SeqCst), 8 * 500);
    let state = queue.state.lock();
    assert!(!state.led && state.waiting.is_empty(), "the queue is at rest");
}
