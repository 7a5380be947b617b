//! From a verb to calls and output.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use nlb_varlink::{Cluster, Connection, Error, Status};
use serde::Serialize;

use crate::args::{Arguments, DebugVerb, Verb, WeightArgument, weight};
use crate::events::{self, Wanted};
use crate::failure::Failure;
use crate::metrics;
use crate::preflight::{self, Level, Question};
use crate::render::{self, Paint};
use crate::restarting::is_restarting;
use crate::{completions, drain, key, record, top};

/// What was found where a verb judges; every other verb finds all well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Well,
    /// Something is wrong.
    NotWell,
}

impl Verdict {
    fn of(well: bool) -> Self {
        if well { Self::Well } else { Self::NotWell }
    }

    /// The exit code, as the help documents it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::NotWell => 5,
        }
    }
}

/// Does what was asked.
///
/// # Errors
/// Why it was not done.
pub async fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let socket = arguments.run_dir.join(nlb_varlink::SOCKET);
    let json = arguments.json;
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    let paint = Paint::choose(io::stdout().is_terminal(), no_color.as_deref(), term.as_deref());
    match &arguments.verb {
        Verb::SetWeight { cluster, weight: WeightArgument::Stdin } => {
            weights_from_stdin(&socket, cluster, json).await?;
        }
        Verb::RestartHold { if_restarting: true, unit, .. } if !is_restarting(unit)? => {}
        Verb::Events { cluster, follow, lines } => {
            let (cluster, lines) = (cluster.as_deref(), *lines);
            let wanted = Wanted { cluster, follow: *follow, lines, json, paint };
            events::events(&socket, wanted).await?;
        }
        Verb::Drain { cluster, timeout, wait, force } => {
            let (cluster, timeout) = (cluster.as_deref(), *timeout);
            let wanted = drain::Wanted { cluster, timeout, force: *force, wait: *wait, json };
            drain::drain(&socket, wanted).await?;
        }
        Verb::Status { cluster } => {
            let mut daemon = Connection::connect(&socket).await?;
            let status = only(daemon.status().await?, cluster.as_deref())?;
            print(&either(json, &status, |status| render::status(status, paint))?)?;
            return Ok(Verdict::of(render::is_well(&status)));
        }
        Verb::Top { cluster, interval } => {
            let interval = Duration::from_secs((*interval).into());
            let wanted = top::Wanted { cluster: cluster.as_deref(), interval, json };
            top::top(&socket, wanted).await?;
        }
        Verb::Preflight { interface, addresses, mode, id, listen } => {
            let question = Question {
                interface: interface.clone(),
                addresses: addresses.clone(),
                mode: *mode,
                id: *id,
                listen: Duration::from_secs((*listen).into()),
            };
            let report = preflight::run(Path::new("/"), &socket, &question).await;
            print(&either(json, &report, |report| preflight::render(report, paint))?)?;
            return Ok(Verdict::of(report.verdict != Level::Fail));
        }
        Verb::Completions { shell } => {
            let text = completions::completions(*shell);
            print(&String::from_utf8_lossy(&text))?;
        }
        Verb::Debug(DebugVerb::Record { cluster, output, seconds, from_start }) => {
            let (cluster, from_start) = (cluster.as_deref(), *from_start);
            let wanted = record::Wanted { cluster, output, seconds: *seconds, from_start, json };
            record::record(&socket, wanted).await?;
        }
        Verb::Key { verb } => {
            print(&key::key(&socket, verb).await?)?;
        }
        Verb::Metrics => {
            print(&metrics::read(&arguments.run_dir).await?)?;
        }
        verb => {
            let mut daemon = Connection::connect(&socket).await?;
            print(&answer(&mut daemon, verb, json).await?)?;
        }
    }
    Ok(Verdict::Well)
}

