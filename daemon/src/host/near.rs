//! The name that somebody may have meant. Pure.

/// Differences that a slip of the fingers makes at most.
const SLIPS: usize = 2;

/// The name among `names` that is nearest to one that is not there, if it is near.
#[must_use]
pub fn near<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Half of a short name may not be other.
    let most = SLIPS.min(wanted.chars().count() / 2);
    let slips = names.into_iter().map(|name| (slips(wanted, name), name));
    slips.filter(|(slips, _)| (1..=most).contains(slips)).min().map(|(_, name)| name)
}

/// How many characters are missing, too many or other; two that changed places count as one
/// (optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best =
                (rows[i][j + 1] + 1).min(row[j] + 1).min(rows[i][j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers() {
        let names = ["lo", "eth0", "eth1", "enp3s0", "bond0"];
        for (wanted, meant) in [
            ("eht0", Some("eth0")),
            ("eth00", Some("eth0")),
            ("eth", Some("eth0")),
            ("ETH0", None),
            ("enp3so", Some("enp3s0")),
            ("enps30", Some("enp3s0")),
            ("bnod1", Some("bond0")),
            ("wlan0", None),
            ("", None),
            ("e", None),
            ("o", None),
            ("eth1", Some("eth0")),
        ] {
            assert_eq!(near(wanted, names), meant, "{wanted}");
        }
        assert_eq!(near("eth0", []), None);
    }
}
