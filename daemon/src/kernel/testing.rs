//! Network namespaces for tests: each test has one of its own, which ends with its thread.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Set in a copy of the test binary that already runs in namespaces of its own.
const INSIDE: &str = "NLBD_TEST_IN_NAMESPACE";

/// Runs `test` with a tokio runtime on a thread in a fresh network namespace. An ordinary user
/// runs the test's name in a copy of this binary under a user namespace. Where the kernel allows
/// neither, the test says so and passes.
pub(crate) fn in_namespace<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send) {
    let inside = std::env::var_os(INSIDE).is_some();
    let allowed = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            if !inside && unshare(CloneFlags::CLONE_NEWNET).is_err() {
                return false;
            }
            ip("link set lo up");
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(test());
            true
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if allowed {
        return;
    }
    let probe = Command::new("unshare").args(["-rn", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("{name}: SKIPPED: needs root or user namespaces");
        return;
    }
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in a user namespace");
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Runs nft on a text, in the namespace of this thread. What it prints.
pub(crate) fn nft(arguments: &[&str], text: &str) -> Result<String, String> {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}
