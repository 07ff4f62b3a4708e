//! This program again, as another process that can be killed.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as Process, ChildStdout, Command, ExitStatus, Stdio};

use crate::failure::{Failure, Result};

const SIGKILL: i32 = 9;

/// A process of this program, which goes when its owner goes.
#[derive(Debug)]
pub(crate) struct Child(Process);

impl Child {
    /// Starts the program with what `arguments` adds; its stdout is answered, its stdin is empty.
    pub(crate) fn spawn(arguments: impl FnOnce(&mut Command)) -> Result<(Self, ChildStdout)> {
        let failed = |action: &str, source| Failure::System { action: action.to_owned(), source };
        let program = std::env::current_exe().map_err(|source| failed("find this program", source))?;
        let mut command = Command::new(program);
        arguments(&mut command);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = Self(spawned.map_err(|source| failed("start another process of this program", source))?);
        let pipe = child.0.stdout.take().ok_or_else(|| Failure::Broken("the other process has no pipe".to_owned()))?;
        Ok((child, pipe))
    }

    /// Ends it as a kill -9 does.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.kill().and_then(|()| self.0.wait())
    }
}

/// Whether a process ended by the kill, and not by itself before.
pub(crate) fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(SIGKILL)
}

impl Drop for Child {
    fn drop(&mut self) {
        // It fails only if it has ended and been waited for.
        let _ended = self.kill();
    }
}
