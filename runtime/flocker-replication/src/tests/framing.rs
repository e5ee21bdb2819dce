//! Whatever happens to the bytes of a stream, only its own chunks come out, in order, and its end only after all of them.

use bytes::{Buf, Bytes};
use flocker_model::{
    ByteSize, Compression, Epoch, Guid, NodeName, OperationId, Point, RecordSize, SecretName,
    SnapshotTag, VolumeId, VolumeOptions,
};
use flocker_ports::ResumeToken;
use proptest::prelude::*;

use crate::{
    frame::{Decoder, Encoder, FrameError, PREAMBLE, Side},
    wire::{CONTROL_MAX, Header, Message},
};

fn header() -> Header {
    let point = |name: &str| Point {
        tag: SnapshotTag::new(name).unwrap(),
        guid: Guid(format!("guid-{name}")),
    };
    Header {
        operation: OperationId::new("op-1").unwrap(),
        volume: VolumeId::new("v-1").unwrap(),
        epoch: Epoch(7),
        base: Some(point("one")),
        to: point("two"),
        options: VolumeOptions {
            record_size: Some(RecordSize::new(ByteSize(1 << 14)).unwrap()),
            compression: Some(Compression::Zstd),
            reserved: true,
            secret: Some(SecretName::new("key").unwrap()),
            ..ByteSize(1 << 30).into()
        },
        source: NodeName::new("n1").unwrap(),
        target: NodeName::new("n2").unwrap(),
    }
}

const NONCE: [u8; 16] = [7; 16];

fn bytes(mut frame: impl Buf) -> Vec<u8> {
    frame.copy_to_bytes(frame.remaining()).to_vec()
}

