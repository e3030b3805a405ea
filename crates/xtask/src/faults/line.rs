//! One connection to a server: requests go out numbered, answers come back in the same order.

use super::wire::{self, Writer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Line {
    stream: TcpStream,
    sent: i32,
    received: i32,
}

impl Line {
    /// Connects to a server that may be silent for `patience`.
    pub(crate) fn open(address: &str, patience: Duration) -> Result<Line, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
        let set = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(patience)))
            .and_then(|()| stream.set_write_timeout(Some(patience)));
        set.map_err(|error| format!("{address}: {error}"))?;
        Ok(Line { stream, sent: 0, received: 0 })
    }

    /// Sends a request of a version that is not flexible.
    pub(crate) fn send(&mut self, key: i16, version: i16, body: Writer) -> Result<(), String> {
        self.sent += 1;
        let frame = wire::request(key, version, self.sent, body);
        self.stream.write_all(&frame).map_err(|error| format!("sending request {key}: {error}"))
    }

    /// The body of the next answer.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>, String> {
        let mut read = |bytes: &mut [u8]| self.stream.read_exact(bytes).map_err(|error| format!("no answer: {error}"));
        let mut head = [0; 8];
        read(&mut head)?;
        let [size, correlation] =
            [&head[..4], &head[4..]].map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four")));
        let size = usize::try_from(size).map_err(|_| "a frame of negative size".to_owned())?;
        let mut body = vec![0; size.checked_sub(4).ok_or("a frame without a number")?];
        read(&mut body)?;
        self.received += 1;
        if correlation != self.received {
            return Err(format!("answer {correlation} came in the place of {}", self.received));
        }
        Ok(body)
    }

    pub(crate) fn ask(&mut self, key: i16, version: i16, body: Writer) -> Result<Vec<u8>, String> {
        self.send(key, version, body)?;
        self.receive()
    }
}
