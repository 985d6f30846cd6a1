//! CPU per request against other servers and against the floor: a raw epoll loop that receives
//! whatever comes and sends a fixed response.
//!
//! `cargo bench --bench compare` starts each server alone on processor 0, loads it from processor 1
//! with `wrk`, round by round in turn, and prints medians and spread. What a server costs is its
//! user and system time (from /proc) over the requests it answered. A server that is not installed
//! is named and left out.
//!
//! Absolute figures are those of one machine on one day; the ratios are what to look at.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Seconds that one measurement lasts.
const SECONDS: u32 = 2;
/// Measurements of each server and workload.
const ROUNDS: usize = 5;

/// What is asked for.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    path: &'static str,
    connections: u32,
    fields: &'static [&'static str],
}

const BROWSER: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: none",
    "Upgrade-Insecure-Requests: 1",
    "Priority: u=0, i",
];

#[rustfmt::skip]
const WORKLOADS: &[Workload] = &[
    Workload { name: "1 KiB, 64 connections",             path: "/1k.bin",   connections: 64, fields: &[] },
    Workload { name: "1 KiB, 1 connection",               path: "/1k.bin",   connections: 1,  fields: &[] },
    Workload { name: "1 KiB, 64, browser's fields",       path: "/1k.bin",   connections: 64, fields: BROWSER },
    Workload { name: "4 KiB, 64 connections",             path: "/4k.bin",   connections: 64, fields: &[] },
    Workload { name: "16 KiB, 64 connections",            path: "/16k.bin",  connections: 64, fields: &[] },
    Workload { name: "64 KiB, 64 connections",            path: "/64k.bin",  connections: 64, fields: &[] },
    Workload { name: "1 MiB, 64 connections",             path: "/1m.bin",   connections: 64, fields: &[] },
    Workload { name: "404, 64 connections",               path: "/none",     connections: 64, fields: &[] },
];

const FILES: &[(&str, usize)] = &[
    ("1k.bin", 1 << 10),
    ("4k.bin", 4 << 10),
    ("16k.bin", 16 << 10),
    ("64k.bin", 64 << 10),
    ("1m.bin", 1 << 20),
];

/// A server that runs.
struct Running {
    name: String,
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    requests_per_second: f64,
    cpu_us: f64,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, port] = &words[..]
        && word == "floor"
    {
        floor(port.parse().expect("a port")).expect("the floor runs");
        return;
    }
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("skipped: wrk is not installed (Debian: apt-get install wrk)");
        return;
    }
    let only = words.iter().skip(1).find(|word| !word.starts_with('-'));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("root");
    make_files(&root);
    let mut table = String::from(
        "| workload | server | requests/s | CPU µs/request (min – max) | against spede |\n\
         | --- | --- | ---: | ---: | ---: |\n",
    );
    for workload in WORKLOADS
        .iter()
        .filter(|w| only.is_none_or(|only| w.name.contains(&**only)))
    {
        compare(workload, directory.path(), &root, &mut table);
    }
    println!("\n{table}");
    if let Some(path) = words.iter().find_map(|word| word.strip_prefix("--write=")) {
        fs::write(path, table).expect("the table is written");
    }
}

fn make_files(root: &Path) {
    fs::create_dir_all(root).expect("a root");
    for (name, length) in FILES {
        let bytes: Vec<u8> = (0..*length)
            .map(|at| b"abcdefghijklmnop"[at % 16])
            .collect();
        fs::write(root.join(name), bytes).expect("a file");
    }
}

/// All servers in turn, round by round.
fn compare(workload: &Workload, directory: &Path, root: &Path, table: &mut String) {
    let servers: Vec<Running> = [start_floor(), start_spede(root)]
        .into_iter()
        .chain([
            start_lighttpd(directory, root),
            start_nginx(directory, root),
        ])
        .filter_map(|started| started.map_err(|reason| println!("skipped: {reason}")).ok())
        .collect();
    let mut samples: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
    for server in &servers {
        load(server, workload, 1);
    }
    for _ in 0..ROUNDS {
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.push(load(server, workload, SECONDS));
        }
    }
    let spede = median(samples[0].iter().map(|sample| sample.cpu_us));
    for (server, samples) in servers.iter().zip(&samples) {
        let cpu = median(samples.iter().map(|sample| sample.cpu_us));
        let rate = median(samples.iter().map(|sample| sample.requests_per_second));
        let least = samples
            .iter()
            .map(|sample| sample.cpu_us)
            .fold(f64::MAX, f64::min);
        let most = samples
            .iter()
            .map(|sample| sample.cpu_us)
            .fold(0.0, f64::max);
        let row = format!(
            "| {} | {} | {rate:.0} | {cpu:.2} ({least:.2} – {most:.2}) | {:.2} |",
            workload.name,
            server.name,
            cpu / spede
        );
        println!("{row}");
        let _ = writeln!(table, "{row}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn load(server: &Running, workload: &Workload, seconds: u32) -> Sample {
    let before = cpu_us(server.child.id());
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "wrk", "-t1"]);
    command
        .arg(format!("-c{}", workload.connections))
        .arg(format!("-d{seconds}s"));
    for field in workload.fields {
        command.args(["-H", field]);
    }
    command.arg(format!("http://127.0.0.1:{}{}", server.port, workload.path));
    let output = command.output().expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |marker: &str, place: usize| -> f64 {
        let line = text
            .lines()
            .find(|line| line.contains(marker))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(place)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0.0)
    };
    let requests = figure("requests in", 0);
    let requests_per_second = figure("Requests/sec", 1);
    assert!(requests > 0.0, "{} answered nothing:\n{text}", server.name);
    Sample {
        requests_per_second,
        cpu_us: (cpu_us(server.child.id()) - before) / requests,
    }
}

