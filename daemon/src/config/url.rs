//! URLs of checks: scheme, host, port, path, and nothing that a check has no use for.

/// A URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Whether it is one of HTTPS.
    pub(super) secure: bool,
    /// A name or an address, an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let bracket = authority.rfind(']').unwrap_or(0);
        let (host, port) = match authority.rfind(':').filter(|colon| *colon > bracket) {
            Some(colon) => (&authority[..colon], Some(authority[colon + 1..].parse().ok()?)),
            None => (authority, None),
        };
        let good = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse::<core::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_host),
        };
        let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        (good && printable && port != Some(0)).then(|| Self {
            secure,
            host: host.to_owned(),
            port,
            path,
        })
    }
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn parts() {
        let url =
            |text| Url::parse(text).map(|url| (url.secure, url.host, url.port, url.path)).unwrap();
        let parts =
            |secure, host: &str, port, path: &str| (secure, host.to_owned(), port, path.to_owned());
        assert_eq!(url("http://a.example"), parts(false, "a.example", None, "/"));
        assert_eq!(url("https://a:8443/x?y=z"), parts(true, "a", Some(8443), "/x?y=z"));
        assert_eq!(url("http://[::1]:80/"), parts(false, "[::1]", Some(80), "/"));
        assert_eq!(url("http://192.0.2.1?q"), parts(false, "192.0.2.1", None, "/?q"));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "a.example",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://a:/",
            "http://a:0/",
            "http://a:70000/",
            "http://a b/",
            "http://u@a/",
            "http://[::1/",
            "http://[x]/",
            "http://a/ b",
            "http://a/#f",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
