//! Whether a process runs, by the name that the kernel keeps of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::probe::Failure;

/// What the kernel keeps of a name.
const COMM: usize = 15;
/// How long a list of all processes serves: reading it costs hundreds of small files, and checks
/// come many at once. Whoever is in it is looked at again, so that none is found that has ended.
const FRESH: Duration = Duration::from_millis(250);

/// The processes of this host, for all checks together.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes(Arc<Mutex<Option<Seen>>>);

#[derive(Debug)]
struct Seen {
    at: Instant,
    by_name: BTreeMap<Vec<u8>, Vec<u32>>,
}

impl Processes {
    /// Looks for a process of this name.
    pub(super) async fn find(&self, name: &str) -> Result<String, Failure> {
        let wanted = name.as_bytes();
        let wanted = wanted.get(..COMM).unwrap_or(wanted);
        let found = self.called(wanted).await.map_err(Failure::Look)?;
        let runs = |pid: &u32| {
            let stat = std::fs::read(stat_of(&pid.to_string())).unwrap_or_default();
            alive(&stat) == Some(wanted)
        };
        match found.into_iter().find(runs) {
            Some(pid) => Ok(format!("process {pid}")),
            None => Err(Failure::NoProcess(name.to_owned())),
        }
    }

    async fn called(&self, wanted: &[u8]) -> io::Result<Vec<u32>> {
        let mut last = self.0.lock().await;
        let seen = match last.take() {
            Some(seen) if seen.at.elapsed() < FRESH => seen,
            _ => {
                let at = Instant::now();
                // Not in the thread that others wait for.
                let all = tokio::task::spawn_blocking(look).await;
                Seen { at, by_name: all.map_err(io::Error::other)?? }
            }
        };
        let pids = seen.by_name.get(wanted).cloned().unwrap_or_default();
        *last = Some(seen);
        Ok(pids)
    }
}

fn stat_of(pid: &str) -> PathBuf {
    Path::new("/proc").join(pid).join("stat")
}

/// Every process that has not ended, by name.
fn look() -> io::Result<BTreeMap<Vec<u8>, Vec<u32>>> {
    let mut by_name: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse().ok()?)))
        else {
            continue;
        };
        // Those that end meanwhile are not there.
        let Ok(stat) = std::fs::read(stat_of(text)) else { continue };
        if let Some(name) = alive(&stat) {
            by_name.entry(name.to_vec()).or_default().push(pid);
        }
    }
    Ok(by_name)
}

/// The name of a process that has not ended. `pid (name) state ...`: the name may have parentheses
/// and blanks of its own.
fn alive(stat: &[u8]) -> Option<&[u8]> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let state = stat.get(close + 2)?;
    if matches!(state, b'Z' | b'X') { None } else { stat.get(open + 1..close) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_anything_in_them() {
        assert_eq!(alive(b"7 (nginx) S 1"), Some(&b"nginx"[..]));
        assert_eq!(alive(b"7 (a) (b) R 1"), Some(&b"a) (b"[..]));
        for ended in [&b"7 (nginx) Z 1"[..], b"7 (nginx) X 1", b"7 (nginx", b"7 (nginx)", b""] {
            assert_eq!(alive(ended), None);
        }
    }

    #[tokio::test]
    async fn this_process_is_found_and_no_other() {
        let processes = Processes::default();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(processes.find(own.trim()).await.is_ok());
        let missing = processes.find("no such process").await.unwrap_err();
        assert_eq!(missing.to_string(), "no process \"no such process\"");
    }

    #[tokio::test]
    async fn one_that_ended_is_not_found_in_an_older_list() {
        let processes = Processes::default();
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("endssoon");
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("1000").spawn().unwrap();
        while processes.find("endssoon").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes.find("endssoon").await.is_err());
    }
}
