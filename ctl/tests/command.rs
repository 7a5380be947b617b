//! The command itself, as somebody types it, against a daemon that is none.

#[allow(dead_code)] // the other test file uses the rest
mod fake;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nlb_varlink::{Limits, Server};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Long enough for this machine, short enough to wait for.
const SOON: Duration = Duration::from_secs(20);

/// A run directory with the fake behind its socket.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join(nlb_varlink::SOCKET);
        let server = Server::bind(&socket, Limits::default()).expect("a socket");
        let look = futures_util::stream::pending();
        tokio::spawn(async move { server.serve(Arc::new(fake::Fake), look).await });
        Self(directory)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nlbctl"));
        command.env("NLBD_RUN_DIR", self.0.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Exit code, stdout, stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.feed(arguments, "").await
    }

    async fn feed(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("nlbctl");
        let mut stdin = child.stdin.take().expect("stdin");
        // It may not want to read it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(SOON, child.wait_with_output()).await.expect("in time");
        let output = output.expect("an end");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
    }
}

#[tokio::test]
async fn verbs_and_their_twins() {
    let world = World::new();
    for (arguments, begins) in [
        (&["status"][..], "nlb0: all is well"),
        (&["status", "nlb0"], "nlb0: all is well"),
        (&["nodes"], "nlb0: 3 nodes"),
        (&["buckets", "nlb0"], "nlb0: 4096 buckets"),
        (&["clients", "--limit", "5"], "nlb0: 812 clients here"),
        (&["explain", "198.51.100.7"], "198.51.100.7 goes to n2"),
        (&["set_weight", "nlb0", "200"], "This node has weight 200 in nlb0 now."),
        (&["set-weight", "nlb0", "100"], "This node had weight 100 in nlb0 already."),
        (&["weight_mode", "nlb0", "loadavg5"], "The weight in nlb0 comes from loadavg5 now."),
        (&["weight-mode", "nlb0", "manual"], "The weight in nlb0 comes from manual now."),
        (&["addif", "eth0", "--address", "192.0.2.50", "--mode", "igmp"], "eth0 serves nlb0 now"),
        (&["drain", "--timeout", "60"], "This node takes no new clients."),
        (&["undrain", "nlb0"], "This node takes new clients again."),
        (&["check-config"], "The configuration is valid: nlb0."),
        (&["check_config"], "The configuration is valid: nlb0."),
    ] {
        let (code, stdout, stderr) = world.run(arguments).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.starts_with(begins), "{arguments:?}: {stdout}");
        // And the same for programs: one JSON value.
        let (code, stdout, _) = world.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(code, 0);
        serde_json::from_str::<Value>(&stdout).expect("JSON");
    }
}

/// Whoever pastes what is printed gets the same cluster.
#[tokio::test]
async fn the_other_servers_are_told_the_same() {
    let options = ["--address", "192.0.2.50", "--mode", "igmp", "--id", "7"];
    let (code, stdout, _) = World::new().run(&[&["addif", "eth0"][..], &options].concat()).await;
    assert_eq!(code, 0);
    let line = format!("nlbctl addif eth0 --cluster nlb0 {}\n", options.join(" "));
    assert!(stdout.contains(&line), "{stdout}");
}

