//! The disk-bound experiment: the effect of a slow disk on requests that need no disk.
//!
//! `cargo bench --bench stall` serves a file system whose disk takes 20 ms per request, 32 concurrently. One
//! hot file is requested 1,000 times a second, and latency counts from the time at which each request was
//! due. Meanwhile cold clients fetch files that were never requested before. A server whose loop waits for
//! the disk delays the hot requests; that delay is measured. Everything is mounted again for each
//! measurement, and unmounted at the end. Requires root, `/dev/fuse` and, for the file system `ext4`,
//! `mkfs.ext4` and a loop device; missing servers are named and skipped.
//!
//! Options: words that select servers by name, `--bed=fuse|ext4`, `--kinds=idle,small,big,depth`,
//! `--seconds=N` (8), `--rounds=N` (1; servers interleaved, medians) and `--write=DIR` for tables and plots.

mod bed;
#[path = "../chart.rs"]
mod chart;
mod cold;
mod command;
mod disk;
mod files;
#[path = "../../tests/fuse/mod.rs"]
mod fuse;
mod hot;
mod image;
mod load;
mod options;
mod plot;
mod report;
mod servers;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bed::{Bed, Mounted};
use files::Size;
use load::Phase;
use options::{Kind, Options};
use report::{Figure, Outcome, Report};
use servers::{Running, Server};

/// Time from the decision to begin to the first request, so that every thread is ready.
const LEAD: Duration = Duration::from_millis(100);
/// Limit on open files of the bench and of each server; no server here needs more.
const DESCRIPTORS: u64 = 65_536;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => return println!("{reason}"),
    };
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return println!("skipped: a slow file system takes root and /dev/fuse");
    }
    if let Err(reason) = measure_all(&options) {
        println!("stopped: {reason}");
        std::process::exit(1);
    }
}

fn measure_all(options: &Options) -> Result<(), String> {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let bench = Bench {
        seconds: options.seconds,
        work: work.path().into(),
        interrupted: Arc::new(AtomicBool::new(false)),
    };
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&bench.interrupted))
            .map_err(|error| error.to_string())?;
    }
    allow_descriptors();
    let servers = bench.servers(options);
    let mut report = Report::new(&servers);
    for bed in &options.beds {
        bench.measure_bed(*bed, options, &servers, &mut report)?;
    }
    println!("\n{}", report.tables());
    if let Some(directory) = &options.write {
        report
            .write(directory, options)
            .and_then(|()| plot::write(directory, &report))?;
    }
    Ok(())
}

/// Raises the limit on open files as far as allowed and useful; servers inherit it.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    let raised = Rlimit {
        current: limit.current.map(|current| current.max(allowed)),
        maximum: limit.maximum,
    };
    // Any user may raise a soft limit up to the hard one.
    setrlimit(Resource::Nofile, raised).expect("a limit within its maximum");
}

/// State shared by all measurements.
struct Bench {
    seconds: u64,
    work: PathBuf,
    interrupted: Arc<AtomicBool>,
}

/// The load of one measurement.
#[derive(Clone, Copy)]
struct Plan {
    is_hot: bool,
    cold: Option<(usize, Size)>,
    seconds: u64,
}

impl Bench {
    /// The selected servers that can be started here.
    fn servers(&self, options: &Options) -> Vec<Server> {
        let mut servers = servers::ALL.to_vec();
        servers.retain(|server| options.selects(server.name));
        servers.retain(|server| match server.probe(&self.work) {
            Ok(()) => true,
            Err(reason) => {
                println!("skipped: {}: {reason}", server.name);
                false
            }
        });
        servers
    }

    fn measure_bed(
        &self,
        bed: Bed,
        options: &Options,
        servers: &[Server],
        report: &mut Report,
    ) -> Result<(), String> {
        let image = match bed {
            Bed::Fuse => None,
            Bed::Ext4 => match image::build(&self.work, |length| {
                vec![b'x'; usize::try_from(length).unwrap_or_default()]
            }) {
                Ok(image) => Some(image),
                Err(reason) => {
                    println!("skipped: bed ext4: {reason}");
                    return Ok(());
                }
            },
        };
        for kind in options.kinds() {
            for _ in 0..options.rounds {
                for server in servers.iter().filter(|server| kind.suits(**server)) {
                    match self.measure(bed, image.as_deref(), kind, *server) {
                        Ok(outcome) => report.add(bed, kind, *server, outcome),
                        Err(reason) => println!("failed: {} {}: {reason}", server.name, bed.name()),
                    }
                    if self.interrupted.load(Ordering::Relaxed) {
                        return Err("interrupted".into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Measures one server on one file system, from mount to unmount.
    fn measure(
        &self,
        bed: Bed,
        image: Option<&Path>,
        kind: Kind,
        server: Server,
    ) -> Result<Outcome, String> {
        let plan = self.plan(kind);
        let mounted = bed.mount(&self.work, image)?;
        let running = server.start(&mounted.root, &self.work)?;
        let beside = match kind {
            Kind::Beside => Some(server.start(&mounted.root, &self.work)?),
            _ => None,
        };
        let hot = beside.as_ref().unwrap_or(&running);
        hot.warm()?;
        let mut outcome = self.load(&plan, &mounted, hot, &running)?;
        outcome.note_numbers(running.numbers().as_ref());
        Ok(outcome)
    }

    fn plan(&self, kind: Kind) -> Plan {
        let half = self.seconds.div_ceil(2);
        let (is_hot, cold, seconds) = match kind {
            Kind::Idle => (true, None, half),
            Kind::Small => (true, Some((16, Size::Small)), self.seconds),
            Kind::Big | Kind::Beside => (true, Some((4, Size::Big)), self.seconds),
            Kind::Depth(clients) => (false, Some((clients, Size::Small)), half),
        };
        Plan {
            is_hot,
            cold,
            seconds,
        }
    }

    /// Loads the servers: `hot` with hot requests, `cold` with cold ones.
    fn load(
        &self,
        plan: &Plan,
        mounted: &Mounted,
        hot: &Running,
        cold: &Running,
    ) -> Result<Outcome, String> {
        let cut = AtomicBool::new(false);
        let phase = Phase {
            start: Instant::now() + LEAD,
            length: Duration::from_secs(plan.seconds),
            cut: &cut,
            interrupted: &self.interrupted,
        };
        mounted.disk.take_deepest();
        let mut outcome = Outcome::new();
        thread::scope(|scope| {
            let hot_load = scope.spawn(|| plan.is_hot.then(|| hot::run(hot.port, &phase)));
            let cold_load = scope.spawn(|| {
                plan.cold
                    .map(|(clients, size)| cold::run(cold.port, clients, size, &phase))
            });
            thread::sleep(LEAD + phase.length / 2);
            outcome.set(Figure::Threads, cold.threads() as f64);
            let hot = hot_load.join().expect("the hot load does not panic");
            let cold = cold_load.join().expect("the cold load does not panic");
            outcome.set(Figure::Deepest, mounted.disk.take_deepest() as f64);
            if let Some(hot) = hot {
                outcome.note_hot(&hot.map_err(|error| format!("the hot load: {error}"))?);
            }
            if let Some(cold) = cold {
                outcome.note_cold(&cold);
            }
            Ok(outcome)
        })
    }
}
