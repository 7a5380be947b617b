//! The weight of this node: where it comes from, and how a measured load becomes one.
//!
//! The higher the weight, the less traffic: shares are proportional to 1/weight. A measured weight
//! closes a loop (share drives load drives weight), so it must be dull. `damper.rs` says how, and
//! why the loop settles. Pure but for [`read_load`]; the cluster's task calls [`Weigher::sample`].

mod damper;

use core::time::Duration;

use nlb_engine::Time;
use nlb_protocol::Weight;

pub use damper::{BASE, Damper, SAMPLE_INTERVAL, THRESHOLD_PERCENT};

/// Where the weight of this node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WeightSource {
    /// The load average over one minute, per core.
    #[default]
    LoadAverage,
    /// The load average over five minutes, per core.
    LoadAverage5,
    /// The load average over fifteen minutes, per core.
    LoadAverage15,
    /// This weight, until somebody sets another.
    Manual(Weight),
}

impl WeightSource {
    /// Its name in the status and in `nlbctl weight_mode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadAverage => "loadavg",
            Self::LoadAverage5 => "loadavg5",
            Self::LoadAverage15 => "loadavg15",
            Self::Manual(_) => "manual",
        }
    }

    /// The weight to begin with, before anything was damped.
    #[must_use]
    pub fn initial(self, load: Option<Load>) -> Weight {
        match self {
            Self::Manual(weight) => weight,
            measured => load
                .and_then(|load| measured.measure(load))
                .map_or(Weight::DEFAULT, damper::weight_of),
        }
    }

    /// What this source reads, per core; `None` if it reads nothing.
    fn measure(self, load: Load) -> Option<f64> {
        let average = match self {
            Self::LoadAverage => load.one,
            Self::LoadAverage5 => load.five,
            Self::LoadAverage15 => load.fifteen,
            Self::Manual(_) => return None,
        };
        Some(average / f64::from(load.cores.max(1))).filter(|load| load.is_finite())
    }
}

/// The load averages of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over fifteen minutes.
    pub fifteen: f64,
    /// How many cores share it.
    pub cores: u32,
}

/// Reads the load of this machine; `None` where there is no such thing, and then a measured weight
/// stays as it is. It costs two small files.
#[must_use]
pub fn read_load() -> Option<Load> {
    let averages = sysinfo::System::load_average().ok()?;
    // Every core of the machine, as the average counts: not only those this process may use.
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let cores = system.cpus().len();
    Some(Load {
        one: averages.one,
        five: averages.five,
        fifteen: averages.fifteen,
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
    })
}

/// What decides on the weight of this node in one cluster.
#[derive(Debug, Clone)]
pub struct Weigher {
    source: WeightSource,
    damper: Damper,
}

impl Weigher {
    /// Begins with the weight that [`WeightSource::initial`] gave.
    #[must_use]
    pub fn new(source: WeightSource, interval: Duration, weight: Weight) -> Self {
        Self { source, damper: Damper::new(interval, weight) }
    }

    /// Where the weight comes from now.
    #[must_use]
    pub fn source(&self) -> WeightSource {
        self.source
    }

    /// The weight that was last decided on.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.damper.weight()
    }

    /// Takes the weight from elsewhere; `None` keeps the present one until another is set. Gives
    /// the weight to take at once, if it is another.
    pub fn set_source(&mut self, source: Option<WeightSource>) -> Option<Weight> {
        self.source = source.unwrap_or(WeightSource::Manual(self.weight()));
        match self.source {
            WeightSource::Manual(weight) if weight != self.weight() => {
                self.damper = Damper::new(self.damper.interval(), weight);
                Some(weight)
            }
            _ => {
                self.damper = Damper::new(self.damper.interval(), self.weight());
                None
            }
        }
    }

    /// What the load means: the weight to take, if it is to change. To be called every
    /// [`SAMPLE_INTERVAL`].
    pub fn sample(&mut self, load: Load, now: Time) -> Option<Weight> {
        let measured = self.source.measure(load)?;
        self.damper.sample(measured, now)
    }
}

#[cfg(test)]
mod tests;
