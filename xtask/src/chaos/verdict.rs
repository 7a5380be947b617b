//! What came of it: everything that happened to clients, and why it may have.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use nlb_tests::load::Attempt;
use nlb_tests::service::HTTP;
use nlb_tests::session::Book;
use nlb_tests::stamp::Stamp;
use nlb_tests::wire::segments::Reset;
use nlb_tests::wire::{Exchange, Question, Watcher};

use super::blame::{Blame, Twice};
use super::schedule::{CALM, Fault};

/// After a kill the others are watched for so long: they take over within it.
const TAKEOVER: Duration = Duration::from_millis(2500);
/// Sessions ask every 50 ms: a silence that begins now began with an answer so long before, at most.
const LAST_ANSWER: u64 = 100_000_000;
/// How many examples of each kind are shown.
const SHOWN: usize = 12;

/// The verdict, line by line, and whether anything happened that may not.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) lines: Vec<String>,
    pub(super) findings: Vec<String>,
}

/// Counts by cause.
#[derive(Debug, Default)]
struct Causes(BTreeMap<String, usize>);

impl Causes {
    fn add(&mut self, cause: &str) {
        *self.0.entry(cause.to_owned()).or_default() += 1;
    }

    fn words(&self) -> String {
        let parts: Vec<String> =
            self.0.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

impl Verdict {
    fn say(&mut self, what: &str, words: &str) {
        self.lines.push(format!("{what:46} {words}"));
    }

    /// Counts a finding; the first few of a kind are shown in full.
    fn find(&mut self, of_its_kind: &mut usize, words: String) {
        *of_its_kind += 1;
        if *of_its_kind <= SHOWN {
            self.findings.push(words);
        }
    }

    /// Doubled replies, on the wire.
    pub(super) fn wire(&mut self, watcher: &Watcher, blame: &Blame<'_>) {
        let ledger = watcher.ledger();
        let mut twice: Vec<(Stamp, String, Twice)> = Vec::new();
        for (question, exchange) in ledger.doubled() {
            let Some((first, _)) = exchange.answers.first() else { continue };
            let others = exchange.answers.iter().filter(|(node, _)| node != first);
            let Some((second, at)) = others.min_by_key(|(_, at)| *at) else { continue };
            let asked = exchange.asked.first().copied().unwrap_or(*at);
            let kind = blame.of_twice((asked, *at), *first, *second);
            twice.push((*at, format!("{question:?} {exchange:?}"), kind));
        }
        for doubled in &ledger.segments.doubled {
            let kind = blame.of_twice(
                (doubled.asked, doubled.second.1),
                doubled.first.0,
                doubled.second.0,
            );
            // A SYN that was answered twice is there already.
            let known = twice.iter().any(|(at, _, _)| *at == doubled.second.1);
            if !known {
                twice.push((doubled.second.1, format!("{doubled:?}"), kind));
            }
        }
        twice.sort_by_key(|(at, ..)| *at);
        let count = |kind| twice.iter().filter(|(.., one)| *one == kind).count();
        self.say(
            "packets answered twice",
            &format!(
                "{} ({} SYNs and {} segments of clients seen, {} frames not inspected)",
                count(Twice::Wrong),
                ledger.exchanges.len(),
                ledger.segments.asked,
                watcher.lost()
            ),
        );
        self.say("  allowed: by servers divided (SPEC 6.11.1)", &count(Twice::Divided).to_string());
        self.say("  allowed: by a mute server (SPEC 6.9)", &count(Twice::Mute).to_string());
        let mut shown = 0;
        for (at, words, _) in twice.iter().filter(|(.., kind)| *kind == Twice::Wrong) {
            self.find(&mut shown, format!("answered twice: {words}; {}", blame.scene(*at)));
        }
        if watcher.lost() > 0 {
            self.findings.push(format!("the watcher missed {} frames", watcher.lost()));
        }
        if ledger.violated > 0 {
            self.findings.push(format!("{} bad frames: {:?}", ledger.violated, ledger.violations));
        }
    }

    /// The long sessions.
    pub(super) fn sessions(&mut self, book: &Book, watcher: &Watcher, blame: &Blame<'_>) {
        let (mut causes, mut shown) = (Causes::default(), 0);
        let ledger = watcher.ledger();
        let mut resets: HashMap<(IpAddr, u16), &Reset> = HashMap::new();
        for reset in &ledger.segments.resets {
            resets.insert(reset.connection.client, reset);
        }
        for broken in &book.breaks {
            // When packets passed, and not when this process, if it was kept waiting, read them.
            let reset = resets.get(&broken.client);
            let times = reset.and_then(|reset| Some((reset.last?.1, reset.at)));
            let (last, noticed) = times.unwrap_or((broken.last, broken.noticed));
            // A server that fenced itself goes on repeating what it said before.
            let last = last.min(broken.last);
            // One that was accepted and never answered has no name yet.
            let taken = reset.and_then(|reset| blame.cluster.number_of(reset.last?.0));
            let server = taken.unwrap_or_else(|| number(&broken.server));
            let cause = blame.of_server(server, last, noticed);
            causes.add(cause.as_deref().unwrap_or("WITHOUT CAUSE"));
            if cause.is_none() {
                let scene = blame.scene(noticed);
                self.find(
                    &mut shown,
                    format!("broken without cause: {broken:?}, {reset:?}; {scene}"),
                );
            }
        }
        self.say("answers in long sessions", &book.answers.to_string());
        self.say("long sessions broken", &causes.words());
        if !book.wrong.is_empty() {
            let first = book.wrong.first();
            self.findings.push(format!("{} wrong answers: {first:?}", book.wrong.len()));
        }
        let mut unconnected = Causes::default();
        for opening in &book.openings {
            if let Some(why) = &opening.failed {
                let cause = blame.of_client(opening.client, opening.begun, opening.took);
                let cause = cause.unwrap_or_else(|| "WITHOUT CAUSE".to_owned());
                unconnected.add(&format!("{cause} ({why})"));
            }
        }
        self.say("  connects after that failed", &unconnected.words());
        let (mut causes, mut shown) = (Causes::default(), 0);
        for again in &ledger.segments.repeated {
            let server =
                again.answered.and_then(|(node, _)| blame.cluster.number_of(node)).unwrap_or(0);
            let late = || again.late.then(|| "only late, not lost".to_owned());
            let known = blame.of_packet(server, again.at.0).or_else(late);
            let cause = known.or_else(|| blame.overran(again.at.0));
            causes.add(cause.as_deref().unwrap_or("WITHOUT CAUSE"));
            if cause.is_none() {
                let scene = blame.scene(again.at.0);
                let mut stuck = ledger.segments.stuck.iter();
                let passed = stuck.find(|(connection, _)| *connection == again.connection);
                let words = format!(
                    "lost without cause, by n{server}: {again:?}; {scene}; passed: {passed:?}"
                );
                self.find(&mut shown, words);
            }
        }
        self.say("segments that clients sent again", &causes.words());
    }

    /// New clients.
    pub(super) fn attempts(&mut self, attempts: &[Attempt], watcher: &Watcher, blame: &Blame<'_>) {
        let ledger = watcher.ledger();
        let mut asked: HashMap<IpAddr, &Exchange> = HashMap::new();
        for (question, exchange) in &ledger.exchanges {
            if let Question::Syn(client, _, _, HTTP, _) = question {
                asked.insert(*client, exchange);
            }
        }
        let (mut failed, mut waited) = (Causes::default(), Causes::default());
        let mut shown = 0;
        for attempt in attempts.iter().filter(|attempt| attempt.disturbed()) {
            let exchange = asked.get(&attempt.source);
            let mut cause = blame.of_client(attempt.source, attempt.begun, attempt.total);
            if let Ok(server) = &attempt.server
                && cause.is_none()
            {
                let answered = attempt.begun + attempt.total;
                let lost = blame.of_server(number(server), attempt.begun, answered);
                cause = lost.or_else(|| blame.overran(attempt.begun));
            }
            let into = if attempt.server.is_err() { &mut failed } else { &mut waited };
            into.add(cause.as_deref().unwrap_or("WITHOUT CAUSE"));
            if cause.is_none() {
                let owners = blame.owners(attempt.source, attempt.begun);
                let scene = blame.scene(attempt.begun);
                let resets = &ledger.segments.resets;
                let reset = resets.iter().find(|it| it.connection.client.0 == attempt.source);
                let words = format!(
                    "new client without cause: {attempt:?}, {exchange:?}, {reset:?}, of {owners:?}; \
                     {scene}"
                );
                self.find(&mut shown, words);
            }
        }
        let connects = attempts.iter().filter_map(|attempt| attempt.connect);
        let others = attempts.iter().filter(|attempt| !attempt.repeated);
        let usual = others.filter_map(|attempt| attempt.connect).max();
        self.say("new connections", &attempts.len().to_string());
        self.say("  failed", &failed.words());
        self.say("  waited for a retransmission", &waited.words());
        self.say(
            "  longest wait of all others",
            &format!("{:.1?}, of all {:.1?}", usual.unwrap_or_default(), connects.max()),
        );
        let packets: u64 = blame.backlog.iter().map(|dropped| dropped.packets).sum();
        self.say("packets that this machine itself dropped", &packets.to_string());
    }

    /// What the clients of other servers noticed of a kill.
    pub(super) fn kills(&mut self, book: &Book, begun: Stamp, blame: &Blame<'_>) {
        let calm = longest(book, begun + Duration::from_secs(3), begun + CALM, |_| true);
        self.say("longest silence, undisturbed", &format!("{:.0?}", calm.unwrap_or_default()));
        let mut worst: Option<(Duration, usize)> = None;
        let mut kills = 0;
        for done in blame.done {
            let Fault::Kill(killed) = done.fault else { continue };
            kills += 1;
            let to = done.from + TAKEOVER;
            let others = |server: usize| {
                server != killed && blame.of_server(server, done.from, to).is_none()
            };
            let silence = longest(book, done.from, to, others).unwrap_or_default();
            if worst.is_none_or(|(longest, _)| silence > longest) {
                worst = Some((silence, killed));
            }
        }
        if let Some((silence, killed)) = worst {
            self.say(
                "longest silence of others' clients at a kill",
                &format!("{silence:.0?} (n{killed}, of {kills} kills; below 75 ms none is noted)"),
            );
        }
    }

    /// The logs.
    pub(super) fn logs(&mut self, blame: &Blame<'_>) {
        let history = blame.history;
        let mut fenced = Causes::default();
        for change in history.changes.iter().filter(|change| change.to == "fenced") {
            let before = Stamp(change.at.0.saturating_sub(2_000_000_000));
            let near = blame.done.iter().any(|done| {
                done.fault.may_break(change.server)
                    && done.during(before, change.at, Duration::from_secs(3))
            });
            let when = if near { "at a fault" } else { "WITHOUT FAULT" };
            fenced.add(&format!("{when}: {}", change.cause));
        }
        self.say("fenced", &fenced.words());
        let wrong = |at: &Stamp| {
            let during = |done: &super::run::Done| done.during(*at, *at, super::blame::MERGED);
            !blame.done.iter().any(|done| matches!(done.fault, Fault::Partition(_)) && during(done))
        };
        let (bad, allowed): (Vec<_>, Vec<_>) =
            history.overlaps.iter().partition(|(at, _)| wrong(at));
        self.say(
            "overlaps counted by servers (I1)",
            &format!("{} ({} more when a partition healed)", bad.len(), allowed.len()),
        );
        for (at, words) in bad.iter().take(SHOWN) {
            self.findings.push(format!("overlap: {words}; {}", blame.scene(*at)));
        }
        self.say("errors in logs", &history.errors.len().to_string());
        let errors = history.errors.iter().take(SHOWN);
        self.findings.extend(errors.map(|error| format!("log: {error}")));
        for (words, count) in history.warnings.iter().take(SHOWN) {
            self.say("  warning", &format!("{count} x {words}"));
        }
    }
}

/// The longest silence that began between two instants, of clients of some servers: with the last
/// answer before it.
fn longest(book: &Book, from: Stamp, to: Stamp, of: impl Fn(usize) -> bool) -> Option<Duration> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let from = Stamp(from.0.saturating_sub(LAST_ANSWER));
    let near = book.silences.iter().filter(|silence| silence.from >= from && silence.from <= to);
    near.filter(|silence| {
        *known.entry(&silence.server).or_insert_with(|| of(number(&silence.server)))
    })
    .map(|silence| silence.to.since(silence.from))
    .max()
}

/// The number in a server's name.
fn number(name: &str) -> usize {
    name.trim_start_matches('n').parse().unwrap_or(0)
}
