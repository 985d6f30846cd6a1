//! The measured servers: how each is configured, started, queried and stopped.
//!
//! All get one event loop where it is configurable, unlimited keep-alive and no log. Only processes started
//! here are ended, by their process ids.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::run;
use crate::files::{HOT_LENGTH, HOT_PATH};
use crate::load::{head, request};

/// Time limit for a server to listen, and to exit on request.
const START_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(3);
/// Time limit of an answer on an idle machine.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Warm-up: requests for the hot file on each connection.
const WARM_REQUESTS: usize = 30;
const WARM_CONNECTIONS: usize = 4;

/// The measured program.
#[derive(Clone, Copy)]
enum Program {
    /// This project, with a disk engine.
    Spede(&'static str),
    Nginx {
        /// Addition to its configuration.
        extra: &'static str,
    },
    Lighttpd,
    H2o,
    Caddy,
}

/// A server with its configuration.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: Program,
}

#[rustfmt::skip]
pub(crate) const ALL: [Server; 8] = [
    Server { name: "spede uring",       program: Program::Spede("uring") },
    Server { name: "spede threads",     program: Program::Spede("threads") },
    Server { name: "spede blocking",    program: Program::Spede("blocking") },
    Server { name: "nginx",             program: Program::Nginx { extra: "" } },
    Server { name: "nginx aio threads", program: Program::Nginx { extra: "aio threads;" } },
    Server { name: "lighttpd",          program: Program::Lighttpd },
    Server { name: "h2o",               program: Program::H2o },
    Server { name: "caddy",             program: Program::Caddy },
];

impl Server {
    pub(crate) fn is_spede(self) -> bool {
        matches!(self.program, Program::Spede(_))
    }

