//! Converts log lines into a trace: requests with time and path, names as numbers, 24 bytes per request.
//!
//! A line is used if the request reaches the caches: GET or HEAD, with the status of a file, a redirect or a
//! missing file.

use std::ffi::CString;

use foldhash::HashMap;

use super::SimulateError;
use super::line::{Line, split_request};
use crate::cache::path::PATH_LENGTH_MAX;
use crate::http::status::Status;
use crate::http::target::{MethodShape, Target};
use crate::observe::status::STATUS_PATH;
use crate::site::resolve::{self, Naming};
use crate::sys::beneath::{Links, Root};
use crate::sys::file::{FileKind, FileTime, FileVersion};

/// Maximum number of requests in a trace: it takes 3 GiB of memory then.
const REQUEST_COUNT_MAX: usize = 1 << 27;

/// The response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseKind {
    /// Content of a file: GET with 200 or 206.
    Content,
    /// A file, without content: HEAD, 304, 412, 416.
    Head,
    /// A redirect.
    Redirect,
    /// No file that is served: 403, 404, 410.
    NotFound,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Milliseconds since 1970; not less than that of the previous request.
    pub time_ms: i64,
    /// Bytes of content sent.
    pub bytes: u64,
    /// Index into [`Trace::paths`].
    pub path: u32,
    /// Its response.
    pub response: ResponseKind,
}

/// A raw path.
#[derive(Clone, Debug)]
pub(super) struct TracePath {
    /// Its bytes, if it is too long for the path cache.
    pub too_long: Option<Box<[u8]>>,
    /// Index into [`Trace::files`]; `None` for an invalid path, which has no entry.
    pub file: Option<u32>,
    /// The version of that file, once all lengths are known. A file that was sent and whose length is unknown
    /// has length `u64::MAX`. A copy, to save an indirection per request.
    pub version: Option<FileVersion>,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct TraceFile {
    /// Its version: of the file below the root, else made up from its number and length.
    pub version: FileVersion,
    /// Whether its length is known.
    pub length: Length,
    /// Whether content of it was sent.
    pub is_sent: bool,
}

/// Source of a file's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Unknown: only parts of it were sent, or no content.
    Unknown,
    /// The longest 200 response.
    LargestSent,
    /// The file below the root.
    OfFile,
}

/// The requests of all logs, in order.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The requests.
    pub requests: Vec<Request>,
    /// All paths, each once per virtual host.
    pub paths: Vec<TracePath>,
    /// All files, each once per virtual host.
    pub files: Vec<TraceFile>,
    /// Lines that do not concern the caches: other methods and statuses, malformed requests.
    pub skipped: u64,
    /// Lines that ask for the status page.
    pub status_page: u64,
    /// Number of virtual hosts, counting lines without one as a host of their own.
    pub host_count: u64,
    /// What goes back in time.
    pub disorder: Disorder,
}

/// What goes back in time in the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disorder {
    /// Logs that start before the previous one ends.
    pub logs: u64,
    /// Lines that are earlier than a request before them in the same log.
    pub lines: u64,
    /// The largest difference between such a line and the latest request before it.
    pub back_ms_max: u64,
}

/// The paths and files of a virtual host by name. Hosts share nothing: the same path leads to different files.
#[derive(Debug, Default)]
struct Names {
    paths: HashMap<Box<[u8]>, u32>,
    files: HashMap<CString, u32>,
}

/// Builds a trace from lines.
#[derive(Debug)]
pub(super) struct Tracer {
    naming: Naming,
    trace: Trace,
    /// Indices into `names`.
    hosts: HashMap<Box<[u8]>, usize>,
    names: Vec<Names>,
    /// Candidate paths of each file, in order.
    candidates: Vec<Vec<CString>>,
    /// Added to all times of this log, to continue after the previous one.
    shift_ms: i64,
    is_log_begun: bool,
}

impl Tracer {
    /// An empty trace of a site with this naming.
    pub(super) fn new(naming: Naming) -> Tracer {
        Tracer {
            naming,
            trace: Trace::default(),
            hosts: HashMap::default(),
            names: Vec::new(),
            candidates: Vec::new(),
            shift_ms: 0,
            is_log_begun: false,
        }
    }

