//! Why a reader takes its view first and its `visible` from that view's own active memtable (E1).
//!
//! A writer commits groups, seals the active memtable and flushes sealed ones; a reader makes two loads and then reads. Every
//! program of the writer up to a length, and every place of the reader's three steps among the writer's, is tried. A reader
//! claims to be at some commit number. It must see exactly the commits up to that number, none of a group in part, and no less
//! than what was published when it began. A reader that confirms its view also has the buckets of that number: a change of a bucket
//! is installed in a new view before it is visible in the memtable that both views share.

/// One atomic step of the writer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Puts the next commit into the active memtable.
    Insert,
    /// Makes everything inserted visible.
    Publish,
    /// Installs a view with a fresh active memtable.
    Seal,
    /// Installs a view in which the oldest sealed memtable is a segment. Segments do not know commit numbers: a reader takes all
    /// of one.
    Flush,
    /// Takes the next commit for a change of a bucket, and installs a view that has it.
    Change,
}

/// How a reader comes by its number, or how a new memtable does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// The view, then the `visible` of its active memtable.
    ViewThenItsVisible,
    /// The view, then a `visible` that the whole store shares.
    ViewThenGlobal,
    /// The shared `visible`, then the view.
    GlobalThenView,
    /// As the first, but a new active memtable starts at 0.
    FreshStartsAtZero,
    /// As the first, and then a look whether the view is still the current one; again if not.
    Confirmed,
}

#[derive(Clone, Debug, Default)]
struct Memtable {
    commits: Vec<u64>,
    visible: u64,
}

#[derive(Clone, Debug, Default)]
struct View {
    active: usize,
    sealed: Vec<usize>,
    segments: Vec<u64>,
    /// The changes of buckets that it has.
    changes: Vec<u64>,
    version: u64,
}

/// All memtables that ever were: views share them.
#[derive(Clone, Debug)]
struct World {
    memtables: Vec<Memtable>,
    view: View,
    visible: u64,
    last: u64,
}

impl World {
    fn new() -> Self {
        Self { memtables: vec![Memtable::default()], view: View::default(), visible: 0, last: 0 }
    }

    fn step(&mut self, step: Step, rule: Rule) {
        let active = self.view.active;
        if matches!(step, Step::Seal | Step::Flush | Step::Change) {
            self.view.version += 1;
        }
        match step {
            Step::Insert => {
                self.last += 1;
                self.memtables[active].commits.push(self.last);
            }
            Step::Publish => {
                self.memtables[active].visible = self.last;
                self.visible = self.last;
            }
            Step::Seal => {
                let visible = if rule == Rule::FreshStartsAtZero { 0 } else { self.memtables[active].visible };
                self.memtables.push(Memtable { commits: Vec::new(), visible });
                self.view.sealed.push(active);
                self.view.active = self.memtables.len() - 1;
            }
            Step::Flush => {
                if !self.view.sealed.is_empty() {
                    let flushed = self.view.sealed.remove(0);
                    self.view.segments.extend(&self.memtables[flushed].commits);
                }
            }
            Step::Change => {
                self.last += 1;
                self.memtables[active].commits.push(self.last);
                self.view.changes.push(self.last);
            }
        }
    }

    /// The commits that a reader of this view sees at a number.
    fn read(&self, view: &View, visible: u64) -> Vec<u64> {
        let tables = view.sealed.iter().chain([&view.active]);
        let commits = tables.flat_map(|&table| self.memtables[table].commits.iter().filter(|&&commit| commit <= visible));
        view.segments.iter().chain(commits).copied().collect()
    }
}

/// What the writer does as a whole; a group has two commits, so that a half of one can be seen.
const ACTS: [&[Step]; 4] =
    [&[Step::Insert, Step::Insert, Step::Publish], &[Step::Seal], &[Step::Flush], &[Step::Insert, Step::Change, Step::Publish]];
const ACTS_MAX: usize = 5;

/// What a reader must get right.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    Entries,
    EntriesAndBuckets,
}

/// The first way, if there is one, in which a reader goes wrong under a rule; and how many were tried.
fn explore(rule: Rule, asks: Asks) -> (Option<String>, u64) {
    let mut tried = 0;
    for program in 0..ACTS.len().pow(ACTS_MAX as u32) {
        let acts = (0..ACTS_MAX).map(|place| ACTS[program / ACTS.len().pow(place as u32) % ACTS.len()]);
        let steps: Vec<_> = acts.flatten().copied().collect();
        // The world after each prefix of the program.
        let mut worlds = vec![World::new()];
        for &step in &steps {
            let mut world = worlds.last().expect("the first is there").clone();
            world.step(step, rule);
            worlds.push(world);
        }
        for first in 0..worlds.len() {
            for second in first..worlds.len() {
                let (before, after) = (&worlds[first], &worlds[second]);
                if rule == Rule::Confirmed && before.view.version != after.view.version {
                    // The look comes no earlier than the second load, and a view never comes back.
                    continue;
                }
                let (view, visible) = match rule {
                    Rule::ViewThenItsVisible | Rule::FreshStartsAtZero | Rule::Confirmed => {
                        (&before.view, after.memtables[before.view.active].visible)
                    }
                    Rule::ViewThenGlobal => (&before.view, after.visible),
                    Rule::GlobalThenView => (&after.view, before.visible),
                };
                for (read, world) in worlds.iter().enumerate().skip(second) {
                    tried += 1;
                    let seen = world.read(view, visible);
                    let is_prefix = seen.iter().copied().eq(1..=visible);
                    let is_whole = visible % 2 == 0;
                    let changes = || world.view.changes.iter().filter(|&&change| change <= visible);
                    let has_buckets = asks == Asks::Entries || changes().all(|change| view.changes.contains(change));
                    if !is_prefix || !is_whole || !has_buckets || visible < before.visible {
                        let found = format!("{steps:?}: loads at {first} and {second}, reads at {read}: {seen:?} at {visible}");
                        return (Some(found), tried);
                    }
                }
            }
        }
    }
    (None, tried)
}

#[test]
fn a_view_and_its_own_visible_are_always_one_prefix_of_whole_groups() {
    let (found, tried) = explore(Rule::ViewThenItsVisible, Asks::Entries);
    assert_eq!(found, None);
    assert!(tried > 100_000, "{tried} tried");
}

#[test]
fn a_shared_visible_is_wrong_in_either_order() {
    for rule in [Rule::ViewThenGlobal, Rule::GlobalThenView] {
        assert!(explore(rule, Asks::Entries).0.is_some(), "{rule:?}");
    }
}

#[test]
fn a_new_memtable_must_start_at_the_visible_of_the_sealed_one() {
    assert!(explore(Rule::FreshStartsAtZero, Asks::Entries).0.is_some());
}

#[test]
fn only_a_confirmed_view_has_the_buckets_of_its_visible() {
    assert!(explore(Rule::ViewThenItsVisible, Asks::EntriesAndBuckets).0.is_some());
    let (found, tried) = explore(Rule::Confirmed, Asks::EntriesAndBuckets);
    assert_eq!(found, None);
    assert!(tried > 10_000, "{tried} tried");
}
