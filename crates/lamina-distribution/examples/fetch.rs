//! Fetches all blobs of an image in parallel, throws them away and says how fast that was.
//!
//! `cargo run -p lamina-distribution --example fetch -- localhost:5000/team/app:v1`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::thread;
use std::time::Instant;

use lamina_distribution::{Client, ClientConfig, FetchError};
use lamina_types::oci::Descriptor;
use lamina_types::{Platform, Reference};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: fetch REFERENCE")?;
    let reference: Reference = name.parse()?;
    let client = Client::new(ClientConfig::default())?;
    let found = client.resolve_platform(&reference, &Platform::host())?;
    let started = Instant::now();
    let totals: Vec<Result<u64, FetchError>> = thread::scope(|scope| {
        let fetch = |layer| {
            let (client, reference) = (&client, &reference);
            scope.spawn(move || drain(client, reference, layer))
        };
        let threads: Vec<_> = found.manifest.layers.iter().map(fetch).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or(Err(FetchError::Cancelled))
        };
        threads.into_iter().map(join).collect()
    });
    let mut bytes = 0;
    for total in totals {
        bytes += total?;
    }
    let time = started.elapsed().as_secs_f64();
    let rate = u32::try_from(bytes / 1_000_000).map(f64::from)? / time;
    println!("{bytes} bytes in {time:.3} s: {rate:.0} MB/s");
    Ok(())
}

fn drain(client: &Client, reference: &Reference, layer: &Descriptor) -> Result<u64, FetchError> {
    let mut stream = client.blob(reference, layer, 0)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stream.read_some(&mut buffer)? == 0 {
            return Ok(stream.position());
        }
    }
}
