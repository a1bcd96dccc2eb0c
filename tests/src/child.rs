//! Child processes that never outlive their test, and whose lines are read as they come.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Of what a process wrote to stderr, this much of the end is kept for a failure's message.
const STDERR_KEPT_BYTES: usize = 64 * 1024;

/// A running process; dropping it kills it.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` with stdout and stderr read by threads.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped above"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let stderr = Arc::<Mutex<String>>::default();
        let (kept, errors) = (Arc::clone(&stderr), BufReader::new(child.stderr.take().expect("piped above")));
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
                if kept.len() > 2 * STDERR_KEPT_BYTES {
                    let from = (kept.len() - STDERR_KEPT_BYTES..kept.len()).find(|&at| kept.is_char_boundary(at));
                    *kept = kept.split_off(from.unwrap_or(0));
                }
            }
        });
        Self { child, lines, stderr }
    }

    /// The next line of stdout; `None` when there will be none, or none came within `limit`.
    pub fn line(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// The lines of stdout that have come by now.
    pub fn lines_so_far(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter()
    }

    /// What it wrote to stderr lately.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it did not end within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(start.elapsed() < limit, "process {} does not end; its last words:\n{}", self.id(), self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with SIGKILL and waits until it is gone: its files are closed then.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, with SIGTERM.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn terminate(&self) {
        let id =
            i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a child's id is positive");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the child is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({})", self.id())
    }
}

/// For the programs of this package: logs go to stderr, which [`Process::stderr`] shows when a test fails.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// For the programs of this package: ends when SIGTERM comes.
///
/// # Panics
/// When the system gives no signals.
pub async fn terminated() {
    let mut signal =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be awaited");
    signal.recv().await;
}
