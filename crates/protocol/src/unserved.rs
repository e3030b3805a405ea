//! The messages that no node serves yet, generated from `definitions/unserved/` (feature `all-messages`). An API that is to be
//! served moves its text to `definitions/api/`: only there it gets a key and a place in the dispatch.

#![allow(clippy::all, missing_docs, unused_parens, unused_mut, unreachable_pub)]

use bytes::Bytes;

use crate::wire::{Counter, DecodeError, Decoder, EncodeError, Records, Sink, put_tag};
use crate::{Message, Uuid};

include!(concat!(env!("OUT_DIR"), "/unserved.rs"));
