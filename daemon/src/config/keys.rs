//! Key files: read, judged, created. Keys are wiped from memory and never shown or logged.

use core::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nlb_protocol::auth::{KEY_LEN, KeyRing, MAX_KEYS};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::KeyError;
use super::system::{FileRead, System};

/// The longest key file: four keys, and room for comments about them.
const MAX_KEY_FILE: usize = 4096;

/// The permission bits that a key file must not have: anything for group and others.
const FORBIDDEN_MODE: u32 = 0o077;

/// The keys of a cluster in the order of their file: the first signs, all verify (SPEC 5.1).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Keys(Zeroizing<Vec<[u8; KEY_LEN]>>);

impl Keys {
    /// What the protocol authenticates with; the well-known key when there is none (SPEC 5.4).
    #[must_use]
    pub fn ring(&self) -> KeyRing {
        KeyRing::new(&self.0).unwrap_or_else(KeyRing::insecure)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

/// Reads a key file: one key of 64 hexadecimal digits a line; empty lines and lines that begin
/// with `#` say nothing.
pub(super) fn load(path: &Path, system: &dyn System) -> Result<Keys, KeyError> {
    let file = system.read(path, MAX_KEY_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => KeyError::Unreadable { path: path.to_owned(), error: error.to_string() },
    })?;
    if file.mode & FORBIDDEN_MODE != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode: file.mode });
    }
    let daemon = system.user();
    if file.owner != 0 && file.owner != daemon {
        return Err(KeyError::Owner { path: path.to_owned(), owner: file.owner, daemon });
    }
    parse(path, &file.bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Keys, KeyError> {
    let wrong = |line, found| KeyError::Line { path: path.to_owned(), line, found };
    if bytes.len() > MAX_KEY_FILE {
        return Err(wrong(1, "the file is longer than 4096 bytes"));
    }
    // Room for all at once, so that no copy stays behind where the list grew.
    let mut keys = Zeroizing::new(Vec::with_capacity(MAX_KEYS));
    let mut found = 0;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        found += 1;
        if found <= MAX_KEYS {
            let mut key = decode(line).map_err(|why| wrong(index + 1, why))?;
            keys.push(key);
            key.zeroize();
        }
    }
    if found == 0 || found > MAX_KEYS {
        return Err(KeyError::Count { path: path.to_owned(), found, allowed: MAX_KEYS });
    }
    Ok(Keys(keys))
}

fn decode(line: &[u8]) -> Result<[u8; KEY_LEN], &'static str> {
    if line.len() != 2 * KEY_LEN {
        return Err(if line.len() < 2 * KEY_LEN {
            "fewer than 64 digits"
        } else {
            "more than 64 digits"
        });
    }
    let mut key = [0; KEY_LEN];
    for (byte, pair) in key.iter_mut().zip(line.chunks_exact(2)) {
        let digit = |at: usize| (char::from(pair[at])).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            key.zeroize();
            return Err("a character that is no hexadecimal digit");
        };
        *byte = u8::try_from(high << 4 | low).unwrap_or_default();
    }
    if key == [0; KEY_LEN] {
        return Err("nothing but zeros");
    }
    Ok(key)
}

/// The contents of a new key file: 32 bytes of the kernel's generator.
pub(super) fn generate() -> io::Result<FileRead> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * KEY_LEN + 1));
    for byte in key.iter() {
        write!(bytes, "{byte:02x}")?;
    }
    bytes.push(b'\n');
    Ok(FileRead { bytes, mode: 0o600, owner: nix::unistd::geteuid().as_raw() })
}

/// Writes a new key file that nobody else may read. An existing file is never touched.
pub(super) fn create(path: &Path, file: &FileRead) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut new = options.write(true).create_new(true).mode(file.mode).open(path)?;
    new.write_all(&file.bytes)?;
    new.sync_all()
}
