//! A connection that many tasks share.
//!
//! ```text
//! call ──► bounded queue ──► writer task ──► socket ──► reader task ──► the waiting call, by correlation id
//! ```
//! At most [`ConnectionSettings::in_flight_max`] requests wait for an answer; the next one waits for its turn.
//! The first error of either task closes the connection, and every waiting call learns why.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_protocol::header::{decode_response, request_frame};
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::wire::{DecodeError, Segment};
use milena_protocol::{ApiKey, ErrorCode, Message, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::{Address, ApiVersions, Dial, Stream, TransportError, VersionRange};

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// The client id in every request header.
    pub client_id: String,
    /// How long opening may take, the negotiation of versions included.
    pub connect_timeout: Duration,
    /// How long an answer may take, unless the call says otherwise.
    pub request_timeout: Duration,
    /// How many requests may wait for their answers; further calls wait.
    pub in_flight_max: usize,
    /// The largest answer in bytes; a larger one closes the connection.
    pub frame_bytes_max: usize,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        ConnectionSettings {
            client_id: "milena".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            in_flight_max: 64,
            frame_bytes_max: 128 * 1024 * 1024,
        }
    }
}

/// An open connection. Clones share it; it closes when the last one and all replies are gone.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
}

/// One frame on its way to the writer.
struct Outgoing {
    segments: Vec<Segment>,
}

struct Shared {
    address: Address,
    settings: ConnectionSettings,
    versions: ApiVersions,
    correlation_id: AtomicI32,
    in_flight: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    /// True once closed; the tasks end when they see it.
    closed: watch::Sender<bool>,
}

/// The calls that wait for an answer, until the connection is closed for a reason.
enum Waiting {
    Open(BTreeMap<i32, oneshot::Sender<Bytes>>),
    Closed(String),
}

impl Connection {
    /// Dials `address` and negotiates versions.
    pub async fn open(
        dialer: &dyn Dial,
        address: &Address,
        settings: ConnectionSettings,
    ) -> Result<Connection, TransportError> {
        let failed = |reason| TransportError::Connect { address: address.clone(), reason: Arc::new(reason) };
        let limit = settings.connect_timeout;
        let opening = async {
            let stream = dialer.dial(address).await.map_err(failed)?;
            Connection::negotiate(stream, address.clone(), settings).await
        };
        timeout(limit, opening).await.unwrap_or_else(|_| Err(TransportError::too_late(address, limit)))
    }

    /// Takes over an open stream: asks for the broker's versions, then serves calls.
    async fn negotiate(
        mut stream: Box<dyn Stream>,
        address: Address,
        settings: ConnectionSettings,
    ) -> Result<Connection, TransportError> {
        let versions = ask_versions(&mut stream, &address, &settings).await?;
        let (outgoing, queue) = mpsc::channel(settings.in_flight_max);
        let shared = Arc::new(Shared {
            address,
            versions,
            correlation_id: AtomicI32::new(1),
            in_flight: Arc::new(Semaphore::new(settings.in_flight_max)),
            waiting: Mutex::new(Waiting::Open(BTreeMap::new())),
            closed: watch::channel(false).0,
            settings,
        });
        let (reading, writing) = tokio::io::split(stream);
        tokio::spawn(write_frames(Arc::clone(&shared), writing, queue));
        tokio::spawn(read_frames(Arc::clone(&shared), reading));
        Ok(Connection { shared, outgoing })
    }

    /// Who is at the other end.
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &ApiVersions {
        &self.shared.versions
    }

    /// Whether it can no longer be used.
    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Sends a request in the newest common version and waits for the answer.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, TransportError> {
        self.call_within(request, self.shared.settings.request_timeout).await
    }

    /// Like [`Connection::call`] with a time limit of its own, for requests that wait by intention.
    pub async fn call_within<R: Request>(&self, request: &R, limit: Duration) -> Result<R::Response, TransportError> {
        self.send(request).await?.within(limit).await
    }

    /// Like [`Connection::call`] in no newer version than `newest`, where a newer one means something else.
    pub async fn call_up_to<R: Request>(&self, request: &R, newest: i16) -> Result<R::Response, TransportError> {
        self.send_up_to(request, newest).await?.answer().await
    }

    /// Sends a request without waiting for its answer. Requests leave in the order in which this returned.
    pub async fn send<R: Request>(&self, request: &R) -> Result<Reply<R>, TransportError> {
        self.send_up_to(request, R::NEWEST).await
    }

