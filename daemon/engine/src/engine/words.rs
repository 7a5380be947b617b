//! Why a node is not active, in words for people.

use nlb_protocol::frame::State;

use super::Engine;
use super::machine;
use crate::notice::FenceCause;

impl Engine {
    /// Why the node is not active, in words.
    pub(super) fn cause_words(&self) -> Option<String> {
        match self.state {
            State::Joining => Some(self.joining_words()),
            State::Fenced => self.cause.map(|cause| match cause {
                FenceCause::Unheard(node) => format!("node {node} does not hear this node"),
                FenceCause::StaleAcknowledgement(node) => {
                    format!("node {node} has not heard this node lately")
                }
                FenceCause::PartialConnectivity { node, via } => {
                    format!("node {via} hears node {node}, this node does not")
                }
                FenceCause::Silent => "this node sent nothing for too long".to_owned(),
                FenceCause::Deaf => "nothing reaches this node any more".to_owned(),
                FenceCause::ForeignSeed(node) => {
                    format!("node {node} runs under another hash seed")
                }
                FenceCause::Kernel => "the kernel refused the rules".to_owned(),
                FenceCause::OwnNodeId => "another machine has this node's id".to_owned(),
                FenceCause::TooFew => "fewer nodes than min_members".to_owned(),
                FenceCause::Ill => "the service here fails its checks".to_owned(),
            }),
            State::Restarting if self.restart.is_going() => None,
            State::Restarting => Some("goes on after a restart".to_owned()),
            State::Active | State::Draining | State::Leaving => None,
        }
    }

    fn joining_words(&self) -> String {
        if self.kernel.is_flushing() {
            return "waits for the kernel".to_owned();
        }
        if self.is_barred() {
            return "another machine has this node's id".to_owned();
        }
        let said = self.membership.said.map(|(_, said)| said);
        let silent = self.peers.iter().find(|(_, peer)| {
            machine::counts(peer.says.state) && (peer.acked.is_none() || peer.acked < said)
        });
        match silent {
            Some((node, _)) => format!("waits for node {node} to acknowledge"),
            None if self.membership.wanted_witness().is_some() => {
                "listens; nothing came off the wire yet".to_owned()
            }
            None => "listens".to_owned(),
        }
    }
}
