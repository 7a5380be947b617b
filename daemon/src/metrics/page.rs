//! The text that a scrape gets.

use core::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::process::Process;
use super::table::{CLUSTER, Cluster, DAEMON, Daemon, Metric, Reader};
use crate::manage::{CONVERGENCE_BOUNDS_MS, Convergence, DaemonView, StatusView};
use crate::queue;

/// Everything that is read for one scrape.
#[derive(Debug)]
struct Scrape {
    daemon: Daemon,
    clusters: Vec<Cluster>,
}

/// The metrics of the daemon and its clusters in the OpenMetrics text format.
#[must_use]
pub fn page(daemon: DaemonView, clusters: Vec<StatusView>) -> String {
    let read = |view: StatusView| {
        let queued = queue::waiting(view.facts.queue).unwrap_or(0);
        Cluster { view, queued }
    };
    let daemon = Daemon { view: daemon, process: Process::read() };
    let clusters = clusters.into_iter().map(read).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { daemon, clusters }));
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut page, &registry);
    page
}

type Labels = Vec<(&'static str, String)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in DAEMON {
            family(&mut encoder, metric, &[(Vec::new(), &self.daemon)])?;
        }
        let name = |cluster: &Cluster| vec![("cluster", cluster.view.facts.name.clone())];
        let clusters: Vec<_> =
            self.clusters.iter().map(|cluster| (name(cluster), cluster)).collect();
        for metric in CLUSTER {
            family(&mut encoder, metric, &clusters)?;
        }
        Ok(())
    }
}

/// One metric, of each of its sources.
fn family<S>(
    encoder: &mut DescriptorEncoder<'_>,
    Metric { name, help, reader }: &Metric<S>,
    sources: &[(Labels, &S)],
) -> fmt::Result {
    let kind = match reader {
        Reader::Counter(_) | Reader::Counters(..) => MetricType::Counter,
        Reader::Gauge(_) | Reader::Gauges(..) => MetricType::Gauge,
        Reader::Histogram(_) => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, source) in sources {
        match reader {
            Reader::Counter(read) => counter(&mut metric, labels, read(source))?,
            Reader::Gauge(read) => gauge(&mut metric, labels, read(source))?,
            Reader::Counters(names, read) => {
                for (values, value) in read(source) {
                    counter(&mut metric, &with(labels, names, values), value)?;
                }
            }
            Reader::Gauges(names, read) => {
                for (values, value) in read(source) {
                    gauge(&mut metric, &with(labels, names, values), value)?;
                }
            }
            Reader::Histogram(read) => histogram(&mut metric, labels, read(source))?,
        }
    }
    Ok(())
}

fn with(labels: &Labels, names: &'static [&'static str], values: Vec<String>) -> Labels {
    labels.iter().cloned().chain(names.iter().copied().zip(values)).collect()
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &Labels, value: f64) -> fmt::Result {
    if labels.is_empty() {
        return metric.encode_counter::<NoLabelSet, f64, f64>(&value, None);
    }
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &Labels, value: f64) -> fmt::Result {
    if labels.is_empty() {
        return metric.encode_gauge(&value);
    }
    metric.encode_family(labels)?.encode_gauge(&value)
}

fn histogram(metric: &mut MetricEncoder<'_>, labels: &Labels, times: &Convergence) -> fmt::Result {
    let bounds = CONVERGENCE_BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(times.counts).collect();
    let (sum, count) = (times.sum.as_secs_f64(), times.counts.iter().sum());
    metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
