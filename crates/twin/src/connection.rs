//! One TCP connection that knows nothing but frames. Being closed, and silence, are answers too.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A broker that has not answered by then will not answer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// No scenario asks for more.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// A frame, without the size before it.
    Frame(Bytes),
    /// The broker closed the connection.
    Closed,
    /// Nothing within the limit.
    Silence,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(broker: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&broker, ANSWER_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Connection { stream })
    }

    /// Sends bytes as they are. A connection that is closed already shows itself in the next `receive`.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits for a whole frame.
    pub(crate) fn receive(&mut self, limit: Duration) -> Received {
        let deadline = Instant::now() + limit;
        let mut size = [0; 4];
        if let Some(ended) = self.fill(&mut size, deadline) {
            return ended;
        }
        let Ok(size) = usize::try_from(i32::from_be_bytes(size)) else { return Received::Closed };
        let mut frame = vec![0; size.min(FRAME_BYTES_MAX)];
        self.fill(&mut frame, deadline).unwrap_or_else(|| Received::Frame(frame.into()))
    }

    /// Reads until `buffer` is full; `None` when it is.
    fn fill(&mut self, buffer: &mut [u8], deadline: Instant) -> Option<Received> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return Some(Received::Silence);
            }
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Some(Received::Closed),
                Ok(count) => filled += count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Some(Received::Silence);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(Received::Closed),
            }
        }
        None
    }
}
