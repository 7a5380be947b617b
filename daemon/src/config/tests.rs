//! What is accepted, and the exact words for what is not.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::*;

mod accepted;
mod checks;
mod edits;
mod files;
mod grammar;
mod refused;
mod weights;

const MAIN: &str = "/etc/nlbd/nlbd.ron";
const KEY: &str = "/etc/nlbd/nlb0.key";
const DIGITS: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Any host.
#[derive(Clone)]
struct Fake {
    files: BTreeMap<PathBuf, (String, u32, u32)>,
    interfaces: Vec<&'static str>,
    ipv6: bool,
    machine_id: Option<&'static str>,
    user: u32,
}

impl Fake {
    /// A host with eth0, eth1, a key for nlb0 and this main file.
    fn with(main: &str) -> Self {
        let fake = Self {
            files: BTreeMap::new(),
            interfaces: vec!["lo", "eth1", "eth0"],
            ipv6: true,
            machine_id: Some("0123456789abcdef0123456789abcdef\n"),
            user: 0,
        };
        fake.file(MAIN, main).secret(KEY, DIGITS)
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), (text.to_owned(), 0o644, 0));
        self
    }

    fn secret(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), (text.to_owned(), 0o600, 0));
        self
    }

    fn without(mut self, path: &str) -> Self {
        self.files.remove(Path::new(path));
        self
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        load(&Location::named(Path::new(MAIN)), self)
    }

    /// The words of the errors.
    #[track_caller]
    fn errors(&self) -> String {
        self.load().expect_err("it should be refused").to_string()
    }
}

impl System for Fake {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<FileRead> {
        let (text, mode, owner) = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let bytes = text.clone().into_bytes().into();
        Ok(FileRead { bytes, mode: *mode, owner: *owner })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        // In an order that nobody wants.
        Ok(self.files.keys().filter(inside).rev().cloned().collect())
    }

    fn interfaces(&self) -> Vec<String> {
        self.interfaces.iter().map(ToString::to_string).collect()
    }

    fn has_ipv6(&self) -> bool {
        self.ipv6
    }

    fn host_name(&self) -> String {
        "host1".to_owned()
    }

    fn machine_id(&self) -> Option<String> {
        self.machine_id.map(str::to_owned)
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn is_program(&self, path: &Path) -> bool {
        path == Path::new("/usr/bin/probe")
    }
}

/// A main file with one cluster that has these fields beside the necessary ones.
fn cluster(fields: &str) -> String {
    format!(
        "(\n    clusters: {{\n        \"nlb0\": (\n            interfaces: [\"eth0\"],\n            \
         addresses: [\"192.0.2.50\"],\n            {fields}\n        ),\n    }},\n)\n"
    )
}
