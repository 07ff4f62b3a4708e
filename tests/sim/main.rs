//! Exhaustive small cases: about forty scripts of a store's life on the simulated disk, each with a crash and with every
//! fault at every call that it makes to the file system. One thread, no luck: the same cases in every run.
//!
//! - `script`: what a scenario is made of; `scenarios`: the scenarios; `changes`: those of what the log knows beyond single writes.
//! - `world`: one run of one of them; `ledger`: what was tried, and whether what is there afterwards can have come from it.
//! - `sweep`: the cases (crash at call i under every policy; crash in the recovery after it; fault at call i, once and
//!   sticky, then left, killed or cut off, in each of these ways or in turn; the script stopped after each step), and what
//!   must hold after each: a prefix of the commits with everything acknowledged as durable, numbers that go on, reads that
//!   agree, `verify`, a second and a third open, no orphans, no leaks.
//! - `damage`: bytes that change at rest; `full_disk`: space that ends and comes back; `pairs`: two faults close to each other;
//!   `silent`: disks that lie; `tokens`: whoever watched goes on, or is told why not.
//!
//! A failure names its case; `SIM_CASE='<case>' cargo test --test sim <scenario> -- --nocapture` runs that one alone, with
//! all its calls. Every scenario prints how many cases it ran.
//!
//! What has broken other stores, and where it is tried here (`all`: in every scenario):
//!
//! | what happened | tried by |
//! |---|---|
//! | K1 append after a torn tail; K3 wrong offset afterwards | `recover_a_torn_tail`, `recover_twice`, writes after every open |
//! | K2 a second unclean log; K15 crash during recovery; K17 a log that later opens ignore | double crashes, all; `recover_*` |
//! | K5, K8 holes; half a record | `recover_a_hole_*`, `recover_a_tail_*`, policies Subset and TornGarbage, all |
//! | K6 an error while replaying taken for the end; K19 a short read | `recover_*` with Eio and ShortIo at every call |
//! | K7 damage in the middle taken for the end | `damage`: every bit of a log |
//! | K9 a torn last record refuses to open; K18 zeros | `damage`: a log that ends anywhere; `recover_a_tail_of_zeros` |
//! | K10 log released too early | `flush_*`, `rotate_*` with a fault in the flush, then work again, then a cut |
//! | K11 logs replayed in the order of a listing | every listing of the simulated disk is in another order, all |
//! | K12 the number of a failed write given to another | every write fault, then a write, then a cut |
//! | K13 acknowledged before the sync | crash at every call, policy LoseAll, level Sync |
//! | K20 no directory sync; K24 metadata before data; K27 length before data | the policies that part names from data, all |
//! | K21, K22 an edit that failed and survived | faults at every sync and rename, then a cut |
//! | K23, K35 full at any call; K33 quota and size limits | Enospc, Edquot, Efbig at every call |
//! | K25 a lost manifest, and "orphans" deleted | `damage`: every bit and length of the manifest |
//! | K26 crash in a removal | `delete_a_bucket*`, `purge_*`, `create_a_bucket_again` |
//! | K29 a failed sync tried again; K30 the error told once | the three sync flavours at every sync, then left or cut |
//! | K31 an error once, then closed as if whole | every fault once, then a close |
//! | K32 full for ever; K34 a file per restart | `full_disk` |
//! | K16 other bytes adopted; stale and misplaced writes | `silent` |
//! | K36 a write that takes nothing | ZeroWrite at every write |
//! | K38 the deleted comes back; K41 numbers forgotten | `purge_over_flush_and_merge`, `delete_everything_and_merge` |
//! | K42 recovered number too low | `damage`: many reopens after a bulk load |
//! | K57, K58 hostile bytes | `damage`: a directory edited at random |
//! | K60 a call that only the next open finds broken | every prefix of every scenario, closed, dropped and killed |
//!
//! Not here: K4 (no log is recycled), K14, K28 (real processes), K37 (out of scope), and the ids from K39 on that are about
//! time, watches and threads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changes;
mod damage;
mod full_disk;
mod ledger;
mod pairs;
mod scenarios;
mod script;
mod silent;
mod sweep;
mod tokens;
mod world;
