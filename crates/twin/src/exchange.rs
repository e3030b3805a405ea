//! What a scenario holds in its hands: connections to one broker, and the transcript of what is said on them.
//!
//! A scenario never checks anything. It asks, and uses the answers only to ask further; what a wrong answer leads
//! to stands in the transcript. An answer that cannot be read counts as an empty one.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use milena_protocol::header::{decode_response, request_frame};
use milena_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_protocol::messages::{CreateTopicsRequest, MetadataRequest, metadata_request::MetadataRequestTopic};
use milena_protocol::wire::{DecodeError, Decoder, Segment};
use milena_protocol::{ApiKey, ErrorCode, Request, Uuid};

use crate::connection::{ANSWER_LIMIT, Connection, Received};
use crate::normal::Names;
use crate::transcript::{Lines, Step, Transcript};
use crate::value::{self, Value, apis};

/// What every scenario's client calls itself, unless that is what it is about.
pub const CLIENT_ID: &str = "twin";
/// The connection that is used until another one is named.
const FIRST: &str = "";
/// How long a scenario waits for something to become so; once in vain, it is not patient again.
const PATIENCE: Duration = Duration::from_secs(8);
const PATIENCE_LOST: Duration = Duration::from_millis(300);
/// ListOffsets' special time for the high watermark.
const LOG_END: i64 = -1;
const PAUSE: Duration = Duration::from_millis(20);

/// A topic made for one scenario.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name: the scenario's prefix and what the scenario calls it.
    pub name: String,
    /// Its id.
    pub id: Uuid,
}

/// A connection, and the requests on it that are not answered yet.
struct Open {
    connection: Connection,
    waiting: VecDeque<Asked>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: i32,
    key: i16,
    version: i16,
}

/// One scenario's talk with one broker.
pub struct Exchange {
    broker: SocketAddr,
    prefix: String,
    connections: BTreeMap<&'static str, Open>,
    current: &'static str,
    asked: i32,
    names: Names,
    only_mine: bool,
    client_id: Option<String>,
    /// How long to wait for an answer, and for something to become so.
    limits: (Duration, Duration),
    transcript: Transcript,
}

impl Exchange {
    /// Begins a talk. Names of topics and groups begin with `prefix`.
    pub(crate) fn begin(broker: SocketAddr, prefix: String) -> Exchange {
        Exchange {
            broker,
            prefix,
            connections: BTreeMap::new(),
            current: FIRST,
            asked: 0,
            names: Names::default(),
            only_mine: false,
            client_id: Some(CLIENT_ID.to_owned()),
            limits: (ANSWER_LIMIT, PATIENCE),
            transcript: Transcript::default(),
        }
    }

    /// Ends it.
    pub(crate) fn into_transcript(self) -> Transcript {
        self.transcript
    }

    /// A name of a topic or group that no other scenario uses.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    /// What follows is said on the connection with that name, which is opened if need be.
    pub fn on(&mut self, connection: &'static str) -> &mut Exchange {
        self.current = connection;
        self
    }

    /// What follows is said under that client id.
    pub fn called(&mut self, client_id: Option<&str>) -> &mut Exchange {
        self.client_id = client_id.map(str::to_owned);
        self
    }

    /// From here on, lists that all scenarios share show only what belongs to this one.
    pub fn only_mine(&mut self) -> &mut Exchange {
        self.only_mine = true;
        self
    }

