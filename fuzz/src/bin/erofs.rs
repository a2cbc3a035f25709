//! Fuzz target: `lamina_fuzz::erofs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lamina_fuzz::erofs(data));

#[cfg(not(fuzzing))]
fn main() {
    lamina_fuzz::driver::run(lamina_fuzz::erofs);
}
