//! Where a weight comes from, and what is measured for it.

use core::time::Duration;

use nlb_protocol::Weight;

/// Where the weight of this node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightSource {
    /// How busy the processors are, and who waited over one minute.
    #[default]
    LoadAverage,
    /// The same over five minutes.
    LoadAverage5,
    /// The same over fifteen minutes.
    LoadAverage15,
    /// How busy the processors are.
    Cpu,
    /// How much of the memory is in use, or how busy the processors are, if they are fuller.
    Memory,
    /// Established connections to the service addresses, per core.
    Connections,
    /// What a command says (`LoadCommand`).
    Command,
    /// This weight, until somebody sets another.
    Manual(Weight),
}

/// Connections per core that count as a full load. Only the differences between nodes matter, so
/// the number sets no limit; it keeps the value that is told to the peers readable.
const CONNECTIONS_FULL: f64 = 1000.0;

/// Tasks per core that wait before the load average counts for more than the processors do: below
/// it the average is mostly noise (it looks every five seconds), above it something else than the
/// processor is short.
const WAITING: f64 = 2.0;
/// So many more and the node counts as half busy, whatever its processors do.
const WAITING_HALF: f64 = 8.0;

impl WeightSource {
    /// Every source that measures, in the order of the documentation.
    pub const MEASURED: [Self; 7] = [
        Self::LoadAverage,
        Self::LoadAverage5,
        Self::LoadAverage15,
        Self::Cpu,
        Self::Memory,
        Self::Connections,
        Self::Command,
    ];

    /// Its name in the status and in `nlbctl weight_mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadAverage => "loadavg",
            Self::LoadAverage5 => "loadavg5",
            Self::LoadAverage15 => "loadavg15",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Connections => "connections",
            Self::Command => "command",
            Self::Manual(_) => "manual",
        }
    }

    /// The measured source of this name.
    #[must_use]
    pub fn measured(name: &str) -> Option<Self> {
        Self::MEASURED.into_iter().find(|source| source.name() == name)
    }

    /// How the protocol names what is measured; 0 for nothing (SPEC 4.4).
    #[must_use]
    pub fn measure(self) -> u8 {
        match self {
            Self::Manual(_) => 0,
            Self::Cpu => 1,
            Self::Memory => 2,
            Self::Connections => 3,
            Self::LoadAverage => 4,
            Self::LoadAverage5 => 5,
            Self::LoadAverage15 => 6,
            Self::Command => 7,
        }
    }

    /// Over how long what is seen is averaged, as long as nothing changes. Noise is what keeps
    /// shares from staying: of 300 sessions on a core it leaves 1 % in five minutes.
    #[must_use]
    pub fn window(self) -> Duration {
        Duration::from_secs(if self == Self::LoadAverage15 { 900 } else { 300 })
    }

    /// How loaded the node is, 1 for fully; `None` where that cannot be known.
    #[must_use]
    pub fn load(self, reading: &Reading) -> Option<f64> {
        let cores = f64::from(reading.cores.max(1));
        let load = match self {
            Self::Manual(_) => return None,
            Self::Cpu => reading.busy?,
            Self::Memory => reading.memory?.max(reading.busy.unwrap_or(0.0)),
            Self::Command => reading.command?,
            Self::Connections => f64::from(reading.connections?) / cores / CONNECTIONS_FULL,
            Self::LoadAverage | Self::LoadAverage5 | Self::LoadAverage15 => {
                let averages = reading.averages?;
                let average = match self {
                    Self::LoadAverage => averages[0],
                    Self::LoadAverage5 => averages[1],
                    _ => averages[2],
                };
                let waiting = (average / cores - WAITING).max(0.0);
                reading.busy?.max(waiting / (waiting + WAITING_HALF))
            }
        };
        load.is_finite().then(|| load.max(0.0))
    }
}

/// What was measured of this machine, of the second just past.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// How many cores the machine has.
    pub cores: u32,
    /// What part of the processors' time was used, 0 to 1.
    pub busy: Option<f64>,
    /// The load averages over 1, 5 and 15 minutes.
    pub averages: Option<[f64; 3]>,
    /// What part of the memory is in use (what can be freed at once is not), 0 to 1.
    pub memory: Option<f64>,
    /// Established connections to the cluster's service addresses.
    pub connections: Option<u32>,
    /// What a command says, 1 for fully loaded.
    pub command: Option<f64>,
}

/// Reads the load of this machine, once a second. It costs a few small files.
#[derive(Debug)]
pub struct Meter {
    system: Option<sysinfo::System>,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// Begins to measure.
    #[must_use]
    pub fn new() -> Self {
        let system = sysinfo::System::new().ok().map(|mut system| {
            system.refresh_cpu_usage();
            system
        });
        Self { system }
    }

    /// What is now; of the memory only where that is wanted. The first reading says nothing of the
    /// processors: use is a difference.
    pub fn read(&mut self, memory: bool) -> Reading {
        let Some(system) = &mut self.system else { return Reading::default() };
        system.refresh_cpu_usage();
        if memory {
            system.refresh_memory();
        }
        let averages = sysinfo::System::load_average().ok();
        let total = system.total_memory();
        #[allow(clippy::cast_precision_loss)] // a part of a whole, to a few digits
        let used = |available: u64| 1.0 - available.min(total) as f64 / total as f64;
        Reading {
            cores: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
            busy: (!system.cpus().is_empty())
                .then(|| f64::from(system.global_cpu_usage()).clamp(0.0, 100.0) / 100.0),
            averages: averages.map(|average| [average.one, average.five, average.fifteen]),
            memory: (memory && total > 0).then(|| used(system.available_memory())),
            connections: None,
            command: None,
        }
    }
}
