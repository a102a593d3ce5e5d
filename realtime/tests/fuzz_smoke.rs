//! The fuzz targets of `fuzz/` in every test run: the committed corpus once, then inputs made from it by a generator with a
//! fixed seed. It stands in for libFuzzer, whose instrumented build takes minutes (`make fuzz` is for that).

#[allow(
    unreachable_pub,
    missing_docs,
    reason = "a library of the workspace in fuzz/, which has no such lints"
)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// Time for each target; all run at once.
const EACH: Duration = Duration::from_secs(3);
/// Longest input that is made up, but for the ones of the corpus.
const BYTES_MAX: usize = 2_048;
/// What often matters to a parser.
const TOKENS: [&[u8]; 20] = [
    b"\0",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[",
    b"]",
    b"}",
    b":",
    b",",
    b"%",
    b"%00",
    b"&",
    b"=",
    b"[]",
    b"#server-to-user-",
    b"presence-",
    b"\xff",
    b"\xf0\x9f\x98\x80",
];

/// splitmix64: enough to stir inputs, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).expect("a readable input")).collect()
}

/// Changes an input a little: bytes turned, cut out, doubled, taken from another input, or put in.
fn stir(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(6) {
            0 if at < input.len() => input[at] = random.next() as u8,
            1 => drop(input.drain(at..end)),
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            4 if at < input.len() => input[at] ^= 1 << random.below(8),
            _ => {
                input.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied());
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

#[test]
fn nothing_that_strangers_send_breaks_a_rule() {
    let threads: Vec<_> = targets::TARGETS
        .into_iter()
        .map(|(name, run)| {
            let work = move || {
                let seeds = corpus(name);
                assert!(!seeds.is_empty(), "no corpus for {name}");
                seeds.iter().for_each(|input| run(input));
                let (mut random, started, mut count) = (Random(7), Instant::now(), 0u64);
                while started.elapsed() < EACH {
                    run(&stir(&mut random, &seeds));
                    count += 1;
                }
                println!("{name}: {} inputs of the corpus, {count} made up", seeds.len());
            };
            std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread")
        })
        .collect();
    let failed = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    assert_eq!(failed, 0, "targets failed; their threads' names and the broken rules are above");
}
