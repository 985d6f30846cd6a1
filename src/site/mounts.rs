//! The mount table, as far as it concerns the site: which of its changes may make paths below the root
//! resolve differently. Input: texts of `/proc/self/mountinfo`, proc_pid_mountinfo(5).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mount {
    id: u32,
    device: (u32, u32),
    /// Root within the file system, type and source: escaped as in the table.
    what: Vec<u8>,
    point: PathBuf,
    /// Mount identifier that the kernel never reuses, where it has one; all other identifiers are reused.
    unique: Option<u64>,
}

/// All mounts at one time, and the paths of the root at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    mounts: BTreeSet<Mount>,
    roots: Vec<PathBuf>,
}

impl Table {
    /// Parses the table. `roots` are all absolute paths of the root. `None`: a line has an unknown format.
    pub(crate) fn parse(text: &[u8], roots: Vec<PathBuf>) -> Option<Table> {
        let lines = text.split(|byte| *byte == b'\n');
        let mounts = lines.filter(|line| !line.is_empty()).map(mount);
        Some(Table {
            mounts: mounts.collect::<Option<_>>()?,
            roots,
        })
    }

    /// Asks for the unique identifier of each mount point that concerns the site.
    pub(crate) fn identify(self, unique: impl Fn(&Path) -> Option<u64>) -> Table {
        let Table { mounts, roots } = self;
        let identify = |mut mount: Mount| {
            if is_near(&mount.point, &roots) {
                mount.unique = unique(&mount.point);
            }
            mount
        };
        let mounts = mounts.into_iter().map(identify).collect();
        Table { mounts, roots }
    }

    /// Whether a mount at, below or above the root was added, removed or changed since an earlier table.
    pub(crate) fn has_changed_near_root(&self, earlier: &Table) -> bool {
        let mut changed = self.mounts.symmetric_difference(&earlier.mounts);
        changed.any(|mount| {
            is_near(&mount.point, &self.roots) || is_near(&mount.point, &earlier.roots)
        })
    }
}

fn is_near(point: &Path, roots: &[PathBuf]) -> bool {
    let is_near = |root: &PathBuf| point.starts_with(root) || root.starts_with(point);
    roots.iter().any(is_near)
}

/// `36 35 98:0 ROOT POINT options optional… - TYPE SOURCE options`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let device = fields.next()?;
    let colon = device.iter().position(|byte| *byte == b':')?;
    let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
    let (directory, point, _options) = (fields.next()?, fields.next()?, fields.next()?);
    fields.find(|field| *field == b"-")?;
    let (kind, source) = (fields.next()?, fields.next()?);
    Some(Mount {
        id,
        device,
        what: [directory, kind, source].join(&b' '),
        point: PathBuf::from(OsString::from_vec(unescaped(point))),
        unique: None,
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Decodes a field: blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        match (first, rest) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                field = after;
            }
            _ => {
                bytes.push(*first);
                field = rest;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLASH: &str = "21 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n";

    fn table(lines: &[&str]) -> Table {
        let text = [&[SLASH], lines].concat().concat();
        Table::parse(text.as_bytes(), vec!["/srv/www".into()]).expect("it is a table")
    }

    /// Number, device and mount point.
    type Read<'a> = Option<(u32, (u32, u32), &'a str)>;

    #[test]
    fn a_line_is_read() {
        let tests: [(&[u8], Read<'_>); 8] = [
            (
                b"36 35 98:0 / /mnt rw - ext3 /dev/root rw",
                Some((36, (98, 0), "/mnt")),
            ),
            (
                b"36 35 98:0 /a /mnt rw shared:1 master:2 - ext3 - rw",
                Some((36, (98, 0), "/mnt")),
            ),
            (
                b"7 1 0:52 / /a\\040b\\011c\\012d\\134e rw - tmpfs none rw",
                Some((7, (0, 52), "/a b\tc\nd\\e")),
            ),
            (
                b"7 1 0:52 / /a\\04 rw - tmpfs none rw",
                Some((7, (0, 52), "/a\\04")),
            ),
            (
                b"7 1 0:52 / /a\\777 rw - tmpfs none rw",
                Some((7, (0, 52), "/a\\777")),
            ),
            (b"36 35 98:0 / /mnt rw shared:1", None),
            (b"36 35 98 / /mnt rw - ext3 /dev/root rw", None),
            (b"x 35 98:0 / /mnt rw - ext3 /dev/root rw", None),
        ];
        for (line, expected) in tests {
            let mount = mount(line);
            let found = mount.as_ref().map(|mount| {
                (
                    mount.id,
                    mount.device,
                    mount.point.to_str().expect("it is UTF-8"),
                )
            });
            assert_eq!(found, expected, "{}", line.escape_ascii());
        }
        assert_eq!(Table::parse(b"nonsense\n", Vec::new()), None);
    }

    #[test]
    fn mounts_at_below_or_above_the_root_concern_it() {
        let tests = [
            ("/srv/www", true),
            ("/srv/www/below", true),
            ("/srv", true),
            ("/", true),
            ("/srv/www2", false),
            ("/srv/ww", false),
            ("/srv/www\\040", false),
            ("/mnt", false),
        ];
        for (point, expected) in tests {
            let line = format!("40 21 0:50 / {point} rw - tmpfs none rw\n");
            let (without, with) = (table(&[]), table(&[&line]));
            assert_eq!(
                with.has_changed_near_root(&without),
                expected,
                "{point} mounted"
            );
            assert_eq!(
                without.has_changed_near_root(&with),
                expected,
                "{point} unmounted"
            );
            assert!(!with.has_changed_near_root(&with));
        }
    }

    #[test]
    fn a_replacement_differs_from_its_predecessor() {
        let first = table(&["40 21 0:50 /a /srv/www/x rw - fuse a rw\n"]);
        for other in [
            "41 21 0:50 /a /srv/www/x rw - fuse a rw\n",
            "40 21 0:51 /a /srv/www/x rw - fuse a rw\n",
            "40 21 0:50 /b /srv/www/x rw - fuse a rw\n",
            "40 21 0:50 /a /srv/www/x rw - fuse b rw\n",
        ] {
            assert!(table(&[other]).has_changed_near_root(&first), "{other}");
        }
        let elsewhere = |_: &Path| -> Option<u64> { Some(2) };
        let again = first.clone().identify(elsewhere);
        assert!(again.has_changed_near_root(&first.identify(|_| Some(1))));
    }
}
