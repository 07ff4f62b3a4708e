//! The floors of the house, as data: which module may use which.
//!
//! A module uses modules of lower floors. On its own floor it uses only what stands before it in its own chain. `ARCHITECTURE.md`
//! shows the same drawing, rendered by [`render`]; a test keeps the two equal. A new edge is a design change: make it there first.

/// Modules that build on each other: each step may use all steps before it, and nothing else of its floor.
pub(crate) type Chain = &'static [&'static [&'static str]];

pub(crate) struct Floor {
    pub(crate) name: &'static str,
    pub(crate) chains: &'static [Chain],
    pub(crate) note: &'static str,
}

/// From the ground up.
pub(crate) const FLOORS: &[Floor] = &[
    Floor {
        name: "ground",
        chains: &[&[
            &["number", "durability"],
            &["error", "report"],
            &["codec", "checksum", "key"],
            &["entry", "subject", "spec", "env", "hash"],
        ]],
        note: "numbers, names, plain values; the seams",
    },
    Floor {
        name: "formats",
        chains: &[&[&["wal"]], &[&["memtable"]], &[&["cache"], &["segment"]], &[&["manifest"]]],
        note: "each knows its own bytes, nothing of its neighbours",
    },
    Floor {
        name: "combine",
        chains: &[
            &[&["run"], &["merge", "retention", "resume", "clock", "acceptance"], &["view"], &["compact"]],
            &[&["matcher"]],
        ],
        note: "pure decisions: no threads, no files of their own",
    },
    Floor { name: "engine", chains: &[&[&["engine"]]], note: "the only floor with threads, locks and a \"when\"" },
    Floor {
        name: "api",
        chains: &[&[&["ticket", "config"], &["scan", "status", "watch"], &["snapshot"], &["bucket"], &["batch"], &["store"]]],
        note: "what users hold: checks, explains, delegates",
    },
    Floor { name: "tools", chains: &[&[&["cli"]]], note: "the program, behind its feature: uses only the public API" },
];

/// Where a module stands: floor, chain, step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) floor: usize,
    pub(crate) chain: usize,
    pub(crate) step: usize,
}

/// The place of a module; none for one that is not drawn.
pub(crate) fn place(module: &str) -> Option<Place> {
    all().find(|(name, _)| *name == module).map(|(_, place)| place)
}

/// All modules of the drawing.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Place)> {
    FLOORS.iter().enumerate().flat_map(|(floor, drawn)| {
        drawn.chains.iter().enumerate().flat_map(move |(chain, steps)| {
            steps
                .iter()
                .enumerate()
                .flat_map(move |(step, modules)| modules.iter().map(move |module| (*module, Place { floor, chain, step })))
        })
    })
}

/// Whether `user` may use `used`, and why not.
pub(crate) fn judge(user: &str, used: &str) -> Result<(), String> {
    if user == used {
        return Ok(());
    }
    let from = place(user).ok_or_else(|| format!("{user} is not in the drawing"))?;
    let to = place(used).ok_or_else(|| format!("{used} is not in the drawing"))?;
    if to.floor > from.floor {
        return Err(format!("looks up: {user} (floor {}) uses {used} (floor {})", from.floor, to.floor));
    }
    if to.floor == from.floor && to.chain != from.chain {
        return Err(format!("goes round: {user} uses its neighbour {used} on floor {}", to.floor));
    }
    if to.floor == from.floor && to.step >= from.step {
        return Err(format!("goes round: {used} does not stand before {user} on floor {}", to.floor));
    }
    Ok(())
}

/// The drawing as text, top floor first.
pub(crate) fn render() -> String {
    let drawn: Vec<(String, &str)> = FLOORS
        .iter()
        .enumerate()
        .rev()
        .map(|(number, floor)| {
            let chains: Vec<String> = floor
                .chains
                .iter()
                .map(|chain| chain.iter().map(|step| step.join(", ")).collect::<Vec<_>>().join(" <- "))
                .collect();
            (format!("{number} {:<8} {}", floor.name, chains.join("; ")), floor.note)
        })
        .collect();
    drawn.iter().map(|(modules, note)| format!("{modules}\n             {note}\n")).collect()
}
