//! Made-up workloads, the same ones every time: requests for files with web-like lengths.
//!
//! For tests and benches only; nothing of the server uses them.

/// One request: which file, and how long it is in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The file.
    pub key: u64,
    /// Its length; 0: there is no such file.
    pub length: u64,
}

/// A stream of requests with a name.
#[derive(Debug)]
pub struct Workload {
    /// What it is.
    pub name: &'static str,
    /// The requests.
    pub asks: Vec<Ask>,
}

/// SplitMix64: small, and good enough to draw from.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit
    }
}

/// The finalizer of SplitMix64.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The length of a file on the web: a lognormal body with a Pareto tail (Barford and Crovella,
/// SIGMETRICS 1998, table 1).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn web_length(key: u64) -> u64 {
    let mut random = Random(mix(key) ^ 0x5eed);
    let length = if random.unit() < 0.93 {
        let (u, v) = (1.0 - random.unit(), random.unit());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        (9.357 + 1.318 * normal).exp()
    } else {
        133_000.0 / (1.0 - random.unit()).powf(1.0 / 1.1)
    };
    (length as u64).clamp(1, 1 << 30)
}

/// Draws ranks from 0 with probability in proportion to `1 / (rank + 1)^alpha`.
#[derive(Debug)]
pub struct Zipf {
    below: Vec<f64>,
}

impl Zipf {
    /// Over `count` ranks.
    pub fn new(count: usize, alpha: f64) -> Zipf {
        let mut sum = 0.0;
        #[allow(clippy::cast_precision_loss)]
        let below = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-alpha);
            sum
        });
        Zipf {
            below: below.collect(),
        }
    }

    /// One rank.
    pub fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.below[self.below.len() - 1];
        self.below
            .partition_point(|below| *below <= at)
            .min(self.below.len() - 1)
    }
}

fn file(rank: usize) -> Ask {
    let key = mix(rank as u64 + 1);
    Ask {
        key,
        length: web_length(key),
    }
}

fn zipf(name: &'static str, files: usize, requests: usize, alpha: f64) -> Workload {
    let zipf = Zipf::new(files, alpha);
    let mut random = Random(17);
    let asks = (0..requests).map(|_| file(zipf.draw(&mut random)));
    Workload {
        name,
        asks: asks.collect(),
    }
}

/// Zipf 0.8; in the middle fifth every second request is a crawler's, for a file nobody else wants.
fn scan(files: usize, requests: usize) -> Workload {
    let zipf = Zipf::new(files, 0.8);
    let mut random = Random(18);
    let middle = requests * 2 / 5..requests * 3 / 5;
    let asks = (0..requests).map(|at| {
        if middle.contains(&at) && at % 2 == 0 {
            file(files + at)
        } else {
            file(zipf.draw(&mut random))
        }
    });
    Workload {
        name: "zipf 0.8, scan",
        asks: asks.collect(),
    }
}

/// SPECweb99-like: directories of 36 files by Zipf 1.0, four classes of nine lengths.
fn specweb(files: usize, requests: usize) -> Workload {
    let zipf = Zipf::new(files / 36, 1.0);
    let mut random = Random(19);
    let asks = (0..requests).map(|_| {
        let directory = zipf.draw(&mut random);
        let drawn = random.unit();
        let class = [0.35, 0.85, 0.99, 1.0]
            .iter()
            .position(|below| drawn < *below);
        let class = class.unwrap_or(0);
        let step = usize::try_from(random.next() % 9).unwrap_or(0);
        let key = mix((directory * 36 + class * 9 + step + 1) as u64);
        Ask {
            key,
            length: 100 * 10_u64.pow(u32::try_from(class).unwrap_or(0)) * (step as u64 + 1),
        }
    });
    Workload {
        name: "SPECweb99-like",
        asks: asks.collect(),
    }
}

/// A site whose popular files are others every eighth of the time: news.
fn shifting(files: usize, requests: usize) -> Workload {
    let zipf = Zipf::new(files, 0.8);
    let mut random = Random(20);
    let asks = (0..requests).map(|at| {
        let phase = at * 8 / requests;
        file((zipf.draw(&mut random) + phase * files / 16) % files)
    });
    Workload {
        name: "zipf 0.8, shifting",
        asks: asks.collect(),
    }
}

/// Visitors who ask for a few files several times within a short while and never again, among
/// those who ask by Zipf 0.8.
fn visits(files: usize, requests: usize) -> Workload {
    let zipf = Zipf::new(files, 0.8);
    let mut random = Random(21);
    let mut recent = vec![0_usize; 64];
    let asks = (0..requests).map(|at| {
        let slot = usize::try_from(random.next() % 64).unwrap_or(0);
        match at % 4 {
            0 => {
                recent[slot] = usize::try_from(random.next()).unwrap_or(0) % files;
                file(recent[slot])
            }
            1 => file(recent[slot]),
            _ => file(zipf.draw(&mut random)),
        }
    });
    Workload {
        name: "zipf 0.8, visits",
        asks: asks.collect(),
    }
}

/// All of them, `requests` long, over about `files` files.
pub fn all(files: usize, requests: usize) -> Vec<Workload> {
    vec![
        zipf("zipf 0.6", files, requests, 0.6),
        zipf("zipf 0.8", files, requests, 0.8),
        zipf("zipf 1.0", files, requests, 1.0),
        scan(files, requests),
        shifting(files, requests),
        visits(files, requests),
        specweb(files, requests),
    ]
}
