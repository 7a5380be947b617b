//! Questions to polkit, over the connection that the bus is served on.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;

use tokio::sync::watch;
use zbus::Connection;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags};

/// How long polkit may take to look up what it decides by itself.
const LOOK_UP: Duration = Duration::from_secs(5);

/// How long a person may take to find the password.
const TYPE_IN: Duration = Duration::from_secs(120);

/// Whom polkit is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A connection to the bus, by its unique name.
    BusName(String),
    /// A process of a user. The user comes from the kernel with the connection, so that a process
    /// that has got the number since then gains nothing.
    Process {
        /// Its id.
        process: u32,
        /// Its user.
        user: u32,
    },
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The subject may.
    Yes,
    /// The subject may not.
    No,
    /// The subject may once a person has given a password, which was not to be asked for or could
    /// not be.
    Challenge,
    /// Nobody decides: no bus, no polkit, or no answer in time.
    Unavailable(String),
}

/// Asks polkit.
#[derive(Debug, Clone)]
pub struct Polkit(watch::Receiver<Option<Connection>>);

impl Polkit {
    pub(crate) fn new(connection: watch::Receiver<Option<Connection>>) -> Self {
        Self(connection)
    }

    /// One that never decides anything: there is no bus.
    #[must_use]
    pub fn absent() -> Self {
        Self(watch::channel(None).1)
    }

    /// Whether the subject may do what the action stands for. `interactive`: a person may be
    /// asked for a password. Ends in any case within a bound.
    pub async fn check(&self, subject: &Subject, action: &str, interactive: bool) -> Check {
        // Cloned at once: the lock of the channel must not be held while polkit thinks.
        let connection = self.0.borrow().clone();
        let Some(connection) = connection else {
            return Check::Unavailable("there is no bus to ask polkit on".to_owned());
        };
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let cancellation = format!("nlbd-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let limit = if interactive { TYPE_IN } else { LOOK_UP };
        let question = ask(&connection, subject, action, interactive, &cancellation);
        match tokio::time::timeout(limit, question).await {
            Ok(Ok(check)) => check,
            Ok(Err(error)) => Check::Unavailable(error.to_string()),
            Err(_) => {
                let cancel = async {
                    let authority = AuthorityProxy::new(&connection).await?;
                    authority.cancel_check_authorization(&cancellation).await
                };
                // Whether it worked is polkit's affair.
                let _ = tokio::time::timeout(LOOK_UP, cancel).await;
                Check::Unavailable(format!("no answer within {} s", limit.as_secs()))
            }
        }
    }
}

async fn ask(
    connection: &Connection,
    subject: &Subject,
    action: &str,
    interactive: bool,
    cancellation: &str,
) -> zbus::Result<Check> {
    let subject = match subject {
        Subject::BusName(name) => by_name(name)?,
        Subject::Process { process, user } => {
            let of = zbus_polkit::policykit1::Subject::new_for_pid;
            // Whoever may not see other users' processes (`ProtectProc=`) leaves it to polkit to look
            // when this one started: 0 asks for that.
            let found = of(*process, None, Some(*user));
            let found = found.or_else(|_| of(*process, Some(0), Some(*user)));
            found.map_err(|error| zbus::Error::Failure(error.to_string()))?
        }
    };
    let flags = if interactive {
        CheckAuthorizationFlags::ALLOW_USER_INTERACTION
    } else {
        CheckAuthorizationFlags::empty()
    };
    let authority = AuthorityProxy::new(connection).await?;
    let answer = authority
        .check_authorization(&subject, action, &HashMap::new(), flags, cancellation)
        .await?;
    Ok(match (answer.is_authorized, answer.is_challenge) {
        (true, _) => Check::Yes,
        (false, true) => Check::Challenge,
        (false, false) => Check::No,
    })
}

/// The crate makes this kind of subject from the header of a message only.
fn by_name(name: &str) -> zbus::Result<zbus_polkit::policykit1::Subject> {
    let message = zbus::Message::method_call("/", "Check").sender(name).build(&())?;
    zbus_polkit::policykit1::Subject::new_for_message_header(&message.header())
        .map_err(|error| zbus::Error::Failure(error.to_string()))
}
