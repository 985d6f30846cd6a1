//! The receiving side: a process that reads and checks the bytes, and reports its processor time.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::thread::CpuSet;
use rustix::time::{ClockId, clock_gettime};

use super::FILE_LENGTH;
use super::ways::{SMALL_LENGTH, offset};

/// Pause of the reader after it has read everything. If it slept in `recv`, the sender would wake it for each
/// segment or not, by chance, and pay for that.
const READER_PAUSE: Duration = Duration::from_micros(100);

/// The byte at an offset of every file.
pub(crate) fn byte_at(place: u64) -> u8 {
    u8::try_from(place % FILE_LENGTH / 1_000 % 251).expect("less than 256")
}

/// The reader's process: handles one connection after another, until the listener is closed.
pub(crate) fn reader(port: u16) -> io::Result<()> {
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
pub(crate) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("time is positive")
}

/// Pins this thread and its children to a processor, if it exists.
pub(crate) fn run_on_processor(number: usize) {
    let mut set = CpuSet::new();
    set.set(number);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
