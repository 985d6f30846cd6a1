//! Sites, servers and clients for tests. Everything that waits has a deadline.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
use tempfile::TempDir;

mod client;

pub use client::{Client, Content, Response, Tags};

/// Deadline of everything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Reports that a test cannot run here; a failure where all tests must run.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "cannot be skipped here: {reason}"
    );
    println!("skipped: {reason}");
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a bound on staleness that starts now has passed. A request sent after that must see the
/// current state at the first try: so the bound is tested independently of the machine's load.
pub fn wait_out(bound: Duration) {
    let since = Instant::now();
    wait_until("the bound has passed", || since.elapsed() >= bound);
}

/// Runs `work` on a thread where some system calls fail with `errno`, in its children too. A call without
/// rules always fails; with rules, if its arguments match one of them.
pub fn refusing<T: Send>(
    calls: &[(i64, Vec<SeccompRule>)],
    errno: i32,
    work: impl FnOnce() -> T + Send,
) -> T {
    let rules = calls.iter().cloned().collect();
    let refused = SeccompAction::Errno(u32::try_from(errno).unwrap());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            seccompiler::apply_filter(&program).unwrap();
            work()
        });
        done.join().unwrap()
    })
}

/// A lock that separates tests that load the machine from tests that count progress in a given time.
pub fn not_beside_others() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engines for tests that run with each.
pub fn engines() -> &'static [&'static str] {
    &["uring", "threads", "blocking"]
}

/// A document root in a temporary directory, and a directory beside it.
pub struct Site {
    directory: TempDir,
}

impl Site {
    /// An empty site.
    pub fn new() -> Site {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        Site { directory }
    }

    /// The root.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A path beside the root.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path below the root; creates its directories.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Writes a file with an mtime an hour ago.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Site {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        age(&path, Duration::from_secs(3_600));
        self
    }

    /// Publishes a file by rename, with the current mtime.
    pub fn publish(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let new = path.with_extension("new~");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, path).unwrap();
    }
}

/// The program as user nobody, who owns no file of a site. Requires root.
pub fn unprivileged(site: &Site) -> Command {
    // The build directory may be inaccessible to other users.
    let program = site.beside("spede");
    fs::copy(env!("CARGO_BIN_EXE_spede"), &program).unwrap();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.beside("."), everybody).unwrap();
    let mut command = Command::new(program);
    command.uid(65_534).gid(65_534);
    command
}

/// Sets the mtime of a file to `ago` before now.
pub fn age(path: &Path, ago: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - ago).unwrap();
}

/// A running server; stopped, and checked for panics, when dropped.
pub struct Server {
    child: Child,
    address: Option<SocketAddr>,
    lines: Vec<String>,
    errors: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the program on a port chosen by the kernel and waits until it listens.
    pub fn start(site: &Site, words: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args(["--listen", "127.0.0.1:0"]).args(words);
        Server::spawn(command.arg(site.root()))
    }

    /// Starts a command that executes the program.
    pub fn spawn(command: &mut Command) -> Server {
        Server::spawn_with(command, Stdio::null(), Stdio::piped())
    }

    /// The same with another standard error.
    pub fn spawn_with_errors_to(command: &mut Command, errors: Stdio) -> Server {
        Server::spawn_with(command, Stdio::null(), errors)
    }

    /// Starts the program with a listening socket, as a service manager does.
    pub fn inherit(site: &Site, listener: &TcpListener, words: &[&str]) -> Server {
        let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_spede")]);
        command.args(words).arg(site.root());
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        Server::spawn_with(&mut command, Stdio::from(socket), Stdio::piped())
    }

    fn spawn_with(command: &mut Command, input: Stdio, errors_to: Stdio) -> Server {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(errors_to)
            .spawn()
            .unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let said = Arc::new(Mutex::new(String::new()));
        let heard = child.stderr.take();
        let heard = heard.map(|stderr| gather(stderr, Arc::clone(&errors)));
        let spoken = gather(child.stdout.take().unwrap(), Arc::clone(&said));
        let gatherers = heard.into_iter().chain([spoken]);
        let start = || {
            let text = format!("{}{}", said.lock().unwrap(), errors.lock().unwrap());
            let ready = text.contains("disk engine") && text.ends_with('\n');
            (ready, text)
        };
        wait_until("the server listens", || {
            start().0 || child.try_wait().unwrap().is_some()
        });
        if child.try_wait().unwrap().is_some() {
            // All output is there when the pipes are at their end.
            gatherers.for_each(|all| all.join().unwrap());
        }
        let lines: Vec<String> = start().1.lines().map(str::to_owned).collect();
        let address = lines
            .iter()
            .find_map(|line| line.strip_prefix("listening on http://"))
            .and_then(|address| address.replace("localhost", "127.0.0.1").parse().ok());
        Server {
            child,
            address,
            lines,
            errors,
        }
    }

    /// Its start lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Its standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Its first address.
    pub fn address(&self) -> SocketAddr {
        self.address
            .unwrap_or_else(|| panic!("no address in {:?}", self.lines))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connects to it.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Sends one GET on a new connection.
    pub fn get(&self, path: &str) -> Response {
        self.connect().get(path, &[])
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Whether it has exited.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The status page as JSON.
    pub fn numbers(&self) -> serde_json::Value {
        let response = self.get("/status?format=json");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Processor time used, in ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields = stat.rsplit(')').next().unwrap();
        let mut numbers = fields.split_whitespace().skip(11);
        let mut next = || numbers.next().unwrap().parse::<u64>().unwrap();
        next() + next()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(rustix::process::Signal::TERM);
            self.signal(rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            // A call held by a FUSE file system of a test outlives even SIGKILL.
            if began.elapsed() > 2 * PATIENCE {
                break;
            }
            std::thread::yield_now();
        }
        let errors = self.errors.lock().unwrap();
        if !std::thread::panicking() {
            assert!(
                !errors.contains("panicked"),
                "the server panicked:\n{errors}"
            );
        }
    }
}

fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    })
}

/// Whether the tests run as root, without permission checks.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).exists()))
}
