//! Writes the vectors of SPEC appendix B anew, from this crate.
//!
//! Only for a version that nobody has published: published vectors never change.

#![allow(clippy::cast_possible_truncation)] // random numbers are cut on purpose
#![allow(clippy::unwrap_used)] // the modules are those of a test

#[path = "../tests/vectors/fields.rs"]
#[allow(dead_code)] // the test reads them back
mod fields;
#[path = "../tests/vectors/frames.rs"]
mod frames;
#[path = "../tests/vectors/make.rs"]
mod make;
#[path = "../tests/vectors/packets.rs"]
mod packets;

use std::path::PathBuf;
use std::{fs, io};

fn main() -> io::Result<()> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "vectors"].iter().collect();
    fs::create_dir_all(&folder)?;
    for (name, text) in make::all() {
        fs::write(folder.join(name), text)?;
        println!("{name}");
    }
    Ok(())
}
