//! The headers before every request and response, and whole frames: size, header, message.

use bytes::Bytes;

use crate::wire::{Counter, DecodeError, Decoder, EncodeError, Frame, Segment, Sink};
use crate::{ApiKey, Message, Request};

/// What stands before a request.
///
/// ```text
/// key i16 | version i16 | correlation id i32 | client id: nullable string, i16 length | [tagged fields: header v2]
/// ```
/// The client id keeps its two-byte length in header version 2 too (`RequestHeader.json`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The number of the API; it may be one that we do not know.
    pub key: i16,
    /// The version of the request.
    pub version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the eight bytes that every version of the header begins with: key, version, correlation id.
    /// They can be read even where the rest cannot be understood.
    pub fn decode_prefix(decoder: &mut Decoder) -> Result<RequestHeader, DecodeError> {
        let (key, version, correlation_id) = (decoder.i16()?, decoder.i16()?, decoder.i32()?);
        Ok(RequestHeader { key, version, correlation_id, client_id: None })
    }

    /// Reads what follows the prefix, for a known API.
    pub fn decode_rest(&mut self, decoder: &mut Decoder, api: ApiKey) -> Result<(), DecodeError> {
        self.client_id = decoder.nullable_string(false)?;
        if api.request_header_version(self.version) >= 2 {
            decoder.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(())
    }
}

/// Either header, ready to be written.
enum Header<'a> {
    Request { header: &'a RequestHeader, flexible: bool },
    Response { correlation_id: i32, flexible: bool },
}

impl Header<'_> {
    fn encode<S: Sink>(&self, sink: &mut S) -> Result<(), EncodeError> {
        let flexible = match *self {
            Header::Request { header, flexible } => {
                sink.put_i16(header.key);
                sink.put_i16(header.version);
                sink.put_i32(header.correlation_id);
                sink.put_string(false, header.client_id.as_deref())?;
                flexible
            }
            Header::Response { correlation_id, flexible } => {
                sink.put_i32(correlation_id);
                flexible
            }
        };
        if flexible {
            sink.put_unsigned_varint(0);
        }
        Ok(())
    }
}

/// A whole request frame with its size before it.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Segment>, EncodeError> {
    let header =
        RequestHeader { key: R::KEY as i16, version, correlation_id, client_id: client_id.map(ToOwned::to_owned) };
    let flexible = R::KEY.request_header_version(version) >= 2;
    frame(&Header::Request { header: &header, flexible }, request, version)
}

/// A whole response frame with its size before it.
pub fn response_frame<M: Message>(
    key: ApiKey,
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Segment>, EncodeError> {
    let flexible = key.response_header_version(version) >= 1;
    frame(&Header::Response { correlation_id, flexible }, response, version)
}

/// Counts first, then writes into memory of exactly the size needed.
fn frame<M: Message>(header: &Header<'_>, message: &M, version: i16) -> Result<Vec<Segment>, EncodeError> {
    let mut counter = Counter::default();
    header.encode(&mut counter)?;
    message.encode(&mut counter, version)?;
    let size = i32::try_from(counter.size_bytes).map_err(|_| EncodeError::TooLong(counter.size_bytes))?;
    let mut frame = Frame::with_capacity(size_of::<i32>() + counter.size_bytes - counter.shared_bytes);
    frame.put_i32(size);
    header.encode(&mut frame)?;
    message.encode(&mut frame, version)?;
    Ok(frame.into_segments())
}

/// Reads a response, its header first. `frame` begins behind the size.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut decoder = Decoder::new(frame);
    let correlation_id = decoder.i32()?;
    if R::KEY.response_header_version(version) >= 1 {
        decoder.tagged_fields(|_, _| Ok(false))?;
    }
    let response = R::Response::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok((correlation_id, response))
}
