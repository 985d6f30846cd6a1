//! What each way to send a large file costs, and which of them keep the loop from the disk.
//!
//! `cargo bench --bench large` sends files of 8 MiB through a loopback connection to a reader, a
//! process of its own that does nothing but read. The *loop* has a non-blocking socket and waits in
//! `poll` only; a *helper* thread makes the calls that may wait for the disk, one window at a time
//! and at most one window ahead of the one that is sent.
//!
//! - Warm: a gigabyte from the page cache a round, all ways in turn. Loop and helper run on
//!   processor 0, the reader on processor 1. CPU is user and system time per 10⁹ bytes; what a way
//!   costs against the first one is worked out round by round. The receiving half of TCP runs in the
//!   sender's time on loopback, so "both" is the fairer column for it.
//! - Cold: a file nobody has read before, on a file system of our own (FUSE) that takes 20 ms for
//!   each request of at most 128 KiB, 32 at once, and on ext4 on a device of that kind (that of the bench `stall`).
//!   What counts is the longest that the loop spent
//!   outside its wait in one call, and how often it slept there. This takes root and /dev/fuse.
//!
//! No way here asks what is resident: each window is prepared every time. The reader looks at the
//! first and the last byte of whatever it reads, so that a way that sends something else fails.

mod report;
mod slow_tree;
// What the ext4 bed is made of; the rest of it is for the bench that it belongs to.
#[path = "../stall/bed.rs"]
#[allow(dead_code)]
mod bed;
#[path = "../stall/command.rs"]
mod command;
#[path = "../stall/disk.rs"]
#[allow(dead_code)]
mod disk;
#[path = "../../tests/fuse/mod.rs"]
mod fuse;
#[path = "../stall/image.rs"]
mod image;
#[path = "../stall/tree.rs"]
#[allow(dead_code)]
mod tree;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bed::{Bed, Size};
use memmap2::{Advice, MmapOptions};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::pipe::SpliceFlags;
use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a file.
const FILE_LENGTH: u64 = 8 << 20;
/// Bytes that are prepared at once: as in `server/residency.rs`.
const WINDOW_LENGTH: usize = 512 << 10;
/// Bytes that plain `sendfile` is asked for at once.
const CALL_LENGTH: usize = 1 << 20;
/// Bytes of the small buffer, which stays in the processor's cache.
const SMALL_LENGTH: usize = 64 << 10;
/// Capacity of a pipe in bytes: what an unprivileged process may ask for by default.
const PIPE_LENGTH: usize = 1 << 20;
/// Windows that one transfer has: one that is sent, one that is prepared meanwhile.
const SLOT_COUNT: usize = 2;
/// Files sent in one warm measurement: about a gigabyte.
const WARM_FILE_COUNT: u64 = 128;
/// How long the reader pauses when it has read everything. Were it asleep in `recv`, the sender would
/// wake it for each segment or not, as it happens, and pay for that.
const READER_PAUSE: Duration = Duration::from_micros(100);
const WARM_ROUNDS: usize = 15;
const COLD_ROUNDS: usize = 5;

/// How a file gets into a socket.
#[derive(Clone, Copy)]
enum Way {
    Sendfile,
    Advise,
    ReadLarge,
    ReadSmall,
    Discard,
    Populate,
    Pipe,
    Buffer,
    AdviseAndDiscard,
}

#[rustfmt::skip]
const WAYS: &[(Way, &str)] = &[
    (Way::Sendfile,         "a. sendfile by the loop"),
    (Way::Advise,           "b. WILLNEED and sendfile by the loop"),
    (Way::ReadLarge,        "c. read into 512 KiB, sendfile"),
    (Way::ReadSmall,        "d. read into 64 KiB, sendfile"),
    (Way::Discard,          "e. sendfile to /dev/null, sendfile"),
    (Way::Populate,         "f. populate a mapping, sendfile"),
    (Way::Pipe,             "g. splice to a pipe, splice"),
    (Way::Buffer,           "h. read into a buffer, send"),
    (Way::AdviseAndDiscard, "i. WILLNEED in pieces, then as e"),
];

