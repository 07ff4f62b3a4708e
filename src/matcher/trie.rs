//! Patterns by their tokens.
//!
//! A node stands for the tokens on the way to it. `here` are those whose pattern ends at the node, `rest` those whose pattern goes on with
//! `>`; `*` has a child of its own. A key is looked up by walking all ways that it fits, each node at most once, since the ways of a
//! trie never meet again. Nodes lie in one list and name each other by their place; those that nothing needs are used again.

use std::ops::ControlFlow;

use super::names::Names;
use super::remove_one;

const ROOT: u32 = 0;

/// Patterns of one bucket, each with somebody.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    count: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: Names<u32>,
    star: Option<u32>,
    here: Vec<T>,
    rest: Vec<T>,
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { children: Names::default(), star: None, here: Vec::new(), rest: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.star.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

/// One step of a pattern from a node to the next.
struct Step<'p> {
    from: u32,
    token: &'p [u8],
}

impl<T> Trie<T> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::new()], free: Vec::new(), count: 0 }
    }
}

impl<T: Copy + Eq> Trie<T> {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[cfg(test)]
    pub(super) const fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn add(&mut self, pattern: &[u8], hash: impl Fn(&[u8]) -> u64, who: T) {
        self.count += 1;
        let mut at = ROOT;
        for token in tokens(pattern) {
            if token == b">" {
                self.nodes[at as usize].rest.push(who);
                return;
            }
            at = self.child(at, token, &hash).unwrap_or_else(|| self.add_child(at, token, &hash));
        }
        self.nodes[at as usize].here.push(who);
    }

    pub(super) fn remove(&mut self, pattern: &[u8], hash: impl Fn(&[u8]) -> u64, who: T) {
        let (mut at, mut way) = (ROOT, Vec::new());
        let mut ends_here = true;
        for token in tokens(pattern) {
            if token == b">" {
                ends_here = false;
                break;
            }
            let Some(child) = self.child(at, token, &hash) else { return };
            way.push(Step { from: at, token });
            at = child;
        }
        let node = &mut self.nodes[at as usize];
        let list = if ends_here { &mut node.here } else { &mut node.rest };
        let before = list.len();
        remove_one(list, who);
        self.count -= before - list.len();
        self.prune(at, way, hash);
    }

    /// Takes nodes out that nothing needs any more, from the end of a way upwards.
    fn prune(&mut self, mut at: u32, way: Vec<Step<'_>>, hash: impl Fn(&[u8]) -> u64) {
        for step in way.into_iter().rev() {
            if !self.nodes[at as usize].is_empty() {
                return;
            }
            self.nodes[at as usize] = Node::new();
            self.free.push(at);
            let parent = &mut self.nodes[step.from as usize];
            if step.token == b"*" {
                parent.star = None;
            } else {
                parent.children.remove(hash(step.token), step.token);
            }
            at = step.from;
        }
    }

    /// Hands whoever has a pattern that the key matches to `each`, until it breaks. `stack` is memory to use.
    pub(super) fn find(
        &self,
        key: &[u8],
        hash: impl Fn(&[u8]) -> u64,
        stack: &mut Vec<(u32, usize)>,
        each: &mut impl FnMut(T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        stack.clear();
        stack.push((ROOT, 0));
        // A node is on the stack only with at least one token of the key left.
        while let Some((at, from)) = stack.pop() {
            let node = &self.nodes[at as usize];
            node.rest.iter().try_for_each(|who| each(*who))?;
            if node.star.is_none() && node.children.is_empty() {
                continue;
            }
            let left = &key[from..];
            let len = left.iter().position(|byte| *byte == b'.').unwrap_or(left.len());
            let named =
                if node.children.is_empty() { None } else { node.children.get(hash(&left[..len]), &left[..len]).copied() };
            for child in node.star.into_iter().chain(named) {
                if len == left.len() {
                    self.nodes[child as usize].here.iter().try_for_each(|who| each(*who))?;
                } else {
                    stack.push((child, from + len + 1));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn child(&self, at: u32, token: &[u8], hash: impl Fn(&[u8]) -> u64) -> Option<u32> {
        let node = &self.nodes[at as usize];
        if token == b"*" { node.star } else { node.children.get(hash(token), token).copied() }
    }

    fn add_child(&mut self, at: u32, token: &[u8], hash: impl Fn(&[u8]) -> u64) -> u32 {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::new());
            self.nodes.len() as u32 - 1
        });
        let node = &mut self.nodes[at as usize];
        if token == b"*" {
            node.star = Some(child);
        } else {
            *node.children.get_or_add(hash(token), token) = child;
        }
        child
    }
}

fn tokens(pattern: &[u8]) -> impl Iterator<Item = &[u8]> {
    pattern.split(|byte| *byte == b'.')
}