    /// Like [`Connection::send`] in no newer version than `newest`.
    pub async fn send_up_to<R: Request>(&self, request: &R, newest: i16) -> Result<Reply<R>, TransportError> {
        let version = self.newest_common_up_to::<R>(newest)?;
        let permit =
            Arc::clone(&self.shared.in_flight).acquire_owned().await.map_err(|_| self.shared.closed_error())?;
        let correlation_id = self.shared.correlation_id.fetch_add(1, Ordering::Relaxed);
        let segments = request_frame(request, version, correlation_id, Some(&self.shared.settings.client_id))?;
        let (answer, waiting) = oneshot::channel();
        self.shared.expect(correlation_id, answer)?;
        self.queue(segments).await?;
        Ok(Reply { connection: self.clone(), version, waiting, _permit: permit, _request: std::marker::PhantomData })
    }

    /// Sends a request that the protocol does not answer (Produce with acks = 0).
    pub async fn send_unanswered<R: Request>(&self, request: &R) -> Result<(), TransportError> {
        let version = self.newest_common::<R>()?;
        let correlation_id = self.shared.correlation_id.fetch_add(1, Ordering::Relaxed);
        self.queue(request_frame(request, version, correlation_id, Some(&self.shared.settings.client_id))?).await
    }

    async fn queue(&self, segments: Vec<Segment>) -> Result<(), TransportError> {
        self.outgoing.send(Outgoing { segments }).await.map_err(|_| self.shared.closed_error())
    }

    /// The newest version of a request that both sides speak.
    pub fn newest_common<R: Request>(&self) -> Result<i16, TransportError> {
        self.newest_common_up_to::<R>(R::NEWEST)
    }

    fn newest_common_up_to<R: Request>(&self, newest: i16) -> Result<i16, TransportError> {
        self.shared.versions.newest_common::<R>(newest).ok_or_else(|| TransportError::NoCommonVersion {
            address: self.shared.address.clone(),
            key: R::KEY,
            ours: VersionRange { oldest: R::OLDEST, newest: R::NEWEST.min(newest) },
            theirs: self.shared.versions.of(R::KEY),
        })
    }
}

/// An answer that is still to come. Dropping it gives up the answer, not the request.
pub struct Reply<R> {
    connection: Connection,
    version: i16,
    waiting: oneshot::Receiver<Bytes>,
    _permit: OwnedSemaphorePermit,
    _request: std::marker::PhantomData<fn() -> R>,
}

impl<R: Request> Reply<R> {
    /// Waits for the answer for at most [`ConnectionSettings::request_timeout`].
    pub async fn answer(self) -> Result<R::Response, TransportError> {
        let limit = self.connection.shared.settings.request_timeout;
        self.within(limit).await
    }

    /// Waits for the answer. When `limit` has passed the connection is closed: answers come in order, so that
    /// those behind this one would be late too.
    pub async fn within(self, limit: Duration) -> Result<R::Response, TransportError> {
        let shared = &self.connection.shared;
        let frame = match timeout(limit, self.waiting).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(_)) => return Err(shared.closed_error()),
            Err(_) => {
                shared.close(format!("no answer to {} within {limit:?}", R::KEY.name()));
                let timeout_ms = limit.as_millis() as u64;
                return Err(TransportError::Timeout { address: shared.address.clone(), key: R::KEY, timeout_ms });
            }
        };
        let (_, response) =
            decode_response::<R>(frame, self.version).map_err(|reason| shared.decode_error(R::KEY, reason))?;
        Ok(response)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call for its answer.
    fn expect(&self, correlation_id: i32, answer: oneshot::Sender<Bytes>) -> Result<(), TransportError> {
        match &mut *self.waiting() {
            Waiting::Open(calls) => {
                calls.insert(correlation_id, answer);
                Ok(())
            }
            Waiting::Closed(reason) => {
                Err(TransportError::Closed { address: self.address.clone(), reason: reason.clone() })
            }
        }
    }

    /// Hands an answer to its call. An answer that nobody asked for is a broken peer.
    fn deliver(&self, frame: Bytes) -> Result<(), String> {
        let Some(prefix) = frame.first_chunk::<4>() else { return Err("an answer without a header".to_owned()) };
        let correlation_id = i32::from_be_bytes(*prefix);
        let Waiting::Open(calls) = &mut *self.waiting() else { return Ok(()) };
        let call =
            calls.remove(&correlation_id).ok_or_else(|| format!("an answer to unknown call {correlation_id}"))?;
        // A caller that has given up no longer listens; that is its right.
        call.send(frame).ok();
        Ok(())
    }

    /// The first reason stays. Dropping the waiting calls wakes them.
    fn close(&self, reason: String) {
        let mut waiting = self.waiting();
        if let Waiting::Open(_) = *waiting {
            *waiting = Waiting::Closed(reason);
            self.in_flight.close();
            self.closed.send_replace(true);
        }
    }

    fn closed_error(&self) -> TransportError {
        let reason = match &*self.waiting() {
            Waiting::Open(_) => "the connection is closing".to_owned(),
            Waiting::Closed(reason) => reason.clone(),
        };
        TransportError::Closed { address: self.address.clone(), reason }
    }

    fn decode_error(&self, key: ApiKey, reason: DecodeError) -> TransportError {
        TransportError::Decode { address: self.address.clone(), key, reason }
    }
}

