//! `nlbd`: reads the configuration, drops every privilege it does not need, and supervises.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Parser;
use nlb_dbus::{Bus, Polkit};
use nlb_varlink::{Limits, Server};
use nlbd::arguments::Arguments;
use nlbd::check::runner;
use nlbd::check::{Runner, Tools};
use nlbd::cluster::Supervisor;
use nlbd::config::{Host, Location, load};
use nlbd::manage::{self, DbusBackend, VarlinkBackend};
use nlbd::priority::giver;
use nlbd::ticks::{LOOK_EVERY, every};
use nlbd::{caps, inet, kernel, log, memory, metrics, priority, pulse};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The socket of the management interface, in the run directory.
const SOCKET: &str = "org.nlbd.Cluster";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(user) = &arguments.run_commands {
        return runner::run(user);
    }
    if arguments.give_priority {
        return giver::run();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nlbd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Whoever started us may have blocked signals; ours would then never come.
    nix::sys::signal::SigSet::all().thread_unblock().context("cannot unblock signals")?;
    let location = arguments.config.as_deref().map_or_else(Location::standard, Location::named);
    let config = load(&location, &Host)?;
    if arguments.check {
        let count = config.clusters.len();
        println!("{count} cluster{}, nothing wrong", if count == 1 { "" } else { "s" });
        return Ok(());
    }
    let bus = match arguments.bus.as_str() {
        "none" => None,
        bus => Some(Bus::new(bus.parse().context("--bus")?)),
    };
    let mut log = log::start(log::Target::Auto, arguments.log_level.as_deref())?;
    let commands = runner(arguments)?;
    priority::allow(arguments.priority_socket.as_deref());
    if let Err(error) = memory::lock() {
        tracing::info!(%error, "memory is not locked: under pressure heartbeats may wait for a disk");
    }
    caps::drop_all_but_needed().context("cannot drop privileges")?;
    log.write().context("cannot start the thread of the log")?;
    make_run_dir(&arguments.run_dir)?;
    let _lock = lock(&arguments.run_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(supervise(location, &arguments.run_dir, config, bus, commands))
}

/// What looks at services for checks: a service of systemd, or a process that is started here.
fn runner(arguments: &Arguments) -> anyhow::Result<Runner> {
    if let Some(socket) = &arguments.check_socket {
        return Ok(Runner::connect(socket));
    }
    // While it may still become another user; it must not inherit the right to be quick.
    Runner::start(Path::new("/proc/self/exe"), &arguments.check_user)
        .context("cannot start the runner of checks")
}

/// Makes the run directory. Others must not be able to write there: what the record in it says is
/// done to the host.
fn make_run_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    const OTHERS_WRITE: u32 = 0o022;
    let found = std::fs::create_dir_all(path).and_then(|()| std::fs::metadata(path));
    let found =
        found.with_context(|| format!("cannot make the run directory {}", path.display()))?;
    let owner = nix::unistd::geteuid().as_raw();
    if found.uid() != owner || found.mode() & OTHERS_WRITE != 0 {
        bail!(
            "run directory {}: it must belong to the daemon's user ({owner}) and nobody else may \
             write there",
            path.display()
        );
    }
    Ok(())
}

/// Nobody else may write there while this process lives.
fn lock(run_dir: &Path) -> anyhow::Result<nix::fcntl::Flock<std::fs::File>> {
    let path = run_dir.join("lock");
    let file = std::fs::File::create(&path);
    let file = file.with_context(|| format!("cannot make {}", path.display()))?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| error)
        .with_context(|| format!("run directory {}: another nlbd uses it", run_dir.display()))
}

