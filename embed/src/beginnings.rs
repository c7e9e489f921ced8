//! What a file is by how it begins, whatever it is called: packed files and those of other programs, given where text is wanted.

/// What begins so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// What Excel writes is one, too.
    Zip,
    /// A packed file, or a packed tar archive.
    Gzip,
    /// A tar archive as it is.
    Tar,
    /// As [`Beginning::Gzip`].
    Bzip2,
    /// As [`Beginning::Gzip`].
    Xz,
    /// As [`Beginning::Gzip`].
    Zstandard,
    /// An archive.
    SevenZip,
    /// An archive.
    Rar,
    /// An array of numpy.
    Npy,
    /// A table of polars, pandas, ...
    Parquet,
}

/// How files begin, and at which byte.
const BEGINNINGS: [(usize, &[u8], Beginning); 10] = [
    (0, b"PK\x03\x04", Beginning::Zip),
    (0, b"\x1f\x8b", Beginning::Gzip),
    (257, b"ustar", Beginning::Tar),
    (0, b"BZh", Beginning::Bzip2),
    (0, b"\xfd7zXZ\0", Beginning::Xz),
    (0, b"\x28\xb5\x2f\xfd", Beginning::Zstandard),
    (0, b"7z\xbc\xaf\x27\x1c", Beginning::SevenZip),
    (0, b"Rar!", Beginning::Rar),
    (0, b"\x93NUMPY", Beginning::Npy),
    (0, b"PAR1", Beginning::Parquet),
];

impl Beginning {
    /// What begins with these bytes, of which 300 are enough.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let begins = |(at, first, _): &&(usize, &[u8], Self)| {
            bytes.get(*at..at + first.len()).is_some_and(|there| there == *first)
        };
        BEGINNINGS.iter().find(begins).map(|(.., what)| *what)
    }

    /// `a gzip file`.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip file",
            Self::Tar => "a tar archive",
            Self::Bzip2 => "a bzip2 file",
            Self::Xz => "an xz file",
            Self::Zstandard => "a zstandard file",
            Self::SevenZip => "a 7z archive",
            Self::Rar => "a rar archive",
            Self::Npy => "an .npy file",
            Self::Parquet => "a parquet file",
        }
    }

    /// What makes text of it.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::Zip => "unpack it, or save the sheet as CSV where it is Excel's",
            Self::Gzip => "unpack it (gunzip)",
            Self::Bzip2 => "unpack it (bunzip2)",
            Self::Xz => "unpack it (unxz)",
            Self::Zstandard => "unpack it (unzstd)",
            Self::Tar | Self::SevenZip | Self::Rar => "unpack it",
            Self::Npy => "write it by numpy.savetxt",
            Self::Parquet => {
                "write paths and labels as CSV (polars: write_csv, pandas: to_csv), and images that are inside as files"
            }
        }
    }
}
