//! Tables that were made once: every node of a cluster asks for the same ones.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use nlb_protocol::NodeId;
use nlb_protocol::table::{AllDraws, Table, View};

/// Tables that are remembered; beyond it all are forgotten.
const REMEMBERED: usize = 4096;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

#[derive(Default)]
struct Known {
    tables: HashMap<View, Arc<Table>>,
    draws: HashMap<NodeId, AllDraws>,
}

impl Known {
    fn table(&mut self, view: &View) -> Arc<Table> {
        if let Some(table) = self.tables.get(view) {
            return Arc::clone(table);
        }
        if self.tables.len() >= REMEMBERED {
            self.tables.clear();
        }
        let nodes = || view.members().iter().map(|(node, _)| *node);
        for node in nodes() {
            self.draws.entry(node).or_insert_with(|| AllDraws::of(node));
        }
        let draws: Vec<&AllDraws> = nodes().map(|node| &self.draws[&node]).collect();
        let table = Arc::new(Table::build_from(view, &draws));
        self.tables.insert(view.clone(), Arc::clone(&table));
        table
    }
}

/// The table of a view. It follows from the view alone, so nothing of one run gets into another.
#[must_use]
pub(crate) fn remembered(view: &View) -> Arc<Table> {
    KNOWN.with_borrow_mut(|known| known.table(view))
}