impl Way {
    fn window_length(self) -> usize {
        match self {
            Way::Sendfile => CALL_LENGTH,
            _ => WINDOW_LENGTH,
        }
    }

    fn slot(self) -> io::Result<Slot> {
        Ok(match self {
            Way::Pipe => {
                let (source, sink) = rustix::pipe::pipe()?;
                rustix::pipe::fcntl_setpipe_size(&sink, PIPE_LENGTH)?;
                Slot::Pipe { source, sink }
            }
            Way::Buffer => Slot::Buffer(vec![0; WINDOW_LENGTH]),
            _ => Slot::Cached,
        })
    }
}

/// Where the bytes of a prepared window are. Whoever has it is alone with it, so that the loop
/// never waits for the lock of a pipe that is being filled.
enum Slot {
    Cached,
    Pipe { source: OwnedFd, sink: OwnedFd },
    Buffer(Vec<u8>),
}

/// Bytes of a file on their way.
struct Window {
    slot: Slot,
    /// Where it begins in the file, in bytes.
    start: u64,
    length: usize,
    /// Bytes of it that the socket has taken.
    sent: usize,
}

/// What the helper says of a window.
type Prepared = io::Result<Window>;

/// Makes the calls that may wait for the disk.
struct Disk {
    way: Way,
    file: File,
    scratch: Vec<u8>,
    null: File,
}

impl Disk {
    fn new(way: Way, file: &File) -> io::Result<Disk> {
        let scratch_length = match way {
            Way::ReadLarge => WINDOW_LENGTH,
            Way::ReadSmall => SMALL_LENGTH,
            _ => 0,
        };
        Ok(Disk {
            way,
            file: file.try_clone()?,
            scratch: vec![0; scratch_length],
            null: File::options().write(true).open("/dev/null")?,
        })
    }

    /// Brings the bytes of a window to where the loop can send them from.
    fn prepare(&mut self, window: &mut Window) -> io::Result<()> {
        let (start, length) = (window.start, window.length);
        match self.way {
            Way::Sendfile => Ok(()),
            Way::Advise => self.advise(start, length),
            Way::ReadLarge | Way::ReadSmall => self.read(start, length),
            Way::Discard => self.discard(start, length),
            Way::Populate => MmapOptions::new()
                .offset(start)
                .len(length)
                .map_raw_read_only(&self.file)?
                .advise(Advice::PopulateRead),
            Way::AdviseAndDiscard => {
                let piece_length =
                    usize::try_from(slow_tree::READ_LENGTH_MAX).expect("a length in memory");
                for piece in (0..length).step_by(piece_length) {
                    self.advise(start + offset(piece), piece_length)?;
                }
                self.discard(start, length)
            }
            Way::Pipe | Way::Buffer => self.fill(window),
        }
    }

    fn advise(&self, start: u64, length: usize) -> io::Result<()> {
        let length = NonZeroU64::new(offset(length));
        let advice = rustix::fs::Advice::WillNeed;
        Ok(rustix::fs::fadvise(&self.file, start, length, advice)?)
    }

    fn read(&mut self, start: u64, length: usize) -> io::Result<()> {
        for piece in (0..length).step_by(self.scratch.len()) {
            let (file, at) = (&self.file, start + offset(piece));
            file.read_exact_at(&mut self.scratch, at)?;
        }
        Ok(())
    }

    fn discard(&self, start: u64, length: usize) -> io::Result<()> {
        let (mut at, end) = (start, start + offset(length));
        while at < end {
            let left = usize::try_from(end - at).expect("within a window");
            let count = rustix::fs::sendfile(&self.null, &self.file, Some(&mut at), left)?;
            assert!(count > 0, "the file is as long as it was");
        }
        Ok(())
    }

