//! Cost of each method to send a large file, and which of them keep the loop from blocking on the disk.
//!
//! `cargo bench --bench large` sends files of 8 MiB through a loopback connection to a reader, a separate
//! process that only reads. The *loop* has a non-blocking socket and blocks in `poll` only; a *helper* thread
//! makes the calls that may block on the disk, one window at a time and at most one window ahead.
//!
//! - Warm: a gigabyte from the page cache per round, methods interleaved. Loop and helper run on processor 0,
//!   the reader on processor 1. CPU is user and system time per 10⁹ bytes; the cost relative to the first
//!   method is computed for each round. On loopback the receiving half of TCP runs in the sender's time, so
//!   "both" is the fairer column.
//! - Cold: a file never read before, on a FUSE file system that takes 20 ms per request of at most 128 KiB,
//!   32 concurrently, and on ext4 on such a device (that of the bench `stall`). The measures are the longest
//!   call of the loop outside its wait, and the number of its blocking calls. Requires root and /dev/fuse.
//!
//! No method queries residency: each window is always prepared. The reader checks the first and the last byte
//! of each read, so that a method that sends wrong bytes fails.

mod reader;
mod report;
mod sender;
mod slow_tree;
mod ways;
// Part of the bench `stall`: the ext4 file system; its other code is not used here.
#[path = "../stall/bed.rs"]
#[allow(dead_code)]
mod bed;
#[path = "../stall/command.rs"]
mod command;
#[path = "../stall/disk.rs"]
#[allow(dead_code)]
mod disk;
#[path = "../stall/files.rs"]
#[allow(dead_code)]
mod files;
#[path = "../../tests/fuse/mod.rs"]
mod fuse;
#[path = "../stall/image.rs"]
mod image;
#[path = "../stall/tree.rs"]
#[allow(dead_code)]
mod tree;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bed::Bed;
use files::Size;
use reader::{byte_at, reader, run_on_processor};
use sender::{Sample, measure};
use ways::WAYS;

/// Length of a file.
const FILE_LENGTH: u64 = 8 << 20;
/// Files per warm measurement: about a gigabyte.
const WARM_FILE_COUNT: u64 = 128;
const WARM_ROUNDS: usize = 15;
const COLD_ROUNDS: usize = 5;

/// A process of this program with other arguments; ended when dropped.
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
        // The tree unmounts itself at the end of its input; the reader ignores its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
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

/// The process of the ext4 file system, like `slow_tree::run` for the other.
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

/// Measures all methods in interleaved rounds.
fn compare() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let (fuse, ext4) = (directory.path().join("fuse"), directory.path().join("ext4"));
    // Before this process is pinned to a processor, which children would inherit.
    let mounted = [mount("tree", &fuse)?, mount("ext4", &ext4)?];
    run_on_processor(0);
    // Dropped after the listener, because the reader ends with it.
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
