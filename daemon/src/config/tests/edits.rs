//! What `addif` and `delif` make of a configuration, on paper and on a real disk.

use core::net::IpAddr;

use nlb_protocol::{ClusterId, MacMode};

use super::*;

fn add(interface: &str, addresses: &[&str]) -> AddInterface {
    AddInterface {
        interface: interface.to_owned(),
        addresses: addresses.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect(),
        ..AddInterface::default()
    }
}

fn location() -> Location {
    Location::named(Path::new(MAIN))
}

#[test]
fn the_first_interface_needs_an_address() {
    let fake = Fake::with("()");
    let error = add_interface(&location(), &fake, &add("eth0", &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cluster \"nlb0\" is not configured yet and needs a service address: nlbctl addif eth0 \
         --address ADDRESS"
    );
}

#[test]
fn arguments_are_judged_as_arguments() {
    let fake = Fake::with("()");
    let words =
        |wanted: &AddInterface| add_interface(&location(), &fake, wanted).unwrap_err().to_string();
    assert_eq!(words(&add("eth7", &["192.0.2.1"])), "interface: found eth7; allowed: eth0, eth1");
    assert_eq!(
        words(&add("eth0", &["127.0.0.1"])),
        "address: found 127.0.0.1; allowed: a unicast host address, not 0.0.0.0/8, 127.0.0.0/8 or \
         240.0.0.0/4"
    );
    let named = AddInterface { cluster: Some("Web".into()), ..add("eth0", &["192.0.2.1"]) };
    assert!(words(&named).starts_with("cluster: found Web; allowed: a text of 1 to 15"));
    let zero = AddInterface { id: Some(ClusterId(0)), ..add("eth0", &["192.0.2.1"]) };
    assert_eq!(words(&zero), "id: found 0; allowed: 1 to 65535");
}

#[test]
fn a_new_cluster_an_interface_more_and_all_away_again() {
    let mut fake = Fake::with("()").without(KEY);
    let wanted = AddInterface {
        mode: Some(MacMode::Igmp),
        id: Some(ClusterId(3)),
        ..add("eth0", &["192.0.2.50", "2001:db8::50"])
    };
    let edit = add_interface(&location(), &fake, &wanted).unwrap();
    assert!(edit.changed && edit.whole_cluster);
    assert_eq!(edit.new_key(), Some(Path::new(KEY)));
    assert_eq!(edit.file, Path::new("/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron"));
    assert_eq!(edit.config.clusters[0].id, ClusterId(3));
    let text = "\
// Written by `nlbctl addif` and `nlbctl delif`, which also rewrite it.
(
    clusters: {
        \"nlb0\": (
            id: 3,
            mode: Igmp,
            interfaces: [\"eth0\"],
            addresses: [\"192.0.2.50\", \"2001:db8::50\"],
        ),
    },
)
";
    assert_eq!(edit.text(), Some(text));

    fake = fake.secret(KEY, DIGITS).file("/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron", text);
    let same = add_interface(&location(), &fake, &add("eth0", &["192.0.2.50"])).unwrap();
    assert!(!same.changed && !same.whole_cluster && same.new_key().is_none());
    let other = AddInterface { mode: Some(MacMode::Unicast), ..add("eth1", &[]) };
    assert_eq!(
        add_interface(&location(), &fake, &other).unwrap_err().to_string(),
        "mode: found Unicast; allowed: Igmp, which cluster nlb0 has"
    );
    let more = add_interface(&location(), &fake, &add("eth1", &[])).unwrap();
    assert_eq!(more.config.clusters[0].interfaces, ["eth0", "eth1"]);
    fake = fake.file("/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron", more.text().unwrap());

    let less = remove_interface(&location(), &fake, "eth0", None).unwrap();
    assert!(less.changed && !less.whole_cluster);
    assert_eq!(less.config.clusters[0].interfaces, ["eth1"]);
    fake = fake.file("/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron", less.text().unwrap());
    assert_eq!(
        remove_interface(&location(), &fake, "eth0", None).unwrap_err().to_string(),
        "interface: found eth0; allowed: eth1"
    );
    let last = remove_interface(&location(), &fake, "eth1", Some("nlb0")).unwrap();
    assert!(last.whole_cluster && last.config.clusters.is_empty() && last.text().is_none());
}

#[test]
fn what_an_administrator_wrote_stays() {
    let fake = Fake::with(&cluster(""));
    assert_eq!(
        remove_interface(&location(), &fake, "eth0", None).unwrap_err().to_string(),
        "/etc/nlbd/nlbd.ron:4:26 names interface eth0: take it out there, then run `nlbctl reload`"
    );
    let edit = add_interface(&location(), &fake, &add("eth1", &[])).unwrap();
    assert!(!edit.whole_cluster);
    // A field that somebody added to our file by hand is kept as it stands.
    let by_hand = edit.text().unwrap().replace("interfaces:", "weight: Manual( 7 ),\n interfaces:");
    let fake = fake.file("/etc/nlbd/nlbd.d/90-nlbctl-nlb0.ron", &by_hand);
    let edit = add_interface(&location(), &fake, &add("eth1", &["192.0.2.99"])).unwrap();
    assert!(edit.text().unwrap().contains("weight: Manual( 7 ),\n"));
    let edit = remove_interface(&location(), &fake, "eth1", None).unwrap();
    assert_eq!(edit.config.clusters[0].interfaces, ["eth0"]);
}

#[test]
fn which_cluster_is_meant() {
    let two = "(clusters: {\"a\": (interfaces: [\"eth0\"], addresses: [\"192.0.2.1\"], insecure: \
               true), \"b\": (interfaces: [\"eth0\"], addresses: [\"192.0.2.2\"], insecure: true)})";
    let fake = Fake::with(two);
    assert_eq!(
        add_interface(&location(), &fake, &add("eth1", &[])).unwrap_err(),
        EditError::UnknownCluster { name: String::new(), known: vec!["a".into(), "b".into()] }
    );
    assert_eq!(
        remove_interface(&location(), &fake, "eth0", Some("c")).unwrap_err(),
        EditError::UnknownCluster { name: "c".into(), known: vec!["a".into(), "b".into()] }
    );
}

#[test]
fn a_broken_configuration_is_not_edited() {
    let fake = Fake::with(&cluster("weight: 0,"));
    let error = add_interface(&location(), &fake, &add("eth1", &[])).unwrap_err();
    assert!(matches!(error, EditError::Config(_)), "{error}");
}

/// On the disk: the drop-in is whole, the key is secret and never overwritten.
#[test]
fn commit_writes_files() {
    use std::os::unix::fs::MetadataExt as _;

    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("nlbd.ron");
    std::fs::write(&main, "(node: (id: 1))").unwrap();
    let location = Location::named(&main);
    let interface = Host.interfaces().into_iter().find(|name| name != "lo");
    let Some(interface) = interface else { return };
    let wanted = add(&interface, &["192.0.2.50"]);
    let edit = add_interface(&location, &Host, &wanted).unwrap();
    edit.commit().unwrap();

    let key = location.default_key("nlb0");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    assert_eq!(text.len(), 65);
    assert_eq!(std::fs::metadata(&edit.file).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(std::fs::read_dir(location.drop_ins()).unwrap().count(), 1);
    assert_eq!(load(&location, &Host).unwrap(), edit.config);

    let last = remove_interface(&location, &Host, &interface, None).unwrap();
    last.commit().unwrap();
    assert!(!edit.file.exists());
    // The key stays, and is taken again.
    let again = add_interface(&location, &Host, &wanted).unwrap();
    assert!(again.new_key().is_none());
    again.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text);
    // Two that make a key at once: the second is told.
    edit.commit().unwrap_err();
}