    fn path(self) -> Result<PathBuf, String> {
        let name = match self.program {
            Program::Spede(_) => return Ok(env!("CARGO_BIN_EXE_spede").into()),
            Program::Nginx { .. } => "nginx",
            Program::Lighttpd => "lighttpd",
            Program::H2o => "h2o",
            Program::Caddy => "caddy",
        };
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
            .iter()
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.exists())
            .ok_or(format!("{name} is not installed"))
    }

    /// Its version, in one line.
    pub(crate) fn version(self) -> Option<String> {
        let argument = match self.program {
            Program::Spede(_) => "--version",
            Program::Caddy => "version",
            _ => "-v",
        };
        let output = Command::new(self.path().ok()?)
            .arg(argument)
            .output()
            .ok()?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        let line = told.lines().next()?.trim();
        Some(match self.program {
            Program::Caddy => format!("caddy {line}"),
            _ => line.trim_start_matches("nginx version: ").to_owned(),
        })
    }

    /// Checks that it can be started here, by serving a file.
    ///
    /// # Errors
    /// The reason why not, in one line.
    pub(crate) fn probe(self, work: &Path) -> Result<(), String> {
        let root = work.join("probe");
        let path = root.join(HOT_PATH.trim_start_matches('/'));
        let content = vec![b'x'; usize::try_from(HOT_LENGTH).unwrap_or(0)];
        fs::create_dir_all(path.parent().unwrap_or(&root))
            .and_then(|()| fs::write(&path, content))
            .map_err(|error| error.to_string())?;
        self.start(&root, work)?.warm()
    }

    /// Starts it on its own port. Its files and output go into a directory below `work`.
    ///
    /// # Errors
    /// When it is not installed, exits at once or does not listen: its output.
    pub(crate) fn start(self, root: &Path, work: &Path) -> Result<Running, String> {
        let program = self.path()?;
        let port = free_port().map_err(|error| error.to_string())?;
        let directory = tempfile::tempdir_in(work).map_err(|error| error.to_string())?;
        let said = directory.path().join("said");
        let mut command = self
            .command(&program, port, root, directory.path())
            .map_err(|error| error.to_string())?;
        let output = File::create(&said).map_err(|error| error.to_string())?;
        let child = command
            .env("HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut running = Running {
            child,
            port,
            _directory: directory,
        };
        running.wait_until_it_listens().map_err(|reason| {
            let said = fs::read_to_string(&said).unwrap_or_default();
            let line = said.lines().next().unwrap_or_default().trim();
            format!("{reason}: {line}")
        })?;
        Ok(running)
    }

    fn command(
        self,
        program: &Path,
        port: u16,
        root: &Path,
        directory: &Path,
    ) -> io::Result<Command> {
        let configuration = directory.join("configuration");
        fs::write(&configuration, self.configuration(port, root, directory))?;
        let mut command = Command::new(program);
        match self.program {
            Program::Spede(engine) => command
                .args(["--listen", &format!("127.0.0.1:{port}"), "--disk", engine])
                .arg(root),
            Program::Nginx { .. } => command
                .arg("-e")
                .arg(directory.join("log"))
                .arg("-c")
                .arg(configuration),
            Program::Lighttpd => command.arg("-D").arg("-f").arg(configuration),
            Program::H2o => command.arg("-c").arg(configuration),
            Program::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration),
        };
        Ok(command)
    }

    fn configuration(self, port: u16, root: &Path, directory: &Path) -> String {
        let (root, directory) = (root.display(), directory.display());
        match self.program {
            Program::Spede(_) => String::new(),
            Program::Nginx { extra } => format!(
                "daemon off; master_process off; pid {directory}/pid; error_log {directory}/log;\n\
                 worker_processes 1;\nevents {{ worker_connections 4096; }}\n\
                 http {{ access_log off; sendfile on; tcp_nodelay on; {extra}\n\
                 default_type application/octet-stream; keepalive_requests 1000000000;\n\
                 open_file_cache max=100000 inactive=60s; open_file_cache_valid 30s;\n\
                 client_body_temp_path {directory}/a; proxy_temp_path {directory}/b;\n\
                 fastcgi_temp_path {directory}/c; uwsgi_temp_path {directory}/d;\n\
                 scgi_temp_path {directory}/e;\n\
                 server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }} }}\n"
            ),
            Program::Lighttpd => format!(
                "server.document-root = \"{root}\"\nserver.port = {port}\n\
                 server.bind = \"127.0.0.1\"\nserver.max-fds = 8192\n\
                 server.max-keep-alive-requests = 1000000000\n\
                 mimetype.assign = ( \"\" => \"application/octet-stream\" )\n"
            ),
            Program::H2o => format!(
                "num-threads: 1\nuser: root\nlisten: {{host: 127.0.0.1, port: {port}}}\n\
                 hosts:\n  default:\n    paths:\n      /:\n        file.dir: {root}\n"
            ),
            Program::Caddy => format!(
                "{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n \
                 root * {root}\n file_server\n}}\n"
            ),
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running server; stopped when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    _directory: tempfile::TempDir,
}

impl Running {
    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended at once, {status}"));
            }
            if Instant::now() > deadline {
                return Err("it does not listen".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Requests the hot file until every cache holds it.
    ///
    /// # Errors
    /// When an answer is wrong or missing.
    pub(crate) fn warm(&self) -> Result<(), String> {
        for _ in 0..WARM_CONNECTIONS {
            let mut stream = self.connect().map_err(|error| error.to_string())?;
            for _ in 0..WARM_REQUESTS {
                fetch_hot(&mut stream).map_err(|error| format!("the hot file: {error}"))?;
            }
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(stream)
    }

    /// Current number of threads; 0 if it has exited.
    pub(crate) fn threads(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.map_or(0, Iterator::count)
    }

    /// /status as JSON; `None` if it has no such page.
    pub(crate) fn numbers(&self) -> Option<serde_json::Value> {
        let mut stream = self.connect().ok()?;
        let request =
            "GET /status?format=json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

fn fetch_hot(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&request(HOT_PATH))?;
    let mut received = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&buffer[..count]);
        if let Some(head) = head(&received, HOT_LENGTH).map_err(io::Error::other)?
            && received.len() as u64 >= head.length + head.body_length
        {
            return Ok(());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        // Some servers finish responses at the first one; the second ends them at once.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + STOP_MAX;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The kernel, the processors and the distribution, in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (system, processors) = (read("/etc/os-release"), read("/proc/cpuinfo"));
    let name = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, model)| model);
    let memory = read("/proc/meminfo");
    let kibibytes: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    format!(
        "{} processors ({model}), {} GiB, Linux {}, {}, {}",
        thread::available_parallelism().map_or(0, usize::from),
        kibibytes >> 20,
        read("/proc/sys/kernel/osrelease").trim(),
        name.trim_matches('"'),
        run(Command::new("rustc").arg("--version")).unwrap_or_default(),
    )
}
