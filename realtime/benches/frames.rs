//! Times what happens to frames between a publish and the sockets: encoding each once, joining those that wait. `make bench`.

use divan::{Bencher, black_box};
use realtime::measured::{Waiting, encode};

fn main() {
    divan::main();
}

#[divan::bench(args = [64, 1_024, 10_240])]
fn encode_frame(bencher: Bencher, payload_bytes: usize) {
    let payload = vec![b'x'; payload_bytes];
    bencher.bench(|| encode(black_box(&payload)));
}

/// Frames of about the size of a small event; one alone is not copied.
#[divan::bench(args = [1, 2, 16, 256])]
fn join_frames(bencher: Bencher, frames: usize) {
    let frame = encode(&[b'x'; 128]);
    bencher.with_inputs(|| Waiting::new(&frame, frames)).bench_refs(Waiting::join);
}
