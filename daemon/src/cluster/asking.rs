//! Asks a command how loaded this node is (`weight: Command`), as often as it is configured: a
//! task in the main thread's runtime, beside the checks. The runner without rights runs it.

use nlb_engine::Time;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::check::Commands;
use crate::weight::{Answers, LoadCommand, Said};

/// The first line that was printed, or why there is none.
type Answer = Result<String, String>;

/// A command that is asked again and again. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) answers: Answers,
    latest: watch::Receiver<Option<Answer>>,
    task: AbortHandle,
}

impl Asking {
    /// Begins to ask.
    pub(super) fn start(command: &LoadCommand, commands: Commands) -> Self {
        let (found, latest) = watch::channel(None);
        let task = tokio::spawn(repeat(command.clone(), commands, found)).abort_handle();
        Self { answers: Answers::new(command.clone()), latest, task }
    }

    /// Takes in what was answered since; gives what is to be said of it.
    pub(super) fn hear(&mut self, now: Time) -> Option<Said> {
        if !self.latest.has_changed().unwrap_or(false) {
            return None;
        }
        let answer = self.latest.borrow_and_update().clone()?;
        self.answers.note(answer, now)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn repeat(command: LoadCommand, commands: Commands, found: watch::Sender<Option<Answer>>) {
    let mut interval = tokio::time::interval(command.interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let answer = commands.run(&command.words, command.timeout).await;
        if found.send(Some(answer)).is_err() {
            return;
        }
    }
}
