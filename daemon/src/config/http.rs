//! Checks of web servers: what they are asked, and what they must answer.

use core::ops::RangeInclusive;

use regex_lite::Regex;

use super::checks::Fields;
use super::read::Reader;
use super::tree::{Node, Value};
use super::url::Url;
use crate::check::{Http, Kind, Pattern, Tls};

const URL: &str = "a URL like \"http://www.example.org:8080/health\"";
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

impl Reader<'_> {
    pub(super) fn http(&mut self, fields: &Fields<'_>, secure: bool) -> Option<Kind> {
        let url = match fields.get("url") {
            None => None,
            Some(node) => {
                let url = match &node.value {
                    Value::String(text) => Url::parse(text),
                    _ => None,
                };
                let scheme = if secure { "https" } else { "http" };
                match url.filter(|url| url.secure == secure) {
                    Some(url) => Some(url),
                    None => return self.refuse("url", node, &URL.replace("http", scheme)),
                }
            }
        };
        let at = url.as_ref();
        let default = if secure { HTTPS } else { HTTP };
        let port = at.map_or(default, |url| url.port.unwrap_or(default));
        let address = at.and_then(|url| url.host.trim_matches(['[', ']']).parse().ok());
        let server = self.server(fields, address, Some(port))?;
        let name = match at {
            Some(url) => url.host.clone(),
            None => server.ip().to_string(),
        };
        let mut header_text = |field: &str, default: String| match fields.get(field) {
            None => Some(default),
            Some(node) => {
                let text = self.text(field, node, "text without blanks and control characters")?;
                let good = !text.value.contains(|c: char| c.is_control() || c == ' ');
                if good {
                    Some(text.value)
                } else {
                    self.refuse(field, node, "text without blanks")
                }
            }
        };
        let host = header_text("host", name.clone())?;
        let path = header_text("path", at.map_or("/".to_owned(), |url| url.path.clone()))?;
        let sni = header_text("sni", if at.is_some() { name } else { host.clone() })?;
        if !path.starts_with('/') {
            let node = fields.get("path").unwrap_or(fields.check);
            return self.refuse("path", node, "a path that begins with /");
        }
        let tls = match (secure, fields.get("verify")) {
            (false, _) => None,
            (true, None) => Some(Tls { name: sni, verify: true }),
            (true, Some(node)) => {
                Some(Tls { name: sni, verify: self.boolean("verify", node)?.value })
            }
        };
        if let Some(tls) = &tls
            && rustls::pki_types::ServerName::try_from(tls.name.as_str()).is_err()
        {
            let node = fields.get("sni").or_else(|| fields.get("host")).unwrap_or(fields.check);
            return self.refuse("sni", node, "the name of a host");
        }
        let status = match fields.get("status") {
            Some(node) => self.status(node)?,
            None => 200..=399,
        };
        let header = match fields.get("header") {
            Some(node) => Some(self.header(node)?),
            None => None,
        };
        let body = self.optional_pattern(fields, "body")?;
        Some(Kind::Http(Box::new(Http { server, host, path, tls, status, header, body })))
    }

    /// `200` or `"200-399"`.
    fn status(&mut self, node: &Node) -> Option<RangeInclusive<u16>> {
        const ALLOWED: &str = "100 to 599, or two of them like \"200-399\"";
        let code = |text: &str| text.parse().ok().filter(|code| (100..=599).contains(code));
        let range = match &node.value {
            Value::Number(text) => code(text).map(|code| code..=code),
            Value::String(text) => text
                .split_once('-')
                .and_then(|(first, last)| Some(code(first)?..=code(last)?))
                .filter(|range| !range.is_empty()),
            _ => None,
        };
        range.or_else(|| self.refuse("status", node, ALLOWED))
    }

    /// `"Name: pattern"`.
    fn header(&mut self, node: &Node) -> Option<(String, Pattern)> {
        const ALLOWED: &str = "a name and a pattern, like \"X-Role: ^primary$\"";
        let parts = match &node.value {
            Value::String(text) => text.split_once(':'),
            _ => None,
        };
        let Some((name, pattern)) = parts.filter(|(name, _)| !name.trim().is_empty()) else {
            return self.refuse("header", node, ALLOWED);
        };
        match Regex::new(pattern.trim()) {
            Ok(regex) => Some((name.trim().to_owned(), Pattern(regex))),
            Err(error) => self.refuse("header", node, &format!("{ALLOWED} ({error})")),
        }
    }
}
