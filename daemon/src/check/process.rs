//! Whether a process runs, by the name that the kernel keeps of it.

use std::io;

use super::probe::Failure;

/// What the kernel keeps of a name.
const COMM: usize = 15;

/// Looks for a process of this name.
pub(super) async fn find(name: &str) -> Result<String, Failure> {
    let wanted = name.to_owned();
    // Hundreds of small files: not in the thread that others wait for.
    let found = tokio::task::spawn_blocking(move || look(&wanted)).await;
    match found.map_err(io::Error::other).and_then(|found| found).map_err(Failure::Look)? {
        Some(pid) => Ok(format!("process {pid}")),
        None => Err(Failure::NoProcess(name.to_owned())),
    }
}

fn look(name: &str) -> io::Result<Option<u32>> {
    let wanted = name.as_bytes();
    let wanted = wanted.get(..COMM).unwrap_or(wanted);
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Those that end meanwhile are not there.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        if is_alive_and_called(&stat, wanted) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// `pid (name) state ...`: the name may have parentheses and blanks of its own.
fn is_alive_and_called(stat: &[u8], wanted: &[u8]) -> bool {
    let open = stat.iter().position(|byte| *byte == b'(');
    let close = stat.iter().rposition(|byte| *byte == b')');
    let (Some(open), Some(close)) = (open, close) else { return false };
    let name = stat.get(open + 1..close).unwrap_or_default();
    let state = stat.get(close + 2).copied();
    name == wanted && !matches!(state, None | Some(b'Z' | b'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_anything_in_them() {
        assert!(is_alive_and_called(b"7 (nginx) S 1", b"nginx"));
        assert!(is_alive_and_called(b"7 (a) (b) R 1", b"a) (b"));
        assert!(!is_alive_and_called(b"7 (nginx) Z 1", b"nginx"));
        assert!(!is_alive_and_called(b"7 (nginx", b"nginx"));
        assert!(!is_alive_and_called(b"", b""));
    }

    #[tokio::test]
    async fn this_process_is_found_and_no_other() {
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(find(own.trim()).await.is_ok());
        let missing = find("no such process").await.unwrap_err();
        assert_eq!(missing.to_string(), "no process \"no such process\"");
    }
}