/// User and system time of a process and its threads so far, in microseconds.
fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<f64>().ok())
        .sum();
    ticks * 10_000.0
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn start(name: &str, command: &mut Command, port: u16) -> Result<Running, String> {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let running = Running {
        name: name.into(),
        child,
        port,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err(format!("{name} does not listen"));
        }
        std::thread::yield_now();
    }
    Ok(running)
}

/// A command on processor 0, as the process itself and not a child of it.
fn on_processor_0(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn installed(name: &str) -> Result<PathBuf, String> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .ok_or(format!("{name} is not installed"))
}

fn start_floor() -> Result<Running, String> {
    let port = free_port();
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    start(
        "floor",
        on_processor_0(program).args(["floor", &port.to_string()]),
        port,
    )
}

fn start_spede(root: &Path) -> Result<Running, String> {
    let port = free_port();
    let mut command = on_processor_0(env!("CARGO_BIN_EXE_spede"));
    start(
        "spede",
        command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg(root),
        port,
    )
}

fn start_lighttpd(directory: &Path, root: &Path) -> Result<Running, String> {
    let (program, port) = (installed("lighttpd")?, free_port());
    let path = directory.join("lighttpd.conf");
    let text = format!(
        "server.document-root = \"{}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
         server.max-keep-alive-requests = 100000000\nserver.max-fds = 4096\n\
         mimetype.assign = ( \"\" => \"application/octet-stream\" )\n",
        root.display()
    );
    fs::write(&path, text).map_err(|error| error.to_string())?;
    start(
        "lighttpd",
        on_processor_0(program).arg("-D").arg("-f").arg(path),
        port,
    )
}

fn start_nginx(directory: &Path, root: &Path) -> Result<Running, String> {
    let (program, port) = (installed("nginx")?, free_port());
    let path = directory.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on;\n\
         open_file_cache max=65536 inactive=60s; keepalive_requests 100000000;\n\
         server {{ listen 127.0.0.1:{port}; root {1}; }} }}\n",
        directory.display(),
        root.display()
    );
    fs::write(&path, text).map_err(|error| error.to_string())?;
    start("nginx", on_processor_0(program).arg("-c").arg(path), port)
}

/// The least that any server on epoll can do: receive, send, nothing between.
fn floor(port: u16) -> io::Result<()> {
    use rustix::event::epoll;
    let body = [b'a'; 1_024];
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
        Content-Length: 1024\r\n\r\n"
        .to_vec();
    response.extend_from_slice(&body);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = |descriptor: i32| epoll::EventData::new_u64(descriptor.unsigned_abs().into());
    epoll::add(
        &poll,
        &listener,
        token(listener.as_raw_fd()),
        epoll::EventFlags::IN,
    )?;
    let mut open: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(1_024);
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let descriptor = usize::try_from(event.data.u64()).unwrap_or_default();
            if descriptor == usize::try_from(listener.as_raw_fd()).unwrap_or_default() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                    epoll::add(&poll, &stream, token(stream.as_raw_fd()), flags)?;
                    let place = usize::try_from(stream.as_raw_fd()).unwrap_or_default();
                    open.resize_with(open.len().max(place + 1), || None);
                    open[place] = Some(stream);
                }
                continue;
            }
            let Some(stream) = open.get_mut(descriptor).and_then(Option::as_mut) else {
                continue;
            };
            match rustix::net::recv(&*stream, &mut buffer[..], rustix::net::RecvFlags::empty()) {
                Ok((0, _)) | Err(_) => open[descriptor] = None,
                Ok(_) => {
                    let _ = stream.write(&response)?;
                }
            }
        }
    }
}
