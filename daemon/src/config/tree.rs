//! Reads RON into a tree that knows where every value stands.
//!
//! The `ron` crate says where its parser stopped, which is often the value after the one that is
//! wrong, and forgets positions once a file is read. So this module reads the text for positions
//! and values; `ron` still judges every file ([`super::source`]), so that nothing is taken for RON
//! that is not. Pure; any text gives a tree or an error.

/// How deep values may be nested: the schema needs five levels, recursion needs a bound.
const MAX_DEPTH: usize = 32;

/// A piece of the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A field of a struct or a variant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) value: Node,
}

/// What can stand in a RON file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    /// A number as it was written; what it must be is the reader's business.
    Number(String),
    /// A character in single quotes: nothing here wants one.
    Char,
    Bool(bool),
    /// A bare word: a variant without contents.
    Word(String),
    /// `(a: 1)` or `Name(a: 1)`.
    Struct(Option<String>, Vec<Field>),
    /// `(1, 2)`, `Name(1)` or `()`.
    Tuple(Option<String>, Vec<Node>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Why the text is no RON, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) span: Span,
    pub(super) found: String,
    pub(super) allowed: String,
}

impl Failure {
    fn new(span: Span, found: &str, allowed: &str) -> Self {
        Self { span, found: found.to_owned(), allowed: allowed.to_owned() }
    }
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Node, Failure> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_blank()?;
    while parser.text[parser.at..].starts_with("#![") {
        parser.skip_attribute()?;
    }
    let node = parser.value(0)?;
    parser.skip_blank()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("the end of the file")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let len = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += len;
        rest[..len].to_owned()
    }

    fn from(&self, start: usize) -> Span {
        Span { start, end: self.at }
    }

    fn fail<T>(&self, start: usize, found: &str, allowed: &str) -> Result<T, Failure> {
        Err(Failure::new(self.from(start), found, allowed))
    }

    /// The error for what stands here.
    fn unexpected(&self, allowed: &str) -> Failure {
        let rest = &self.text[self.at..];
        let len = match rest.chars().next() {
            None => 0,
            Some(c) if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            Some(c) => c.len_utf8(),
        };
        let found = match &rest[..len] {
            "" => "the end of the file".to_owned(),
            found => format!("`{found}`"),
        };
        let span = Span { start: self.at, end: self.at + len };
        Failure::new(span, &found, allowed)
    }

    fn skip_blank(&mut self) -> Result<(), Failure> {
        loop {
            self.take_while(char::is_whitespace);
            let rest = &self.text[self.at..];
            if rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if rest.starts_with("/*") {
                self.skip_block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if self.bump().is_none() {
                let start = Span { start, end: start + 2 };
                return Err(Failure::new(start, "a comment that is never closed", "`*/`"));
            }
        }
    }

    fn skip_attribute(&mut self) -> Result<(), Failure> {
        let start = self.at;
        self.take_while(|c| c != ']');
        if !self.take(']') {
            self.at = start;
            return Err(self.unexpected("an attribute that is closed by `]`"));
        }
        self.skip_blank()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Failure> {
        self.skip_blank()?;
        let start = self.at;
        if depth > MAX_DEPTH {
            return self.fail(start, "values nested too deep", "at most 32 levels");
        }
        let value = match self.peek() {
            Some('"') => Value::String(self.string()?),
            Some('r') if self.raw_string_ahead() => Value::String(self.raw_string()?),
            Some('\'') => self.character()?,
            Some('[') => Value::List(self.sequence('[', ']', depth)?),
            Some('{') => self.map(depth)?,
            Some('(') => self.parenthesis(None, depth)?,
            Some(c) if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => {
                let number = |c: char| is_word(c) || matches!(c, '.' | '+' | '-');
                Value::Number(self.take_while(number))
            }
            Some(c) if is_word_start(c) => self.word(depth)?,
            _ => return Err(self.unexpected("a value")),
        };
        // A name with contents behind it ends where the contents do, also after a blank.
        Ok(Node { span: self.from(start), value })
    }

    fn word(&mut self, depth: usize) -> Result<Value, Failure> {
        let word = self.take_while(is_word);
        match word.as_str() {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            _ => {}
        }
        let end = self.at;
        self.skip_blank()?;
        if self.peek() == Some('(') {
            return self.parenthesis(Some(word), depth);
        }
        self.at = end;
        Ok(Value::Word(word))
    }

    /// What stands in parentheses: fields if the first thing is a word with a colon behind it.
    fn parenthesis(&mut self, name: Option<String>, depth: usize) -> Result<Value, Failure> {
        let open = self.at;
        self.at += 1;
        self.skip_blank()?;
        let word = self.take_while(is_word);
        self.skip_blank()?;
        let named = !word.is_empty() && self.peek() == Some(':');
        self.at = open;
        if named {
            Ok(Value::Struct(name, self.fields(depth)?))
        } else {
            Ok(Value::Tuple(name, self.sequence('(', ')', depth)?))
        }
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, Failure> {
        self.at += 1;
        let mut fields = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take(')') {
                return Ok(fields);
            }
            let start = self.at;
            let name = self.take_while(is_word);
            if name.is_empty() {
                return Err(self.unexpected("a field name or `)`"));
            }
            let span = self.from(start);
            self.skip_blank()?;
            if !self.take(':') {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            fields.push(Field { name, span, value });
            self.skip_blank()?;
            if !self.take(',') && self.peek() != Some(')') {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
    }

    fn sequence(&mut self, open: char, close: char, depth: usize) -> Result<Vec<Node>, Failure> {
        self.at += open.len_utf8();
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take(close) {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.skip_blank()?;
            if !self.take(',') && self.peek() != Some(close) {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Failure> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take('}') {
                return Ok(Value::Map(entries));
            }
            let key = self.value(depth + 1)?;
            self.skip_blank()?;
            if !self.take(':') {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.skip_blank()?;
            if !self.take(',') && self.peek() != Some('}') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn unclosed<T>(&self, start: usize) -> Result<T, Failure> {
        let span = Span { start, end: start + 1 };
        Err(Failure::new(span, "a text that is never closed", "a closing quote"))
    }

    fn string(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let here = self.at;
            match self.bump() {
                None => return self.unclosed(start),
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(here)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, Failure> {
        let allowed = "\\\\ \\\" \\n \\t \\r \\0 \\xNN \\u{N}";
        let code = match self.bump() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('0') => return Ok('\0'),
            Some(c @ ('\\' | '"' | '\'')) => return Ok(c),
            Some('x') => {
                let digits = self.text.get(self.at..self.at + 2).unwrap_or_default().to_owned();
                self.at += digits.len();
                u32::from_str_radix(&digits, 16).ok()
            }
            Some('u') if self.take('{') => {
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                let closed = self.take('}');
                u32::from_str_radix(&digits, 16).ok().filter(|_| closed)
            }
            _ => None,
        };
        match code.and_then(char::from_u32) {
            Some(c) => Ok(c),
            None => self.fail(start, "an unknown escape", allowed),
        }
    }

    fn raw_string_ahead(&self) -> bool {
        self.text[self.at + 1..].trim_start_matches('#').starts_with('"')
    }

    fn raw_string(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.at += 1;
        let fence = self.take_while(|c| c == '#');
        self.at += 1;
        let close = format!("\"{fence}");
        let rest = &self.text[self.at..];
        let Some(len) = rest.find(&close) else {
            return self.unclosed(start);
        };
        self.at += len + close.len();
        Ok(rest[..len].to_owned())
    }

    fn character(&mut self) -> Result<Value, Failure> {
        let start = self.at;
        self.at += 1;
        let here = self.at;
        match self.bump() {
            None => return self.unclosed(start),
            Some('\\') => drop(self.escape(here)?),
            Some(_) => {}
        }
        if self.take('\'') { Ok(Value::Char) } else { self.unclosed(start) }
    }
}
