//! Golden errors of whole files: keys, bounds, drop-ins that contradict each other.

use super::*;

#[test]
fn keys() {
    let main = cluster("key_file: \"k\",");
    let at = "/etc/nlbd/nlbd.ron:6:23: `key_file`: found";
    let path = "/etc/nlbd/k";
    let lines = "allowed: 64 hexadecimal digits a line";
    let with = |text: &str| Fake::with(&main).secret(path, text).errors();
    assert_eq!(
        Fake::with(&main).errors(),
        format!(
            "{at} {path}, which does not exist; allowed: a file with one key of 64 hexadecimal \
             digits a line (`nlbctl addif` makes one), or `insecure: true`"
        )
    );
    assert_eq!(
        Fake::with(&main).file(path, DIGITS).errors(),
        format!(
            "{at} {path} with mode 0644, so that others may use it; allowed: mode 0600 or 0400 \
             (chmod 600 {path})"
        )
    );
    let mut theirs = Fake::with(&main).secret(path, DIGITS);
    theirs.files.get_mut(Path::new(path)).unwrap().2 = 1000;
    assert_eq!(
        theirs.errors(),
        format!(
            "{at} {path}, which belongs to user 1000; allowed: a file of root or of the daemon's \
             user (0)"
        )
    );
    let short = &DIGITS[1..];
    let line = |number: usize, found: &str| {
        format!("{at} {path}, whose line {number} is no key ({found}); {lines}")
    };
    assert_eq!(with(short), line(1, "fewer than 64 digits"));
    assert_eq!(with(&format!("# ours\n\n{DIGITS}\n0{DIGITS}\n")), line(4, "more than 64 digits"));
    assert_eq!(
        with(&format!("{DIGITS}\nx{short}")),
        line(2, "a character that is no hexadecimal digit")
    );
    assert_eq!(with(&"0".repeat(64)), line(1, "nothing but zeros"));
    assert_eq!(with("\n# none\n"), format!("{at} {path} with 0 keys; allowed: 1 to 4"));
    let five = format!("{DIGITS}\n").repeat(5);
    assert_eq!(with(&five), format!("{at} {path} with 5 keys; allowed: 1 to 4"));
    assert!(with(&"#".repeat(5000)).ends_with(&lines.to_owned()));
    assert_eq!(
        Fake::with(&cluster("key_file: \"k\", insecure: true,")).errors(),
        "/etc/nlbd/nlbd.ron:6:23: `key_file`: found a key file beside `insecure: true`; allowed: \
         one of the two"
    );
    // No key and not insecure: the default key is missing.
    assert_eq!(
        Fake::with(&cluster("")).without(KEY).errors(),
        format!(
            "/etc/nlbd/nlbd.ron:3:9: `key_file`: found {KEY}, which does not exist; allowed: a \
             file with one key of 64 hexadecimal digits a line (`nlbctl addif` makes one), or \
             `insecure: true`"
        )
    );
}

#[test]
fn too_many() {
    let mut text = "(clusters: {\n".to_owned();
    for number in 1..=9 {
        text.push_str(&format!(
            "\"c{number}\": (interfaces: [\"eth0\"], addresses: [\"192.0.2.{number}\"], insecure: \
             true),\n"
        ));
    }
    text.push_str("})");
    assert_eq!(
        Fake::with(&text).errors(),
        "/etc/nlbd/nlbd.ron:10:1: `clusters`: found 9 clusters; allowed: up to 8"
    );
    let addresses: Vec<_> = (1..=65).map(|n| format!("\"192.0.2.{n}\"")).collect();
    let many = |field: &str, list: &str| format!("(clusters: {{\"nlb0\": ({field}\n{list})}})");
    let list = format!("addresses: [\n{}]", addresses.join(",\n"));
    assert_eq!(
        Fake::with(&many("interfaces: [\"eth0\"],", &list)).errors(),
        "/etc/nlbd/nlbd.ron:67:1: `addresses`: found 65 addresses; allowed: up to 64"
    );
    let names = ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8"];
    let list = format!("interfaces: [\"{}\"]", names.join("\",\n\""));
    let mut fake = Fake::with(&many("addresses: [\"192.0.2.1\"],", &list));
    fake.interfaces = names.to_vec();
    assert_eq!(
        fake.errors(),
        "/etc/nlbd/nlbd.ron:10:1: `interfaces`: found 9 interfaces; allowed: up to 8"
    );
}

#[test]
fn everything_is_told_at_once_in_order() {
    let words = Fake::with(&cluster("weight: Manual(0), id: 0, colour: 7,")).errors();
    let places: Vec<_> = words.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["/etc/nlbd/nlbd.ron:6:28", "/etc/nlbd/nlbd.ron:6:36", "/etc/nlbd/nlbd.ron:6:39"]
    );
    let many = format!("({})", "a: 1, ".repeat(40));
    let words = Fake::with(&many).errors();
    assert_eq!(words.lines().count(), MAX_ERRORS + 1);
    assert_eq!(words.lines().last(), Some("… and 8 more"));
}

#[test]
fn files() {
    assert_eq!(
        Fake::with("").without(MAIN).errors(),
        "/etc/nlbd/nlbd.ron:1:1: cannot be read: entity not found"
    );
    let long = "//".repeat(600_000);
    assert_eq!(
        Fake::with(&long).errors(),
        "/etc/nlbd/nlbd.ron:1:1: the file has 1200000 bytes; allowed: up to 1048576"
    );
    let mut many = Fake::with("()");
    for number in 0..65 {
        many = many.file(&format!("/etc/nlbd/nlbd.d/{number:02}.ron"), "()");
    }
    assert_eq!(many.errors(), "/etc/nlbd/nlbd.d:1:1: 65 drop-in files; allowed: up to 64");
}

#[test]
fn files_that_contradict_each_other() {
    let drop_in = "(clusters: {\"nlb0\": (\n  mode: Igmp,\n  id: 9)})";
    let fake =
        Fake::with(&cluster("mode: Unicast, id: 9,")).file("/etc/nlbd/nlbd.d/x.ron", drop_in);
    assert_eq!(
        fake.errors(),
        "/etc/nlbd/nlbd.d/x.ron:2:9: `mode`: found Igmp, but /etc/nlbd/nlbd.ron:6:19 says \
         Unicast; allowed: one value"
    );
}
