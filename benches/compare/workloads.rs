//! The workloads, and their files.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Number of files of the Zipf workload.
const MANY_COUNT: usize = 10_000;
/// Requests drawn before the measurement, then repeated in a loop.
const DRAWN_COUNT: usize = 50_000;

/// Order and form of requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One path; the next request follows the answer.
    Same,
    /// The same with HEAD.
    Head,
    /// The same, with the server's validators.
    Unchanged,
    /// A number of pipelined requests.
    Pipelined(usize),
    /// A new connection for each.
    Once,
    /// Among many files, with Zipf popularity (exponent 1): the n-th is requested 1/n as often as the first.
    Zipf,
}

/// A workload.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) connections: u32,
    pub(crate) shape: Shape,
    pub(crate) fields: &'static [&'static str],
    /// Status of all answers.
    pub(crate) status: u16,
    /// Whether the floor's fixed response is a valid answer.
    pub(crate) has_floor: bool,
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

const fn get(name: &'static str, path: &'static str, connections: u32) -> Workload {
    Workload {
        name,
        path,
        connections,
        shape: Shape::Same,
        fields: &[],
        status: 200,
        has_floor: false,
    }
}

const fn small(name: &'static str, connections: u32) -> Workload {
    with_floor(get(name, "/1k.bin", connections))
}

const fn with_floor(workload: Workload) -> Workload {
    Workload {
        has_floor: true,
        ..workload
    }
}

pub(crate) const ALL: &[Workload] = &[
    small("1 KiB, 1 connection", 1),
    small("1 KiB, 64 connections", 64),
    small("1 KiB, 512 connections", 512),
    Workload {
        fields: BROWSER,
        ..small("1 KiB, browser header fields", 64)
    },
    Workload {
        shape: Shape::Zipf,
        ..get("10,000 files, Zipf", "", 64)
    },
    with_floor(get("16 KiB", "/16k.bin", 64)),
    with_floor(get("64 KiB", "/64k.bin", 64)),
    get("128 KiB", "/128k.bin", 64),
    get("1 MiB", "/1m.bin", 64),
    get("10 MiB", "/10m.bin", 16),
    get("100 MiB", "/100m.bin", 4),
    Workload {
        shape: Shape::Pipelined(16),
        ..small("pipelined 16", 64)
    },
    Workload {
        shape: Shape::Once,
        fields: &["Connection: close"],
        ..small("one connection per request", 64)
    },
    Workload {
        shape: Shape::Unchanged,
        status: 304,
        ..small("304", 64)
    },
    Workload {
        fields: &["Range: bytes=1000-1999"],
        status: 206,
        ..with_floor(get("one range of 1,000 bytes", "/16k.bin", 64))
    },
    Workload {
        status: 404,
        ..with_floor(get("404", "/none", 64))
    },
    Workload {
        shape: Shape::Head,
        ..small("HEAD", 64)
    },
    Workload {
        fields: &["Accept-Encoding: gzip, br"],
        ..get("precompressed", "/page.js", 64)
    },
];

/// Names and lengths of the files.
const FILES: &[(&str, usize)] = &[
    ("1k.bin", 1 << 10),
    ("16k.bin", 16 << 10),
    ("64k.bin", 64 << 10),
    ("128k.bin", 128 << 10),
    ("1m.bin", 1 << 20),
    ("10m.bin", 10 << 20),
    ("100m.bin", 100 << 20),
    ("page.js", 40 << 10),
    // Arbitrary content: no client decompresses them.
    ("page.js.gz", 10 << 10),
    ("page.js.br", 8 << 10),
];

/// Creates the files below `root`.
///
/// # Errors
/// Those of writing them.
pub(crate) fn make_files(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join("many"))?;
    let bytes =
        |length: usize| -> Vec<u8> { (0..length).map(|at| b"abcdefghijklmnop"[at % 16]).collect() };
    for (name, length) in FILES {
        fs::write(root.join(name), bytes(*length))?;
    }
    for index in 0..MANY_COUNT {
        // 0.5 to 15 KiB, in pseudo-random order.
        let length = 512 + index.wrapping_mul(2_654_435_761) % 15_000;
        fs::write(root.join(format!("many/{index}.bin")), bytes(length))?;
    }
    Ok(())
}

impl Workload {
    /// The script for wrk; `validator` is a field that leads to 304.
    pub(crate) fn script(&self, validator: Option<&str>) -> String {
        let mut text = String::new();
        for field in self.fields.iter().copied().chain(validator) {
            if let Some((name, value)) = field.split_once(": ") {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = writeln!(text, "wrk.headers[\"{name}\"] = \"{value}\"");
            }
        }
        match self.shape {
            Shape::Same | Shape::Once | Shape::Unchanged => {}
            Shape::Head => text.push_str("wrk.method = \"HEAD\"\n"),
            Shape::Pipelined(depth) => {
                let _ = write!(
                    text,
                    "init = function(args)\n  local one = wrk.format(nil, wrk.path)\n  \
                     batch = string.rep(one, {depth})\nend\nrequest = function() return batch end\n"
                );
            }
            Shape::Zipf => text.push_str(&zipf()),
        }
        text
    }
}

/// A script with the drawn requests, equal for all servers.
fn zipf() -> String {
    let weights: f64 = (1..=MANY_COUNT).map(|rank| 1.0 / rank as f64).sum();
    let mut sums = Vec::with_capacity(MANY_COUNT);
    let mut sum = 0.0;
    for rank in 1..=MANY_COUNT {
        sum += 1.0 / rank as f64 / weights;
        sums.push(sum);
    }
    let mut random = 88_172_645_463_325_252_u64;
    let mut text = String::from("local ids = {");
    for _ in 0..DRAWN_COUNT {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let drawn = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let index = sums.partition_point(|sum| *sum < drawn).min(MANY_COUNT - 1);
        let _ = write!(text, "{index},");
    }
    text.push_str(
        "}\nlocal all = {}\nlocal at = 0\ninit = function(args)\n  for i, id in ipairs(ids) do\n    \
         all[i] = wrk.format(nil, \"/many/\" .. id .. \".bin\")\n  end\nend\nrequest = function()\n  \
         at = at % #all + 1\n  return all[at]\nend\n",
    );
    text
}
