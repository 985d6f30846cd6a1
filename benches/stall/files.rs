//! The files of both slow file systems: one hot, many cold in two sizes.

/// The hot file.
pub(crate) const HOT_PATH: &str = "/hot/1k.bin";
pub(crate) const HOT_LENGTH: u64 = 1 << 10;
pub(crate) const SMALL_LENGTH: u64 = 4 << 10;
pub(crate) const BIG_LENGTH: u64 = 8 << 20;
/// Small files per directory; each directory costs a lookup of its own.
pub(crate) const DIRECTORY_FILES: u64 = 100;

/// The size of the cold files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    Small,
    Big,
}

impl Size {
    pub(crate) const ALL: [Size; 2] = [Size::Small, Size::Big];

    /// Number of files; a measurement that has fetched them all ends early.
    pub(crate) fn count(self) -> u64 {
        match self {
            Size::Small => 8_000,
            Size::Big => 96,
        }
    }

    pub(crate) fn length(self) -> u64 {
        match self {
            Size::Small => SMALL_LENGTH,
            Size::Big => BIG_LENGTH,
        }
    }

    pub(crate) fn path(self, number: u64) -> String {
        let (directory, place) = (number / DIRECTORY_FILES, number % DIRECTORY_FILES);
        match self {
            Size::Small => format!("/cold/{directory:03}/{place:02}.bin"),
            Size::Big => format!("/cold/big/{number:03}.bin"),
        }
    }
}