/// Writes frames until the last [`Connection`] is gone or the connection breaks. Flushes when none is waiting,
/// so that frames which are ready together leave together.
async fn write_frames(shared: Arc<Shared>, stream: WriteHalf<Box<dyn Stream>>, mut queue: mpsc::Receiver<Outgoing>) {
    let mut stream = BufWriter::with_capacity(SOCKET_BUFFER_BYTES, stream);
    let mut closed = shared.closed.subscribe();
    let writing = async {
        while let Some(first) = queue.recv().await {
            write_frame(&mut stream, first).await?;
            while let Ok(next) = queue.try_recv() {
                write_frame(&mut stream, next).await?;
            }
            stream.flush().await?;
        }
        io::Result::Ok(())
    };
    let reason = until_closed(&mut closed, writing).await;
    shared.close(reason.unwrap_or_else(|| "this side is done".to_owned()));
    // Nobody is left to hear of a farewell that failed.
    stream.shutdown().await.ok();
}

async fn write_frame<W: AsyncWriteExt + Unpin>(stream: &mut W, frame: Outgoing) -> io::Result<()> {
    for segment in &frame.segments {
        match segment {
            Segment::Bytes(bytes) => stream.write_all(bytes).await?,
            Segment::External(_) => return Err(io::Error::other("a request refers to bytes that are not at hand")),
        }
    }
    Ok(())
}

/// Reads frames until the connection breaks or is closed.
async fn read_frames(shared: Arc<Shared>, stream: ReadHalf<Box<dyn Stream>>) {
    let mut stream = BufReader::with_capacity(SOCKET_BUFFER_BYTES, stream);
    let mut closed = shared.closed.subscribe();
    let reading = async {
        loop {
            let frame = read_frame(&mut stream, shared.settings.frame_bytes_max).await?;
            shared.deliver(frame).map_err(io::Error::other)?;
        }
    };
    if let Some(reason) = until_closed(&mut closed, reading).await {
        shared.close(reason);
    }
}

/// Runs one direction. `None` when it ended in peace or the other direction has closed the connection.
async fn until_closed(
    closed: &mut watch::Receiver<bool>,
    direction: impl Future<Output = io::Result<()>>,
) -> Option<String> {
    tokio::select! {
        biased;
        _ = closed.wait_for(|closed| *closed) => None,
        ended = direction => ended.err().map(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the broker hung up".to_owned(),
            _ => error.to_string(),
        }),
    }
}

