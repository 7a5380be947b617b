//! The files of a configuration, and the errors found in them.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Place, Reason};
use super::model::Location;
use super::system::System;
use super::tree::{self, Node, Span, Value};

/// The longest configuration file.
pub(super) const MAX_FILE: usize = 1 << 20;
/// The most drop-in files.
pub(super) const MAX_DROP_INS: usize = 64;

/// A place in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    file: usize,
    start: usize,
    end: usize,
}

impl Spot {
    /// Whether it is in this file.
    pub(super) fn is_in(self, file: usize) -> bool {
        self.file == file
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) spot: Spot,
}

/// The files that were read, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<(PathBuf, String)>,
    errors: Vec<(Spot, Reason)>,
}

impl Sources {
    /// Reads the main file and the drop-ins in the order of their names. A file that cannot be
    /// read or is no RON is an error, and `None` stands for its tree.
    pub(super) fn read(
        &mut self,
        location: &Location,
        system: &dyn System,
    ) -> Vec<(usize, Option<Node>)> {
        let mut trees = vec![self.file(location.file(), location.is_optional(), system)];
        let directory = location.drop_ins();
        match system.list(&directory) {
            Ok(paths) => {
                let ron = |path: &Path| {
                    let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'.');
                    !hidden && path.extension().is_some_and(|extension| extension == "ron")
                };
                let mut paths: Vec<_> = paths.into_iter().filter(|path| ron(path)).collect();
                paths.sort();
                if paths.len() > MAX_DROP_INS {
                    let reason = Reason::TooManyFiles { found: paths.len(), allowed: MAX_DROP_INS };
                    self.whole_file(&directory, reason);
                    paths.truncate(MAX_DROP_INS);
                }
                trees.extend(paths.iter().map(|path| self.file(path, false, system)));
            }
            Err(error) => {
                self.whole_file(&directory, Reason::Unreadable { error: error.to_string() });
            }
        }
        trees
    }

    /// An error that concerns a path and no place in its text.
    fn whole_file(&mut self, path: &Path, reason: Reason) {
        self.files.push((path.to_owned(), String::new()));
        self.error(Spot { file: self.files.len() - 1, start: 0, end: 0 }, reason);
    }

    fn file(&mut self, path: &Path, optional: bool, system: &dyn System) -> (usize, Option<Node>) {
        let index = self.files.len();
        self.files.push((path.to_owned(), String::new()));
        let tree = match self.text(path, optional, system) {
            Ok(text) => {
                let tree = judge(&text);
                self.files[index].1 = text;
                tree
            }
            Err(reason) => Err(Box::new((Span::default(), reason))),
        };
        match tree {
            Ok(tree) => (index, tree),
            Err(wrong) => {
                let (span, reason) = *wrong;
                self.error(Spot { file: index, start: span.start, end: span.end }, reason);
                (index, None)
            }
        }
    }

    fn text(&self, path: &Path, optional: bool, system: &dyn System) -> Result<String, Reason> {
        let bytes = match system.read(path, MAX_FILE) {
            Ok(file) => file.bytes,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(String::new());
            }
            Err(error) => return Err(Reason::Unreadable { error: error.to_string() }),
        };
        if bytes.len() > MAX_FILE {
            return Err(Reason::TooLong { found: bytes.len(), allowed: MAX_FILE });
        }
        String::from_utf8(bytes.to_vec())
            .map_err(|_| Reason::Unreadable { error: "it is not UTF-8 text".to_owned() })
    }

    /// Notes an error.
    pub(super) fn error(&mut self, spot: Spot, reason: Reason) {
        self.errors.push((spot, reason));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.errors.is_empty()
    }

    /// All errors in the order of their places.
    pub(super) fn into_errors(mut self) -> ConfigErrors {
        let mut errors = core::mem::take(&mut self.errors);
        errors.sort_by_key(|(spot, _)| *spot);
        errors.dedup();
        let error = |(spot, reason)| ConfigError { place: self.place(spot), reason };
        ConfigErrors(errors.into_iter().map(error).collect())
    }

    /// The beginning of the main file, for what concerns the whole configuration.
    pub(super) fn start(&self) -> Spot {
        Spot { file: 0, start: 0, end: 0 }
    }

    /// The paths of the files, in their order.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Where a spot is, for people.
    pub(super) fn place(&self, spot: Spot) -> Place {
        let (path, text) = &self.files[spot.file];
        let before = &text[..spot.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The text of a spot as an error shows it: on one line, not too long.
    pub(super) fn snippet(&self, spot: Spot) -> String {
        const LONGEST: usize = 48;
        let text = &self.files[spot.file].1[spot.start..spot.end];
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// The spot of a span of a file.
pub(super) fn spot(file: usize, span: Span) -> Spot {
    Spot { file, start: span.start, end: span.end }
}

/// The tree of a text; `None` for a text that says nothing.
fn judge(text: &str) -> Result<Option<Node>, Box<(Span, Reason)>> {
    if says_nothing(text) {
        return Ok(None);
    }
    let tree = tree::parse(text).map_err(|failure| {
        let (found, allowed) = (failure.found, failure.allowed);
        Box::new((failure.span, Reason::Syntax { found, allowed }))
    })?;
    // Ours names the place better, so it comes first; what it overlooks, `ron` still refuses.
    if let Err(error) = ron::from_str::<serde::de::IgnoredAny>(text) {
        let lines = text.split_inclusive('\n').take(error.span.start.line.saturating_sub(1));
        let start = lines.map(str::len).sum::<usize>();
        let rest = &text[start..];
        let column = error.span.start.col.saturating_sub(1);
        let offset = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        let span = Span { start: start + offset, end: start + offset };
        return Err(Box::new((span, Reason::Ron { message: error.code.to_string() })));
    }
    Ok(match tree.value {
        Value::Tuple(None, items) if items.is_empty() => None,
        _ => Some(tree),
    })
}

/// Whether a text has nothing but blanks and line comments.
fn says_nothing(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with("//"))
}
