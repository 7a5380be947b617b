//! `nlbctl key`: the cluster's key on its way to the other servers, and a new one in its place.
//!
//! A key file is the daemon's user's, and whoever may read it may export it: this works on the file
//! itself, and keys never travel over the daemon's socket.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use nlb_varlink::{ClientError, Connection, OTHER_KEYS, Status};

use crate::failure::Failure;
use crate::render::name;

/// Where keys are, as nlbd.ron(5) says.
const FOLDER: &str = "/etc/nlbd";
/// The cluster that `addif` makes if none is named.
const FIRST: &str = "nlb0";
/// Bytes of a key.
const KEY_LEN: usize = 32;
/// The most keys of a file, as the daemon reads it.
const MAX_KEYS: usize = 4;
/// The longest input that can be a key file.
const MAX_INPUT: u64 = 4096;
/// What the second line of a file says while a new key is known and the old one still signs.
const KNOWN: &str = "# rotation: the last key is new and does not sign yet";
/// What it says while the new one signs and the old one is still good.
const SIGNS: &str = "# rotation: the first key is new, the last one goes";

/// How the key comes to another server.
pub(crate) const BRING: &str = "nlbctl key export | ssh root@SERVER nlbctl key import";
/// So often the daemon is asked whether all have the keys: whoever has just got them says so within
/// a second or two.
const TRIES: u32 = 25;
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What to do with the key.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyVerb {
    /// Write the key to standard output, for `nlbctl key import` on another server
    Export(Which),
    /// Take the key from standard input, and have the daemon take it up
    ///
    /// A key that this server has already and that is another one is kept, unless forced: two
    /// servers with different keys do not hear each other, and both answer for the address.
    Import {
        #[command(flatten)]
        which: Which,
        /// Also in place of an unrelated key
        #[arg(long)]
        force: bool,
    },
    /// Bring in a new key without interruption, in three steps
    ///
    /// Run it on one server three times, and after each step bring the file to the others by
    /// export and import: first all get to know the new key, then all sign with it, then the old
    /// one goes. What comes next is printed. A step is refused while a server that is there does
    /// not have the one before it: it would not hear the others any more.
    Rotate {
        #[command(flatten)]
        which: Which,
        /// Also where a server has other keys than this one
        #[arg(long)]
        force: bool,
    },
}

/// Which key.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The cluster: the only one that has a key here, or nlb0
    cluster: Option<String>,
    /// The key file, where the configuration names another than /etc/nlbd/CLUSTER.key
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Which {
    /// The cluster that a key file is of by its name, if none was named.
    fn cluster<'a>(&'a self, file: &'a Path) -> &'a str {
        let of_file = file.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        self.cluster.as_deref().unwrap_or(of_file)
    }

    /// The key file.
    fn path(&self, folder: &Path) -> PathBuf {
        if let Some(file) = &self.file {
            return file.clone();
        }
        let of = |cluster: &str| folder.join(format!("{cluster}.key"));
        if let Some(cluster) = &self.cluster {
            return of(cluster);
        }
        let keys = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut keys = keys
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "key"));
        match (keys.next(), keys.next()) {
            (Some(only), None) => only,
            _ => of(FIRST),
        }
    }
}

/// Why a key was not changed.
#[derive(Debug)]
pub enum KeyError {
    /// The input is no key file.
    Input(String),
    /// There is another key.
    Unrelated(PathBuf),
    /// Servers that do not hold the same keys as this one.
    Behind(Vec<String>),
    /// The file cannot be read or written.
    File(PathBuf, io::Error),
}

