//! Replays files and mutates them, deterministically, where libFuzzer is not linked.

use std::path::PathBuf;
use std::{env, fs, panic};

/// Runs `target` over every file named (directories: over what they hold), then, with `--runs N`,
/// over N mutations of them. A failure is a panic; the input is written to the file `crash`.
pub fn run(target: fn(&[u8])) {
    let (mut runs, mut seeds) = (0u64, Vec::new());
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--runs" {
            let number = args.next().and_then(|n| n.into_string().ok()?.parse().ok());
            runs = number.expect("--runs takes a number");
        } else {
            read(PathBuf::from(arg), &mut seeds);
        }
    }
    seeds.iter().for_each(|seed| target(seed));
    println!("replayed {} inputs", seeds.len());
    if seeds.is_empty() {
        seeds.push(Vec::new());
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..runs {
        let input = mutate(&seeds, &mut random);
        if let Err(panic) = panic::catch_unwind(|| target(&input)) {
            fs::write("crash", &input).expect("write the input");
            panic::resume_unwind(panic);
        }
    }
    println!("ran {runs} mutations");
}

fn read(path: PathBuf, seeds: &mut Vec<Vec<u8>>) {
    if path.is_dir() {
        let entries = fs::read_dir(&path).expect("list the corpus").flatten();
        let mut below: Vec<_> = entries.map(|entry| entry.path()).collect();
        below.sort();
        below.into_iter().for_each(|path| read(path, seeds));
    } else {
        seeds.push(fs::read(&path).expect("read the input"));
    }
}

fn mutate(seeds: &[Vec<u8>], random: &mut u64) -> Vec<u8> {
    let mut next = |below: usize| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random % below.max(1) as u64) as usize
    };
    let mut input = seeds[next(seeds.len())].clone();
    for _ in 0..=next(8) {
        let (at, other) = (next(input.len()), &seeds[next(seeds.len())]);
        match next(5) {
            0 if !input.is_empty() => input[at] ^= 1 << next(8),
            1 if !input.is_empty() => input[at] = b"\0\xff09 =\n/."[next(9)],
            2 => input.truncate(at),
            3 => input.extend_from_slice(&other[next(other.len()).min(other.len())..]),
            _ => {
                let byte = u8::try_from(next(256)).unwrap_or(0);
                input.insert(at.min(input.len()), byte);
            }
        }
        input.truncate(64 * 1024);
    }
    // A damaged header is refused at once: repair the sums so that the fields are reached.
    for block in input.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    input
}