#[tokio::test]
async fn failures_and_their_codes() {
    let world = World::new();
    for (arguments, code, words) in [
        (&["leave", "web"][..], 1, "nlbctl: there is no cluster \"web\" here, but nlb0\n"),
        (&["status", "web"], 1, "nlbctl: there is no cluster \"web\" here, but nlb0\n"),
        (&["leave"], 1, "nlbctl: the node is leaving the cluster\n"),
        (
            &["check-config", "/x.ron"],
            1,
            "nlbctl: the configuration is wrong, nothing was changed\n  /x.ron:6:28: `weight`: \
             found 0; allowed: 1 to 65535\n",
        ),
        (
            &["reload"],
            4,
            "nlbctl: no permission to reload the configuration: only root may\n  try it as root: \
             sudo nlbctl …\n",
        ),
    ] {
        let (found, stdout, stderr) = world.run(arguments).await;
        assert_eq!((found, stdout.as_str(), stderr.as_str()), (code, "", words), "{arguments:?}");
        let (found, _, stderr) = world.run(&[arguments, &["--json"]].concat()).await;
        let error: Value = serde_json::from_str(&stderr).expect("JSON");
        assert_eq!(found, code);
        assert!(error["error"]["message"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn wrong_usage() {
    let world = World::new();
    for (arguments, words) in [
        (&["set_weight", "nlb0", "0"][..], "found 0; allowed: 1 to 65535, or the word stdin"),
        (&["set_weight", "nlb0", "65536"], "found 65536; allowed: 1 to 65535"),
        (&["set_weight", "nlb0", "-1"], "found -1; allowed: 1 to 65535"),
        (&["weight_mode", "nlb0", "guess"], "[possible values: manual, loadavg, loadavg5"),
        (&["explain", "localhost"], "invalid value 'localhost'"),
        (&["dance"], "unrecognized subcommand 'dance'"),
        (&["addif"], "<INTERFACE>"),
        (&[], "Usage: nlbctl"),
    ] {
        let (code, _, stderr) = world.run(arguments).await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    let (code, help, _) = world.run(&["--help"]).await;
    assert_eq!(code, 0);
    for said in [
        "Exit status:",
        "3  the daemon cannot be reached, or does not answer",
        "Examples:",
        "set_weight",
    ] {
        assert!(help.contains(said), "{said}: {help}");
    }
}

#[tokio::test]
async fn no_daemon() {
    let world = World(tempfile::tempdir().expect("a directory"));
    let (code, _, stderr) = world.run(&["status"]).await;
    let directory = world.0.path().display();
    assert_eq!(code, 3);
    assert_eq!(
        stderr,
        format!(
            "nlbctl: no daemon listens on {directory}/org.nlbd.Cluster: No such file or directory \
             (os error 2)\n  start it: systemctl start nlbd (or by hand: nlbd --run-dir \
             {directory})\n  if it runs elsewhere: nlbctl --run-dir DIR …\n"
        )
    );
    let (code, _, stderr) = world.run(&["--json", "status"]).await;
    let error: Value = serde_json::from_str(&stderr).expect("JSON");
    assert_eq!((code, &error["error"]["kind"]), (3, &Value::from("not-running")));
}

/// As when it is stopped: the kernel takes connections for it, and nobody answers.
#[tokio::test]
async fn a_daemon_that_is_silent() {
    let world = World(tempfile::tempdir().expect("a directory"));
    let listener = tokio::net::UnixListener::bind(world.0.path().join(nlb_varlink::SOCKET));
    let _listener = listener.expect("a socket");
    let said = "nlbctl: the daemon does not answer (5 s were waited)\n  it runs but is stopped, hangs \
                or has no time: systemctl status nlbd\n";
    let verbs: [&[&str]; 7] = [
        &["status"],
        &["set-weight", "nlb0", "7"],
        &["drain", "--wait"],
        &["events", "--follow"],
        &["top"],
        &["debug", "record", "--output", "/dev/null"],
        &["--json", "nodes"],
    ];
    let all = verbs.map(|verb| world.run(verb));
    let all = futures_util::future::join_all(all).await;
    let (words, json) = all.split_at(verbs.len() - 1);
    for (verb, (code, stdout, stderr)) in verbs.iter().zip(words) {
        assert_eq!((*code, stdout.as_str(), stderr.as_str()), (3, "", said), "{verb:?}");
    }
    let error: Value = serde_json::from_str(&json[0].2).expect("JSON");
    assert_eq!((json[0].0, &error["error"]["kind"]), (3, &Value::from("no-answer")));
}

#[tokio::test]
async fn weights_from_standard_input() {
    let world = World::new();
    let (code, stdout, stderr) = world.feed(&["set_weight", "nlb0", "stdin"], "5\n\n 70 \n").await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    let input = "5\nmany\n0\n7\n";
    let (code, stdout, stderr) =
        world.feed(&["set_weight", "nlb0", "stdin", "--json"], input).await;
    assert_eq!(code, 1);
    assert_eq!(stdout.lines().count(), 2);
    assert!(
        stderr.starts_with(
            "nlbctl: line 2 of the input: weight: found many; allowed: 1 to 65535\nnlbctl: line 3"
        ),
        "{stderr}"
    );
    let (code, _, stderr) = world.feed(&["set_weight", "web", "stdin"], "5\n").await;
    assert_eq!((code, stderr.contains("nlb0")), (1, true));
}

#[tokio::test]
async fn events_of_the_past() {
    let world = World::new();
    let (code, stdout, stderr) = world.run(&["events"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    assert_eq!(lines[0], "(2 events no longer kept)");
    assert!(lines[1].contains("  nlb0  peer-gone"), "{stdout}");
    let (_, stdout, _) = world.run(&["events", "-n", "1"]).await;
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let (code, ..) = world.run(&["events", "web"]).await;
    assert_eq!(code, 1);
}

/// The past, then what comes, without a hole between them; a hole on the way is said; when the
/// daemon, which lives, closes the connection, it has its reason.
#[tokio::test]
async fn events_are_followed() {
    let world = World::new();
    let (code, stdout, stderr) = world.run(&["events", "--follow"]).await;
    let closed = "nlbctl: the daemon closed the connection: nothing was read for too long\n";
    assert_eq!((code, stderr.as_str()), (1, closed));
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{stdout}");
    assert_eq!(lines[3], "(2 events lost: this reader was too slow)");
    let (_, stdout, _) = world.run(&["events", "--follow", "--json"]).await;
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(numbers, [Some(3), Some(4), Some(5), None, Some(8), Some(9)]);
    assert_eq!((&lines[3]["missing"], &lines[3]["after"]), (&2.into(), &5.into()));
}

/// Whoever stops reading has seen enough.
#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let world = World::new();
    for arguments in [&["buckets"][..], &["status", "--json"], &["events"]] {
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        // `Command::output` would put a pipe of its own in place.
        let child = world.command(arguments).stdout(write).spawn().expect("nlbctl");
        let output = timeout(SOON, child.wait_with_output()).await.expect("in time");
        let output = output.expect("an end");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_file_to_check_is_made_absolute() {
    let world = World::new();
    let (_, _, stderr) = world.run(&["check-config", "here.ron"]).await;
    let here = std::path::absolute(PathBuf::from("here.ron")).expect("a path");
    assert!(stderr.contains(&format!("{}:6:28", here.display())), "{stderr}");
}
