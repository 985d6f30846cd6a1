//! One budget for all memory that the server allocates: its parts, and the arithmetic of it.
//!
//! Nothing here allocates, reads a file or knows who holds what. `limits` says how much memory there is,
//! from the texts that the kernel gives; `plan` says who gives way when it becomes short;
//! `slack` says when free memory goes back to the kernel.

pub(crate) mod limits;
pub(crate) mod measured;
pub(crate) mod plan;
pub(crate) mod slack;

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Memory at the end of the start: settings, tables of fixed size, the engine.
    Program,
    /// Copies of short files.
    Copies,
    /// What is kept of each cached or open file beside its content.
    Files,
    /// What paths lead to.
    Paths,
    /// Rendered heads of responses.
    Heads,
    /// Watched directories and what depends on them.
    Directories,
    /// The table of connections and their deadlines.
    Connections,
    /// Bytes received and to be sent, of all connections, and spare buffers.
    Buffers,
    /// Pages made in memory: lists of directories, status pages.
    Pages,
    /// Lines of the access log.
    LogLines,
    /// Jobs, and who waits for them.
    Jobs,
    /// What is remembered of keys that are not held, estimates for other sizes, counts.
    Statistics,
}

impl Part {
    /// All of them.
    pub(crate) const ALL: [Part; 12] = [
        Part::Program,
        Part::Copies,
        Part::Files,
        Part::Paths,
        Part::Heads,
        Part::Directories,
        Part::Connections,
        Part::Buffers,
        Part::Pages,
        Part::LogLines,
        Part::Jobs,
        Part::Statistics,
    ];

    /// Its name at /status and in /metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Program => "program",
            Part::Copies => "copies",
            Part::Files => "files",
            Part::Paths => "paths",
            Part::Heads => "heads",
            Part::Directories => "directories",
            Part::Connections => "connections",
            Part::Buffers => "buffers",
            Part::Pages => "pages",
            Part::LogLines => "log_lines",
            Part::Jobs => "jobs",
            Part::Statistics => "statistics",
        }
    }
}

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts([u64; Part::ALL.len()]);

impl Parts {
    /// Adds bytes to a part.
    pub(crate) fn add(&mut self, part: Part, bytes: u64) {
        self.0[part as usize] += bytes;
    }

    /// Bytes of a part.
    pub(crate) fn of(&self, part: Part) -> u64 {
        self.0[part as usize]
    }

    /// Bytes of all parts.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Bytes of a hash table with room for `capacity` entries of `entry_length` bytes: hashbrown keeps a byte of
/// control for each and leaves one of eight places empty.
pub(crate) fn table_bytes(capacity: usize, entry_length: usize) -> u64 {
    match capacity {
        0 => 0,
        _ => {
            let buckets = (capacity * 8 / 7).next_power_of_two().max(4);
            (buckets * (entry_length + 1) + 16) as u64
        }
    }
}

/// Bytes of a list in order of use with so many entries of `entry_length` bytes: each is a block with two
/// pointers, and the table has two more.
pub(crate) fn lru_bytes(count: usize, entry_length: usize) -> u64 {
    let pointers = 2 * size_of::<usize>();
    count as u64 * (entry_length + pointers) as u64 + table_bytes(count, pointers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_place_of_its_own() {
        let mut parts = Parts::default();
        for (place, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, place);
            parts.add(part, 1 << place);
        }
        assert!(
            Part::ALL
                .iter()
                .all(|part| parts.of(*part) == 1 << *part as usize)
        );
        assert_eq!(parts.sum(), (1 << Part::ALL.len()) - 1);
    }

    #[test]
    fn a_table_takes_a_byte_for_each_place_besides() {
        assert_eq!(table_bytes(0, 24), 0);
        assert_eq!(table_bytes(3, 24), 4 * 25 + 16);
        assert_eq!(table_bytes(28, 24), 32 * 25 + 16);
        assert_eq!(table_bytes(29, 24), 64 * 25 + 16);
    }
}
