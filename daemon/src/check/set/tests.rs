//! A cluster's checks against services that come and go.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::check::Runner;
use crate::check::model::{CheckMode, Kind, Pace};

const PACE: Pace = Pace {
    interval: Duration::from_millis(20),
    timeout: Duration::from_millis(20),
    rise: 2,
    fall: 3,
};

fn tcp(server: SocketAddr) -> Check {
    Check { kind: Kind::Tcp(server), pace: PACE }
}

fn rules(checks: Vec<Check>) -> CheckRules {
    CheckRules { checks, ..CheckRules::default() }
}

/// Nothing here runs commands: a runner in this process will do.
fn tools() -> Tools {
    Tools { commands: Runner::here().talk().unwrap(), units: None }
}

struct Watched {
    checks: Checks,
    inbox: mpsc::Receiver<CheckReport>,
}

impl Watched {
    fn start(rules: &CheckRules) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS);
        Self { checks: Checks::start("nlb0", rules, tools(), reports), inbox }
    }

    async fn until(&mut self, health: Health) -> Vec<&'static str> {
        let mut turns = Vec::new();
        while self.checks.health() != health {
            let report = self.inbox.recv().await.unwrap();
            turns.extend(self.checks.take_in(report, Time::ZERO).map(|turn| turn.kind));
        }
        turns
    }
}

#[tokio::test]
async fn a_service_ends_and_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let mut watched = Watched::start(&rules(vec![tcp(server)]));
    assert_eq!(watched.checks.health(), Health::Unknown);
    assert_eq!(watched.until(Health::Well).await, ["check-passed"]);
    drop(listener);
    assert_eq!(watched.until(Health::Ill).await, ["check-failed"]);
    let view = &watched.checks.views(Time::ZERO)[0];
    assert!(view.failures >= 3 && view.runs > view.failures, "{view:?}");
    assert!(view.message.starts_with("cannot connect: Connection refused"), "{view:?}");
    let _listener = TcpListener::bind(server).await.unwrap();
    assert_eq!(watched.until(Health::Well).await, ["check-recovered"]);
}

#[tokio::test]
async fn other_rules_leave_checks_alone_that_they_keep() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kept = tcp(listener.local_addr().unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut watched = Watched::start(&rules(vec![kept.clone(), tcp(closed)]));
    watched.until(Health::Ill).await;
    let any = CheckRules { mode: CheckMode::Any, ..watched.checks.rules.clone() };
    watched.checks.take_up(&any);
    watched.until(Health::Well).await;
    let runs = watched.checks.views(Time::ZERO)[0].runs;
    watched.checks.take_up(&rules(vec![kept]));
    assert_eq!(watched.checks.views(Time::ZERO).len(), 1);
    assert_eq!(
        (watched.checks.views(Time::ZERO)[0].runs, watched.checks.health()),
        (runs, Health::Well)
    );
    watched.checks.take_up(&CheckRules::default());
    assert_eq!(watched.checks.health(), Health::Unknown);
}

#[tokio::test]
async fn every_check_has_a_name_of_its_own() {
    let (server, other) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    let slow = Check { pace: Pace { fall: 9, ..PACE }, ..tcp(server) };
    let mut watched = Watched::start(&rules(vec![tcp(server), tcp(other), slow.clone()]));
    let names = |watched: &Watched| {
        let views = watched.checks.views(Time::ZERO);
        views.into_iter().map(|view| view.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&watched), ["Tcp 127.0.0.1:1", "Tcp 127.0.0.1:2", "Tcp 127.0.0.1:1 (2)"]);
    watched.checks.take_up(&rules(vec![slow]));
    assert_eq!(names(&watched), ["Tcp 127.0.0.1:1"]);
}

#[tokio::test]
async fn a_penalty_instead_of_going() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let on_failure = OnFailure::Weight(300);
    let mut watched = Watched::start(&CheckRules { on_failure, ..rules(vec![tcp(closed)]) });
    assert_eq!((watched.checks.penalty(), watched.checks.withdraw()), (0, Withdraw::Never));
    watched.until(Health::Ill).await;
    assert_eq!(watched.checks.penalty(), 300);
}

#[tokio::test]
async fn one_that_hangs_has_failed() {
    // Accepts by the kernel's backlog, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = crate::check::Http {
        server: listener.local_addr().unwrap(),
        host: "localhost".to_owned(),
        path: "/".to_owned(),
        tls: None,
        status: 200..=299,
        header: None,
        body: None,
    };
    let check = Check { kind: Kind::Http(Box::new(http)), pace: PACE };
    let mut watched = Watched::start(&rules(vec![check]));
    watched.until(Health::Ill).await;
    assert_eq!(watched.checks.views(Time::ZERO)[0].message, "timed out");
}

#[tokio::test]
async fn units_without_a_bus() {
    let check = Check { kind: Kind::Unit("nginx.service".to_owned()), pace: PACE };
    let mut watched = Watched::start(&rules(vec![check]));
    watched.until(Health::Ill).await;
    assert_eq!(
        watched.checks.views(Time::ZERO)[0].message,
        "no bus: nlbd was started with --bus none"
    );
}
