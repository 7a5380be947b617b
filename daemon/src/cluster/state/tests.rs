//! What is written is read, and what does not belong here is not.

use std::time::Duration;

use nlb_engine::Saved;

use super::*;
use crate::config::{Host, Location};
use crate::kernel::{Decision, QueuePath, Ruleset};

fn record() -> Record {
    Record {
        shape: SHAPE,
        host: host().unwrap(),
        cluster: 7,
        node: 3,
        key: 11,
        life: None,
        drain: None,
        away: Vec::new(),
    }
}

fn saved() -> Saved {
    let life = Life {
        incarnation: Incarnation(u64::MAX),
        sequence: Sequence(42),
        epoch: Epoch(9),
        pin_version: PinVersion(1 << 40),
        seed: 0xdead_beef,
        weight: Weight::DEFAULT,
        until: now() + Duration::from_secs(60),
        planned: true,
        witnessed: false,
    };
    let ack = PeerAck { node: NodeId(1), incarnation_low: 2, sequence_low: 3 };
    Saved {
        life: Some(life),
        drain: Some(Drain { until: Some(now()), most: 7 }),
        away: vec![(ack, now())],
    }
}

/// A record of this.
fn record_of(saved: &Saved) -> Record {
    let mut record = record();
    record.take_in(saved);
    record
}

fn file(path: &Path) -> StateFile {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    let (path, page) = (path.to_owned(), vec![0; LENGTH].into());
    StateFile { file: Some(file), path, record: record(), saved: None, page }
}

#[test]
fn what_is_written_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nlb0.state");
    let mut state = file(&path);
    let written = saved();
    state.save(written.clone()).unwrap();
    assert_eq!(record().takes(read(&path).unwrap()), Some(written));
    // A shorter record takes the whole place of a longer one.
    state.save(Saved { life: None, drain: None, away: Vec::new() }).unwrap();
    assert_eq!(record().takes(read(&path).unwrap()).unwrap().life, None);
}

#[test]
fn what_does_not_belong_here_is_not_taken() {
    let good = record_of(&saved());
    assert!(record().takes(good.clone()).unwrap().life.is_some());
    for other in [
        Record { shape: SHAPE + 1, ..good.clone() },
        Record { host: "another boot".to_owned(), ..good.clone() },
        Record { cluster: 8, ..good.clone() },
        Record { node: 4, ..good.clone() },
    ] {
        assert_eq!(record().takes(other), None);
    }
    // Under another key, or too late, the life has ended; what is away is not.
    let over = SavedLife { until: now().as_nanos(), ..good.life.clone().unwrap() };
    for other in [Record { key: 12, ..good.clone() }, Record { life: Some(over), ..good.clone() }] {
        let found = record().takes(other).unwrap();
        assert_eq!((found.life, found.away.len()), (None, 1));
    }
}

/// A configuration of this host with clusters of these names and ids.
fn config(folder: &Path, clusters: &[(&str, u16)]) -> Config {
    let mut text = "(node: (name: \"n3\", id: 3), clusters: {".to_owned();
    for (name, id) in clusters {
        let address = format!("\"192.0.2.{id}\"");
        text += &format!(
            "\"{name}\": (id: {id}, interfaces: [\"lan0\"], addresses: [{address}], insecure: true),"
        );
    }
    let file = folder.join("nlbd.ron");
    std::fs::write(&file, text + "})").unwrap();
    crate::config::load(&Location::named(&file), &Host).unwrap()
}

#[test]
fn only_lives_of_configured_clusters_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let two = config(folder.path(), &[("nlb0", 7), ("web", 8)]);
    let states = || {
        let names = std::fs::read_dir(folder.path()).unwrap().flatten().map(|one| one.file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        names.filter(|name| name.ends_with(".state")).collect::<BTreeSet<_>>()
    };
    for cluster in &two.clusters {
        let (mut state, found) = StateFile::open(folder.path(), cluster, &two.node);
        assert_eq!(found, None);
        state.save(saved()).unwrap();
    }
    let going_on =
        |config: &Config| -> Vec<String> { going_on(folder.path(), config).into_iter().collect() };
    assert_eq!(going_on(&two), ["nlb0", "web"]);
    // Renamed, or with another id: nobody goes on with it.
    assert_eq!(going_on(&config(folder.path(), &[("nlb1", 7), ("web", 8)])), ["web"]);
    assert_eq!(going_on(&config(folder.path(), &[("nlb0", 9), ("web", 8)])), ["web"]);
    let one = config(folder.path(), &[("web", 8)]);
    forget_all_but(folder.path(), &one);
    assert_eq!(states(), BTreeSet::from(["web.state".to_owned()]));
    assert_eq!(going_on(&two), ["web"]);
    // One that has left goes on neither.
    let (mut state, _) = StateFile::open(folder.path(), &one.clusters[0], &one.node);
    state.save(Saved { life: None, ..saved() }).unwrap();
    assert_eq!(going_on(&two), [""; 0]);
}

#[test]
fn a_damaged_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nlb0.state");
    assert!(read(&path).is_none());
    for text in [&b""[..], b"(shape:1", b"\xff\xfe", b"    "] {
        std::fs::write(&path, text).unwrap();
        assert!(read(&path).is_none());
    }
    let mut state = file(&path);
    state.save(saved()).unwrap();
    // Cut off anywhere, it is none.
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read(&path).is_none(), "{length} bytes");
    }
    // One that names too many is not half written.
    let many = saved().away.repeat(500);
    state.save(Saved { away: many, ..saved() }).unwrap();
    assert!(read(&path).is_none());
}

/// What [`SHAPE`] stands for: the file's text, and every set and chain that one process leaves and
/// the next puts its own rules over. Whoever changes that raises `SHAPE`, and then sets
/// `NLBD_BLESS=1` to have the text written anew: it is not written under the same number.
#[test]
fn whoever_changes_what_is_left_raises_its_number() {
    let until = Time::from_nanos(3);
    let saved = saved();
    let life = saved.life.map(|life| Life { until, ..life });
    let drain = saved.drain.map(|drain| Drain { until: Some(until), ..drain });
    let away = saved.away.iter().map(|(ack, _)| (*ack, until)).collect();
    let record =
        Record { shape: 0, host: String::new(), ..record_of(&Saved { life, drain, away }) };
    let bytes = postcard::to_stdvec(&record).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("shape {SHAPE}\n{hex}\n");
    for path in [QueuePath::Nft, QueuePath::Iptables] {
        let rules = crate::kernel::testing::rules("nlb0", 5);
        let filter = nlb_protocol::Buckets::EMPTY;
        let decision = Decision { filter, divert: false, seed: 1 };
        let mut ruleset = Ruleset::new();
        ruleset.install(&rules, &decision, path);
        let batch = ruleset.into_text();
        let lasting = |line: &&str| line.starts_with("add set") || line.starts_with("add chain");
        text += &format!("{path:?}\n");
        batch.lines().filter(lasting).for_each(|line| text += &format!("{line}\n"));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/state/shape.txt");
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let raised = golden.lines().next() != text.lines().next();
    if std::env::var_os("NLBD_BLESS").is_some() && raised {
        std::fs::write(&file, &text).unwrap();
        return;
    }
    assert_eq!(golden, text, "raise SHAPE in cluster/state.rs");
}
