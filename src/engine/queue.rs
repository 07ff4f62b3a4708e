//! The commit queue: who waits, who leads, and how the lead is handed on.
//!
//! A writer that finds the queue without a leader leads at once; one that finds a leader waits. The leader takes what has gathered, commits
//! it as one group and hands the lead to the first that came meanwhile *before* it wakes its own group, so that the next sync starts while
//! the answers are given. While a sync runs, writers gather: groups grow with the load, without any artificial wait.
//!
//! This module knows nothing of records or files; `commit` does the work of a leader.

use std::collections::VecDeque;
use std::sync::Arc;

use super::commit::{Answer, Request};
use crate::env::sync::{Condvar, Mutex};
use crate::error::Result;

/// A group is at most this many bytes of log, or one member.
const GROUP_LEN_MAX: usize = 1 << 20;

/// Writers waiting for a leader.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Member>>,
    led: bool,
}

/// One writer and what it wants.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) request: Request,
    turn: Mutex<Turn>,
    changed: Condvar,
}

/// What a writer waits for.
#[derive(Debug)]
enum Turn {
    Waiting,
    Lead,
    Answered(Result<Answer>),
    Taken,
}

/// What a writer does after it joined.
pub(super) enum Joined {
    /// Commit a group, then [`Queue::finish`].
    Lead,
    /// Somebody else did.
    Answered(Result<Answer>),
}

impl Member {
    pub(super) fn new(request: Request) -> Arc<Self> {
        Arc::new(Self { request, turn: Mutex::new(Turn::Waiting), changed: Condvar::default() })
    }

    fn wait(&self) -> Joined {
        let mut turn = self.turn.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Waiting => {
                    *turn = Turn::Waiting;
                    turn = self.changed.wait(turn);
                }
                Turn::Lead => return Joined::Lead,
                Turn::Answered(answer) => return Joined::Answered(answer),
                Turn::Taken => unreachable!("one thread waits for a member, once"),
            }
        }
    }

    fn set(&self, next: Turn) {
        *self.turn.lock() = next;
        self.changed.notify_one();
    }
}

impl Queue {
    /// Puts `member` in line; returns when it leads or was answered.
    pub(super) fn join(&self, member: &Arc<Member>) -> Joined {
        {
            let mut state = self.0.lock();
            state.waiting.push_back(Arc::clone(member));
            if !state.led {
                state.led = true;
                return Joined::Lead;
            }
        }
        member.wait()
    }

    /// What the leader commits next: itself and those behind it. A change of a bucket goes alone.
    pub(super) fn take_group(&self) -> Vec<Arc<Member>> {
        let mut state = self.0.lock();
        let (mut group, mut len) = (Vec::new(), 0);
        while let Some(next) = state.waiting.front() {
            let alone = next.request.is_alone();
            if !group.is_empty() && (alone || len + next.request.len() > GROUP_LEN_MAX) {
                break;
            }
            len += next.request.len();
            group.extend(state.waiting.pop_front());
            if alone {
                break;
            }
        }
        group
    }

    /// Hands on the lead, then answers the group; the answer of `own` is returned instead.
    pub(super) fn finish(&self, own: &Arc<Member>, group: Vec<Arc<Member>>, answers: Vec<Result<Answer>>) -> Result<Answer> {
        self.hand_on();
        let mut answer = None;
        for (member, result) in group.into_iter().zip(answers) {
            if Arc::ptr_eq(&member, own) {
                answer = Some(result);
            } else {
                member.set(Turn::Answered(result));
            }
        }
        answer.expect("the leader is the first of its group")
    }

    fn hand_on(&self) {
        let mut state = self.0.lock();
        match state.waiting.front() {
            Some(next) => next.set(Turn::Lead),
            None => state.led = false,
        }
    }
}

#[cfg(test)]
mod tests;
