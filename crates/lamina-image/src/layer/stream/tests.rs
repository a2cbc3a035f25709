//! Streams that go through, and each stage failing in turn.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn send(bytes: &[u8]) -> impl FnOnce(&mut Sink) -> Result<(), UnpackError> {
    move |sink| sink.write_all(bytes).map_err(UnpackError::Read)
}

fn read_all(source: &mut Source) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(UnpackError::Read)?;
    Ok(bytes)
}

fn run<A: Send>(
    compressed: &[u8],
    split: impl FnOnce(&mut Source) -> Result<A, UnpackError> + Send,
    bounds: &Bounds,
) -> Result<A, UnpackError> {
    let root = File::open("/").unwrap();
    stream(send(compressed), split, bounds, root.as_fd())
}

fn tee_all(tee: &mut Tee) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    tee.read_to_end(&mut bytes).map_err(UnpackError::Read)?;
    Ok(bytes)
}

#[test]
fn what_goes_in_comes_out_at_both_stages() {
    let text: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
    let bounds = Bounds::default();
    let root = File::open("/").unwrap();
    for form in [&gzip(&text), &zstd, &text] {
        assert!(run(form, read_all, &bounds).unwrap() == text);
        let both = stream_both(send(form), tee_all, read_all, &bounds, root.as_fd()).unwrap();
        assert!(both.0 == text && both.1 == text);
        // What the first does not read goes on, what the last does not read has come all the same.
        let unread = stream_both(send(form), |_| Ok(()), read_all, &bounds, root.as_fd());
        assert!(unread.unwrap().1 == text);
        run(form, |_| Ok(()), &bounds).unwrap();
    }
}

#[test]
fn the_first_error_is_the_one_that_is_told() {
    let text = vec![7; 20 << 20];
    let good = gzip(&text);
    let bounds = Bounds::default();
    let cut = run(&good[..good.len() / 2], read_all, &bounds).unwrap_err();
    assert!(matches!(cut, UnpackError::Decompress(_)), "{cut:?}");
    let refused = |_: &mut Source| -> Result<(), _> { Err(UnpackError::TooLarge(42)) };
    let only = run(&good, refused, &bounds).unwrap_err();
    assert!(matches!(only, UnpackError::TooLarge(42)), "{only:?}");
    let root = File::open("/").unwrap();
    let apply = stream_both(send(&good), tee_all, refused, &bounds, root.as_fd()).unwrap_err();
    assert!(matches!(apply, UnpackError::TooLarge(42)), "{apply:?}");
    let half = |tee: &mut Tee| -> Result<(), UnpackError> {
        tee.read_exact(&mut vec![0; 5 << 20])
            .map_err(UnpackError::Read)?;
        Err(UnpackError::TooLarge(43))
    };
    let split = stream_both(send(&good), half, read_all, &bounds, root.as_fd()).unwrap_err();
    assert!(matches!(split, UnpackError::TooLarge(43)), "{split:?}");
    let broken = |sink: &mut Sink| -> Result<(), UnpackError> {
        sink.write_all(&good[..100]).unwrap();
        Err(UnpackError::Read(io::ErrorKind::ConnectionReset.into()))
    };
    let fetch = stream_both(broken, |_| Ok(()), read_all, &bounds, root.as_fd()).unwrap_err();
    assert!(matches!(fetch, UnpackError::Read(e) if e.kind() == io::ErrorKind::ConnectionReset));
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let bomb = gzip(&vec![0; 64 << 20]);
    let bounds = Bounds {
        tar_bytes: 1 << 20,
        ..Bounds::default()
    };
    let error = run(&bomb, |_| Ok(()), &bounds).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(_)), "{error:?}");
    let full = Bounds {
        keep_free: u64::MAX,
        ..Bounds::default()
    };
    let error = run(&bomb, |_| Ok(()), &full).unwrap_err();
    assert!(matches!(error, UnpackError::NoSpace { .. }), "{error:?}");
}

#[test]
fn a_neighbour_never_tells_before_the_cause() {
    let mut bad = gzip(&vec![7; 300_000]);
    let crc = bad.len() - 6;
    bad[crc] ^= 1;
    for _ in 0..300 {
        let error = run(&bad, read_all, &Bounds::default()).unwrap_err();
        assert!(matches!(error, UnpackError::Decompress(_)), "{error:?}");
        let (bounds, root) = (Bounds::default(), File::open("/").unwrap());
        let error = stream_both(send(&bad), tee_all, read_all, &bounds, root.as_fd()).unwrap_err();
        assert!(matches!(error, UnpackError::Decompress(_)), "{error:?}");
    }
}