/// One frame without its size. Memory grows with what arrives, not with what the size promises.
async fn read_frame<R: AsyncReadExt + Unpin>(stream: &mut R, bytes_max: usize) -> io::Result<Bytes> {
    let claimed = stream.read_i32().await?;
    let size = usize::try_from(claimed).ok().filter(|size| *size <= bytes_max);
    let Some(size) = size else { return Err(io::Error::other(format!("a frame of {claimed} bytes"))) };
    let mut frame = BytesMut::with_capacity(size.min(FRAME_STEP_BYTES));
    let mut rest = stream.take(size as u64);
    while frame.len() < size {
        frame.reserve((size - frame.len()).min(FRAME_STEP_BYTES));
        if rest.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Asks what the broker speaks. A broker older than our newest question answers in version 0 with
/// UNSUPPORTED_VERSION; then we ask again in a version that it named, or in 0 (KIP-511).
async fn ask_versions(
    stream: &mut Box<dyn Stream>,
    address: &Address,
    settings: &ConnectionSettings,
) -> Result<ApiVersions, TransportError> {
    let mut version = <ApiVersionsRequest as milena_protocol::Message>::NEWEST;
    for attempt in 0..2 {
        let request = ApiVersionsRequest {
            client_software_name: "milena".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let segments = request_frame(&request, version, 0, Some(&settings.client_id))?;
        let closed = |error: io::Error| TransportError::Closed { address: address.clone(), reason: error.to_string() };
        write_frame(stream, Outgoing { segments }).await.map_err(closed)?;
        stream.flush().await.map_err(closed)?;
        let frame = read_frame(stream, settings.frame_bytes_max).await.map_err(closed)?;
        let decode = |reason| TransportError::Decode { address: address.clone(), key: ApiKey::ApiVersions, reason };
        let unsupported =
            |frame: &Bytes| frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.number().to_be_bytes());
        if attempt == 0 && unsupported(&frame) {
            let (_, answer) = decode_response::<ApiVersionsRequest>(frame, 0).map_err(decode)?;
            version = ApiVersions::from_response(&answer)
                .newest_common::<ApiVersionsRequest>(ApiVersionsRequest::NEWEST)
                .unwrap_or(0);
            continue;
        }
        let (_, answer): (i32, ApiVersionsResponse) =
            decode_response::<ApiVersionsRequest>(frame, version).map_err(decode)?;
        return Ok(ApiVersions::from_response(&answer));
    }
    Err(TransportError::NoCommonVersion {
        address: address.clone(),
        key: ApiKey::ApiVersions,
        ours: VersionRange { oldest: 0, newest: ApiVersionsRequest::NEWEST },
        theirs: VersionRange::EMPTY,
    })
}

/// Read and write buffers of one connection, each.
const SOCKET_BUFFER_BYTES: usize = 16 * 1024;
/// A frame's memory grows in steps of this size.
const FRAME_STEP_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Dialing;
    use milena_protocol::header::{RequestHeader, response_frame};
    use milena_protocol::messages::{HeartbeatRequest, HeartbeatResponse, api_versions_response};
    use milena_protocol::wire::Decoder;
    use tokio::io::DuplexStream;

    /// Hands out one end of a pipe whose other end a test plays the broker on.
    struct Pipe(Mutex<Option<DuplexStream>>);

    impl Dial for Pipe {
        fn dial(&self, _: &Address) -> Dialing {
            let stream = self.0.lock().unwrap().take();
            Box::pin(async move {
                let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            })
        }
    }

    /// A broker that does what the test says.
    struct Broker(DuplexStream);

    impl Broker {
        async fn receive(&mut self) -> RequestHeader {
            let frame = read_frame(&mut self.0, usize::MAX).await.unwrap();
            RequestHeader::decode_prefix(&mut Decoder::new(frame)).unwrap()
        }

        async fn answer<M: milena_protocol::Message>(&mut self, to: &RequestHeader, version: i16, answer: &M) {
            let key = ApiKey::from_number(to.key).unwrap();
            let segments = response_frame(key, answer, version, to.correlation_id).unwrap();
            write_frame(&mut self.0, Outgoing { segments }).await.unwrap();
        }

        async fn answer_heartbeat(&mut self, to: &RequestHeader, code: ErrorCode) {
            let answer = HeartbeatResponse { error_code: code.number(), ..Default::default() };
            self.answer(to, to.version, &answer).await;
        }

        /// Plays a broker that speaks these versions of Heartbeat.
        async fn negotiate(&mut self, oldest: i16, newest: i16) {
            let asked = self.receive().await;
            self.answer(&asked, asked.version, &versions(oldest, newest)).await;
        }
    }

    fn versions(oldest: i16, newest: i16) -> ApiVersionsResponse {
        let api = |key: ApiKey, min_version, max_version| api_versions_response::ApiVersion {
            api_key: key as i16,
            min_version,
            max_version,
        };
        let api_keys = vec![api(ApiKey::Heartbeat, oldest, newest), api(ApiKey::ApiVersions, 0, 2)];
        ApiVersionsResponse { api_keys, ..Default::default() }
    }

    fn pipe() -> (Pipe, Broker) {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        (Pipe(Mutex::new(Some(ours))), Broker(theirs))
    }

    async fn open(pipe: Pipe) -> Result<Connection, TransportError> {
        Connection::open(&pipe, &Address::new("broker", 9092), ConnectionSettings::default()).await
    }

    async fn opened(oldest: i16, newest: i16) -> (Connection, Broker) {
        let (pipe, mut broker) = pipe();
        let (connection, ()) = tokio::join!(open(pipe), broker.negotiate(oldest, newest));
        (connection.unwrap(), broker)
    }

    #[tokio::test]
    async fn answers_find_their_requests_whatever_their_order() {
        let (connection, mut broker) = opened(0, 4).await;
        let request = HeartbeatRequest::default();
        let first = connection.send(&request).await.unwrap();
        let second = connection.send(&request).await.unwrap();
        let (one, two) = (broker.receive().await, broker.receive().await);
        broker.answer_heartbeat(&two, ErrorCode::IllegalGeneration).await;
        broker.answer_heartbeat(&one, ErrorCode::None).await;
        assert_eq!(second.answer().await.unwrap().error_code, ErrorCode::IllegalGeneration.number());
        assert_eq!(first.answer().await.unwrap().error_code, 0);
    }

    #[tokio::test]
    async fn the_newest_common_version_is_spoken() {
        let (connection, mut broker) = opened(0, 2).await;
        let _reply = connection.send(&HeartbeatRequest::default()).await.unwrap();
        assert_eq!(broker.receive().await.version, 2);
    }

    #[tokio::test]
    async fn a_request_that_the_broker_does_not_speak_is_refused_here() {
        let (connection, _broker) = opened(7, 9).await;
        let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
        assert!(matches!(error, TransportError::NoCommonVersion { key: ApiKey::Heartbeat, .. }), "{error}");
    }

    #[tokio::test]
    async fn an_older_broker_is_asked_for_its_versions_again() {
        let (pipe, mut broker) = pipe();
        let playing = async {
            let first = broker.receive().await;
            let refusal = ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion.number(), ..versions(0, 4) };
            broker.answer(&first, 0, &refusal).await;
            let second = broker.receive().await;
            broker.answer(&second, second.version, &versions(0, 4)).await;
            second.version
        };
        let (connection, version) = tokio::join!(open(pipe), playing);
        assert_eq!(version, 2);
        assert_eq!(connection.unwrap().versions().of(ApiKey::Heartbeat), VersionRange { oldest: 0, newest: 4 });
    }

    #[tokio::test]
    async fn waiting_calls_learn_that_the_broker_hung_up() {
        let (connection, mut broker) = opened(0, 4).await;
        let reply = connection.send(&HeartbeatRequest::default()).await.unwrap();
        broker.receive().await;
        drop(broker);
        assert!(matches!(reply.answer().await.unwrap_err(), TransportError::Closed { .. }));
        assert!(connection.is_closed());
        let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
        assert!(matches!(error, TransportError::Closed { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_closes_the_connection() {
        let (connection, _broker) = opened(0, 4).await;
        let limit = Duration::from_millis(10);
        let error = connection.call_within(&HeartbeatRequest::default(), limit).await.unwrap_err();
        assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
        assert!(connection.is_closed());
    }

    #[tokio::test]
    async fn an_absurd_frame_closes_the_connection_without_taking_memory() {
        let (connection, mut broker) = opened(0, 4).await;
        let reply = connection.send(&HeartbeatRequest::default()).await.unwrap();
        broker.0.write_i32(i32::MAX).await.unwrap();
        let error = reply.answer().await.unwrap_err();
        assert!(error.to_string().contains("a frame of 2147483647 bytes"), "{error}");
    }

    #[tokio::test]
    async fn calls_beyond_the_bound_wait_for_their_turn() {
        let (pipe, mut broker) = pipe();
        let settings = ConnectionSettings { in_flight_max: 1, ..ConnectionSettings::default() };
        let address = Address::new("broker", 9092);
        let (connection, ()) = tokio::join!(Connection::open(&pipe, &address, settings), broker.negotiate(0, 4));
        let connection = connection.unwrap();
        let first = connection.send(&HeartbeatRequest::default()).await.unwrap();
        let request = HeartbeatRequest::default();
        let second = timeout(Duration::from_millis(20), connection.send(&request)).await;
        assert!(second.is_err(), "the second request left before the first was answered");
        let asked = broker.receive().await;
        broker.answer_heartbeat(&asked, ErrorCode::None).await;
        first.answer().await.unwrap();
        connection.send(&request).await.unwrap();
    }
}