    fn fill(&self, window: &mut Window) -> io::Result<()> {
        match &mut window.slot {
            Slot::Cached => Ok(()),
            Slot::Buffer(buffer) => self.file.read_exact_at(buffer, window.start),
            Slot::Pipe { sink, .. } => {
                let (mut at, mut left) = (window.start, window.length);
                while left > 0 {
                    let flags = SpliceFlags::MOVE;
                    let count =
                        rustix::pipe::splice(&self.file, Some(&mut at), &*sink, None, left, flags)?;
                    assert!(count > 0, "the file is as long as it was");
                    left -= count;
                }
                Ok(())
            }
        }
    }
}

/// A length or a place in memory, as a place in a file.
fn offset(length: usize) -> u64 {
    u64::try_from(length).expect("64 bits hold it")
}

/// The thread that waits for the disk in place of the loop; it ends when nobody asks any more.
fn help(mut disk: Disk, jobs: Receiver<Window>, done: &Sender<Prepared>, wake: &OwnedFd) {
    for mut window in jobs {
        let prepared = disk.prepare(&mut window);
        if done.send(prepared.map(|()| window)).is_err() {
            break;
        }
        rustix::io::write(wake, &1_u64.to_ne_bytes()).expect("an eventfd takes it");
    }
}

/// What the loop spent outside its wait: its longest call, and how often it slept in one
/// (voluntary context switches).
#[derive(Default)]
struct Watch {
    longest: Duration,
    sleep_count: i64,
}

impl Watch {
    fn call<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (switches_before, began) = (switches(), Instant::now());
        let value = work();
        self.longest = began.elapsed().max(self.longest);
        self.sleep_count += switches() - switches_before;
        value
    }
}

/// Voluntary context switches of this thread so far.
fn switches() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread has usage");
    usage.voluntary_context_switches()
}

/// The loop, with one connection and one file.
struct Loop<'a> {
    way: Way,
    file: &'a File,
    socket: &'a TcpStream,
    disk: Disk,
    /// To the helper, and back from it; `wake` is readable when there are results.
    jobs: Sender<Window>,
    results: Receiver<Prepared>,
    wake: &'a OwnedFd,
    watch: Watch,
}

