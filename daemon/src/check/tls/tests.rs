//! A server with a certificate that nobody signed.

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::check::http;
use crate::check::model::Http;

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["www.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// What a check says, and the name that it asked for.
async fn asked(verify: bool) -> (String, Option<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = Http {
        server: listener.local_addr().unwrap(),
        host: "www.example.org".to_owned(),
        path: "/".to_owned(),
        tls: Some(Tls { name: "www.example.org".to_owned(), verify }),
        status: 200..=200,
        header: None,
        body: None,
    };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not like the certificate hangs up.
        let mut stream = acceptor().accept(stream).await.ok()?;
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let _ = stream.shutdown().await;
        name
    };
    let (result, name) = tokio::join!(http::get(&check), serve);
    (result.unwrap_or_else(|failure| failure.to_string()), name)
}

#[tokio::test]
async fn a_certificate_of_nobody() {
    let (result, name) = asked(false).await;
    assert_eq!((result.as_str(), name.as_deref()), ("status 200", Some("www.example.org")));
    let (result, _) = asked(true).await;
    assert!(result.starts_with("TLS: invalid peer certificate"), "{result}");
}
