//! Where the tour and the measurements take place: a directory for the store that goes when they end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::statfs;

use crate::failure::{Failure, Result};

/// What a file system in memory says it is, see statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// The directory of a store. Unless it is to be kept it is removed, however its user ends, short of a kill.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    kept: bool,
}

impl Place {
    /// For a verb: the directory to keep, or a new one among the temporary files.
    pub(crate) fn new(verb: &str, keep: Option<&Path>) -> Result<Self> {
        match keep {
            Some(directory) => {
                let occupied = std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
                if occupied {
                    let what = format!("{} is not empty", directory.display());
                    return Err(Failure::Usage { what, next: "name a directory for --keep that is new or empty".to_owned() });
                }
                std::fs::create_dir_all(directory).map_err(|error| Failure::system("create", directory, error))?;
                Ok(Self { directory: directory.to_owned(), kept: true })
            }
            None => {
                let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
                let directory = std::env::temp_dir().join(format!("annals-{verb}-{}-{nanos}", std::process::id()));
                let created = DirBuilder::new().mode(0o700).create(&directory);
                created.map_err(|error| Failure::system("create", &directory, error))?;
                Ok(Self { directory, kept: false })
            }
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What would make the numbers say less than they seem to.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        let in_memory = statfs(&self.directory).is_ok_and(|system| u64::try_from(system.f_type) == Ok(TMPFS_MAGIC));
        in_memory.then_some(
            "That is a file system in memory: a sync costs nothing there, so rates of synced writes say nothing about a disk.\n\
             Set TMPDIR, or use --keep DIR, to go to one.",
        )
    }

    /// Ends it here; answers what became of the store.
    pub(crate) fn leave(self) -> String {
        let directory = self.directory.display().to_string();
        if self.kept {
            return format!("The store stays in {directory}; look around with `annals --store {directory} bucket ls`.");
        }
        drop(self);
        format!("The store was in {directory} and is removed; --keep DIR keeps it.")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about what cannot be removed; it is in the directory for temporary files.
            let _left = std::fs::remove_dir_all(&self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_kept_is_gone_afterwards() {
        let place = Place::new("test", None).unwrap();
        let directory = place.directory().to_owned();
        assert!(directory.is_dir());
        std::fs::write(directory.join("file"), "x").unwrap();
        assert!(place.leave().contains("is removed"));
        assert!(!directory.exists());
    }

    #[test]
    fn a_kept_place_stays_and_must_be_empty_before() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a").join("b");
        let place = Place::new("test", Some(&directory)).unwrap();
        std::fs::write(directory.join("file"), "x").unwrap();
        assert!(place.leave().contains("stays in"));
        assert!(directory.join("file").exists());
        assert!(Place::new("test", Some(&directory)).is_err());
        assert!(directory.join("file").exists());
    }
}