impl core::fmt::Display for KeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Input(what) => write!(f, "this is no key: {what}; nothing was changed"),
            Self::Unrelated(path) => write!(
                f,
                "{} has another key: servers with different keys do not hear each other",
                path.display()
            ),
            Self::Behind(servers) => write!(
                f,
                "not all servers have the same keys in the same order as this one: {}; nothing was \
                 changed",
                servers.join(", ")
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Does what was asked; gives what to say.
pub(crate) async fn key(socket: &Path, verb: &KeyVerb) -> Result<String, Failure> {
    let folder = Path::new(FOLDER);
    match verb {
        KeyVerb::Export(which) => Ok(read(&which.path(folder))?),
        KeyVerb::Import { which, force } => {
            let path = which.path(folder);
            let mut text = String::new();
            io::stdin().lock().take(MAX_INPUT + 1).read_to_string(&mut text)?;
            let mut said = import(&path, &text, *force)?;
            said += &take_up(socket).await?;
            Ok(said)
        }
        KeyVerb::Rotate { which, force } => {
            let path = which.path(folder);
            let (text, next) = rotated(&read(&path)?, &random()?)?;
            if !force {
                wait_alike(socket, which.cluster(&path)).await?;
            }
            write(&path, &text)?;
            let said = format!("{} is rewritten. ", path.display());
            Ok(said + &take_up(socket).await? + &next)
        }
    }
}

/// Waits a moment until all servers that are heard say that they hold the keys of this one. If the
/// daemon does not run, nobody is heard.
async fn wait_alike(socket: &Path, cluster: &str) -> Result<(), Failure> {
    let Some(mut daemon) = running(socket).await? else { return Ok(()) };
    let mut servers = Vec::new();
    for _ in 0..TRIES {
        servers = behind(&daemon.status().await?, cluster);
        if servers.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Err(KeyError::Behind(servers).into())
}

/// The servers of a cluster that do not hold the keys of this one; of all clusters, if none has this
/// name.
fn behind(status: &Status, cluster: &str) -> Vec<String> {
    let known = status.clusters.iter().any(|it| it.name == cluster);
    let meant = status.clusters.iter().filter(|it| !known || it.name == cluster);
    let nodes = meant.flat_map(|it| &it.nodes);
    let nodes = nodes.filter(|node| node.differs.iter().any(|it| it == OTHER_KEYS));
    nodes.map(|node| name(node).to_owned()).collect()
}

/// Has the daemon read its configuration again, if it runs.
async fn take_up(socket: &Path) -> Result<String, Failure> {
    let Some(mut daemon) = running(socket).await? else {
        return Ok("It takes effect when the daemon starts.\n".to_owned());
    };
    daemon.reload().await?;
    Ok("The daemon has read its configuration again.\n".to_owned())
}

/// The daemon, if it runs.
async fn running(socket: &Path) -> Result<Option<Connection>, ClientError> {
    match Connection::connect(socket).await {
        Ok(daemon) => Ok(Some(daemon)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(|error| KeyError::File(path.to_owned(), error))
}

/// Writes a key file in one step, so that nobody ever finds half of one. It belongs to whom it
/// belonged to; a new one to whom its folder belongs to, which is whom the daemon runs as. Nothing
/// that stands in its place is followed: the folder may be somebody's who may do less than we.
fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |error| KeyError::File(path.to_owned(), error);
    let new = path.with_extension("key.new");
    let written = (|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::fs::metadata(folder.unwrap_or(Path::new(".")))?;
        let owner = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file);
        let owner = owner.unwrap_or(folder);
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let created = file.metadata()?;
        if (created.uid(), created.gid()) != (owner.uid(), owner.gid()) {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.map_err(failed)
}

/// The keys of a file.
fn keys(text: &str) -> Result<Vec<&str>, KeyError> {
    let lines = text.lines().map(str::trim);
    let keys: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if keys.is_empty() {
        return Err(KeyError::Input("nothing came".to_owned()));
    }
    if keys.len() > MAX_KEYS {
        return Err(KeyError::Input(format!(
            "{} keys; at most {MAX_KEYS} are allowed",
            keys.len()
        )));
    }
    for key in &keys {
        let digits = key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || key.len() != 2 * KEY_LEN || key.bytes().all(|byte| byte == b'0') {
            return Err(KeyError::Input("a line that is not 64 hexadecimal digits".to_owned()));
        }
    }
    Ok(keys)
}

fn import(path: &Path, text: &str, force: bool) -> Result<String, KeyError> {
    let wanted = keys(text)?;
    let there = match std::fs::read_to_string(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(KeyError::File(path.to_owned(), error)),
    };
    if there == text {
        return Ok(format!("{} has this key already. ", path.display()));
    }
    let known = there.lines().map(str::trim);
    let related = there.is_empty() || known.into_iter().any(|line| wanted.contains(&line));
    if !related && !force {
        return Err(KeyError::Unrelated(path.to_owned()));
    }
    write(path, text)?;
    Ok(format!("{} has the key now. ", path.display()))
}

/// The next step of a rotation: the file, and what to do then.
fn rotated(text: &str, new: &str) -> Result<(String, String), KeyError> {
    let bring = format!(
        "Bring it to every other server of the cluster, also to one that does not run now:\n    \
         {BRING}\n"
    );
    let found = keys(text)?;
    let (first, last) = (found[0], found[found.len() - 1]);
    if text.lines().any(|line| line.trim() == KNOWN) {
        let next = "Step 2 of 3: the new key signs, the old one is still good.\n";
        let then = "When all have it: nlbctl key rotate\n";
        return Ok((format!("{SIGNS}\n{last}\n{first}\n"), format!("{next}{bring}{then}")));
    }
    if text.lines().any(|line| line.trim() == SIGNS) {
        let next = "Step 3 of 3: the old key is gone.\n";
        return Ok((format!("{first}\n"), format!("{next}{bring}")));
    }
    let next = "Step 1 of 3: the new key is known, the old one still signs.\n";
    let then = "When all have it: nlbctl key rotate\n";
    Ok((format!("{KNOWN}\n{first}\n{new}\n"), format!("{next}{bring}{then}")))
}

/// A new key.
fn random() -> Result<String, io::Error> {
    let mut bytes = [0; KEY_LEN];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(digit: char) -> String {
        core::iter::repeat_n(digit, 64).collect()
    }

    #[test]
    fn a_rotation_has_three_steps_and_never_a_gap() {
        let (old, new) = (one('a'), one('b'));
        let (first, _) = rotated(&format!("# ours\n{old}\n"), &new).unwrap();
        assert_eq!(keys(&first).unwrap(), [&old, &new], "the old one signs");
        let (second, _) = rotated(&first, &one('c')).unwrap();
        assert_eq!(keys(&second).unwrap(), [&new, &old], "the new one signs");
        let (third, said) = rotated(&second, &one('d')).unwrap();
        assert_eq!(keys(&third).unwrap(), [&new]);
        assert!(!said.contains("key rotate"), "it is over: {said}");
        // The next rotation begins where this one ended.
        let (again, _) = rotated(&third, &one('e')).unwrap();
        assert_eq!(keys(&again).unwrap(), [&new, &one('e')]);
    }

    #[test]
    fn whoever_has_other_keys_is_named() {
        let node = |name: &str, differs: &[&str]| nlb_varlink::Node {
            name: name.to_owned(),
            differs: differs.iter().map(|it| (*it).to_owned()).collect(),
            ..Default::default()
        };
        let cluster = |name: &str, nodes| nlb_varlink::Cluster {
            name: name.to_owned(),
            nodes,
            ..Default::default()
        };
        let nodes = vec![node("n1", &[]), node("n2", &["other ports", OTHER_KEYS])];
        let clusters =
            vec![cluster("nlb0", nodes), cluster("web", vec![node("n3", &[OTHER_KEYS])])];
        let status = Status { clusters, ..Default::default() };
        assert_eq!(behind(&status, "nlb0"), ["n2"]);
        assert_eq!(behind(&status, "web"), ["n3"]);
        assert_eq!(behind(&status, "shared"), ["n2", "n3"], "the file may be of any");
    }

    #[test]
    fn only_related_keys_are_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nlb0.key");
        let (old, new) = (one('a'), one('b'));
        import(&path, &format!("{old}\n"), false).unwrap();
        assert!(matches!(import(&path, &format!("{new}\n"), false), Err(KeyError::Unrelated(_))));
        assert_eq!(keys(&read(&path).unwrap()).unwrap(), [&old]);
        import(&path, &format!("{old}\n{new}\n"), false).unwrap();
        import(&path, &format!("{new}\n"), false).unwrap();
        import(&path, &format!("{old}\n"), true).unwrap();
        assert_eq!(keys(&read(&path).unwrap()).unwrap(), [&old]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nlb0.key");
        for text in ["", "# nothing\n", "abc\n", &one('0'), &one('x'), &[&*one('a'); 5].join("\n")]
        {
            assert!(import(&path, text, true).is_err(), "{text}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_only_key_is_meant_if_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let which =
            |cluster: Option<&str>| Which { cluster: cluster.map(str::to_owned), file: None };
        let path = |name: &str| folder.path().join(name);
        assert_eq!(which(None).path(folder.path()), path("nlb0.key"));
        std::fs::write(path("web.key"), "").unwrap();
        assert_eq!(which(None).path(folder.path()), path("web.key"));
        assert_eq!(which(Some("mail")).path(folder.path()), path("mail.key"));
        std::fs::write(path("mail.key"), "").unwrap();
        assert_eq!(which(None).path(folder.path()), path("nlb0.key"));
    }
}