impl Loop<'_> {
    /// Sends `total` bytes: the file from its start, and again from its start.
    fn run(&mut self, total: u64) -> io::Result<()> {
        let mut spare = Vec::new();
        for _ in 0..SLOT_COUNT {
            spare.push(self.way.slot()?);
        }
        let mut ready = VecDeque::new();
        let (mut asked, mut sent) = (0, 0);
        while sent < total {
            while asked < total
                && let Some(slot) = spare.pop()
            {
                self.ask(slot, asked % FILE_LENGTH, &mut ready)?;
                asked += offset(self.way.window_length());
            }
            let Some(window) = ready.front_mut() else {
                self.wait(PollFlags::empty(), &mut ready)?;
                continue;
            };
            let (socket, file) = (self.socket, self.file);
            match self.watch.call(|| send(socket, file, window)) {
                Ok(count) => {
                    window.sent += count;
                    sent += offset(count);
                    if window.sent == window.length {
                        spare.extend(ready.pop_front().map(|window| window.slot));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, &mut ready)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn ask(&mut self, slot: Slot, start: u64, ready: &mut VecDeque<Window>) -> io::Result<()> {
        let mut window = Window {
            slot,
            start,
            length: self.way.window_length(),
            sent: 0,
        };
        match self.way {
            Way::Sendfile | Way::Advise => {
                let disk = &mut self.disk;
                self.watch.call(|| disk.prepare(&mut window))?;
                ready.push_back(window);
            }
            _ => {
                let asked = self.watch.call(|| self.jobs.send(window));
                asked.map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
        }
        Ok(())
    }

    /// The loop's one wait: for the socket, if it is `wanted`, and for the helper.
    fn wait(&mut self, wanted: PollFlags, ready: &mut VecDeque<Window>) -> io::Result<()> {
        let mut waited = [
            PollFd::new(self.wake, PollFlags::IN),
            PollFd::new(self.socket, wanted),
        ];
        rustix::io::retry_on_intr(|| poll(&mut waited, None))?;
        if !waited[0].revents().is_empty() {
            rustix::io::read(self.wake, &mut [0; 8])?;
        }
        for window in self.results.try_iter() {
            ready.push_back(window?);
        }
        Ok(())
    }
}

/// Gives the socket what it takes of a window without waiting for its peer.
fn send(mut socket: &TcpStream, file: &File, window: &mut Window) -> io::Result<usize> {
    let left = window.length - window.sent;
    let count = match &window.slot {
        Slot::Cached => {
            let mut at = window.start + offset(window.sent);
            rustix::fs::sendfile(socket, file, Some(&mut at), left)?
        }
        Slot::Pipe { source, .. } => {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            rustix::pipe::splice(source, None, socket, None, left, flags)?
        }
        Slot::Buffer(buffer) => socket.write(&buffer[window.sent..])?,
    };
    Ok(count)
}

/// What stands at a place of every file.
fn byte_at(place: u64) -> u8 {
    u8::try_from(place % FILE_LENGTH / 1_000 % 251).expect("less than 256")
}

/// The reader's process: a connection after another, until there is no listener.
fn reader(port: u16) -> io::Result<()> {
    run_on_processor(1);
    let mut buffer = vec![0; SMALL_LENGTH];
    while let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        stream.set_nonblocking(true)?;
        let (mut length, began_ns) = (0, cpu_ns());
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(READER_PAUSE);
                    continue;
                }
                Err(_) => return Ok(()),
            };
            if count == 0 {
                break;
            }
            assert_eq!(buffer[0], byte_at(length));
            length += offset(count);
            assert_eq!(buffer[count - 1], byte_at(length - 1));
        }
        for figure in [length, cpu_ns() - began_ns] {
            stream.write_all(&figure.to_ne_bytes())?;
        }
    }
    Ok(())
}

/// User and system time of this process so far.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("time is positive")
}

