//! Measurements that the tests make on their way, for people.

use std::io::Write;
use std::time::Duration;

/// How often a measured test repeats what it measures: `NLB_RUNS`, else `usual`.
#[must_use]
pub fn runs(usual: usize) -> usize {
    std::env::var("NLB_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(usual)
}

/// Says a figure, and appends it to the file that `NLB_FIGURES` names.
pub fn report(figure: &str) {
    println!("figure: {figure}");
    if let Some(path) = std::env::var_os("NLB_FIGURES")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{figure}");
    }
}

/// Best, median and worst of some durations.
#[must_use]
pub fn spread(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    format!(
        "best {:.1?}, median {:.1?}, worst {:.1?} ({} runs)",
        at(0),
        at(sorted.len() / 2),
        at(sorted.len().saturating_sub(1)),
        sorted.len()
    )
}

/// Makes two tests of a function that takes `offload`: once with known clients decided in the
/// kernel, once with every packet decided in user space.
#[macro_export]
macro_rules! on_both_paths {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[test]
            #[ignore = "runs in network namespaces: cargo xtask test"]
            fn in_the_kernel() {
                super::$test(true);
            }

            #[test]
            #[ignore = "runs in network namespaces: cargo xtask test"]
            fn in_user_space() {
                super::$test(false);
            }
        }
    )*};
}
