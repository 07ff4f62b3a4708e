//! The commit queue: who waits, who leads, and how the lead is handed on.
//!
//! A writer that finds the queue without a leader leads at once; one that finds a leader waits. The leader takes what has gathered, commits
//! it as one group and hands the lead to the first that came meanwhile *before* it wakes its own group, so that the next sync starts while
//! the answers are given. While a sync runs, writers gather: groups grow with the load, without any artificial wait. A writer that meets
//! nobody leads a group of one: nothing of it is shared, so nothing is allocated for it.
//!
//! A *detached* member has no thread that waits for it: where one is next to lead, the committer thread is called to do it.
//!
//! This module knows nothing of records or files; `commit` does the work of a leader.

use std::collections::VecDeque;
use std::sync::Arc;

use super::request::{Answer, Request};
use crate::env::sync::{Condvar, Mutex};
use crate::error::Result;

/// A group is at most this many bytes of log, or one member.
const GROUP_LEN_MAX: usize = 1 << 20;

/// Writers waiting for a leader.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Calls the committer.
    called: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Member>>,
    led: bool,
    /// How many of those in line are detached.
    detached: usize,
    /// The committer is to lead.
    calls_committer: bool,
    /// No more detached members are taken.
    stopping: bool,
}

/// One writer and what it wants.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) request: Request,
    is_detached: bool,
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

/// What came of entering the queue.
#[derive(Debug)]
pub(super) enum Entered {
    /// Nobody else is there: commit it as a group of one, then [`Queue::hand_on`].
    Alone(Request),
    /// Wait with [`Member::wait`].
    Queued(Arc<Member>),
}

/// What a writer does after it waited.
#[derive(Debug)]
pub(super) enum Waited {
    /// Commit a group, then [`Queue::finish`].
    Lead,
    /// Somebody else did.
    Answered(Result<Answer>),
}

impl Member {
    fn new(request: Request, is_detached: bool) -> Arc<Self> {
        Arc::new(Self { request, is_detached, turn: Mutex::new(Turn::Waiting), changed: Condvar::default() })
    }

    pub(super) fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// Returns when it is to lead, or was answered; once.
    pub(super) fn wait(&self) -> Waited {
        let mut turn = self.turn.lock();
        loop {
            match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Waiting => {
                    *turn = Turn::Waiting;
                    turn = self.changed.wait(turn);
                }
                Turn::Lead => return Waited::Lead,
                Turn::Answered(answer) => return Waited::Answered(answer),
                Turn::Taken => unreachable!("one thread waits for a member, once"),
            }
        }
    }

    /// The answer of a detached member, as soon as it comes; it stays for whoever asks again.
    pub(super) fn wait_answer(&self) -> Result<Answer> {
        let mut turn = self.turn.lock();
        loop {
            match &*turn {
                Turn::Answered(answer) => return answer.clone(),
                _ => turn = self.changed.wait(turn),
            }
        }
    }

    /// The answer of a detached member, if it has come.
    pub(super) fn answer_now(&self) -> Option<Result<Answer>> {
        match &*self.turn.lock() {
            Turn::Answered(answer) => Some(answer.clone()),
            _ => None,
        }
    }

    fn set(&self, next: Turn) {
        *self.turn.lock() = next;
        self.changed.notify_all();
    }
}

impl Queue {
    /// Puts a writer in line.
    pub(super) fn enter(&self, request: Request) -> Entered {
        let mut state = self.state.lock();
        if !state.led {
            state.led = true;
            return Entered::Alone(request);
        }
        let member = Member::new(request, false);
        state.waiting.push_back(Arc::clone(&member));
        Entered::Queued(member)
    }

    /// Puts a request in line for which no thread waits; `None` once the queue has been stopped.
    pub(super) fn enter_detached(&self, request: Request) -> Option<Arc<Member>> {
        let member = Member::new(request, true);
        let mut state = self.state.lock();
        if state.stopping {
            return None;
        }
        state.waiting.push_back(Arc::clone(&member));
        state.detached += 1;
        if !state.led {
            state.led = true;
            state.calls_committer = true;
            self.called.notify_one();
        }
        Some(member)
    }

    /// The committer's wait for its call; answers whether to go on.
    pub(super) fn wait_for_call(&self) -> bool {
        let mut state = self.state.lock();
        while !state.calls_committer {
            // While a detached member is in line, its turn to lead may come.
            if state.stopping && state.detached == 0 {
                return false;
            }
            state = self.called.wait(state);
        }
        state.calls_committer = false;
        true
    }

    /// Answers the committer's call, if there is one.
    pub(super) fn take_call(&self) -> bool {
        std::mem::take(&mut self.state.lock().calls_committer)
    }

    /// Whether somebody leads, or is about to.
    #[cfg(test)]
    pub(super) fn is_led(&self) -> bool {
        self.state.lock().led
    }

    /// Takes no more detached members, and ends the committer's wait once those in line have been led.
    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.called.notify_all();
    }

    /// What the leader commits next: the first in line and those behind it. A change of a bucket goes alone.
    pub(super) fn take_group(&self) -> Vec<Arc<Member>> {
        let mut state = self.state.lock();
        let (mut group, mut len) = (Vec::new(), 0);
        while let Some(next) = state.waiting.front() {
            let alone = next.request.is_alone();
            if !group.is_empty() && (alone || len + next.request.len() > GROUP_LEN_MAX) {
                break;
            }
            len += next.request.len();
            state.detached -= usize::from(next.is_detached);
            group.extend(state.waiting.pop_front());
            if alone {
                break;
            }
        }
        if state.stopping && state.detached == 0 {
            self.called.notify_all();
        }
        group
    }

    /// Hands on the lead, then answers the group; the answer of `own`, the thread's own member, is returned instead.
    pub(super) fn finish(
        &self,
        own: Option<&Arc<Member>>,
        group: Vec<Arc<Member>>,
        answers: Vec<Result<Answer>>,
    ) -> Option<Result<Answer>> {
        self.hand_on();
        let mut answer = None;
        for (member, result) in group.into_iter().zip(answers) {
            if own.is_some_and(|own| Arc::ptr_eq(&member, own)) {
                answer = Some(result);
            } else {
                member.set(Turn::Answered(result));
            }
        }
        answer
    }

    /// Gives the lead to the next in line, if there is one.
    pub(super) fn hand_on(&self) {
        let mut state = self.state.lock();
        match state.waiting.front() {
            Some(next) if next.is_detached => {
                state.calls_committer = true;
                self.called.notify_one();
            }
            Some(next) => next.set(Turn::Lead),
            None => state.led = false,
        }
    }
}

#[cfg(test)]
mod tests;
