//! Health checks: what is accepted, and the words for what is not. Fields of `cluster()` begin at
//! line 6, column 13; a list item in `checks: [` at column 22.

use core::time::Duration;

use super::*;
use crate::check::{CheckMode, CheckRules, Kind, OnFailure, Record, WhenAllFail};

#[track_caller]
fn rules(fields: &str) -> CheckRules {
    let config = Fake::with(&cluster(fields)).load().unwrap();
    config.clusters[0].checks.clone()
}

#[track_caller]
fn kind(check: &str) -> Kind {
    rules(&format!("checks: [{check}],")).checks.remove(0).kind
}

#[track_caller]
fn refused(check: &str, column: usize, words: &str) {
    let errors = Fake::with(&cluster(&format!("checks: [{check}],"))).errors();
    assert_eq!(errors, format!("/etc/nlbd/nlbd.ron:6:{column}: {words}"));
}

#[test]
fn every_kind() {
    for (check, name) in [
        ("Tcp(port: 80)", "Tcp 127.0.0.1:80"),
        ("Tcp(port: 80, address: \"::1\")", "Tcp [::1]:80"),
        ("Http(port: 8080)", "Http 127.0.0.1:8080/"),
        ("Http(url: \"http://192.0.2.1/x\")", "Http 192.0.2.1:80/x"),
        ("Http(url: \"http://www.example.org/x\")", "Http 127.0.0.1:80/x"),
        ("Https(url: \"https://www.example.org/x\")", "Https 127.0.0.1:443/x"),
        ("Dns(name: \"example.org\")", "Dns 127.0.0.1:53 example.org"),
        ("Udp(port: 7, send: \"hi\", expect: \"^hi$\")", "Udp 127.0.0.1:7"),
        ("Unit(\"nginx.service\")", "Unit nginx.service"),
        ("Unit(name: \"nginx.service\", interval_s: 5)", "Unit nginx.service"),
        ("Process(\"nginx\")", "Process nginx"),
        ("Command([\"/usr/bin/probe\", \"-x\"])", "Command /usr/bin/probe"),
        ("Command(run: [\"/usr/bin/probe\"], rise: 1)", "Command /usr/bin/probe"),
    ] {
        assert_eq!(kind(check).to_string(), name, "{check}");
    }
}

#[test]
fn what_they_take() {
    let web = "Https(url: \"https://www.example.org:8443/health\", status: \"200-204\", header: \
               \"X-Role: ^primary$\", body: \"well\", verify: false)";
    let Kind::Http(http) = kind(web) else { panic!("it is a web server") };
    assert_eq!((http.host.as_str(), http.path.as_str()), ("www.example.org", "/health"));
    assert_eq!(http.server.port(), 8443);
    assert_eq!(http.status, 200..=204);
    let tls = http.tls.unwrap();
    assert_eq!((tls.name.as_str(), tls.verify), ("www.example.org", false));
    let Kind::Dns(dns) = kind("Dns(name: \"a\", type: AAAA, expect: \"2001:db8::1\")") else {
        panic!("it is a name server")
    };
    assert_eq!(dns.record, Record::Aaaa);
    let check =
        rules("checks: [Tcp(port: 1, interval_ms: 500, timeout_ms: 400, rise: 1, fall: 9)],");
    let pace = check.checks[0].pace;
    assert_eq!(pace.interval, Duration::from_millis(500));
    assert_eq!((pace.timeout, pace.rise, pace.fall), (Duration::from_millis(400), 1, 9));
    // Whoever looks often waits no longer than until the next look.
    let check = rules("checks: [Tcp(port: 1, interval_ms: 500)],").checks.remove(0);
    assert_eq!(check.pace.timeout, Duration::from_millis(500));
}

#[test]
fn what_comes_of_them() {
    let none = rules("");
    assert_eq!(none, CheckRules::default());
    assert_eq!((none.mode, none.on_failure), (CheckMode::All, OnFailure::Withdraw));
    assert_eq!(none.when_all_fail, WhenAllFail::Serve);
    let set = rules("checks_mode: Any, on_failure: Weight(300), when_all_fail: Withdraw,");
    assert_eq!((set.mode, set.on_failure), (CheckMode::Any, OnFailure::Weight(300)));
    assert_eq!(set.when_all_fail, WhenAllFail::Withdraw);
}

#[test]
fn refused_checks() {
    let kinds = "Tcp(…), Http(…), Https(…), Dns(…), Udp(…), Unit(\"NAME\"), Process(\"NAME\") or \
                 Command([\"/PATH\", …])";
    refused("Ping(port: 1)", 22, &format!("`checks`: found Ping(port: 1); allowed: {kinds}"));
    refused("Tcp(80)", 22, "`checks`: found Tcp(80); allowed: Tcp(port: …)");
    refused("Tcp()", 22, "`checks`: found Tcp(); allowed: one with `port: …`");
    let fields = "port, address, interval_s, interval_ms, timeout_s, timeout_ms, rise, fall";
    refused("Tcp(port: 1, path: \"/\")", 35, &format!("unknown field `path`; allowed: {fields}"));
    refused("Tcp(port: 0)", 32, "`port`: found 0; allowed: 1 to 65535");
    let url = "a URL like \"http://www.example.org:8080/health\"";
    for bad in ["\"www.example.org\"", "\"https://a/\"", "\"http://a:x/\"", "7"] {
        let words = format!("`url`: found {bad}; allowed: {url}");
        refused(&format!("Http(url: {bad})"), 32, &words);
    }
    let errors = Fake::with(&cluster("checks: [Http(body: \"(\")],")).errors();
    let words =
        "nlbd.ron:6:33: `body`: found \"(\"; allowed: a regular expression in double quotes (";
    assert!(errors.contains(words), "{errors}");
    refused(
        "Tcp(port: 1, interval_s: 1, timeout_ms: 1500)",
        62,
        "`timeout_ms`: found 1500; allowed: at most the interval, 1000 ms",
    );
    refused(
        "Tcp(port: 1, interval_s: 1, timeout_s: 2)",
        61,
        "`timeout_s`: found 2; allowed: at most the interval, 1 s",
    );
    refused(
        "Tcp(port: 1, interval_s: 1, interval_ms: 5)",
        63,
        "`interval_ms`: found 5; allowed: `interval_s` or this, not both",
    );
    refused(
        "Command([\"/no/such\"])",
        22,
        "`checks`: found Command([\"/no/such\"]); allowed: a program: there is none at /no/such",
    );
    let command = "a list of an absolute path and its arguments, up to 64 words: \
                   [\"/usr/local/bin/check\", …]";
    refused("Command([\"probe\"])", 30, &format!("`run`: found [\"probe\"]; allowed: {command}"));
    refused("Command([])", 30, &format!("`run`: found []; allowed: {command}"));
    let unit = "the name of a unit with its kind, like \"nginx.service\"";
    refused("Unit(\"nginx\")", 27, &format!("`name`: found \"nginx\"; allowed: {unit}"));
    refused(
        "Dns(name: \"a\", expect: \"::1\")",
        45,
        "`expect`: found \"::1\"; allowed: an address of the `type`, which is A or AAAA then",
    );
    let many: String = (1..=65).map(|port| format!("Tcp(port: {port}), ")).collect();
    let errors = Fake::with(&cluster(&format!("checks: [{many}],"))).errors();
    assert!(errors.ends_with("`checks`: found 65 checks; allowed: up to 64"), "{errors}");
}
