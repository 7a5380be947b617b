//! Commands of checks, by a real runner: commands that behave, and others. The runner gives up
//! its privileges, so that these tests see the same whoever runs them; only root sees more.

#![expect(clippy::disallowed_methods, reason = "waits in real time")]

use std::path::Path;
use std::time::{Duration, Instant};

use nlbd::check::{Commands, Runner};

const LIMIT: Duration = Duration::from_secs(10);

fn commands() -> Commands {
    let runner = Runner::start(Path::new(env!("CARGO_BIN_EXE_nlbd")), "nobody");
    runner.and_then(Runner::talk).expect("the runner starts")
}

async fn shell(commands: &Commands, script: &str, limit: Duration) -> Result<String, String> {
    let words = ["/bin/sh", "-c", script].map(str::to_owned);
    commands.run(&words, limit).await
}

/// Processes whose command line has this text.
fn processes(text: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    pids.filter(has).collect()
}

/// A number of seconds that nobody else sleeps.
fn unusual(number: u32) -> String {
    format!("{}{number:03}", 1_000_000 + std::process::id())
}

#[tokio::test]
async fn what_a_command_says() {
    let commands = commands();
    assert_eq!(shell(&commands, "echo fine; echo more", LIMIT).await, Ok("fine".to_owned()));
    assert_eq!(shell(&commands, "true", LIMIT).await, Ok("exit status 0".to_owned()));
    let failed = shell(&commands, "echo 'no disk' >&2; exit 3", LIMIT).await;
    assert_eq!(failed, Err("exit status: 3: no disk".to_owned()));
    let missing = commands.run(&["/no/such/program".to_owned()], LIMIT).await;
    assert!(missing.unwrap_err().starts_with("cannot be started: No such file"));
}

#[tokio::test]
async fn commands_have_no_privileges_and_nothing_of_the_daemon() {
    let commands = commands();
    let status = "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status | tr -d '\\n\\t '";
    let caps = shell(&commands, status, LIMIT).await.unwrap();
    let none = "0".repeat(16);
    let expected = format!("CapInh:{none}CapPrm:{none}CapEff:{none}CapAmb:{none}NoNewPrivs:1");
    assert_eq!(caps, expected);
    assert_ne!(shell(&commands, "id -u", LIMIT).await.unwrap(), "0");
    // The listing itself has one more open.
    let open = shell(&commands, "exec ls -1 /proc/self/fd | tr '\\n' ' '", LIMIT).await.unwrap();
    assert!(open.split_whitespace().all(|fd| fd.parse::<u32>().unwrap() <= 3), "{open}");
    let environment = shell(&commands, "exec env | cut -d= -f1 | sort | tr '\\n' ' '", LIMIT).await;
    let environment = environment.unwrap();
    let allowed = ["LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"];
    assert!(environment.split_whitespace().all(|name| allowed.contains(&name)), "{environment}");
}

#[tokio::test]
async fn one_that_ignores_sigterm_and_forks_is_ended_with_its_children() {
    let commands = commands();
    let (a, b, c) = (unusual(1), unusual(2), unusual(3));
    // One in the group, one in a session of its own whose parent ends.
    let script =
        format!("trap '' TERM HUP INT; sleep {a} & (setsid sleep {b} &) ; sleep {c}; sleep {c}");
    let begun = Instant::now();
    let ended = shell(&commands, &script, Duration::from_millis(300)).await;
    assert_eq!(ended, Err("timed out and was killed".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(5));
    for seconds in [a, b, c] {
        assert_eq!(processes(&seconds), Vec::<u32>::new(), "zombies and survivors");
    }
}

#[tokio::test]
async fn what_a_command_leaves_behind_goes_with_it() {
    let commands = commands();
    let (a, b) = (unusual(4), unusual(5));
    let script = format!("sleep {a} & (setsid sleep {b} &); echo done");
    assert_eq!(shell(&commands, &script, LIMIT).await, Ok("done".to_owned()));
    // Those in its group at once; the others are looked for a moment later, for many commands at
    // a time.
    let begun = Instant::now();
    while [&a, &b].iter().any(|seconds| !processes(seconds).is_empty()) {
        assert!(begun.elapsed() < LIMIT, "something is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_that_floods_is_read_and_ended_and_holds_nobody_up() {
    let commands = commands();
    let flood =
        shell(&commands, "while :; do echo yyyyyyyyyyyyyyyy; done", Duration::from_millis(500));
    let others = async {
        for _ in 0..5 {
            assert_eq!(shell(&commands, "echo fine", LIMIT).await, Ok("fine".to_owned()));
        }
    };
    let (flooded, ()) = tokio::join!(flood, others);
    let said = flooded.unwrap_err();
    assert!(said.starts_with("timed out and was killed") && said.len() < 400, "{said}");
    // Much output is no failure by itself.
    let much = shell(&commands, "head -c 10000000 /dev/zero; exit 0", LIMIT).await;
    assert!(much.is_ok(), "{much:?}");
}

#[tokio::test]
async fn when_the_daemon_is_gone_so_is_everything_that_it_started() {
    let commands = commands();
    let seconds = unusual(6);
    let script = format!("sleep {seconds}");
    let run = shell(&commands, &script, LIMIT);
    let stop = async {
        while processes(&seconds).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { _ = run => panic!("it sleeps"), () = stop => {} }
    drop(commands);
    let begun = Instant::now();
    while !processes(&seconds).is_empty() {
        assert!(begun.elapsed() < LIMIT, "it sleeps on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