    /// Starts another log.
    pub(super) fn begin_log(&mut self) {
        self.shift_ms = 0;
        self.is_log_begun = false;
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`SimulateError::TooMany`] requests or paths.
    pub(super) fn take(&mut self, line: &Line<'_>) -> Result<(), SimulateError> {
        let time_ms = self.time_of(line);
        let Some((method, target)) = split_request(&line.request) else {
            self.trace.skipped += 1;
            return Ok(());
        };
        let raw = match Target::parse(target, MethodShape::Other) {
            Ok(target) => target.path,
            Err(_) => {
                self.trace.skipped += 1;
                return Ok(());
            }
        };
        if raw == STATUS_PATH {
            self.trace.status_page += 1;
            return Ok(());
        }
        let response = match (method, line.status) {
            (b"GET", 200 | 206) => ResponseKind::Content,
            (b"GET" | b"HEAD", 200 | 206 | 304 | 412 | 416) => ResponseKind::Head,
            (b"GET" | b"HEAD", 301 | 302 | 307 | 308) => ResponseKind::Redirect,
            (b"GET" | b"HEAD", 403 | 404 | 410) => ResponseKind::NotFound,
            // Only invalid paths reach the path cache; other 400s are malformed requests.
            (b"GET" | b"HEAD", 400) if self.is_refused(raw) => ResponseKind::NotFound,
            _ => {
                self.trace.skipped += 1;
                return Ok(());
            }
        };
        let host = self.host(&line.host);
        let path = self.path_number(host, raw)?;
        if let Some(number) = self.trace.paths[path as usize].file {
            let file = &mut self.trace.files[number as usize];
            if response == ResponseKind::Content {
                file.is_sent = true;
                if line.status == 200 {
                    file.length = Length::LargestSent;
                    file.version.length = file.version.length.max(line.bytes);
                }
            }
        }
        if self.trace.requests.len() == REQUEST_COUNT_MAX {
            return Err(SimulateError::TooMany {
                max: REQUEST_COUNT_MAX,
            });
        }
        self.trace.requests.push(Request {
            time_ms,
            bytes: line.bytes,
            path,
            response,
        });
        Ok(())
    }

    /// Completes the trace; lengths are taken from the files below `root` that exist.
    pub(super) fn finish(mut self, root: Option<&Root>) -> Trace {
        self.trace.host_count = self.names.len() as u64;
        if let Some(root) = root {
            for (candidates, file) in self.candidates.iter().zip(&mut self.trace.files) {
                // Nothing is sent, so a followed link can reveal no more than a length.
                let found = candidates.iter().find_map(|path| {
                    let description = root.describe(path, Links::Followed).ok()?;
                    (description.kind == FileKind::Regular).then_some(description.version)
                });
                if let Some(version) = found {
                    file.version = version;
                    file.length = Length::OfFile;
                }
            }
        }
        for path in &mut self.trace.paths {
            let file = path
                .file
                .and_then(|number| self.trace.files.get(number as usize));
            path.version = file.map(|file| match file.length {
                Length::Unknown if file.is_sent => FileVersion {
                    length: u64::MAX,
                    ..file.version
                },
                _ => file.version,
            });
        }
        self.trace
    }

    /// The time of a line. Lines are written after their responses, so times may go back a little; then the
    /// clock of the replay stands still. A log that starts before the end of the previous one is shifted to
    /// its end.
    fn time_of(&mut self, line: &Line<'_>) -> i64 {
        let last = self
            .trace
            .requests
            .last()
            .map_or(i64::MIN, |request| request.time_ms);
        if !self.is_log_begun {
            self.is_log_begun = true;
            if line.time_ms < last {
                self.trace.disorder.logs += 1;
                self.shift_ms = last - line.time_ms;
            }
        }
        // Both are within a few thousand years.
        let time_ms = line.time_ms + self.shift_ms;
        if time_ms < last {
            let disorder = &mut self.trace.disorder;
            disorder.lines += 1;
            disorder.back_ms_max = disorder.back_ms_max.max(last.abs_diff(time_ms));
        }
        time_ms.max(last)
    }

    fn host(&mut self, name: &[u8]) -> usize {
        if let Some(host) = self.hosts.get(name) {
            return *host;
        }
        self.hosts.insert(name.into(), self.names.len());
        self.names.push(Names::default());
        self.names.len() - 1
    }

    fn is_refused(&self, raw: &[u8]) -> bool {
        resolve::plan(raw, &self.naming) == Err(Status::BadRequest)
    }

    fn path_number(&mut self, host: usize, raw: &[u8]) -> Result<u32, SimulateError> {
        // Longer ones are never cached, so all of them count as one.
        let key = &raw[..raw.len().min(PATH_LENGTH_MAX + 1)];
        if let Some(number) = self.names[host].paths.get(key) {
            return Ok(*number);
        }
        let number = next_number(self.trace.paths.len())?;
        let file = match resolve::plan(raw, &self.naming) {
            Ok(lookup) => {
                let candidates: Vec<_> =
                    lookup.candidates.into_iter().map(|one| one.path).collect();
                Some(self.file_number(host, candidates)?)
            }
            Err(_) => None,
        };
        self.names[host].paths.insert(key.into(), number);
        self.trace.paths.push(TracePath {
            too_long: (key.len() > PATH_LENGTH_MAX).then(|| key.into()),
            file,
            version: None,
        });
        Ok(number)
    }

    fn file_number(&mut self, host: usize, candidates: Vec<CString>) -> Result<u32, SimulateError> {
        let first = candidates.first().cloned().unwrap_or_default();
        if let Some(number) = self.names[host].files.get(&first) {
            return Ok(*number);
        }
        let number = next_number(self.trace.files.len())?;
        let never = FileTime {
            seconds: 0,
            nanoseconds: 0,
        };
        self.trace.files.push(TraceFile {
            version: FileVersion {
                device: 0,
                inode: number.into(),
                length: 0,
                modified: never,
                changed: never,
            },
            length: Length::Unknown,
            is_sent: false,
        });
        self.candidates.push(candidates);
        self.names[host].files.insert(first, number);
        Ok(number)
    }
}

fn next_number(count: usize) -> Result<u32, SimulateError> {
    u32::try_from(count).map_err(|_| SimulateError::TooMany {
        max: REQUEST_COUNT_MAX,
    })
}
