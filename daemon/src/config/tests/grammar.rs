//! RON: what is none, and that ours and the `ron` crate agree.

use proptest::prelude::*;

use super::super::tree;
use super::*;

#[track_caller]
fn syntax(text: &str, words: &str) {
    assert_eq!(Fake::with(text).errors(), format!("/etc/nlbd/nlbd.ron:{words}"));
}

#[test]
fn errors_stand_where_the_mistake_is() {
    syntax(
        "(\n  node: (id: 1)\n  clusters: {}\n)",
        "3:3: syntax: found `clusters`; allowed: `,` or `)`",
    );
    syntax("(node: (id: @))", "1:13: syntax: found `@`; allowed: a value");
    syntax("(node: (id: 1)", "1:15: syntax: found the end of the file; allowed: `,` or `)`");
    syntax("(node: (id 1))", "1:12: syntax: found `1`; allowed: `,` or `)`");
    syntax("(node:,)", "1:7: syntax: found `,`; allowed: a value");
    syntax("() ()", "1:4: syntax: found `(`; allowed: the end of the file");
    syntax("(a: [1 2])", "1:8: syntax: found `2`; allowed: `,` or `]`");
    syntax("(a: {1 2})", "1:8: syntax: found `2`; allowed: `:`");
    syntax("(a: {1: 2 3: 4})", "1:11: syntax: found `3`; allowed: `,` or `}`");
    syntax("(a: 1,, b: 2)", "1:7: syntax: found `,`; allowed: a field name or `)`");
    syntax(
        "(node: (\n  name: \"ä\\q\"))",
        "2:11: syntax: found an unknown escape; allowed: \\\\ \\\" \\n \\t \\r \\0 \\xNN \\u{N}",
    );
    syntax(
        "(node: (name: \"n1))",
        "1:15: syntax: found a text that is never closed; allowed: a closing quote",
    );
    syntax("( /* x ", "1:3: syntax: found a comment that is never closed; allowed: `*/`");
    syntax(
        &format!("(a: {}1", "[".repeat(100)),
        "1:37: syntax: found values nested too deep; allowed: at most 32 levels",
    );
    // Ours takes it, `ron` does not: it is still refused, with ron's words.
    let words = Fake::with("(node: (id: 1x))").errors();
    assert!(words.starts_with("/etc/nlbd/nlbd.ron:1:"), "{words}");
    syntax(
        "[1]",
        "1:1: `the configuration`: found [1]; allowed: fields in parentheses: ( name: value, … )",
    );
}

#[test]
fn columns_count_characters() {
    syntax(
        "(node: (name: \"ääää\", id: 0))",
        "1:27: `id`: found 0; allowed: 1 to 18446744073709551615",
    );
}

#[test]
fn what_ron_can_write() {
    for text in [
        "#![enable(implicit_some)]\n()",
        "// nothing\n",
        "   ",
        "/* a /* b */ c */ (node: (name: r#\"a \"quoted\" name\"#, id: 0x1_0,),)",
        "Config(node: Node(id: +7))",
        "(node: (name: \"\\u{e4}\\x41\\\\\"))",
    ] {
        Fake::with(text).load().unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

proptest! {
    /// SPEC-like promise: no text makes the reader panic, and an error has a place in the text.
    #[test]
    fn no_text_panics(text in "[ -~\n\"(){}\\[\\],:/*#!r'ä0-9a-z]{0,80}") {
        if let Err(errors) = Fake::with(&text).load() {
            prop_assert!(!errors.0.is_empty());
            for error in errors.0 {
                prop_assert!(error.place.line <= text.matches('\n').count() + 1);
            }
        }
    }

    /// What `ron` takes, our reader takes too.
    #[test]
    fn ours_takes_what_ron_takes(text in "[(){}\\[\\],:\"a1 ]{0,14}") {
        if ron::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            prop_assert!(tree::parse(&text).is_ok(), "{text}");
        }
    }
}
