//! Recordings of real nodes: the engine does again what it did there.
//!
//! When a change of the rules makes it do something else on purpose, look at what with
//! `cargo xtask sim --replay FILE`, and take that over with `--accept`.

use nlb_record::Line;
use nlb_sim::Recording;

fn recordings() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings");
    let files = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let read = |path: std::path::PathBuf| {
        (path.display().to_string(), std::fs::read_to_string(path).expect("a text"))
    };
    files.map(read).collect()
}

#[test]
fn what_happened_happens_again() {
    let all = recordings();
    assert!(!all.is_empty());
    for (name, text) in all {
        let recording = Recording::replay(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let difference = recording.differences().next();
        assert_eq!(difference, None, "{name}: cargo xtask sim --replay says more");
        // It is one in which something happens.
        let said = |what: &str| {
            recording.lines().any(|line| matches!(line, Line::Notice(it) if it.contains(what)))
        };
        assert!(said("Converged") && said("to: Active"), "{name}");
        assert_eq!(recording.text(), text);
    }
}

#[test]
fn what_is_missing_is_noticed() {
    for (name, text) in recordings() {
        let lines: Vec<&str> = text.lines().collect();
        let frames = |line: &&&str| line.contains("\"frame\"");
        let one = lines.iter().filter(frames).nth(20).expect("frames");
        let rest: Vec<&str> = lines.iter().filter(|line| *line != one).copied().collect();
        let recording = Recording::replay(&rest.join("\n")).unwrap();
        assert!(!recording.is_as_recorded(), "{name}");
    }
}

#[test]
fn what_is_no_recording_is_none() {
    for (text, word) in [
        ("", "nothing"),
        ("hello", "line 1"),
        (
            "[1,{\"recording\":{\"format\":9,\"software\":\"x\",\"cluster\":\"c\",\"time_ms\":0}}]",
            "format 9",
        ),
        ("[1,{\"timeout\":1}]", "beginning"),
        ("[1,{\"image\":{\"part\":\"00ff\",\"last\":true}}]", "another build"),
        ("[1,{\"image\":{\"part\":\"0g\",\"last\":true}}]", "impossible"),
    ] {
        let error = Recording::replay(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}