    /// Asks and waits for the answer.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>()
    }

    /// Asks the same at its oldest and its newest version.
    pub fn ask_ends<R: Request>(&mut self, request: &R) {
        self.ask(R::OLDEST, request);
        self.ask(R::NEWEST, request);
    }

    /// Asks in silence until the answer is as wished or patience ends, then asks once more for the transcript.
    pub fn ask_until<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        wished: impl Fn(&R::Response) -> bool,
    ) -> R::Response {
        self.wait_until(version, request, wished);
        self.ask(version, request)
    }

    /// Asks without waiting; [`Exchange::receive`] on the same connection takes the answer.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        let asked = self.tell(version, request);
        if let Some(open) = self.connections.get_mut(self.current) {
            open.waiting.push_back(asked);
        }
    }

    /// Sends a request that will not be answered.
    pub fn send_unanswered<R: Request>(&mut self, version: i16, request: &R) {
        self.tell(version, request);
    }

    fn tell<R: Request>(&mut self, version: i16, request: &R) -> Asked {
        let asked = self.next(R::KEY as i16, version);
        let mut body = Decoder::new(request.to_bytes(version).expect("a scenario says what the version can carry"));
        let api = &apis()[&asked.key];
        let value = value::decode(&api.request, version, &mut body).expect("definitions read what was written");
        self.put(format!("> {}", self.heading(asked, true)), api.name.as_str(), &value);
        let frame = request_frame(request, version, asked.number, self.client_id.as_deref());
        self.send_bytes(&joined(&frame.expect("it fits a frame")));
        asked
    }

    /// Sends any bytes after a right size and header; `shown` says in the transcript what they are. The answer is
    /// read as that key and version, where such a version exists.
    pub fn send_raw(&mut self, shown: &str, key: i16, version: i16, body: &[u8]) {
        let flexible = apis().get(&key).is_some_and(|api| api.request.flexible.contains(version));
        self.send_frame(shown, key, version, 1, |number| {
            let mut frame = BytesMut::new();
            frame.put_i16(key);
            frame.put_i16(version);
            frame.put_i32(number);
            frame.put_i16(CLIENT_ID.len() as i16);
            frame.extend_from_slice(CLIENT_ID.as_bytes());
            if flexible {
                frame.put_u8(0);
            }
            frame.extend_from_slice(body);
            frame
        });
    }

    /// Sends a frame that the scenario builds itself, header and all, around the number of the request; in so many
    /// pieces with a pause after each.
    pub fn send_frame(
        &mut self,
        shown: &str,
        key: i16,
        version: i16,
        pieces: usize,
        build: impl FnOnce(i32) -> BytesMut,
    ) {
        let asked = self.next(key, version);
        self.step(format!("> {} {shown}", asked.number));
        let frame = build(asked.number);
        let frame = [&(frame.len() as i32).to_be_bytes()[..], &frame].concat();
        for piece in frame.chunks(frame.len().div_ceil(pieces)) {
            self.send_bytes(piece);
            self.pause(if pieces > 1 { 20 } else { 0 });
        }
        if let Some(open) = self.connections.get_mut(self.current) {
            open.waiting.push_back(asked);
        }
    }

    /// Sends bytes with nothing around them. The answer, if any comes, is not read as anything.
    pub fn send_garbage(&mut self, shown: &str, bytes: &[u8]) {
        let asked = self.next(-1, -1);
        self.step(format!("> {} {shown}", asked.number));
        self.send_bytes(bytes);
        if let Some(open) = self.connections.get_mut(self.current) {
            open.waiting.push_back(asked);
        }
    }

    /// Waits for the answer to the oldest unanswered request of this connection.
    pub fn receive<R: Request>(&mut self) -> R::Response {
        let Some((asked, frame)) = self.receive_frame() else { return R::Response::default() };
        decode_response::<R>(frame, asked.version).map(|(_, response)| response).unwrap_or_default()
    }

    /// The same, where the request was raw.
    pub fn receive_raw(&mut self) {
        self.receive_frame();
    }

    /// Says in the transcript whether the oldest unanswered request is still unanswered after a moment.
    pub fn still_waiting(&mut self) {
        let Some(open) = self.connections.get_mut(self.current) else { return };
        let Some(asked) = open.waiting.front().copied() else { return };
        match open.connection.receive(Duration::from_millis(250)) {
            Received::Silence => self.step(format!("< {} nothing yet", asked.number)),
            Received::Closed => self.closed(asked),
            Received::Frame(frame) => {
                self.connections.get_mut(self.current).and_then(|open| open.waiting.pop_front());
                self.answered(asked, &frame);
            }
        }
    }

    /// Lets time pass.
    pub fn pause(&mut self, span_ms: u64) {
        std::thread::sleep(Duration::from_millis(span_ms));
    }

    /// Asks on a connection of its own, without a word in the transcript; `None` when there is no readable answer.
    pub fn quietly<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let back = std::mem::replace(&mut self.current, "quiet");
        let answer = self.quietly_here(version, request);
        self.current = back;
        answer
    }

    /// The same on the connection that is used now, where nothing may be waited for.
    pub fn quietly_here<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let frame = joined(&request_frame(request, version, 1, Some(CLIENT_ID)).expect("a scenario says what it can"));
        self.send_bytes(&frame);
        let received = self.connections.get_mut(self.current).map(|open| open.connection.receive(self.limits.0));
        match received {
            Some(Received::Frame(frame)) => decode_response::<R>(frame, version).ok().map(|(_, response)| response),
            _ => {
                self.connections.remove(self.current);
                None
            }
        }
    }

    /// The same many times in a row, without waiting for each answer; the last answer.
    pub fn quietly_repeated<R: Request>(&mut self, version: i16, request: &R, times: u32) -> Option<R::Response> {
        const AT_ONCE: u32 = 100;
        let frame = joined(&request_frame(request, version, 1, Some(CLIENT_ID)).expect("a scenario says what it can"));
        let mut connection = Connection::open(self.broker).ok()?;
        let mut last = None;
        for begun in (0..times).step_by(AT_ONCE as usize) {
            let count = AT_ONCE.min(times - begun);
            connection.send(&frame.repeat(count as usize));
            for _ in 0..count {
                let Received::Frame(frame) = connection.receive(self.limits.0) else { return None };
                last = Some(frame);
            }
        }
        decode_response::<R>(last?, version).ok().map(|(_, response)| response)
    }

    /// Makes a topic without a word in the transcript, and waits until it has its leaders.
    pub fn topic(&mut self, suffix: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let name = self.name(suffix);
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) })
            .collect();
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        self.quietly(7, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
        let id = self.wait_for_topic(&name, partitions);
        if id.is_none() {
            self.step(format!("! topic {name} does not come"));
        }
        Topic { name, id: id.unwrap_or(Uuid::ZERO) }
    }

    /// Waits in silence until the topic has that many partitions, and their leaders know that they are.
    pub fn wait_for_topic(&mut self, name: &str, partitions: i32) -> Option<Uuid> {
        let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..MetadataRequestTopic::default() };
        let metadata = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let each = (0..partitions).map(|partition_index| ListOffsetsPartition {
            partition_index,
            timestamp: LOG_END,
            ..ListOffsetsPartition::default()
        });
        let topic = ListOffsetsTopic { name: name.to_owned(), partitions: each.collect() };
        let ends = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        self.patiently(|x| {
            let known = x.quietly(12, &metadata)?.topics.into_iter().find(|topic| {
                topic.error_code == ErrorCode::None.number() && topic.partitions.len() == partitions as usize
            })?;
            let ends = x.quietly(5, &ends)?;
            let mut each = ends.topics.iter().flat_map(|topic| &topic.partitions);
            each.all(|partition| partition.error_code == 0).then_some(known.topic_id)
        })
    }

    /// Asks in silence until the answer is as wished or patience ends.
    pub fn wait_until<R: Request>(&mut self, version: i16, request: &R, wished: impl Fn(&R::Response) -> bool) {
        self.patiently(|x| x.quietly(version, request).filter(&wished).map(|_| ()));
    }

    /// Tries until something comes of it or patience ends.
    fn patiently<T>(&mut self, mut attempt: impl FnMut(&mut Exchange) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        loop {
            if let Some(result) = attempt(self) {
                return Some(result);
            }
            if started.elapsed() > self.limits.1 {
                self.limits.1 = PATIENCE_LOST;
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Writes into the transcript what a scenario found out in silence.
    pub(crate) fn found(&mut self, text: &str) {
        self.step(format!("= {text}"));
    }

    /// Writes a line of the harness into the transcript.
    pub(crate) fn note(&mut self, text: &str) {
        self.step(format!("! {text}"));
    }

    fn next(&mut self, key: i16, version: i16) -> Asked {
        self.asked += 1;
        Asked { number: self.asked, key, version }
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        if !self.connections.contains_key(self.current) {
            match Connection::open(self.broker) {
                Ok(connection) => {
                    self.connections.insert(self.current, Open { connection, waiting: VecDeque::new() });
                }
                Err(error) => {
                    self.limits.1 = PATIENCE_LOST;
                    return self.step(format!("! cannot connect: {}", error.kind()));
                }
            }
        }
        if let Some(open) = self.connections.get_mut(self.current) {
            open.connection.send(bytes);
        }
    }

    fn receive_frame(&mut self) -> Option<(Asked, Bytes)> {
        let open = self.connections.get_mut(self.current)?;
        let asked = open.waiting.pop_front().expect("a scenario receives what it has asked for");
        match open.connection.receive(self.limits.0) {
            Received::Frame(frame) => {
                self.answered(asked, &frame);
                Some((asked, frame))
            }
            Received::Closed => {
                self.closed(asked);
                None
            }
            Received::Silence => {
                self.step(format!("< {} no answer", asked.number));
                self.limits.0 = PATIENCE_LOST;
                self.connections.remove(self.current);
                None
            }
        }
    }

    fn closed(&mut self, asked: Asked) {
        self.step(format!("< {} closed", asked.number));
        self.connections.remove(self.current);
    }

    fn answered(&mut self, asked: Asked, frame: &Bytes) {
        let title = format!("< {}", self.heading(asked, false));
        let mut value = Vec::new();
        if let Err(error) = read_answer(asked, frame, &mut value) {
            let shown = frame.escape_ascii().to_string();
            value.push(("Unreadable".to_owned(), Value::Word(format!("{error}: {shown:.400}"))));
        }
        let name = apis().get(&asked.key).map_or("", |api| api.name.as_str());
        self.put(title, name, &Value::Struct(value));
    }

    fn heading(&self, asked: Asked, request: bool) -> String {
        let name = apis().get(&asked.key).map_or("bytes", |api| api.name.as_str());
        let on = match self.current {
            FIRST => String::new(),
            connection if request => format!(" on {connection}"),
            connection => format!(" to {connection}"),
        };
        format!("{} {name} v{}{on}", asked.number, asked.version)
    }

    fn put(&mut self, title: String, api: &str, value: &Value) {
        let mine = self.only_mine.then_some(self.prefix.as_str());
        let answer = title.starts_with('<');
        let mut lines = Lines { api, names: &mut self.names, answer, mine, lines: Vec::new() };
        lines.add("", "", value);
        self.transcript.steps.push(Step { title, lines: lines.lines });
    }

    fn step(&mut self, title: String) {
        self.transcript.steps.push(Step { title, lines: Vec::new() });
    }
}

/// Reads header and message by the definitions.
fn read_answer(asked: Asked, frame: &Bytes, fields: &mut Vec<(String, Value)>) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(frame.clone());
    let correlation_id = decoder.i32()?;
    if correlation_id != asked.number {
        fields.push(("CorrelationId".to_owned(), Value::Word(format!("{correlation_id} to request {}", asked.number))));
    }
    let Some(api) = apis().get(&asked.key) else {
        fields.push(("Bytes".to_owned(), Value::Bytes(decoder.take(decoder.remaining())?)));
        return Ok(());
    };
    // The answer to ApiVersions never has tags in its header: its reader cannot know the version (KIP-511).
    if asked.key != ApiKey::ApiVersions as i16 && api.response.flexible.contains(asked.version) {
        fields.extend(value::decode_header_tags(&mut decoder)?);
    }
    if let Value::Struct(body) = value::decode(&api.response, asked.version, &mut decoder)? {
        fields.extend(body);
    }
    decoder.finish()
}

fn joined(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        match segment {
            Segment::Bytes(piece) => bytes.extend_from_slice(piece),
            Segment::External(_) => unreachable!("requests carry their bytes themselves"),
        }
    }
    bytes
}
