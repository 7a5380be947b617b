//! Checks by TCP and UDP.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpStream, UdpSocket};

use super::model::Udp;
use super::probe::Failure;

/// The longest datagram that is looked at.
const MAX_DATAGRAM: usize = 4096;

/// Whether a connection can be made.
pub(super) async fn tcp(server: SocketAddr) -> Result<String, Failure> {
    TcpStream::connect(server).await.map_err(Failure::Connect)?;
    Ok("connected".to_owned())
}

/// A socket that hears nobody but this server, and learns when nobody listens there.
pub(super) async fn connected(server: SocketAddr) -> Result<UdpSocket, Failure> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(Failure::Connect)?;
    socket.connect(server).await.map_err(Failure::Connect)?;
    Ok(socket)
}

/// Whether a datagram is answered as it should be.
pub(super) async fn udp(check: &Udp) -> Result<String, Failure> {
    let socket = connected(check.server).await?;
    socket.send(check.send.as_bytes()).await.map_err(Failure::Talk)?;
    let mut buffer = [0; MAX_DATAGRAM];
    let length = socket.recv(&mut buffer).await.map_err(Failure::Talk)?;
    let answer = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
    match &check.expect {
        Some(pattern) if !pattern.0.is_match(&answer) => Err(Failure::Answer),
        _ => Ok(format!("answered with {length} bytes")),
    }
}
