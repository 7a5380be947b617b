//! The documents against the tree: links lead somewhere, every warning and error of the daemon is
//! explained, the configuration's fields are those that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

fn has_heading(document: &Path, name: &str) -> bool {
    let text = read(document);
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == name)
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut documents = Vec::new();
    files(&root(), ".md", &mut documents);
    let mut links = 0;
    for document in documents {
        let folder = document.parent().expect("a folder");
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            links += 1;
            let path = if target.is_empty() { document.clone() } else { folder.join(target) };
            let there = path.exists() && (heading.is_empty() || has_heading(&path, heading));
            assert!(there, "{}: {link} leads nowhere", document.display());
        }
    }
    assert!(links > 20, "only {links} links were found: is the search right?");
}

#[test]
fn every_document_is_in_the_index() {
    let index = read(root().join("docs/README.md"));
    let mut documents = Vec::new();
    files(&root().join("docs"), ".md", &mut documents);
    for document in documents {
        let path = document.strip_prefix(root().join("docs")).expect("a path in docs/");
        let path = path.display().to_string();
        let listed = index.contains(&format!("]({path})"));
        assert!(listed || path == "README.md", "docs/README.md does not list {path}");
    }
}

/// Crates, and the folders of the daemon.
#[test]
fn every_part_is_in_the_architecture() {
    let document = read(root().join("ARCHITECTURE.md"));
    let mut parts: Vec<String> =
        strings_of(&read(root().join("Cargo.toml")), "members =").into_iter().collect();
    assert!(parts.len() > 8, "{parts:?}");
    for entry in fs::read_dir(root().join("daemon/src")).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            parts.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    for part in parts {
        assert!(document.contains(&format!("`{part}/`")), "ARCHITECTURE.md does not have {part}/");
    }
}

/// The words of the warnings and errors in a source file: the first string of each macro's call.
fn complaints(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["warn!(", "error!("] {
        for rest in source.split(call).skip(1) {
            // Fields come first and hold no strings, but for one format of an error.
            let rest = rest.strip_prefix("error = format!(\"{error:#}\"),").unwrap_or(rest);
            let Some((_, text)) = rest.split_once('"') else { continue };
            let Some((text, _)) = text.split_once('"') else { continue };
            // A backslash at the end of a line leaves out what indents the next.
            let lines = text.split("\\\n").map(str::trim_start);
            found.push(lines.collect::<String>());
        }
    }
    found
}

/// What stands between the values of a format.
fn fixed_parts(format: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for piece in format.split('{') {
        let piece = piece.split_once('}').map_or(piece, |(_, after)| after);
        parts.push(piece.trim().to_owned());
    }
    parts.retain(|part| part.len() > 3);
    parts
}

/// Blanks and line ends are alike.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_warning_and_error_of_the_daemon_is_explained() {
    let document = flat(&read(root().join("docs/operations.md")));
    let mut sources = Vec::new();
    for folder in ["daemon/src", "dbus/src", "varlink/src"] {
        files(&root().join(folder), ".rs", &mut sources);
    }
    let (mut seen, mut unexplained) = (BTreeSet::new(), Vec::new());
    for path in sources {
        let name = path.strip_prefix(root()).expect("a path below the root").display().to_string();
        if name.contains("test") {
            continue;
        }
        for complaint in complaints(&read(&path)) {
            let parts = fixed_parts(&complaint);
            if !parts.iter().all(|part| document.contains(&flat(part))) {
                unexplained.push(format!("{name}: {complaint}"));
            }
            seen.insert(complaint);
        }
    }
    assert!(unexplained.is_empty(), "docs/operations.md lacks {unexplained:#?}");
    assert!(seen.len() > 30, "only {} complaints were found: is the search right?", seen.len());
}

/// Where events get their names; each name has a hyphen, but for those that are listed.
const EVENTS: (&[&str], &[&str]) = (
    &["manage/event.rs", "cluster/runtime.rs", "check/set.rs", "weight/command.rs"],
    &["state", "view", "converged", "overlap", "left"],
);

