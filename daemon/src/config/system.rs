//! What reading a configuration must know of the host, as a trait so that tests can be any host.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file as it was read.
#[derive(Clone)]
pub struct FileRead {
    /// Its contents; wiped when dropped, because key files are read through here too.
    pub bytes: zeroize::Zeroizing<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
    /// The user it belongs to.
    pub owner: u32,
}

// The contents may be a key.
impl core::fmt::Debug for FileRead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (bytes, mode, owner) = (self.bytes.len(), self.mode, self.owner);
        write!(f, "FileRead({bytes} bytes, mode {mode:04o}, owner {owner})")
    }
}

/// The host.
pub trait System {
    /// Reads a file, at most `limit + 1` bytes of it.
    ///
    /// # Errors
    /// Those of the system.
    fn read(&self, path: &Path, limit: usize) -> io::Result<FileRead>;

    /// The files of a directory, in no order; none if there is no such directory.
    ///
    /// # Errors
    /// Those of the system, except that the directory does not exist.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// The names of the network interfaces.
    fn interfaces(&self) -> Vec<String>;

    /// Whether this host speaks IPv6.
    fn has_ipv6(&self) -> bool;

    /// The host's name.
    fn host_name(&self) -> String;

    /// The contents of `/etc/machine-id`, if there is one.
    fn machine_id(&self) -> Option<String>;

    /// The user that the daemon runs as.
    fn user(&self) -> u32;

    /// Whether there is a program at this path.
    fn is_program(&self, path: &Path) -> bool;
}

/// The host that the daemon runs on, in its network namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl System for Host {
    fn read(&self, path: &Path, limit: usize) -> io::Result<FileRead> {
        use io::Read as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        // Not blocking, because the path may be a pipe that nobody writes to.
        let file =
            std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        // Enough room at once, so that no copy of a key stays behind where the buffer grew.
        let room = usize::try_from(metadata.len().min(limit)).unwrap_or(0) + 1;
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(room));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(FileRead { bytes, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_dir(directory) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn interfaces(&self) -> Vec<String> {
        let Ok(interfaces) = nix::net::if_::if_nameindex() else { return Vec::new() };
        interfaces.iter().map(|i| i.name().to_string_lossy().into_owned()).collect()
    }

    fn has_ipv6(&self) -> bool {
        Path::new("/proc/net/if_inet6").exists()
    }

    fn host_name(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default()
    }

    fn machine_id(&self) -> Option<String> {
        std::fs::read_to_string("/etc/machine-id").ok()
    }

    fn is_program(&self, path: &Path) -> bool {
        const EXECUTE: u32 = 0o111;
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & EXECUTE != 0)
    }

    fn user(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }
}

/// A host on which some files have other contents than they have: for trying a change before it
/// is written.
pub(super) struct Overlay<'s> {
    pub(super) system: &'s dyn System,
    /// Paths and contents; `None`: the file is gone.
    pub(super) files: Vec<(PathBuf, Option<FileRead>)>,
}

impl System for Overlay<'_> {
    fn read(&self, path: &Path, limit: usize) -> io::Result<FileRead> {
        match self.files.iter().find(|(other, _)| other == path) {
            Some((_, Some(file))) => Ok(file.clone()),
            Some((_, None)) => Err(io::ErrorKind::NotFound.into()),
            None => self.system.read(path, limit),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.system.list(directory)?;
        paths.retain(|path| !self.files.iter().any(|(other, _)| other == path));
        let here = |(path, file): &&(PathBuf, Option<FileRead>)| {
            file.is_some() && path.parent() == Some(directory)
        };
        paths.extend(self.files.iter().filter(here).map(|(path, _)| path.clone()));
        Ok(paths)
    }

    fn interfaces(&self) -> Vec<String> {
        self.system.interfaces()
    }

    fn has_ipv6(&self) -> bool {
        self.system.has_ipv6()
    }

    fn host_name(&self) -> String {
        self.system.host_name()
    }

    fn machine_id(&self) -> Option<String> {
        self.system.machine_id()
    }

    fn is_program(&self, path: &Path) -> bool {
        self.system.is_program(path)
    }

    fn user(&self) -> u32 {
        self.system.user()
    }
}
