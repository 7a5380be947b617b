//! Who may: root and the daemon's own user always, everybody what changes nothing, and for the
//! rest polkit is asked. Every front end asks here.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use nlb_dbus::{Check, Polkit};
use nlb_varlink::Seldom;

use super::handle::Caller;
use super::request::{ManageError, Request};

/// Requests that wait for polkit, of all users: each may wait for a person for two minutes.
const MAX_WAITING: usize = 64;

/// Of these, one user's, so that nobody keeps the others from being asked.
const MAX_WAITING_OF_ONE: usize = 8;

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Polkit says no.
    ByPolkit {
        /// The polkit action.
        action: &'static str,
    },
    /// Polkit wants a password, which was not to be asked for or could not be.
    Password {
        /// The polkit action.
        action: &'static str,
        /// Whether it was to be asked for.
        interactive: bool,
    },
    /// Nobody can be asked, or polkit has no say in it: only root and the daemon's user may.
    Nobody {
        /// The daemon's user.
        owner: u32,
    },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPolkit { action } => {
                write!(f, "only root may, and whom polkit grants {action}")
            }
            Self::Password { action, interactive: true } => write!(
                f,
                "polkit grants {action} for a password, and nobody was there to give it; root may"
            ),
            Self::Password { action, interactive: false } => write!(
                f,
                "polkit grants {action} for a password; ask with interactive authorization, or as \
                 root"
            ),
            Self::Nobody { owner: 0 } => f.write_str("only root may"),
            Self::Nobody { owner } => {
                write!(f, "only root and the daemon's own user ({owner}) may")
            }
        }
    }
}

/// Decides about requests.
#[derive(Debug)]
pub(super) struct Permits {
    owner: u32,
    polkit: Polkit,
    /// Requests that wait for polkit, by user. Held for a look-up, never while anybody waits.
    waiting: Mutex<HashMap<u32, usize>>,
    /// Whether it was said that there is no polkit.
    said: AtomicBool,
    /// Refusals. Held for a look, never while anybody waits.
    refused: Mutex<Seldom>,
}

impl Permits {
    pub(super) fn new(owner: u32, polkit: Polkit) -> Self {
        Self {
            owner,
            polkit,
            waiting: Mutex::default(),
            said: AtomicBool::new(false),
            refused: Mutex::default(),
        }
    }

    pub(super) fn is_privileged(&self, user: u32) -> bool {
        user == 0 || user == self.owner
    }

    /// Whether the caller may ask this. Ends within the bounds of [`Polkit::check`].
    ///
    /// # Errors
    /// When the caller may not, or too many wait to be told.
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        request: &Request,
    ) -> Result<(), ManageError> {
        let Some(privilege) = request.privilege() else { return Ok(()) };
        if self.is_privileged(caller.user) {
            return Ok(());
        }
        let (action, user, interactive) = (request.action(), caller.user, caller.interactive);
        if request.reads_any_file() {
            let denied = Denied::Nobody { owner: self.owner };
            return Err(ManageError::NotPermitted { action, user, denied });
        }
        let check = match &caller.subject {
            Some(subject) => {
                let _waits = self.wait(user)?;
                self.polkit.check(subject, privilege, interactive).await
            }
            None => Check::Unavailable("the caller has no process".to_owned()),
        };
        if !matches!(check, Check::Unavailable(_)) {
            self.said.store(false, Ordering::Relaxed);
        }
        let denied = match check {
            Check::Yes => {
                tracing::info!(user, "polkit lets somebody {action}");
                return Ok(());
            }
            Check::No => Denied::ByPolkit { action: privilege },
            Check::Challenge => Denied::Password { action: privilege, interactive },
            Check::Unavailable(error) => {
                if !self.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error, "polkit cannot be asked: only root may change anything");
                }
                Denied::Nobody { owner: self.owner }
            }
        };
        let again = self.refused.lock().unwrap_or_else(PoisonError::into_inner).again();
        if let Some(times) = again {
            tracing::warn!(user, action, times, "a request was refused: no permission");
        }
        Err(ManageError::NotPermitted { action, user, denied })
    }

    fn wait(&self, user: u32) -> Result<Waits<'_>, ManageError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (waiting.values().sum::<usize>(), waiting.get(&user).copied());
        if all >= MAX_WAITING || own.unwrap_or(0) >= MAX_WAITING_OF_ONE {
            return Err(ManageError::TooMany);
        }
        *waiting.entry(user).or_default() += 1;
        Ok(Waits { permits: self, user })
    }
}

/// A request that waits; it is counted until it is dropped.
struct Waits<'p> {
    permits: &'p Permits,
    user: u32,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.permits.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiting.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.user);
            }
        }
    }
}