/// The parts of a stream as they go over the wire: preamble and header, one frame per chunk, the end.
fn encode(chunks: &[Vec<u8>], nonce: [u8; 16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(Side::Sender);
    let mut first = Encoder::preamble().to_vec();
    first.extend(bytes(encoder.encode(&Message::Header(Box::new(header())))));
    encoder.bind(&header(), &nonce);
    let mut parts = vec![first];
    for chunk in chunks {
        parts.push(bytes(encoder.encode(&Message::Chunk(Bytes::copy_from_slice(chunk)))));
    }
    parts.push(bytes(encoder.encode_end()));
    parts
}

/// What a receiver makes of these bytes, fed to it in pieces of `step`.
struct Decoded {
    chunks: Vec<Vec<u8>>,
    ended: bool,
    error: Option<FrameError>,
}

fn decode(stream: &[u8], step: usize) -> Decoded {
    let mut decoder = Decoder::new(Side::Sender);
    let mut out = Decoded { chunks: Vec::new(), ended: false, error: None };
    let mut pieces = stream.chunks(step.max(1));
    while !out.ended {
        match decoder.next() {
            Ok(Some(Message::Header(found))) => {
                assert_eq!(*found, header());
                decoder.bind(&found, &NONCE);
            }
            Ok(Some(Message::Chunk(chunk))) => out.chunks.push(chunk.to_vec()),
            Ok(Some(Message::End { .. })) => out.ended = true,
            Ok(Some(other)) => panic!("nobody sent {other:?}"),
            Ok(None) => match pieces.next() {
                Some(piece) => decoder.buffer().extend_from_slice(piece),
                None => return out,
            },
            Err(error) => {
                out.error = Some(error);
                return out;
            }
        }
    }
    out
}

/// One thing that happens to a stream between two nodes.
#[derive(Debug, Clone)]
enum Harm {
    FlipBit {
        at: prop::sample::Index,
        bit: u8,
    },
    Cut {
        at: prop::sample::Index,
    },
    Drop {
        at: prop::sample::Index,
        length: usize,
    },
    Repeat {
        at: prop::sample::Index,
        length: usize,
    },
    Insert {
        at: prop::sample::Index,
        garbage: Vec<u8>,
    },
    SwapFrames {
        a: prop::sample::Index,
        b: prop::sample::Index,
    },
    RepeatFrame {
        at: prop::sample::Index,
    },
    LoseFrame {
        at: prop::sample::Index,
    },
    /// A frame of the same stream, recorded on an earlier connection.
    Replay {
        at: prop::sample::Index,
    },
}

fn harm() -> impl Strategy<Value = Harm> {
    use any as a;
    type Index = prop::sample::Index;
    prop_oneof![
        (a::<Index>(), 0..8u8).prop_map(|(at, bit)| Harm::FlipBit { at, bit }),
        a::<Index>().prop_map(|at| Harm::Cut { at }),
        (a::<Index>(), 1..200usize).prop_map(|(at, length)| Harm::Drop { at, length }),
        (a::<Index>(), 1..200usize).prop_map(|(at, length)| Harm::Repeat { at, length }),
        (a::<Index>(), prop::collection::vec(a::<u8>(), 1..80))
            .prop_map(|(at, garbage)| Harm::Insert { at, garbage }),
        (a::<Index>(), a::<Index>()).prop_map(|(a, b)| Harm::SwapFrames { a, b }),
        a::<Index>().prop_map(|at| Harm::RepeatFrame { at }),
        a::<Index>().prop_map(|at| Harm::LoseFrame { at }),
        a::<Index>().prop_map(|at| Harm::Replay { at }),
    ]
}

fn harmed(harm: &Harm, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = encode(chunks, NONCE);
    match harm {
        Harm::SwapFrames { a, b } => {
            parts.swap(a.index(chunks.len() + 2), b.index(chunks.len() + 2))
        }
        Harm::RepeatFrame { at } => {
            let at = at.index(parts.len());
            parts.insert(at, parts[at].clone());
        }
        Harm::LoseFrame { at } => {
            parts.remove(at.index(parts.len()));
        }
        Harm::Replay { at } => {
            let at = at.index(parts.len() - 1) + 1;
            parts[at] = encode(chunks, [8; 16])[at].clone();
        }
        Harm::FlipBit { .. }
        | Harm::Cut { .. }
        | Harm::Drop { .. }
        | Harm::Repeat { .. }
        | Harm::Insert { .. } => {}
    }
    let mut stream = parts.concat();
    match harm {
        Harm::FlipBit { at, bit } => {
            let at = at.index(stream.len());
            stream[at] ^= 1 << bit;
        }
        Harm::Cut { at } => stream.truncate(at.index(stream.len())),
        Harm::Drop { at, length } => {
            let at = at.index(stream.len());
            stream.drain(at..(at + length).min(stream.len()));
        }
        Harm::Repeat { at, length } => {
            let at = at.index(stream.len());
            let part = stream[at..(at + length).min(stream.len())].to_vec();
            stream.splice(at..at, part);
        }
        Harm::Insert { at, garbage } => {
            let at = at.index(stream.len());
            stream.splice(at..at, garbage.iter().copied());
        }
        Harm::SwapFrames { .. }
        | Harm::RepeatFrame { .. }
        | Harm::LoseFrame { .. }
        | Harm::Replay { .. } => {}
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_unharmed_stream_comes_out_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        step in 1..500usize,
    ) {
        let decoded = decode(&encode(&chunks, NONCE).concat(), step);

        prop_assert_eq!(decoded.chunks, chunks);
        prop_assert!(decoded.ended && decoded.error.is_none());
    }

    #[test]
    fn a_harmed_stream_gives_a_part_of_itself_and_no_end(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        harm in harm(),
        step in 1..500usize,
    ) {
        let whole = encode(&chunks, NONCE).concat();
        let stream = harmed(&harm, &chunks);
        let decoded = decode(&stream, step);

        prop_assert!(chunks.starts_with(&decoded.chunks), "{:?} came out of {:?}", decoded.chunks, chunks);
        // A harm that does nothing (a frame swapped with itself) or comes after the end is none.
        let harmless = stream.starts_with(&whole);
        prop_assert_eq!(decoded.ended, harmless, "{:?}", decoded.error);
    }

    #[test]
    fn garbage_gives_nothing(garbage in prop::collection::vec(any::<u8>(), 0..400), step in 1..90usize) {
        let decoded = decode(&garbage, step);

        prop_assert!(decoded.chunks.is_empty() && !decoded.ended);
    }

    #[test]
    fn no_payload_panics(kind in 0..12u8, payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::read(kind, Bytes::from(payload));
    }
}

/// One bit of the header's payload; the size of the volume, say.
#[test]
fn a_header_with_one_wrong_bit_is_refused() {
    let parts = encode(&[], NONCE);
    for bit in 0..parts[0].len() * 8 {
        let mut stream = parts[0].clone();
        stream[bit / 8] ^= 1 << (bit % 8);

        let mut decoder = Decoder::new(Side::Sender);
        decoder.buffer().extend_from_slice(&stream);

        assert!(!matches!(decoder.next(), Ok(Some(_))), "bit {bit}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let parts = encode(&[b"one".to_vec(), b"two".to_vec()], NONCE);
    let oversize = {
        let mut stream = parts[0].clone();
        stream[PREAMBLE + 9..PREAMBLE + 13].copy_from_slice(&u32::MAX.to_be_bytes());
        stream
    };
    let short_end = [parts[0].clone(), parts[1].clone(), parts[3].clone()].concat();
    let version = [parts[0][..8].to_vec(), vec![0, 9], parts[0][10..].to_vec()].concat();
    for (stream, want) in [
        (b"GET / HTTP/1.1".to_vec(), "this is not a replication stream"),
        (b"GE".to_vec(), "this is not a replication stream"),
        (version, "the stream is of version 9, this node understands version 3"),
        (oversize, "frame 0 claims 4294967295 bytes, more than the 8192 that it may have"),
        (short_end, "frame 3 came where frame 2 was due"),
    ] {
        assert_eq!(decode(&stream, 1000).error.unwrap().to_string(), want);
    }
}

/// Given frames in their right places and with right digests, whose end counts other chunks.
#[test]
fn an_end_that_does_not_fit_its_chunks_is_refused() {
    let mut encoder = Encoder::new(Side::Sender);
    let mut stream = Encoder::preamble().to_vec();
    stream.extend(bytes(encoder.encode(&Message::Header(Box::new(header())))));
    encoder.bind(&header(), &NONCE);
    stream.extend(bytes(encoder.encode(&Message::Chunk(Bytes::from_static(b"x")))));
    stream.extend(bytes(encoder.encode(&Message::End { length: 1, hash: [0; 32] })));

    let decoded = decode(&stream, 1000);

    assert_eq!(decoded.error, Some(FrameError::WrongEnd { announced: 1, found: 1 }));
}

/// A stream whose only chunk has this payload, claimed to be compressed.
fn packed(payload: Vec<u8>, length: u32) -> Vec<u8> {
    let mut encoder = Encoder::new(Side::Sender);
    let mut stream = Encoder::preamble().to_vec();
    stream.extend(bytes(encoder.encode(&Message::Header(Box::new(header())))));
    encoder.bind(&header(), &NONCE);
    let bytes_of = Message::Packed { bytes: payload.into(), length };
    stream.extend(bytes(encoder.encode(&bytes_of)));
    stream.extend(bytes(encoder.encode_end()));
    stream
}

#[test]
fn a_compressed_chunk_arrives_as_it_was() {
    let text = b"the same again and again ".repeat(4000);
    let small = zstd::bulk::compress(&text, 1).unwrap();
    assert!(small.len() * 20 < text.len());

    let decoded = decode(&packed(small, u32::try_from(text.len()).unwrap()), 777);

    assert!(decoded.ended && decoded.error.is_none(), "{:?}", decoded.error);
    assert_eq!(decoded.chunks, [text]);
}

#[test]
fn what_does_not_become_what_it_claims_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let most = u32::try_from(crate::wire::CHUNK_MAX).unwrap();
    let text = zstd::bulk::compress(b"twelve bytes", 1).unwrap();
    for (payload, length) in [
        (bomb.clone(), most),
        (bomb, u32::MAX),
        (text.clone(), 11),
        (text.clone(), 13),
        (text[..text.len() - 1].to_vec(), 12),
        (b"no frame at all".to_vec(), 12),
    ] {
        let decoded = decode(&packed(payload, length), 4096);
        let error = decoded.error.expect("it was taken").to_string();
        assert!(error.contains("not what they claim to be"), "{error}");
    }
}

#[test]
fn every_message_survives_the_wire() {
    let guid = Guid("g".to_owned());
    for message in [
        Message::Header(Box::new(header())),
        Message::Header(Box::new(Header { base: None, ..header() })),
        Message::Have { guid: guid.clone() },
        Message::Go { nonce: NONCE, resume: None, held: 0 },
        Message::Go { nonce: NONCE, resume: Some(ResumeToken("t".to_owned())), held: 9 },
        Message::Refuse { retry: true, reason: "ü".to_owned() },
        Message::Restart,
        Message::Chunk(Bytes::from_static(b"abc")),
        Message::End { length: 3, hash: [1; 32] },
        Message::Done { guid },
        Message::KeepAlive,
    ] {
        assert_eq!(Message::read(message.kind(), message.payload()), Ok(message));
    }
    let long = Message::Refuse { retry: false, reason: "ü".repeat(CONTROL_MAX) };
    assert!(long.payload().len() < CONTROL_MAX);
}
