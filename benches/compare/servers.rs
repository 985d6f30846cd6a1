//! The compared servers: how each is configured and started. All have one event loop where it is
//! configurable, unlimited keep-alive and no log.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit for a server to listen.
const START_MAX: Duration = Duration::from_secs(5);

/// The measured program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A raw epoll loop.
    Floor,
    Spede,
    Nginx,
    Lighttpd,
    H2o,
    Caddy,
    StaticWebServer,
}

pub(crate) const ALL: [Program; 7] = [
    Program::Spede,
    Program::Floor,
    Program::Lighttpd,
    Program::Nginx,
    Program::H2o,
    Program::Caddy,
    Program::StaticWebServer,
];

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Floor => "floor",
            Program::Spede => "spede",
            Program::Nginx => "nginx",
            Program::Lighttpd => "lighttpd",
            Program::H2o => "h2o",
            Program::Caddy => "caddy",
            Program::StaticWebServer => "static-web-server",
        }
    }

    fn path(self) -> Result<PathBuf, String> {
        match self {
            Program::Floor => std::env::current_exe().map_err(|error| error.to_string()),
            Program::Spede => Ok(env!("CARGO_BIN_EXE_spede").into()),
            _ => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path)
                    .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
                    .map(|directory| directory.join(self.name()))
                    .find(|path| path.exists())
                    .ok_or(format!("{} is not installed", self.name()))
            }
        }
    }

    /// Its version, in one line.
    pub(crate) fn version(self) -> Option<String> {
        let argument = match self {
            Program::Floor => return None,
            Program::Spede | Program::StaticWebServer => "--version",
            Program::Caddy => "version",
            Program::Nginx | Program::Lighttpd | Program::H2o => "-v",
        };
        let output = Command::new(self.path().ok()?).arg(argument).output();
        let output = output.ok()?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        let line = told.lines().next()?.trim();
        Some(match line.starts_with(self.name()) {
            true => line.to_owned(),
            false => format!("{} {line}", self.name()),
        })
    }

    /// Starts it on processor 0.
    ///
    /// # Errors
    /// When it is not installed or does not listen: the reason.
    pub(crate) fn start(self, directory: &Path, root: &Path) -> Result<Running, String> {
        let program = self.path()?;
        let port = free_port();
        let configuration = directory.join(format!("{}.conf", self.name()));
        fs::write(&configuration, self.configuration(port, root, directory))
            .map_err(|error| error.to_string())?;
        // Its own process, not a child: taskset executes it in place.
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        let listen = format!("127.0.0.1:{port}");
        match self {
            Program::Floor => command.args(["floor", &port.to_string()]),
            Program::Spede => command.args(["--listen", &listen]).arg(root),
            Program::Nginx => command.arg("-c").arg(configuration),
            Program::Lighttpd => command.arg("-D").arg("-f").arg(configuration),
            Program::H2o => command.arg("-c").arg(configuration),
            Program::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration),
            Program::StaticWebServer => command
                .args(["--host", "127.0.0.1", "--port", &port.to_string()])
                .args(["--threads-multiplier", "1", "--log-level", "error"])
                .args([
                    "--compression",
                    "false",
                    "--compression-static",
                    "true",
                    "-d",
                ])
                .arg(root),
        };
        let said = directory.join(format!("{}.said", self.name()));
        let said = File::create(said).map_err(|error| error.to_string())?;
        let child = command
            .env("HOME", directory)
            .env("XDG_DATA_HOME", directory)
            .env("XDG_CONFIG_HOME", directory)
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.name()))?;
        let program = self;
        let running = Running {
            program,
            child,
            port,
        };
        running.wait_until_it_listens().map(|()| running)
    }

    fn configuration(self, port: u16, root: &Path, directory: &Path) -> String {
        let (root, directory) = (root.display(), directory.display());
        match self {
            Program::Floor | Program::Spede | Program::StaticWebServer => String::new(),
            Program::Nginx => format!(
                "daemon off; master_process off; pid {directory}/nginx.pid; error_log /dev/null;\n\
                 events {{ worker_connections 4096; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on;\n\
                 gzip_static on; open_file_cache max=65536 inactive=60s; keepalive_requests 100000000;\n\
                 server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }} }}\n"
            ),
            Program::Lighttpd => format!(
                "server.document-root = \"{root}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
                 server.max-keep-alive-requests = 100000000\nserver.max-fds = 32768\n\
                 mimetype.assign = ( \".js\" => \"text/javascript\", \"\" => \"application/octet-stream\" )\n"
            ),
            Program::H2o => format!(
                "num-threads: 1\nuser: root\nlisten: {{host: 127.0.0.1, port: {port}}}\n\
                 file.send-compressed: ON\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: {root}\n"
            ),
            Program::Caddy => format!(
                "{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n root * {root}\n \
                 file_server {{\n  precompressed br gzip\n }}\n}}\n"
            ),
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A running server; killed when dropped.
pub(crate) struct Running {
    pub(crate) program: Program,
    child: Child,
    pub(crate) port: u16,
}

impl Running {
    fn wait_until_it_listens(&self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{} does not listen", self.program.name()));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// User and system time of all its threads so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(path).expect("the server runs");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<f64>().ok())
            .sum();
        ticks * 10_000.0
    }

    /// The head of one answer.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn head(&self, method: &str, path: &str, fields: &[&str]) -> Result<String, String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(START_MAX))?;
            let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
            for field in fields {
                request.push_str(field);
                request.push_str("\r\n");
            }
            request.push_str("\r\n");
            stream.write_all(request.as_bytes())?;
            let mut received = Vec::new();
            let mut buffer = [0; 4_096];
            loop {
                if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
                    return Ok(String::from_utf8_lossy(&received[..end]).into_owned());
                }
                match stream.read(&mut buffer)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    count => received.extend_from_slice(&buffer[..count]),
                }
            }
        };
        ask().map_err(|error| format!("{}: {error}", self.program.name()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