#[test]
fn every_event_is_explained() {
    let document = read(root().join("docs/operations.md"));
    let mut names: BTreeSet<String> = EVENTS.1.iter().map(ToString::to_string).collect();
    for file in EVENTS.0 {
        let source = read(root().join("daemon/src").join(file));
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        // Names stand alone in their quotes.
        let strings = source.split('"').skip(1).step_by(2).filter(|text| {
            text.contains('-') && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        });
        names.extend(strings.map(str::to_owned));
    }
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/operations.md lacks the event {name}"
        );
    }
}

/// The strings of a list in a source file that begins so.
fn strings_of(source: &str, beginning: &str) -> BTreeSet<String> {
    let (_, list) = source.split_once(beginning).expect("the list is there");
    let (_, list) = list.split_once('[').unwrap_or(("", list));
    let (list, _) = list.split_once("\n]").expect("the list ends");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_field_of_a_cluster_is_in_the_manual() {
    let fields = strings_of(&read(root().join("daemon/src/config/read.rs")), "CLUSTER_FIELDS");
    let manual = read(root().join("packaging/man/nlbd.ron.5"));
    assert!(fields.len() > 20, "{fields:?}");
    for field in fields {
        assert!(manual.contains(&format!("\n.B {field}\n")), "nlbd.ron(5) lacks {field}");
    }
}

/// In the documents' examples of configuration, marked as `ron`.
#[test]
fn every_field_in_an_example_exists() {
    let source = read(root().join("daemon/src/config/read.rs"));
    let checks = read(root().join("daemon/src/config/checks.rs"));
    let known = source + &checks;
    let mut documents = Vec::new();
    files(&root(), ".md", &mut documents);
    let mut seen = 0;
    for document in documents {
        let text = read(&document);
        for example in text.split("```ron\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for line in example.lines().filter(|line| !line.trim_start().starts_with("//")) {
                // Outside of strings a colon follows a field, or the name of a cluster.
                let code: String = line.split('"').step_by(2).collect();
                for before in code.split(':').rev().skip(1) {
                    let field = before.rsplit(|c: char| !c.is_ascii_lowercase() && c != '_').next();
                    let field = field.unwrap_or_default();
                    if field.is_empty() {
                        continue;
                    }
                    seen += 1;
                    let there = known.contains(&format!("\"{field}\""));
                    assert!(there, "{}: no field {field}: {line}", document.display());
                }
            }
        }
    }
    assert!(seen > 5, "only {seen} fields were found: is the search right?");
}

#[test]
fn every_alert_is_explained() {
    let document = read(root().join("docs/metrics.md"));
    let rules = read(root().join("packaging/prometheus/nlbd.rules.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.split_once("alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for (_, alert) in alerts {
        assert!(document.contains(&format!("`{alert}`")), "docs/metrics.md lacks {alert}");
    }
}

/// The names that stand behind these words, which end with the quote.
fn names_behind(source: &str, words: &str) -> Vec<String> {
    let behind = source.split(words).skip(1).filter_map(|rest| rest.split('"').next());
    let is_name = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    behind.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_reason_of_a_drop_is_explained() {
    let document = read(root().join("docs/metrics.md"));
    let view = read(root().join("daemon/src/manage/view.rs"));
    let (_, engine) = view.split_once("let drops = vec![").expect("the engine's drops");
    let (engine, _) = engine.split_once("];").expect("they end");
    let mut reasons: BTreeSet<String> = names_behind(engine, "(\"").into_iter().collect();
    let decoder = read(root().join("protocol-spec/src/frame/error.rs"));
    reasons.extend(names_behind(&decoder, " = \""));
    let mut driver = Vec::new();
    files(&root().join("daemon/src/cluster"), ".rs", &mut driver);
    for source in driver.iter().map(read) {
        reasons.extend(names_behind(&source, "drops.count(\""));
        reasons.extend(names_behind(&source, "drops.insert(\""));
        // The arms of what is handed to it.
        for counted in source.split("drops.count(match").skip(1) {
            let arms = counted.split("})").next().unwrap_or_default();
            reasons.extend(names_behind(arms, " => \""));
        }
    }
    assert!(reasons.len() > 55, "only {} reasons were found: is the search right?", reasons.len());
    for reason in reasons {
        assert!(document.contains(&format!("`{reason}`")), "docs/metrics.md lacks {reason}");
    }
}
