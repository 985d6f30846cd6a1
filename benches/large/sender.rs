//! The sending side: a loop that blocks in `poll` only, and a helper thread for blocking disk calls.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::pipe::SpliceFlags;

use super::FILE_LENGTH;
use super::reader::cpu_ns;
use super::ways::{Disk, Slot, Way, Window, offset};

/// Windows per transfer: one being sent, one being prepared.
const SLOT_COUNT: usize = 2;

/// The helper's result for a window.
type Prepared = io::Result<Window>;

/// The helper thread; it ends when the sender of its jobs is dropped.
fn help(mut disk: Disk, jobs: Receiver<Window>, done: &Sender<Prepared>, wake: &OwnedFd) {
    for mut window in jobs {
        let prepared = disk.prepare(&mut window);
        if done.send(prepared.map(|()| window)).is_err() {
            break;
        }
        rustix::io::write(wake, &1_u64.to_ne_bytes()).expect("an eventfd takes it");
    }
}

/// Blocking of the loop outside its wait: its longest call, and the number of voluntary context switches.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) longest: Duration,
    pub(crate) sleep_count: i64,
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
    /// To the helper, and back from it; `wake` becomes readable with results.
    jobs: Sender<Window>,
    results: Receiver<Prepared>,
    wake: &'a OwnedFd,
    watch: Watch,
}

impl Loop<'_> {
    /// Sends `total` bytes: the file, repeated from its start.
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

    /// The loop's only wait: for the socket, if `wanted`, and for the helper.
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

/// Sends as much of a window as the socket accepts without blocking.
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

/// One measurement.
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) sender_cpu_s: f64,
    pub(crate) both_cpu_s: f64,
    pub(crate) watch: Watch,
}

/// Sends a file `count` times through a new connection.
pub(crate) fn measure(
    way: Way,
    file: &File,
    count: u64,
    listener: &TcpListener,
) -> io::Result<Sample> {
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
        // The helper ends when the sender of its jobs is dropped.
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
