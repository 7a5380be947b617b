//! `90-nlbctl-<cluster>.ron`: the drop-in that keeps what `nlbctl addif` added.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::model::Location;
use super::source::MAX_FILE;
use super::system::System;
use super::tree::{self, Field, Node, Value};

const HEADER: &str = "// Written by `nlbctl addif` and `nlbctl delif`, which also rewrite it.\n";

/// Our drop-in of a cluster.
#[derive(Debug, Default)]
pub(super) struct DropIn {
    pub(super) path: PathBuf,
    pub(super) interfaces: Vec<String>,
    pub(super) addresses: Vec<String>,
    /// Other fields and their text, kept as they stand.
    others: Vec<(String, String)>,
}

impl DropIn {
    /// One that says nothing.
    pub(super) fn empty(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Reads it; one that is not there is empty. It is known to be valid with all the others.
    pub(super) fn read(location: &Location, system: &dyn System, cluster: &str) -> Self {
        let path = location.drop_ins().join(format!("90-nlbctl-{cluster}.ron"));
        let mut drop_in = Self { path, ..Self::default() };
        let text = system.read(&drop_in.path, MAX_FILE).ok();
        let text = text.map(|file| String::from_utf8_lossy(&file.bytes).into_owned());
        let Some(text) = text else { return drop_in };
        let Ok(tree) = tree::parse(&text) else { return drop_in };
        for field in cluster_fields(&tree, cluster) {
            match field.name.as_str() {
                "interfaces" => drop_in.interfaces = texts(&field.value),
                "addresses" => drop_in.addresses = texts(&field.value),
                name => {
                    let span = field.value.span;
                    let value = text[span.start..span.end].to_owned();
                    drop_in.others.push((name.to_owned(), value));
                }
            }
        }
        drop_in
    }

    pub(super) fn single(&mut self, field: &str, value: Option<String>) {
        if let Some(value) = value {
            self.others.retain(|(name, _)| name != field);
            self.others.push((field.to_owned(), value));
        }
    }

    /// Its text; `None` if nothing is left to say.
    pub(super) fn render(&self, cluster: &str) -> Option<String> {
        if self.interfaces.is_empty() && self.addresses.is_empty() && self.others.is_empty() {
            return None;
        }
        let mut text = format!("{HEADER}(\n    clusters: {{\n        \"{cluster}\": (\n");
        for (name, value) in &self.others {
            text.push_str(&format!("            {name}: {value},\n"));
        }
        for (name, list) in [("interfaces", &self.interfaces), ("addresses", &self.addresses)] {
            if !list.is_empty() {
                let quoted: Vec<_> = list.iter().map(|item| format!("{item:?}")).collect();
                text.push_str(&format!("            {name}: [{}],\n", quoted.join(", ")));
            }
        }
        text.push_str("        ),\n    },\n)\n");
        Some(text)
    }
}

fn cluster_fields<'n>(tree: &'n Node, cluster: &str) -> &'n [Field] {
    let Value::Struct(_, fields) = &tree.value else { return &[] };
    let clusters = fields.iter().find(|field| field.name == "clusters");
    let Some(Value::Map(entries)) = clusters.map(|field| &field.value.value) else { return &[] };
    let named = |(key, _): &&(Node, Node)| matches!(&key.value, Value::String(n) if n == cluster);
    match entries.iter().find(named).map(|(_, node)| &node.value) {
        Some(Value::Struct(_, fields)) => fields,
        _ => &[],
    }
}

fn texts(node: &Node) -> Vec<String> {
    let Value::List(items) = &node.value else { return Vec::new() };
    let text = |item: &Node| match &item.value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

/// Replaces a file in one instant: whoever reads it finds the old or the new one, whole.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new().prefix(".nlbctl-").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(directory)?.sync_all()
}
