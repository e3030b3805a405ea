//! A client that speaks the wire over a simulated network, and a node for it to speak to.

use std::sync::Arc;

use milena_disk::MemoryDisk;
use milena_protocol::Request;
use milena_protocol::header::{decode_response, request_frame};
use milena_protocol::messages::CreateTopicsRequest;
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::wire::Segment;
use milena_server::{Running, Settings, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::world::{Network, SimWorld};

/// A client that speaks the wire and writes down what it saw, and when.
pub(crate) struct Client {
    stream: DuplexStream,
    connected: Instant,
    pub(crate) story: Vec<String>,
}

impl Client {
    /// Connects to the node on `port`.
    pub(crate) fn connect(network: &Network, port: u16) -> Client {
        let stream = network.connect(port).expect("the node listens");
        Client { stream, connected: Instant::now(), story: Vec::new() }
    }

    /// Sends a request and waits for nothing.
    pub(crate) async fn tell<R: Request>(&mut self, request: &R, version: i16) {
        for segment in request_frame(request, version, 7, Some("seam")).expect("sayable") {
            let Segment::Bytes(bytes) = segment else { panic!("nothing external") };
            self.stream.write_all(&bytes).await.expect("connected");
        }
    }

    /// One request and its answer.
    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        self.tell(request, version).await;
        self.heard::<R>(version).await
    }

    /// Sends nothing more, but still listens.
    pub(crate) async fn sends_no_more(&mut self) {
        self.stream.shutdown().await.expect("connected");
    }

    /// The next answer, which is to a request that was told before.
    pub(crate) async fn heard<R: Request>(&mut self, version: i16) -> R::Response
    where
        R::Response: std::fmt::Debug,
    {
        let size = self.stream.read_i32().await.expect("an answer");
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.expect("an answer");
        let (_, response) = decode_response::<R>(frame.into(), version).expect("well formed");
        self.story.push(format!("{:?} {} {response:?}", self.connected.elapsed(), R::NAME));
        response
    }

    /// Creates a topic of one replica.
    pub(crate) async fn create(&mut self, name: &str, num_partitions: i32) {
        let topic =
            CreatableTopic { name: name.to_owned(), num_partitions, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        assert_eq!(self.ask(&request, 7).await.topics[0].error_code, 0);
    }

    /// Announces a frame of so many bytes and sends the first of them.
    pub(crate) async fn begin_frame(&mut self, size_bytes: u32) {
        self.stream.write_all(&size_bytes.to_be_bytes()).await.expect("connected");
        self.stream.write_all(&[0; 8]).await.expect("connected");
    }

    /// Whether the node has ended the connection, after whatever it had sent before.
    pub(crate) async fn is_cut_off(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        tokio::time::timeout(std::time::Duration::from_millis(100), read).await.is_ok()
    }

    /// Sends raw bytes; whether the node ends the connection without an answer.
    pub(crate) async fn is_cut_off_by(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.expect("connected");
        self.stream.read_u8().await.is_err()
    }
}

/// Starts a node on the network.
pub(crate) async fn node(network: &Arc<Network>, disk: &MemoryDisk, port: u16, seed: u64) -> Running<SimWorld> {
    node_with(network, disk, port, seed, &[]).await
}

/// Starts a node with settings of its own.
pub(crate) async fn node_with(
    network: &Arc<Network>,
    disk: &MemoryDisk,
    port: u16,
    seed: u64,
    more: &[(&str, &str)],
) -> Running<SimWorld> {
    node_on(SimWorld::new(network, disk, seed), port, more).await
}

/// Starts a node on a machine.
pub(crate) async fn node_on(world: Arc<SimWorld>, port: u16, more: &[(&str, &str)]) -> Running<SimWorld> {
    let listeners = format!("PLAINTEXT://127.0.0.1:{port}");
    let given = [("listeners", listeners.as_str()), ("log.dirs", "/data")];
    let file = given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let settings = Settings::read(file).expect("valid");
    start(world, settings).await.expect("the node starts")
}
