use super::*;

#[test]
fn the_journal_is_taken_only_when_stderr_leads_there() {
    assert!(!wants_journal(Target::Auto, None));
    assert!(!wants_journal(Target::Auto, Some("1:2")));
    assert!(!wants_journal(Target::Auto, Some("nonsense")));
    let stat = nix::sys::stat::fstat(std::io::stderr().as_fd()).unwrap();
    let stderr = format!("{}:{}", stat.st_dev, stat.st_ino);
    assert!(wants_journal(Target::Auto, Some(&stderr)));
    assert!(!wants_journal(Target::Stderr, Some(&stderr)));
    assert!(wants_journal(Target::Journal, None));
}

#[test]
fn a_level_that_is_none_is_named() {
    let error = start(Target::Stderr, Some("nlbd=loud")).err().unwrap();
    assert!(error.to_string().starts_with("log level: found \"nlbd=loud\""), "{error}");
}
