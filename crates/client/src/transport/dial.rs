//! How a connection comes into being: over TCP, or over whatever a simulation hands in.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Address;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A stream that is being opened.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Opens streams to brokers.
///
/// An implementation MUST open a fresh stream at every call, and MUST NOT retry: the caller decides that.
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream to `address`. Dropping the future gives up.
    fn dial(&self, address: &Address) -> Dialing;
}

/// Plain TCP, with Nagle's delay switched off.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

impl Dial for TcpDialer {
    fn dial(&self, address: &Address) -> Dialing {
        let (host, port) = (address.host.clone(), address.port);
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
