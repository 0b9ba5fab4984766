//! Child processes that end with their owner.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::wait::eventually;

/// Lines of a process's log that an error message quotes.
const QUOTED_LINES: usize = 15;

/// A signal, by the name that `kill` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ask to end.
    Term,
    /// Freeze.
    Stop,
    /// Thaw.
    Cont,
}

impl Signal {
    fn flag(self) -> &'static str {
        match self {
            Self::Term => "-TERM",
            Self::Stop => "-STOP",
            Self::Cont => "-CONT",
        }
    }
}

/// A running program. Standard output and error go to files; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program. Its output goes to `<dir>/<name>.out` and `<dir>/<name>.err`, after what is there already.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<S: AsRef<OsStr>>(name: &str, program: &Path, args: &[S], dir: &Path) -> Result<Self> {
        Self::spawn(name, Command::new(program).args(args), dir)
    }

    /// Starts a prepared command, as [`Process::start`] does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&stdout)?)
            .stderr(append(&stderr)?)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far, of all its starts.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far, of all its starts.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// An error if it has ended, quoting the end of its log.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = self.stderr();
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
                bail!("{} has ended ({status}); the end of its log:\n{end}", self.name)
            }
        }
    }

    /// Waits until `attempt` succeeds, and gives up early when the process ends.
    ///
    /// # Errors
    /// The last failure of `attempt` after the deadline, or the end of the process.
    pub async fn until<T, F>(&mut self, what: &str, deadline: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let ended = eventually(what, deadline, || {
            let look = if let Err(ended) = self.check_running() { Err(ended) } else { Ok(attempt()) };
            async {
                match look {
                    Ok(attempt) => attempt.await.map(Ok),
                    Err(ended) => Ok(Err(ended)),
                }
            }
        });
        ended.await?
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check_running()?;
        // That of the shell: the program is not on every machine.
        let done =
            Command::new("bash").args(["-c", "kill $0 $1", signal.flag()]).arg(self.id().to_string()).status()?;
        if done.success() { Ok(()) } else { Err(anyhow!("cannot send {signal:?} to {}", self.name)) }
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// When it has not ended by the deadline.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::Term)?;
        self.ended(deadline).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended by the deadline.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        eventually(&what, deadline, || {
            let status = self.child.try_wait();
            async move { status?.context("still running") }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn append(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| format!("open {}", path.display()))
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}
