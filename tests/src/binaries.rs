//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The folder of the programs: `NLBD_BIN_DIR`, or where cargo puts them beside this test.
///
/// # Errors
/// When this program's own path cannot be told.
pub fn directory() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("NLBD_BIN_DIR") {
        return Ok(given.into());
    }
    let own = std::env::current_exe().context("own path")?;
    let folder = own.parent().unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// The path of a program under test.
///
/// # Errors
/// When it was not built, with the command that builds it.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(path.is_file(), "{} is missing: run `cargo build -p nlbd -p nlbctl`", path.display());
    Ok(path)
}