/// Keeps this thread and those it makes on one processor, if there is such a one.
fn run_on_processor(number: usize) {
    let mut set = CpuSet::new();
    set.set(number);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// A process that is this program with other words; gone when dropped.
struct Other {
    child: Child,
}

impl Other {
    fn start(words: &[&str]) -> io::Result<Other> {
        let child = Command::new(std::env::current_exe()?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Other { child })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // The tree unmounts itself at the end of its input; the reader reads none.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// One measurement.
struct Sample {
    seconds: f64,
    sender_cpu_s: f64,
    both_cpu_s: f64,
    watch: Watch,
}

/// Sends a file `count` times through a new connection.
fn measure(way: Way, file: &File, count: u64, listener: &TcpListener) -> io::Result<Sample> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let (jobs, queue) = mpsc::channel();
    let (done, results) = mpsc::channel();
    let disk = Disk::new(way, file)?;
    let mut transfer = Loop {
        way,
        file,
        socket: &stream,
        disk: Disk::new(way, file)?,
        jobs,
        results,
        wake: &wake,
        watch: Watch::default(),
    };
    let (began, began_ns) = (Instant::now(), cpu_ns());
    let watch = thread::scope(|scope| {
        scope.spawn(|| help(disk, queue, &done, &wake));
        transfer.run(count * FILE_LENGTH)?;
        // The helper ends with the sender of its jobs.
        let Loop { watch, .. } = transfer;
        io::Result::Ok(watch)
    })?;
    let sender_ns = cpu_ns() - began_ns;
    stream.shutdown(Shutdown::Write)?;
    stream.set_nonblocking(false)?;
    let mut figures = [[0; 8]; 2];
    stream.read_exact(figures.as_flattened_mut())?;
    let [length, reader_ns] = figures.map(u64::from_ne_bytes);
    assert_eq!(length, count * FILE_LENGTH, "everything arrived");
    Ok(Sample {
        seconds: began.elapsed().as_secs_f64(),
        sender_cpu_s: Duration::from_nanos(sender_ns).as_secs_f64(),
        both_cpu_s: Duration::from_nanos(sender_ns + reader_ns).as_secs_f64(),
        watch,
    })
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    match &words[..] {
        [_, word, port] if word == "reader" => reader(port.parse().expect("a port")),
        [_, word, directory] if word == "tree" => slow_tree::run(directory),
        [_, word, directory] if word == "ext4" => ext4(Path::new(directory)),
        _ => compare(),
    }
}

/// The process of the ext4 bed, as `slow_tree::run` is that of the other.
fn ext4(directory: &Path) -> io::Result<()> {
    let content = |length| (0..length).map(byte_at).collect();
    let mounted =
        image::build(directory, content).and_then(|image| Bed::Ext4.mount(directory, Some(&image)));
    match mounted {
        Ok(mounted) => {
            println!("mounted");
            io::stdin().read_to_end(&mut Vec::new())?;
            drop(mounted);
        }
        Err(error) => println!("{error}"),
    }
    Ok(())
}

/// Mounts a slow file system, if that is possible here.
fn mount(bed: &str, directory: &Path) -> io::Result<Option<Other>> {
    fs::create_dir(directory)?;
    let mut other = Other::start(&[bed, &directory.to_string_lossy()])?;
    let mut answer = String::new();
    let output = other.child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut answer)?;
    if answer.trim() == "mounted" {
        return Ok(Some(other));
    }
    print!("cold skipped: it takes root and /dev/fuse: {answer}");
    Ok(None)
}

/// All ways in turn, round by round.
fn compare() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let (fuse, ext4) = (directory.path().join("fuse"), directory.path().join("ext4"));
    // Before this process keeps to one processor, which those it starts would inherit.
    let mounted = [mount("tree", &fuse)?, mount("ext4", &ext4)?];
    run_on_processor(0);
    // Dropped after the listener, whose end is what ends it.
    let _reader;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    _reader = Other::start(&["reader", &listener.local_addr()?.port().to_string()])?;
    let path = directory.path().join("file");
    fs::write(&path, (0..FILE_LENGTH).map(byte_at).collect::<Vec<u8>>())?;
    let file = File::open(&path)?;
    let mut warm: Vec<Vec<Sample>> = WAYS.iter().map(|_| Vec::new()).collect();
    let mut cold =
        [(); 2].map(|()| -> Vec<Vec<Sample>> { WAYS.iter().map(|_| Vec::new()).collect() });
    for (way, _) in WAYS {
        measure(*way, &file, 1, &listener)?;
    }
    for _ in 0..WARM_ROUNDS {
        for ((way, _), samples) in WAYS.iter().zip(&mut warm) {
            samples.push(measure(*way, &file, WARM_FILE_COUNT, &listener)?);
        }
    }
    let of_fuse = |number: usize| fuse.join(number.to_string());
    let of_ext4 = |number: usize| {
        let path = Size::Big.path(number as u64);
        ext4.join("root").join(path.trim_start_matches('/'))
    };
    let beds: [&dyn Fn(usize) -> PathBuf; 2] = [&of_fuse, &of_ext4];
    for ((bed, mounted), cold) in beds.iter().zip(&mounted).zip(&mut cold) {
        let rounds = if mounted.is_some() { COLD_ROUNDS } else { 0 };
        for round in 0..rounds {
            for (place, (way, _)) in WAYS.iter().enumerate() {
                let file = File::open(bed(round * WAYS.len() + place))?;
                cold[place].push(measure(*way, &file, 1, &listener)?);
            }
        }
    }
    println!("{}", report::table(&warm, &cold));
    Ok(())
}
