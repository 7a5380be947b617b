//! The command `nlbctl`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use nlbctl::args::Arguments;
use nlbctl::failure::Failure;
use nlbctl::run;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run::run(&arguments)),
        Err(error) => Err(Failure::Output(error)),
    };
    match result {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(failure) => {
            let text = failure.render(arguments.json, &arguments.run_dir);
            // If nobody reads stderr either, the exit code says it.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            ExitCode::from(failure.exit_code())
        }
    }
}