async fn supervise(
    location: Location,
    run_dir: &Path,
    config: nlbd::config::Config,
    bus: Option<Bus>,
    commands: Runner,
) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let (handle, inbox) = manage::channel(
        nix::unistd::geteuid().as_raw(),
        bus.as_ref().map_or_else(Polkit::absent, Bus::polkit),
    );
    // The socket first: it tells whether another daemon runs here.
    let server = Server::bind(&run_dir.join(SOCKET), Limits::default())?;
    let capabilities = kernel::probe().await?;
    let commands = commands.talk().context("cannot talk to the runner of checks")?;
    inet::keep(commands.clone(), config.clusters.iter().any(|cluster| cluster.joins_groups()))
        .await;
    let tools = Tools { commands, units: bus.as_ref().map(Bus::units) };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = %config.node.id,
        nft = capabilities.nft_version,
        queue = ?capabilities.queue,
        "nlbd starts"
    );
    // What can fail without leaving anything behind.
    let (refresh, look) = (every(LOOK_EVERY)?, every(LOOK_EVERY)?);
    let pulses = sd_notify::watchdog_enabled().map(pulse::looks).transpose()?;
    let mut supervisor =
        Supervisor::new(location, run_dir, config.clone(), capabilities, inbox, tools).await?;
    let applied = tokio::select! {
        biased;
        _ = signals.term.recv() => None,
        _ = signals.interrupt.recv() => None,
        applied = supervisor.apply(config) => Some(applied),
    };
    let Some(applied) = applied else {
        tracing::info!("told to end while starting");
        return Ok(supervisor.shutdown().await?);
    };
    if let Err(error) = applied {
        // Nothing half-way stays behind.
        if let Err(error) = supervisor.shutdown().await {
            tracing::error!(%error, "not everything was put back");
        }
        return Err(error.into());
    }
    let on_bus = bus.map(|bus| {
        let backend = Arc::new(DbusBackend(handle.clone()));
        tokio::spawn(async move { bus.serve(backend, refresh).await })
    });
    let scraped = scraped(handle.clone(), run_dir.to_owned(), supervisor.metrics());
    let backend = Arc::new(VarlinkBackend(handle));
    let mut serving = tokio::spawn(async move { server.serve(backend, look).await });
    notify(&[sd_notify::NotifyState::Ready]);
    if let Some(looks) = pulses {
        let lives = || notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::spawn(pulse::watch(supervisor.pulses(), looks, lives));
    }
    let worked = tokio::select! {
        worked = work(&mut supervisor, &mut signals) => worked,
        _ = &mut serving => Err(anyhow::anyhow!("the management socket was closed")),
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    if let Err(error) = &worked {
        tracing::error!(error = format!("{error:#}"), "nlbd cannot go on, and leaves");
    }
    // Whatever went wrong: what is handed over is answered, and no address stays without a daemon.
    let hurry = supervisor.hurry();
    let mut ending = std::pin::pin!(supervisor.finish());
    let put_back = loop {
        tokio::select! {
            put_back = &mut ending => break put_back,
            _ = signals.term.recv() => hurry.hurry(),
            _ = signals.interrupt.recv() => hurry.hurry(),
        }
    };
    if let Some(on_bus) = on_bus {
        on_bus.abort();
    }
    scraped.abort();
    // Its end removes the socket.
    serving.abort();
    let _ = serving.await;
    worked?;
    put_back?;
    tracing::info!("nlbd ends");
    Ok(())
}

/// Serves the metrics. The service does not depend on them: what goes wrong is said, no more.
fn scraped(
    handle: manage::Handle,
    run_dir: PathBuf,
    wanted: watch::Receiver<Option<SocketAddr>>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = metrics::serve(handle, &run_dir, wanted).await {
            tracing::error!(%error, "there are no metrics");
        }
    })
}

/// Does what there is to do until somebody ends the daemon.
async fn work(supervisor: &mut Supervisor, signals: &mut Signals) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = signals.term.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                let _ = supervisor.answer(manage::Request::Reload).await.inspect_err(
                    |error| tracing::error!(%error, "the configuration was not reloaded"),
                );
            }
            happened = supervisor.next() => supervisor.take_in(happened).await?,
        }
    }
}

struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Nobody listens where systemd did not start us.
    let _ = sd_notify::notify(states);
}
