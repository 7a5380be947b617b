//! `cargo xtask demo`: three servers answer for one address, in network namespaces.

mod clients;
mod hold;
mod screen;
mod show;
mod stop;

use std::process::ExitCode;

use anyhow::Result;
use nlb_tests::binaries;

use self::show::Show;
pub(crate) use self::stop::Stop;
use crate::command::cargo;
use crate::{setup, userns};

/// Runs the demo; with `hold`, keeps the cluster up instead until Ctrl-C.
pub(crate) fn run(hold: bool) -> Result<ExitCode> {
    if !userns::inside() {
        setup::check(setup::DEMO_TOOLS)?;
        // The development profile: it is there after the tests, builds in half the time, and is
        // fast enough for everything that is shown here.
        println!("building nlbd and nlbctl …");
        cargo("build").args(["--quiet", "-p", "nlbd", "-p", "nlbctl"]).succeed()?;
        userns::enter()?;
    }
    binaries::program("nlbd")?;
    let stop = Stop::on_signals()?;
    let mut show = Show::build(stop)?;
    let outcome = if hold { hold::run(&mut show) } else { show.play() };
    let outcome = outcome.and_then(|()| show.close());
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            show.show_logs();
            Err(error)
        }
    }
}