/// Asks the daemon and puts the answer into words or JSON.
async fn answer(daemon: &mut Connection, verb: &Verb, json: bool) -> Result<String, Failure> {
    Ok(match verb {
        Verb::Nodes { cluster } => {
            let status = only(daemon.status().await?, cluster.as_deref())?;
            if json { to_json(&nodes(&status.clusters))? } else { render::nodes(&status) }
        }
        Verb::Buckets { cluster } => {
            either(json, &daemon.buckets(cluster.as_deref()).await?, render::buckets)?
        }
        Verb::Clients { cluster, limit } => {
            let clients = daemon.clients(cluster.as_deref(), Some(i64::from(*limit))).await?;
            either(json, &clients, render::clients)?
        }
        Verb::Explain { address, cluster } => {
            let explanation = daemon.explain(cluster.as_deref(), &address.to_string()).await?;
            either(json, &explanation, render::explanation)?
        }
        Verb::Addif { interface, cluster, addresses, mode, id } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let (mode, id) = (mode.map(|mode| mode.name()), id.map(i64::from));
            let cluster = cluster.as_deref();
            let change = daemon.add_interface(interface, cluster, &addresses, mode, id).await?;
            let mut options: Vec<_> = addresses.iter().map(|a| format!("--address {a}")).collect();
            options.extend(mode.map(|mode| format!("--mode {mode}")));
            options.extend(id.map(|id| format!("--id {id}")));
            either(json, &change, |change| render::added(interface, &options, change))?
        }
        Verb::Delif { interface, cluster } => {
            let change = daemon.remove_interface(interface, cluster.as_deref()).await?;
            either(json, &change, |change| render::removed(interface, change))?
        }
        Verb::SetWeight { cluster, weight } => {
            let WeightArgument::Weight(weight) = *weight else { return Ok(String::new()) };
            let changed = daemon.set_weight(Some(cluster), i64::from(weight)).await?;
            let done = format!("This node has weight {weight} in {cluster} now.");
            let same = format!("This node had weight {weight} in {cluster} already.");
            either(json, &changed, |changed| render::changed(changed, &done, &same))?
        }
        Verb::WeightMode { cluster, mode } => {
            let mode = mode.name();
            let changed = daemon.set_weight_mode(Some(cluster), mode).await?;
            let done = format!("The weight in {cluster} comes from {mode} now.");
            let same = format!("The weight in {cluster} came from {mode} already.");
            either(json, &changed, |changed| render::changed(changed, &done, &same))?
        }
        Verb::Leave { cluster } => {
            let changed = daemon.leave(cluster.as_deref()).await?;
            let (done, same) = ("This node leaves the cluster.", "This node had left already.");
            either(json, &changed, |changed| render::changed(changed, done, same))?
        }
        Verb::RestartHold { hold, .. } => {
            let changed = daemon.restart_hold(i64::from(*hold)).await?;
            let done = "The next end of the daemon, within a minute, is a restart.";
            either(json, &changed, |changed| render::changed(changed, done, done))?
        }
        Verb::Undrain { cluster } => {
            let changed = daemon.undrain(cluster.as_deref()).await?;
            let done = "This node takes new clients again.";
            let same = "This node took new clients already.";
            either(json, &changed, |changed| render::changed(changed, done, same))?
        }
        Verb::Reload => {
            let changed = daemon.reload().await?;
            let done = "The configuration was read again and is in effect.";
            let same = "The configuration was read again; it says nothing new.";
            either(json, &changed, |changed| render::changed(changed, done, same))?
        }
        Verb::CheckConfig { file } => {
            // The daemon has another working directory.
            let file = file.as_deref().map(std::path::absolute).transpose()?;
            let file = file.map(|file| file.display().to_string());
            let checked = daemon.check_config(file.as_deref()).await?;
            either(json, &checked, render::checked)?
        }
        // These print for themselves.
        Verb::Debug(_)
        | Verb::Drain { .. }
        | Verb::Events { .. }
        | Verb::Key { .. }
        | Verb::Metrics
        | Verb::Status { .. }
        | Verb::Top { .. }
        | Verb::Preflight { .. }
        | Verb::Completions { .. } => String::new(),
    })
}

/// The status of one cluster, if one is named.
pub(crate) fn only(mut status: Status, cluster: Option<&str>) -> Result<Status, Failure> {
    if let Some(name) = cluster {
        if !status.clusters.iter().any(|cluster| cluster.name == name) {
            let known = status.clusters.into_iter().map(|cluster| cluster.name).collect();
            let error = Error::UnknownCluster { cluster: name.to_owned(), known };
            return Err(Failure::Call(error.into()));
        }
        status.clusters.retain(|cluster| cluster.name == name);
    }
    Ok(status)
}

/// The nodes of every cluster, for JSON.
fn nodes(clusters: &[Cluster]) -> serde_json::Value {
    let clusters = clusters
        .iter()
        .map(|cluster| serde_json::json!({ "name": cluster.name, "nodes": cluster.nodes }));
    serde_json::json!({ "clusters": clusters.collect::<Vec<_>>() })
}

fn either<T: Serialize>(
    json: bool,
    value: &T,
    words: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    if json { to_json(value) } else { Ok(words(value)) }
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string(value).map_err(io::Error::from)?;
    text.push('\n');
    Ok(text)
}

/// Writes to stdout, and says whether somebody reads. Whoever stopped has seen enough: that is no
/// failure.
pub(crate) fn print(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Sets every weight that comes in, one a line, until the input ends. A line that is no weight is
/// named and passed over, because whoever measures goes on.
async fn weights_from_stdin(socket: &Path, cluster: &str, json: bool) -> Result<(), Failure> {
    let mut wrong = 0;
    // Each line is acted on before the next is read; a daemon that restarts meanwhile is found
    // again.
    for (index, line) in io::stdin().lock().lines().enumerate() {
        let line = line?;
        match weight(line.trim()) {
            Ok(weight) => {
                let mut daemon = Connection::connect(socket).await?;
                let changed = daemon.set_weight(Some(cluster), i64::from(weight)).await?;
                if json {
                    print(&to_json(&changed)?)?;
                }
            }
            Err(_) if line.trim().is_empty() => {}
            Err(error) => {
                wrong += 1;
                let _ = writeln!(io::stderr(), "nlbctl: line {} of the input: {error}", index + 1);
            }
        }
    }
    if wrong == 0 { Ok(()) } else { Err(Failure::Lines(wrong)) }
}
