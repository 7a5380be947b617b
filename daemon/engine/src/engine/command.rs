//! What somebody asks of the node.

use nlb_protocol::frame::State;

use super::Engine;
use super::machine::Event;
use crate::manage::{Command, CommandError, Outcome};
use crate::time::Time;

impl Engine {
    /// A command.
    ///
    /// # Errors
    /// When the state does not allow it; nothing has changed then.
    pub fn handle_command(&mut self, command: Command, now: Time) -> Result<Outcome, CommandError> {
        self.advance(now);
        match command {
            Command::LeaveNow => {}
            Command::Leave if self.state == State::Leaving => return Ok(Outcome::Unchanged),
            _ if self.state == State::Leaving => return Err(CommandError::Leaving),
            _ if self.restart.is_going() => return Err(CommandError::Restarting),
            _ => {}
        }
        let outcome = match command {
            Command::SetWeight(weight) if weight == self.weight_wanted => Outcome::Unchanged,
            Command::SetWeight(weight) => {
                self.weight_wanted = weight;
                Outcome::Changed
            }
            Command::Leave => {
                self.begin_leaving();
                Outcome::Changed
            }
            Command::LeaveNow => {
                self.leave_now();
                Outcome::Changed
            }
            Command::Restart { hold } => {
                self.begin_restart(hold)?;
                Outcome::Changed
            }
            Command::Drain { timeout, force } => {
                self.begin_drain(timeout.map(|timeout| self.now + timeout), force)?
            }
            Command::Undrain => {
                let known = self.drain.take().is_some();
                self.raise(Event::Undrain, None);
                if known { Outcome::Changed } else { Outcome::Unchanged }
            }
        };
        self.evaluate();
        Ok(outcome)
    }
}
