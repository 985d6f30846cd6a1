//! Command line options.

use std::path::PathBuf;

use crate::bed::Bed;
use crate::servers::Server;

/// Numbers of cold clients in measurements without a hot load.
pub(crate) const DEPTHS: [usize; 2] = [16, 64];

/// A kind of measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The hot load alone.
    Idle,
    /// The hot load and 16 clients that fetch cold files of 4 KiB.
    Small,
    /// The hot load and 4 clients that fetch cold files of 8 MiB.
    Big,
    /// As `Big`, but the hot load goes to a second process: shows the remaining influence of the machine.
    Beside,
    /// This number of clients that fetch cold files of 4 KiB, without a hot load.
    Depth(usize),
}

impl Kind {
    /// Whether this measurement applies to the server.
    pub(crate) fn suits(self, server: Server) -> bool {
        self != Kind::Beside || server.is_spede()
    }
}

pub(crate) struct Options {
    /// Servers whose names contain one of these are measured; all if there are none.
    words: Vec<String>,
    pub(crate) beds: Vec<Bed>,
    kinds: Vec<String>,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) write: Option<PathBuf>,
}

impl Options {
    /// # Errors
    /// When an option or its value is invalid: the valid ones.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            words: Vec::new(),
            beds: vec![Bed::Fuse, Bed::Ext4],
            kinds: ["idle", "small", "big", "depth"].map(String::from).to_vec(),
            seconds: 8,
            rounds: 1,
            write: None,
        };
        for word in words {
            let Some(option) = word.strip_prefix("--") else {
                options.words.push(word);
                continue;
            };
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                // Added by cargo.
                "bench" => {}
                "bed" => options.beds = value.split(',').map(bed).collect::<Result<_, _>>()?,
                "kinds" => options.kinds = value.split(',').map(kind).collect::<Result<_, _>>()?,
                "seconds" => options.seconds = count(name, value)?,
                "rounds" => {
                    options.rounds = usize::try_from(count(name, value)?).unwrap_or(usize::MAX);
                }
                "write" if !value.is_empty() => options.write = Some(value.into()),
                _ => {
                    return Err(format!(
                        "{word} means nothing here; there are --bed=, --kinds=, --seconds=, --rounds= and --write="
                    ));
                }
            }
        }
        Ok(options)
    }

    pub(crate) fn selects(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    /// The selected measurements, in order.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = Vec::new();
        for kind in &self.kinds {
            match kind.as_str() {
                "idle" => kinds.push(Kind::Idle),
                "small" => kinds.push(Kind::Small),
                "big" => kinds.extend([Kind::Big, Kind::Beside]),
                _ => kinds.extend(DEPTHS.map(Kind::Depth)),
            }
        }
        kinds
    }
}

fn bed(value: &str) -> Result<Bed, String> {
    [Bed::Fuse, Bed::Ext4]
        .into_iter()
        .find(|bed| bed.name() == value)
        .ok_or(format!("--bed takes fuse or ext4, not '{value}'"))
}

fn kind(value: &str) -> Result<String, String> {
    match value {
        "idle" | "small" | "big" | "depth" => Ok(value.into()),
        _ => Err(format!(
            "--kinds takes idle, small, big and depth, not '{value}'"
        )),
    }
}

fn count(name: &str, value: &str) -> Result<u64, String> {
    let count = value.parse::<u64>().ok().filter(|count| *count > 0);
    count.ok_or(format!("--{name} takes a number from 1, not '{value}'"))
}
