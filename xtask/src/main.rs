//! Tasks of the workspace: `cargo xtask demo`, `cargo xtask test` and what they are made of.

mod chaos;
mod command;
mod demo;
mod dist;
mod kernel;
mod man;
mod setup;
mod system;
mod test;
mod userns;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the nlbd workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Shows three servers, a switch and their clients in network namespaces of this machine.
    Demo {
        /// Keep everything up until Ctrl-C, and say how to look around in it.
        #[arg(long)]
        hold: bool,
    },
    /// Runs everything: checks, unit tests, simulator, oracle, tests on the real kernel.
    Test {
        /// Only the tests whose name contains this; the checks are left out.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Runs the tests on the real kernel only.
    TestKernel {
        /// Only the tests whose file and name contain this.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Runs what needs no rights and little time: format, lints, structure, oracle.
    Verify,
    /// Runs the simulator with these arguments.
    Sim {
        /// See `cargo xtask sim --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Breaks everything that can break, at random, under hundreds of clients, and judges.
    Chaos(chaos::Chaos),
    /// Searches every way that a small cluster can go, with these arguments.
    Model {
        /// See `cargo xtask model --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measures on the real kernel, 20 runs each, and prints the figures.
    Figures {
        /// How many runs of each.
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
    /// Builds the packages, .deb and .rpm, into target/packages.
    Dist {
        /// Tells packages of one version apart.
        #[arg(long, default_value = "1")]
        revision: String,
        /// Build the same again in another folder, and compare.
        #[arg(long)]
        twice: bool,
    },
    /// Installs the packages on whole machines and uses them as administrators do.
    TestSystem {
        /// On every suite of Debian, and on virtual machines with Debian's own kernels.
        #[arg(long)]
        full: bool,
        /// Only the tests whose name contains this.
        #[arg(long)]
        filter: Option<String>,
    },
    /// Writes the man pages and the completions into packaging.
    Man,
    /// Checks for the tools that the tasks need, and installs what is missing where it may.
    Setup,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Demo { hold } => demo::run(hold),
        Task::Test { filter } => test::run(filter.as_deref()),
        Task::TestKernel { filter } => test::kernel(filter.as_deref()),
        Task::Verify => test::verify(),
        Task::Sim { arguments } => command::cargo("run")
            .args(["--quiet", "--release", "-p", "nlb-sim", "--"])
            .args(arguments)
            .status()
            .map(command::code),
        Task::Chaos(chaos) => chaos::run(&chaos),
        Task::Model { arguments } => command::cargo("run")
            .args(["--quiet", "--release", "-p", "nlb-model", "--"])
            .args(arguments)
            .status()
            .map(command::code),
        Task::Figures { runs } => test::figures(runs),
        Task::Dist { revision, twice } => dist::run(&revision, twice).map(|()| ExitCode::SUCCESS),
        Task::TestSystem { full, filter } => system::run(full, filter.as_deref()),
        Task::Man => man::write().map(|()| ExitCode::SUCCESS),
        Task::Setup => setup::check(setup::TOOLS).map(|()| ExitCode::SUCCESS),
    }
}
