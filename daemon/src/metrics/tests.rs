//! The page against the table and the files that are made for it; HTTP, also from those who do
//! not keep to it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nlb_engine::{FenceCause, Notice};
use nlb_protocol::frame::State;
use nlb_protocol::{Epoch, NodeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::http::{Asked, PATIENCE, answer, parse};
use super::process::resident;
use super::*;
use crate::kernel::{Counted, Fate};
use crate::manage::{Observed, sample};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn some_page() -> String {
    let (daemon, mut status) = sample();
    let mut observed = Observed::default();
    let fenced = |cause| Notice::State { from: State::Active, to: State::Fenced, cause };
    observed.observe(&fenced(Some(FenceCause::Deaf)));
    observed.observe(&fenced(Some(FenceCause::Unheard(NodeId(2)))));
    observed.observe(&fenced(Some(FenceCause::Unheard(NodeId(3)))));
    for ms in [40, 50, 31_000] {
        let took = Duration::from_millis(ms);
        observed.observe(&Notice::Converged { epoch: Epoch(7), buckets: 2048, took });
    }
    status.facts.observed = observed;
    let counted = Counted { packets: 12, bytes: 1500 };
    status.facts.kernel.insert(Fate::Known, counted);
    page(daemon, vec![status])
}

/// The names of all samples, without their suffixes, and the kind that was declared.
fn families(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    types.filter_map(pair).collect()
}

/// What a sample's name is in a query.
fn sample_names(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn values_stand_where_they_belong() {
    let page = some_page();
    for line in [
        "nlbd_converged{cluster=\"nlb0\"} 1.0",
        "nlbd_view_epoch{cluster=\"nlb0\"} 7.0",
        "nlbd_node_state{cluster=\"nlb0\",state=\"active\"} 1.0",
        "nlbd_node_state{cluster=\"nlb0\",state=\"fenced\"} 0.0",
        "nlbd_peers{cluster=\"nlb0\",state=\"active\"} 1.0",
        "nlbd_buckets_accepted{cluster=\"nlb0\"} 2048.0",
        "nlbd_buckets_owned{cluster=\"nlb0\"} 2048.0",
        "nlbd_drops_total{cluster=\"nlb0\",reason=\"bad_tag\"} 3.0",
        "nlbd_drops_total{cluster=\"nlb0\",reason=\"replayed\"} 5.0",
        "nlbd_kernel_packets_total{cluster=\"nlb0\",fate=\"known\"} 12.0",
        "nlbd_kernel_bytes_total{cluster=\"nlb0\",fate=\"known\"} 1500.0",
        "nlbd_kernel_packets_total{cluster=\"nlb0\",fate=\"no_lease\"} 0.0",
        "nlbd_fences_total{cluster=\"nlb0\",cause=\"unheard\"} 2.0",
        "nlbd_fences_total{cluster=\"nlb0\",cause=\"too_few\"} 0.0",
        "nlbd_service_health{cluster=\"nlb0\",health=\"unknown\"} 1.0",
        "nlbd_service_health{cluster=\"nlb0\",health=\"ill\"} 0.0",
        "nlbd_check_passes{cluster=\"nlb0\",check=\"Tcp 127.0.0.1:80\"} 0.0",
        "nlbd_check_unchanged_seconds{cluster=\"nlb0\",check=\"Tcp 127.0.0.1:80\"} 2.5",
        "nlbd_check_runs_total{cluster=\"nlb0\",check=\"Tcp 127.0.0.1:80\"} 9.0",
        "nlbd_check_failures_total{cluster=\"nlb0\",check=\"Tcp 127.0.0.1:80\"} 4.0",
        "nlbd_check_runs_total{cluster=\"nlb0\",check=\"Process nginx\"} 0.0",
        "nlbd_convergence_seconds_bucket{le=\"0.05\",cluster=\"nlb0\"} 2",
        "nlbd_convergence_seconds_bucket{le=\"30.0\",cluster=\"nlb0\"} 2",
        "nlbd_convergence_seconds_bucket{le=\"+Inf\",cluster=\"nlb0\"} 3",
        "nlbd_convergence_seconds_count{cluster=\"nlb0\"} 3",
        "nlbd_convergence_seconds_sum{cluster=\"nlb0\"} 31.09",
    ] {
        assert!(page.lines().any(|is| is == line), "{line}\n{page}");
    }
    assert!(!page.contains("nlbd_check_passes{cluster=\"nlb0\",check=\"Process nginx\"}"));
    assert!(page.ends_with("# EOF\n"));
    let memory = page.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    assert!(memory.is_some_and(|bytes| bytes.parse::<f64>().unwrap() > 1e6), "{memory:?}");
}

#[test]
fn names_follow_the_conventions() {
    let page = some_page();
    let families = families(&page);
    assert!(families.len() > 25, "{families:?}");
    for name in families.keys() {
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert!(name.starts_with("nlbd_") || name.starts_with("process_"), "{name}");
        let unit = ["_ms", "_milliseconds", "_kb", "_percent", "_permille", "_total"];
        assert!(!unit.iter().any(|unit| name.ends_with(unit)), "{name}");
    }
    for sample in sample_names(&page) {
        let base = |suffixes: &[&str]| {
            suffixes.iter().find_map(|suffix| sample.strip_suffix(suffix)).map(str::to_owned)
        };
        let family = base(&["_total", "_bucket", "_count", "_sum"]).unwrap_or(sample.clone());
        let kind = families.get(&family).map(String::as_str);
        let counts = sample.ends_with("_total");
        assert!(kind.is_some() && (kind == Some("counter")) == counts, "{sample}: {kind:?}");
    }
}

/// Set `NLBD_BLESS=1` to write the table of the documentation anew.
#[test]
fn the_documentation_has_every_metric() {
    const MARK: &str = "<!-- the table is made by the tests of daemon/src/metrics -->\n";
    let text = read("docs/metrics.md");
    let (before, after) = text.split_once(MARK).expect("the mark");
    if std::env::var_os("NLBD_BLESS").is_some() {
        let text = format!("{before}{MARK}{}", documentation());
        std::fs::write(root().join("docs/metrics.md"), text).unwrap();
        return;
    }
    assert_eq!(after, documentation());
}

/// Every word that looks like a metric of ours.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let ours = words.filter(|word| word.starts_with("nlbd_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let names = sample_names(&some_page());
    for file in ["packaging/grafana/nlbd.json", "packaging/prometheus/nlbd.rules.yml"] {
        let text = read(file);
        let asked = mentioned(&text);
        assert!(asked.len() >= 5, "{file}: {asked:?}");
        let unknown: Vec<_> = asked.difference(&names).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let board: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/nlbd.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
}

#[test]
fn promtool_takes_the_alerts_and_they_fire() {
    if std::process::Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("no promtool here: the rules are not checked");
        return;
    }
    let folder = root().join("packaging/prometheus");
    for words in [["check", "rules", "nlbd.rules.yml"], ["test", "rules", "nlbd.test.yml"]] {
        let output =
            std::process::Command::new("promtool").args(words).current_dir(&folder).output();
        let output = output.unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }
}

#[test]
fn requests_are_told_apart() {
    let asked = |line: &str| parse(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(asked("GET /metrics HTTP/1.1"), Asked::Metrics);
    assert_eq!(asked("GET /metrics?name[]=a HTTP/1.0"), Asked::Metrics);
    assert_eq!(asked("HEAD /metrics HTTP/1.1"), Asked::Head);
    for (line, code) in [
        ("POST /metrics HTTP/1.1", "405"),
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/x HTTP/1.1", "404"),
        ("GET /metrics HTTP/2", "400"),
        ("GET /metrics", "400"),
        ("", "400"),
        ("\u{1}\u{2}", "400"),
    ] {
        let Asked::Other(status) = asked(line) else { panic!("{line} is taken") };
        assert!(status.starts_with(code), "{line}: {status}");
    }
}

/// What a client that sends this gets.
async fn exchange(request: &[u8]) -> String {
    let (mut client, server) = duplex(1 << 16);
    let serving = tokio::spawn(answer(server, PATIENCE, async || Some("page\n".to_owned())));
    // It may be hung up on before all is sent.
    let _ = client.write_all(request).await;
    let mut said = String::new();
    let _ = client.read_to_string(&mut said).await;
    serving.await.unwrap();
    said
}

#[tokio::test]
async fn an_answer_has_its_length_and_ends() {
    let said = exchange(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{said}");
    assert!(said.contains("Content-Length: 5\r\n") && said.ends_with("\r\n\r\npage\n"), "{said}");
    let said = exchange(b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(said.contains("Content-Length: 5\r\n") && said.ends_with("\r\n\r\n"), "{said}");
    let said = exchange(b"PUT /metrics HTTP/1.1\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 405 ") && said.contains("Allow: GET, HEAD"), "{said}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let said = exchange(&[b'a'; 20_000]).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test]
async fn whoever_asks_too_slowly_is_hung_up_on() {
    let (mut client, server) = duplex(1024);
    let serving =
        tokio::spawn(answer(server, Duration::from_millis(20), async || Some(String::new())));
    client.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "");
    serving.await.unwrap();
}

#[test]
fn resident_memory_is_read_in_bytes() {
    assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t2\n"), Some(1234.0 * 1024.0));
    assert_eq!(resident("VmRSS:\t12 MB\n"), None);
    assert_eq!(resident(""), None);
}

/// One way that is full leaves the other alone; who goes makes room.
#[tokio::test]
async fn each_way_has_connections_of_its_own() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::serve::{Connections, MAX_CONNECTIONS};

    let (mut by_unix, mut by_tcp) = (Connections::new("unix"), Connections::new("tcp"));
    let (begun, end) = (Arc::<AtomicUsize>::default(), Arc::new(tokio::sync::Notify::new()));
    let one = || {
        let (begun, end) = (begun.clone(), end.clone());
        async move {
            begun.fetch_add(1, Ordering::Relaxed);
            end.notified().await;
        }
    };
    let settled = async || {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        begun.load(Ordering::Relaxed)
    };
    for _ in 0..MAX_CONNECTIONS + 5 {
        by_tcp.take_up(one());
    }
    assert_eq!(settled().await, MAX_CONNECTIONS);
    by_unix.take_up(one());
    assert_eq!(settled().await, MAX_CONNECTIONS + 1);
    end.notify_waiters();
    settled().await;
    by_tcp.take_up(one());
    assert_eq!(settled().await, MAX_CONNECTIONS + 2);
}
