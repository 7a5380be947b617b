//! Object paths: `/org/nlbd1/cluster/NAME/node/ID`.

/// The root object.
pub(crate) const ROOT: &str = "/org/nlbd1";

/// The object of a cluster.
#[must_use]
pub fn cluster_path(cluster: &str) -> String {
    format!("{ROOT}/cluster/{}", escape(cluster))
}

/// The object of a node.
#[must_use]
pub fn node_path(cluster: &str, id: &str) -> String {
    format!("{}/node/{}", cluster_path(cluster), escape(id))
}

/// A name as one element of a path: every byte but ASCII letters and digits becomes `_` and two
/// hexadecimal digits; nothing becomes `_`.
fn escape(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("_{byte:02x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_elements_of_a_path() {
        for (name, escaped) in [
            ("nlb0", "nlb0"),
            ("", "_"),
            ("0a", "0a"),
            ("web-1", "web_2d1"),
            ("a_b", "a_5fb"),
            ("a.ü", "a_2e_c3_bc"),
            ("/", "_2f"),
        ] {
            assert_eq!(escape(name), escaped);
            zbus::ObjectPath::try_from(cluster_path(name)).unwrap();
        }
        let path = node_path("nlb0", "0000000000000001");
        assert_eq!(path, "/org/nlbd1/cluster/nlb0/node/0000000000000001");
    }
}
